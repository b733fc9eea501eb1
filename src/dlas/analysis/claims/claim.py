"""A claim: a statement, where it was made, and the tests that say what must be seen for it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from dlas.analysis.claims.kinds import TABLE
from dlas.analysis.claims.kinds.base import Test
from dlas.analysis.claims.select import check_types
from dlas.errors import InputError, SpecError
from dlas.layer import did_you_mean
from dlas.spec import parse_struct

_SHIPPED = ("dlas.toml", "dlis.toml")
_SHAPE = "[source] and [[claim]] tables"

_TUNED = (
    "Tuned is the kind of tuning with the most settings: tuning = auto, a search of schedules as "
    "Ansor is; else, with more, template; else, with more yet, the faster of both. Where another "
    "kind says otherwise, the sentence ends with it."
)

Text = Annotated[str, msgspec.Meta(min_length=1)]


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``link``: a URL. ``section``: where in the paper. ``words``: beginnings of words, and what
    they mean, a sentence for the reading of every claim whose text has them."""

    paper: Text
    link: str = ""
    section: str = ""
    words: dict[str, str] = {}


class _Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file's ``[[claim]]`` holds besides its tests."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]+$")]
    title: Text
    statement: Text
    reading: Text
    section: str = ""
    quoted: bool = False
    derived: bool = False
    kind: Literal["observation", "order", "number", "conclusion", "own"] = "own"


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``statement``: in the source's words where ``quoted``. ``derived``: computed from what the
    source says. ``reading``: how the words became tests, and where the two differ. ``test``: parts
    that must all hold."""

    id: str
    title: str
    statement: str
    quoted: bool
    derived: bool
    kind: str
    reading: str
    source: Source
    test: tuple[Test, ...]

    @property
    def names_tuned(self) -> bool:
        return any(test.names_tuned for test in self.test)


def published() -> tuple[Claim, ...]:
    """The shipped claims: the paper's thirteen observations, its order and numeric facts, and the
    conclusions of the study before it."""
    here = Path(__file__).parent
    return tuple(claim for name in _SHIPPED for claim in open_claims(here / name))


def open_claims(path: Path | str) -> tuple[Claim, ...]:
    """The claims of a TOML file. InputError or SpecError name the place and the remedy."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}") from None
    try:
        return parse_claims(content)
    except SpecError as error:
        raise SpecError(f"{path}: {error.path}", error.sentence) from None


def parse_claims(content: Mapping[str, Any]) -> tuple[Claim, ...]:
    """The claims of a file's content, plain data."""
    for key in content:
        if key not in ("source", "claim"):
            raise SpecError(f"$.{key}", f"a file of claims has {_SHAPE}")
    tables = content.get("claim")
    if not isinstance(tables, list) or not tables:
        raise SpecError("$.claim", f"a file of claims has {_SHAPE}, one claim or more")
    source = parse_struct(Source, content.get("source"), "$.source", "source")
    claims = [_claim(table, source, f"$.claim[{n}]") for n, table in enumerate(tables)]
    for n, claim in enumerate(claims):
        if claim.id in {other.id for other in claims[:n]}:
            raise SpecError(f"$.claim[{n}].id", f"{claim.id!r} is there already; choose another")
    return tuple(claims)


def _claim(table: Any, source: Source, path: str) -> Claim:
    if not isinstance(table, Mapping):
        raise SpecError(path, f"{table!r} is not a table")
    rest = dict(table)
    tests = rest.pop("test", None)
    fields = parse_struct(_Fields, rest, path, "claim")
    if not isinstance(tests, list) or not tests:
        raise SpecError(f"{path}.test", "a claim needs one [[claim.test]] or more")
    parsed = tuple(_test(one, f"{path}.test[{n}]") for n, one in enumerate(tests))
    return Claim(
        id=fields.id,
        title=fields.title,
        statement=fields.statement,
        quoted=fields.quoted,
        derived=fields.derived,
        kind=fields.kind,
        reading=_reading(fields, source.words, parsed),
        source=msgspec.structs.replace(source, section=fields.section or source.section),
        test=parsed,
    )


def _reading(fields: _Fields, words: Mapping[str, str], tests: Sequence[Test]) -> str:
    text = f"{fields.title} {fields.statement} {fields.reading}"
    found = [
        meaning
        for word, meaning in words.items()
        if re.search(rf"\b{re.escape(word)}", text, re.IGNORECASE)
    ]
    if any(test.names_tuned for test in tests):
        found.append(_TUNED)
    return " ".join([fields.reading, *dict.fromkeys(found)])


def _test(table: Any, path: str) -> Test:
    if not isinstance(table, Mapping):
        raise SpecError(path, f"{table!r} is not a table")
    rest = dict(table)
    kind = rest.pop("kind", None)
    if not isinstance(kind, str) or kind not in TABLE:
        hint = did_you_mean(str(kind or ""), TABLE)
        raise SpecError(f"{path}.kind", f"{kind!r} is not a kind of test{hint}")
    for field, value in rest.items():
        many = isinstance(value, list)
        for n, one in enumerate(value if many else (value,)):
            if isinstance(one, Mapping):
                check_types(one, f"{path}.{field}{f'[{n}]' * many}")
    test = parse_struct(TABLE[kind], rest, path, what=kind)
    test.check(path)
    return test
