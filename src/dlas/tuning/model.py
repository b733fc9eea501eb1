"""A cost model: the seconds of candidates that nobody measured, and how sure they are.

A Gaussian process (Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", chapter
2) over y = ln(seconds / estimate), the factor by which a primitive's own estimate is wrong. Without
records the estimate alone ranks; near what was measured, the measurements do. The covariance of two
candidates is

    layer · e^(-w²/2)  +  choice · e^(-w²/2 - c²/2)   (+ noise, of one with itself)

with w the distance of their workloads and c that of their knobs, in octaves over a length: what a
layer costs at all is shared by its candidates, and so does not blur which of them is faster. Only
the records of the nearest workloads take part, so that a prediction takes milliseconds however many
there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from dlas.tuning.record import Record

Numbers = Mapping[str, float]
Floats = NDArray[np.float64]

#: Records that a model knows, those that take part in a prediction, and in finding the scales.
MOST, NEAREST, FOR_SCALES = 20_000, 500, 300
#: Octaves over which workloads, and knobs, behave alike; the standard deviations of what they share
#: and of a measurement. Those are taken under which the records are the likeliest.
WORKLOAD_OCTAVES, KNOB_OCTAVES = (2.0, 4.0, 8.0), (1.0, 2.0, 4.0)
LAYER, CHOICE, NOISE = 0.5, (0.15, 0.4), (0.02, 0.08)
#: Seconds of a multiply-add before anything was measured, and how unsure their logarithm is.
UNKNOWN_S, UNKNOWN = 1e-11, 2.0
#: Of being the fastest, below which a candidate is not measured.
CHANCE = 0.1


@dataclass(frozen=True)
class Scales:
    workload: float
    knobs: float
    choice: float
    noise: float


USUAL = Scales(4.0, 2.0, 0.4, 0.08)


@dataclass(frozen=True)
class Prediction:
    """Of some candidates of one kernel: the logarithm of their seconds, and the covariance of its
    errors."""

    log_seconds: Floats
    covariance: Floats

    @property
    def order(self) -> list[int]:
        """The candidates, fastest first."""
        return [int(i) for i in np.argsort(self.log_seconds, kind="stable")]

    @property
    def seconds(self) -> Floats:
        """The medians of what is likely."""
        seconds: Floats = np.exp(self.log_seconds)
        return seconds

    @property
    def deviation(self) -> Floats:
        """The standard deviations: 0.1 is about 10 %."""
        deviations: Floats = np.sqrt(np.diag(self.covariance))
        return deviations

    def contenders(self, best: int, chance: float = CHANCE) -> list[int]:
        """``best``, and the candidates that are faster with that chance at least, fastest first."""
        found = []
        for other in self.order:
            behind = self.log_seconds[other] - self.log_seconds[best]
            pair = self.covariance[np.ix_([best, other], [best, other])]
            apart = math.sqrt(max(pair[0, 0] + pair[1, 1] - 2 * pair[0, 1], 1e-12))
            if other == best or 0.5 * math.erfc(behind / apart / math.sqrt(2)) >= chance:
                found.append(other)
        return found


class CostModel:
    """Of one primitive's candidates, fitted to records of whatever place."""

    def __init__(self, records: Sequence[Record], scales: Scales | None = None) -> None:
        """The first of them, and only those that were measured and make sense. ``scales``: those of
        another model of nearly the same records; by default the likeliest."""
        found = [record for record in records if makes_sense(record)][:MOST]
        self.size = len(found)
        names = {name for record in found for name in record.workload}
        self.workload_names = sorted(names)
        self.knob_names = sorted({name for record in found for name in record.knobs})
        self.scales = scales or USUAL
        if not found:
            return
        self.workloads = octaves([r.workload for r in found], self.workload_names)
        self.knobs = octaves([r.knobs for r in found], self.knob_names)
        errors = np.array([math.log(r.seconds or 1) - math.log(r.estimate) for r in found])
        self.mean = float(np.median(errors))
        self.errors = errors - self.mean
        self.scales = scales or self._likeliest()

    def predict(
        self, workload: Numbers, knobs: Sequence[Numbers], estimates: Sequence[float]
    ) -> Prediction:
        """Of candidates of one kernel, with their estimates in multiply-adds."""
        prior = np.log(np.asarray(estimates, np.float64))
        if not self.size:
            names = sorted({name for each in knobs for name in each})
            apart = distances(octaves(knobs, names), octaves(knobs, names))
            shared = USUAL.choice**2 * np.exp(-apart / USUAL.knobs**2 / 2)
            return Prediction(prior + math.log(UNKNOWN_S), UNKNOWN**2 + shared)
        at = octaves([workload] * len(knobs), self.workload_names), octaves(knobs, self.knob_names)
        apart = distances(at[0][:1], self.workloads)[0]
        near = np.argsort(apart, kind="stable")[:NEAREST]
        known = self.workloads[near], self.knobs[near]
        factor = self._factor(apart_of(known, known), self.scales)
        across = covariance(apart_of(known, at), self.scales)
        weights = linalg.cho_solve((factor, True), self.errors[near])
        told = linalg.solve_triangular(factor, across, lower=True)
        mean: Floats = prior + self.mean + np.dot(across.T, weights)
        return Prediction(mean, covariance(apart_of(at, at), self.scales) - np.dot(told.T, told))

    @staticmethod
    def _factor(apart: tuple[Floats, Floats], scales: Scales) -> Floats:
        """Cholesky's, of the covariance of measurements."""
        within = covariance(apart, scales)
        within[np.diag_indices(len(within))] += scales.noise**2
        factor: Floats = linalg.cholesky(within, lower=True)
        return factor

    def _likeliest(self) -> Scales:
        """The scales under which some of the records are the likeliest."""
        some = np.random.default_rng(0).permutation(self.size)[:FOR_SCALES]
        at, errors = (self.workloads[some], self.knobs[some]), self.errors[some]
        apart = apart_of(at, at)

        def likelihood(scales: Scales) -> float:
            """The logarithm of the marginal one, but for a constant. Rounded, so that of equals the
            first is taken, in whatever order the records are."""
            factor = self._factor(apart, scales)
            fit = float(np.dot(errors, linalg.cho_solve((factor, True), errors)))
            return round(-fit / 2 - float(np.log(np.diag(factor)).sum()), 6)

        return max(every_scales(), key=likelihood)


def apart_of(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Squared distances of workloads, and of knobs."""
    return distances(a[0], b[0]), distances(a[1], b[1])


def covariance(apart: tuple[Floats, Floats], scales: Scales) -> Floats:
    layers, choices = apart
    shared = LAYER**2 + scales.choice**2 * np.exp(choices / (-2 * scales.knobs**2))
    found: Floats = np.exp(layers / (-2 * scales.workload**2)) * shared
    return found


def makes_sense(record: Record) -> bool:
    """Whether it was measured, and its numbers have logarithms; a foreign one's may have none."""
    numbers = (*record.workload.values(), *record.knobs.values())
    return bool(record.seconds) and record.estimate > 0 and min(numbers, default=0) >= 0


def every_scales() -> list[Scales]:
    return [Scales(*each) for each in product(WORKLOAD_OCTAVES, KNOB_OCTAVES, CHOICE, NOISE)]


def octaves(numbers: Sequence[Numbers], names: Sequence[str]) -> Floats:
    """(numbers, names): their logarithms to base 2, of one more; absent is 0."""
    table = [[each.get(name, 0.0) for name in names] for each in numbers]
    return np.log2(1 + np.array(table, np.float64).reshape(len(numbers), len(names)))


def distances(a: Floats, b: Floats) -> Floats:
    """(len(a), len(b)): squared."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * np.dot(a, b.T)
    found: Floats = np.maximum(squares, 0)
    return found
