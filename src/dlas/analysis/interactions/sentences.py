"""Findings as plain sentences."""

from __future__ import annotations

from collections.abc import Sequence

from dlas.analysis.words import count, level_word, listed, word

#: So many contexts are named one by one; of more, those with most at stake.
_NAMED = 6
_SHOWN = 3


def flip_sentence(
    changed: str,
    of: str,
    names: tuple[str, str, str, str],
    factors: Sequence[str],
    contexts: Sequence[tuple[str, ...]],
    looked: int,
    scope: str,
) -> str:
    """``names``: before, after, best before, best after. ``contexts``: what is fixed, one word per
    factor, the most at stake first. ``looked``: in how many it could have been seen."""
    before, after = (_level(changed, name) for name in names[:2])
    best_before, best_after = (_level(of, name) for name in names[2:])
    start = f"Among {scope}, changing" if scope else "Changing"
    sentence = (
        f"{start} only the {word(changed)} from {before} to {after} changes the fastest "
        f"{word(of)} from {best_before} to {best_after}"
    )
    if not factors:
        return f"{sentence}."
    if len(contexts) <= _NAMED:
        return f"{sentence} for {_grouped(factors, contexts)}."
    shown = _grouped(factors, contexts[:_SHOWN])
    return f"{sentence} in {len(contexts):,} of {looked:,} cases, most of all for {shown}."


def steady_sentence(changed: str, of: str, number: int, always: str | None, scope: str) -> str:
    start = f"Among {scope}, the" if scope else "The"
    said = (
        f"{start} fastest {word(of)} does not depend on the {word(changed)} in any of "
        f"{count(number, 'clear comparison')}"
    )
    return f"{said}: it is {_level(of, always)} in all." if always else f"{said}."


def _level(factor: str, level: str) -> str:
    return level if factor in ("threads", "batch") else level_word(factor, level)


def _grouped(factors: Sequence[str], contexts: Sequence[tuple[str, ...]]) -> str:
    """``"vgg16 and resnet18 (no compression, 1 thread)"``."""
    lead = next((i for i, name in enumerate(factors) if name in ("network", "model")), 0)
    heads: dict[tuple[str, ...], list[str]] = {}
    for words in contexts:
        rest = tuple(text for i, text in enumerate(words) if i != lead)
        heads.setdefault(rest, []).append(words[lead])
    rests: dict[tuple[str, ...], list[str]] = {}
    for rest, found in heads.items():
        rests.setdefault(tuple(sorted(found)), []).append(", ".join(rest))
    said = []
    for names, fixed in rests.items():
        inside = "; ".join(fixed)
        said.append(f"{listed(names)} ({inside})" if inside else listed(names))
    return listed(said)
