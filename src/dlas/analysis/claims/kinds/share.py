"""In what share of networks something is so, and how sure that is among others like them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dlas.analysis.claims.evidence import HowOften
from dlas.analysis.claims.verdict import Number, Word, word

#: Of "generally" more is asked than this share of networks, of "rarely" less.
THRESHOLDS = {"generally": 0.5, "rarely": 0.25}


@dataclass(frozen=True)
class Share:
    so: int
    networks: int

    @classmethod
    def of(cls, looks: Iterable[tuple[str, bool]]) -> Share:
        """(network, whether it looks so) per setting: a network counts where most of its do."""
        by_network: dict[str, list[bool]] = {}
        for network, so in looks:
            by_network.setdefault(network, []).append(so)
        most = [2 * sum(some) > len(some) for some in by_network.values()]
        return cls(sum(most), len(most))

    @property
    def number(self) -> Number:
        """With Clopper and Pearson's exact interval."""
        from scipy.special import betaincinv

        so, rest = self.so, self.networks - self.so
        low = float(betaincinv(so, rest + 1, 0.025)) if so else 0.0
        high = float(betaincinv(so + 1, rest, 0.975)) if rest else 1.0
        label = "networks where it is so in most settings"
        return Number(label, so / self.networks, low, high, "share")

    def among_others(self, how_often: HowOften, alpha: float) -> Word:
        """By the exact binomial test over networks (the sign test where "generally" is asked)."""
        from scipy.special import bdtr

        threshold = THRESHOLDS[how_often]
        more = self.so > 0 and 1 - bdtr(self.so - 1, self.networks, threshold) <= alpha
        less = bdtr(self.so, self.networks, threshold) <= alpha
        return word(less, more) if how_often == "rarely" else word(more, less)
