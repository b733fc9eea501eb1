"""Every mistake in a spec gets one sentence with its place and a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest

from dlas.errors import SpecError
from dlas.layer import InputPath, Member
from dlas.spec import expand_path, parse_member, parse_struct
from dlas.stack import Stack


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    epochs: Annotated[int, msgspec.Meta(ge=0)] = 3


class Example(Member, frozen=True, kw_only=True):
    name: ClassVar[str] = "example"
    sparsity: Annotated[float, msgspec.Meta(ge=0, lt=1)]
    kind: Literal["global", "layer"] = "global"
    inner: Inner = Inner()
    parts: tuple[Literal["crop", "flip"], ...] = ()
    file: InputPath | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = None


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"sparsity": 1.2}, "$.e.sparsity: 1.2 is not in [0, 1)"),
        ({"sparsity": -1}, "$.e.sparsity: -1 is not in [0, 1)"),
        ({"sparsity": float("nan")}, "$.e.sparsity: nan is not a finite number"),
        ({"sparsity": "much"}, "$.e.sparsity: 'much' is not a number in [0, 1)"),
        ({"sparsity": True}, "$.e.sparsity: True is not a number in [0, 1)"),
        ({}, "$.e.sparsity: example needs this field"),
        ({"sparcity": 0.5}, "$.e.sparcity: not a field of example; did you mean 'sparsity'?"),
        (
            {"sparsity": 0.5, "kind": "globall"},
            "$.e.kind: 'globall' is not one of global, layer; did you mean 'global'?",
        ),
        ({"sparsity": 0.5, "inner": {"epochs": -1}}, "$.e.inner.epochs: -1 is not in [0, inf)"),
        (
            {"sparsity": 0.5, "inner": {"epochs": 1.5}},
            "$.e.inner.epochs: 1.5 is not a whole number in [0, inf)",
        ),
        (
            {"sparsity": 0.5, "inner": {"epoch": 1}},
            "$.e.inner.epoch: not a field of inner; did you mean 'epochs'?",
        ),
        ({"sparsity": 0.5, "inner": 3}, "$.e.inner: 3 is not a table"),
        (
            {"sparsity": 0.5, "parts": ["crop", "flop"]},
            "$.e.parts[1]: 'flop' is not one of crop, flip; did you mean 'flip'?",
        ),
        ({"sparsity": 0.5, "parts": "crop"}, "$.e.parts: 'crop' is not a list"),
        ({"sparsity": 0.5, "count": 9}, "$.e.count: 9 is not in [1, 8]"),
        ({"sparsity": 0.5, "file": 3}, "$.e.file: 3 is not a text"),
    ],
)
def test_mistakes(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_struct(Example, fields, "$.e", "example")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "value, message",
    [
        (
            "weigth_pruning",
            "'weigth_pruning' is not one of the optimizations; did you mean 'weight_pruning'?",
        ),
        (3, "3 is neither a name nor a table with one"),
        ({"sparsity": 0.5}, "has no name; there are "),
        ({"name": 3}, "$.o.name: 3 is not a name"),
    ],
)
def test_naming_mistakes(value: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_member("optimizations", value, "$.o")
    assert message in str(caught.value)


def test_short_form_names_the_first_own_field() -> None:
    member = parse_member("optimizations", {"weight_pruning": 0.5}, "$")
    assert member.spec()["sparsity"] == 0.5


def test_label_shows_what_differs_from_the_defaults() -> None:
    assert Example(sparsity=0.5).label() == "example(0.5)"
    assert Example(sparsity=0.5, kind="layer").label() == "example(0.5, kind=layer)"


def test_paths_expand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLAS_TEST_PLACE", "/data")
    assert expand_path("${DLAS_TEST_PLACE:-x}/a", tmp_path, "$") == "/data/a"
    assert expand_path("${DLAS_TEST_NOWHERE:-x}/a", tmp_path, "$") == str(tmp_path / "x/a")
    assert expand_path("../a", tmp_path / "b", "$") == str(tmp_path / "a")
    with pytest.raises(
        SpecError, match=r"\$\.p: the environment variable DLAS_TEST_NOWHERE is not set"
    ):
        expand_path("$DLAS_TEST_NOWHERE/a", tmp_path, "$.p")


def test_a_stack_reads_its_own_spec_back() -> None:
    given = {"dataset": "synthetic", "model": "tiny", "system": "onnxruntime", "hardware": "null"}
    stack = Stack.parse({**given, "optimizations": [{"weight_pruning": 0.5}, "int8"]})
    assert Stack.parse(stack.spec()) == stack


def test_stack_mistakes() -> None:
    with pytest.raises(SpecError, match=r"\$\.modle: not a field of a stack; did you mean 'model'"):
        Stack.parse({"modle": "tiny"})
    with pytest.raises(SpecError, match=r"\$\.model: a stack needs this field"):
        Stack.parse({"dataset": "synthetic"})


def test_the_short_form_and_the_field_together_are_a_contradiction() -> None:
    with pytest.raises(SpecError, match=r"\$\.o\.sparsity: weight_pruning = … gives this already"):
        parse_member("optimizations", {"weight_pruning": 0.5, "sparsity": 0.6}, "$.o")
