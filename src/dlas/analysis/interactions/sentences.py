"""Findings as plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from dlas.analysis.interactions.words import count, level_word, listed, word

#: Groups of contexts that a sentence names.
_NAMED = 3


def flip_sentence(
    changed: str,
    of: str,
    names: tuple[str, str, str, str],
    factors: Sequence[str],
    contexts: Sequence[tuple[str, ...]],
    scope: str,
) -> str:
    """``names``: before, after, best before, best after. ``contexts``: what is fixed, one word per
    factor."""
    before, after = (_level(changed, name) for name in names[:2])
    best_before, best_after = (level_word(of, name) for name in names[2:])
    start = f"Among {scope}, changing" if scope else "Changing"
    sentence = (
        f"{start} only the {word(changed)} from {before} to {after} changes the fastest "
        f"{word(of)} from {best_before} to {best_after}"
    )
    return f"{sentence}{_for(factors, contexts)}."


def steady_sentence(changed: str, of: str, number: int, always: str | None, scope: str) -> str:
    start = f"Among {scope}, the" if scope else "The"
    said = (
        f"{start} fastest {word(of)} does not depend on the {word(changed)} in any of "
        f"{count(number, 'clear comparison')}"
    )
    return f"{said}: it is {level_word(of, always)} in all." if always else f"{said}."


def _level(factor: str, level: str) -> str:
    if factor == "threads":
        return level
    return level_word(factor, level)


def _for(factors: Sequence[str], contexts: Sequence[tuple[str, ...]]) -> str:
    """ " for vgg16 and resnet18 (no compression, 1 thread)", the most at stake first."""
    if not factors:
        return ""
    lead = next((i for i, name in enumerate(factors) if name in ("network", "model")), 0)
    heads: dict[tuple[str, ...], list[str]] = {}
    for words in contexts:
        rest = tuple(text for i, text in enumerate(words) if i != lead)
        heads.setdefault(rest, []).append(words[lead])
    rests: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for rest, found in heads.items():
        rests.setdefault(tuple(found), []).append(rest)
    groups = list(rests.items())
    said = []
    for found, fixed in groups[:_NAMED]:
        inside = listed([", ".join(rest) for rest in fixed[:_NAMED]], "or")
        if len(fixed) > _NAMED:
            inside = f"{count(len(fixed), 'case')}, such as {', '.join(fixed[0])}"
        said.append(f"{listed(found)} ({inside})" if inside else listed(found))
    more = sum(len(found) * len(fixed) for found, fixed in groups[_NAMED:])
    if more:
        said.append(f"in {count(more, 'further case')}")
    return f" for {listed(said)}"
