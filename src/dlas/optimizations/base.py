"""Layer 3, model optimizations: what a member is."""

from __future__ import annotations

import abc

from dlas.context import Context
from dlas.data import Data
from dlas.layer import Member
from dlas.network import Network


class Optimization(Member, frozen=True, kw_only=True):
    """A network in, a smaller or cheaper network out."""

    def refuses(self, network: Network) -> str | None:
        """Why this network cannot be so optimized, as a sentence."""
        return None

    @abc.abstractmethod
    def apply(self, network: Network, data: Data, context: Context) -> Network:
        """The optimized network; the given one is not changed."""
        raise NotImplementedError
