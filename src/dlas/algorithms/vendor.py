"""``vendor``: every layer by the system's own kernels."""

from __future__ import annotations

from typing import ClassVar

from dlas.algorithms.base import Algorithm
from dlas.network import Network
from dlas.plan import Plan, Step


class Vendor(Algorithm, frozen=True, kw_only=True):
    """Leaves the choice to the system: what its makers tuned."""

    name: ClassVar[str] = "vendor"

    def plan(self, network: Network) -> Plan:
        return Plan(self.name, tuple(Step(row.name, "vendor") for row in network.layers))
