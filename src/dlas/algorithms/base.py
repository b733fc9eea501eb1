"""Layer 4, algorithms & data formats: what a member is."""

from __future__ import annotations

import abc

from dlas.layer import Member
from dlas.network import Network
from dlas.plan import Plan


class Algorithm(Member, frozen=True, kw_only=True):
    """Says for every layer of a network how its arithmetic is done."""

    def refuses(self, network: Network) -> str | None:
        """Why this network cannot be so computed, as a sentence."""
        return None

    @abc.abstractmethod
    def plan(self, network: Network) -> Plan:
        """A step for every convolution and dense layer of the network."""
        raise NotImplementedError
