"""From claims and a results frame to verdicts, one per machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dlas.analysis.claims.cells import SETTINGS, Cells, prepare
from dlas.analysis.claims.claim import Claim
from dlas.analysis.claims.evidence import ALPHA, all_of
from dlas.analysis.claims.kinds.base import MACHINE, Test
from dlas.analysis.claims.verdict import (
    CONTRADICTED,
    HOLDS,
    NOT_TESTABLE,
    Finding,
    Number,
    Verdict,
    Word,
)

if TYPE_CHECKING:
    import pandas as pd


def judge(
    claims: Iterable[Claim],
    frame: pd.DataFrame,
    rounds: Mapping[str, NDArray[np.float64]] | None = None,
) -> tuple[Verdict, ...]:
    """What the stacks of a results frame (of one study or several) say about each claim.

    ``rounds``: key → (n,) seconds, the median of each; stacks of one ``group`` are then compared
    round by round. Every claim is judged on each machine alone, on those where it is testable if
    there are such; one that compares machines, or has parts about several, is judged once, on all.
    """
    cells = prepare(frame, rounds)
    # ~20 claims compare the same pairs: each machine's cells, in each reading of "tuned", once
    variants = _Variants(cells)
    return tuple(verdict for claim in claims for verdict in _judge(claim, variants))


class _Variants:
    def __init__(self, cells: Cells) -> None:
        self.all = cells
        self._made: dict[tuple[str, str], Cells] = {}

    def cells(self, machine: str, setting: str) -> Cells:
        """``machine`` "" is all of them; ``setting`` "" leaves tuning as it is."""
        if (machine, setting) not in self._made:
            made = self.all.on(machine) if machine else self.all
            made = made.tuned_by(SETTINGS[setting]) if setting else made
            self._made[machine, setting] = made
        return self._made[machine, setting]


def _judge(claim: Claim, variants: _Variants) -> Iterator[Verdict]:
    machines = variants.all.machines
    if _spans(claim) or not machines:
        yield _on(claim, variants, "", " and ".join(machines))
        return
    verdicts = [_on(claim, variants, machine, machine) for machine in machines]
    testable = [verdict for verdict in verdicts if verdict.verdict != NOT_TESTABLE]
    yield from testable or verdicts


def _spans(claim: Claim) -> bool:
    """Whether it compares machines, or has parts about different ones: no machine alone could test
    it."""
    named = [{str(test.where[c]) for test in claim.test if c in test.where} for c in MACHINE]
    return all(test.spans for test in claim.test) or any(len(levels) > 1 for levels in named)


def _on(claim: Claim, variants: _Variants, machine: str, name: str) -> Verdict:
    """The verdict by the reading of "tuned" with the most settings; another verdict by another one
    ends the sentence, and what each says is among the numbers."""
    readings = {
        setting: _run(claim, variants, machine, setting)
        for setting in (SETTINGS if claim.names_tuned else ("",))
    }
    joined = {s: all_of([finding.verdict for _, finding in f]) for s, f in readings.items()}
    tested = {s: sum(finding.settings for _, finding in f) for s, f in readings.items()}
    chosen = max(tested, key=tested.__getitem__) if any(tested.values()) else list(tested)[-1]
    verdict = _verdict(claim, name, readings[chosen], joined[chosen])
    if not chosen or not tested[chosen]:
        return verdict
    said, numbers = [verdict.sentence, f"Tuned is {_said(chosen)}."], list(verdict.numbers)
    for setting, word in joined.items():
        if setting == chosen or not tested[setting]:
            continue
        if word not in (joined[chosen], NOT_TESTABLE):
            so = word if word == HOLDS else f"is {word}"
            count = f"{tested[setting]} setting{'s' * (tested[setting] != 1)}"
            said.append(f"With {_said(setting)}, in {count}, it {so}.")
        number = _first_number(readings[setting])
        numbers.append(replace(number, label=f"tuned is {_said(setting)}, {word}: {number.label}"))
    return replace(verdict, sentence=" ".join(said), numbers=tuple(numbers))


def _said(setting: str) -> str:
    both = len(SETTINGS[setting]) > 1
    return "tuning = auto or template, the faster" if both else f"tuning = {setting}"


def _run(
    claim: Claim, variants: _Variants, machine: str, setting: str
) -> list[tuple[Test, Finding]]:
    """One wrong part would contradict the whole, so each part gets its share of the chance."""
    alpha = ALPHA / len(claim.test)
    found = []
    for test in claim.test:
        cells = variants.cells("" if test.spans else machine, setting)
        found.append((test, test.run(cells, alpha)))
    return found


def _first_number(findings: Sequence[tuple[Test, Finding]]) -> Number:
    return next(number for _, finding in findings for number in finding.numbers[:1])


def _verdict(
    claim: Claim, machine: str, findings: Sequence[tuple[Test, Finding]], word: Word
) -> Verdict:
    several = len(findings) > 1
    sentences: list[str] = []
    numbers: list[Number] = []
    missing: list[str] = []
    for test, finding in findings:
        part = f"{test.part}: " if several and test.part else ""
        head = f"{test.part[:1].upper()}{test.part[1:]}, {finding.verdict}: " if several else ""
        sentences.append(f"{head.removeprefix(', ')}{finding.sentence}")
        numbers += [replace(n, label=f"{part}{n.label}") for n in finding.numbers]
        missing += finding.missing
    if word == CONTRADICTED:  # what decides comes first
        order = sorted(range(len(findings)), key=lambda i: findings[i][1].verdict != CONTRADICTED)
        sentences = [sentences[i] for i in order]
    return Verdict(
        claim=claim,
        machine=machine,
        verdict=word,
        sentence=" ".join(sentences),
        numbers=tuple(numbers),
        rows=tuple(dict.fromkeys(key for number in numbers for key in number.keys if key)),
        missing=tuple(dict.fromkeys(missing)),
    )
