"""What a study would do: its tree of nodes, what is there already, what has to be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dlas.layer import Member
from dlas.node import Node
from dlas.stack import Stack
from dlas.store.results import Outcome
from dlas.store.store import Store

#: Seconds a node of a layer takes where nothing of its kind was ever made here.
UNKNOWN_SECONDS = {
    "datasets": 2.0,
    "models": 20.0,
    "optimizations": 5.0,
    "algorithms": 0.1,
    "systems": 2.0,
    "hardware": 0.7,
}


@dataclass(frozen=True)
class StudyPlan:
    """``chains``: each stack's nodes, data set first. ``members``: the choice behind each key.
    ``outcomes``: what is known of each node. ``made``: nodes that need no work."""

    chains: tuple[tuple[Node, ...], ...]
    members: Mapping[str, Member]
    outcomes: Mapping[str, Outcome]
    observed: frozenset[str]
    usual_seconds: Mapping[tuple[str, str], float]

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Every node of the study once, parents first."""
        return {node.key: node for chain in self.chains for node in chain}

    @cached_property
    def leaves(self) -> dict[str, Node]:
        """The last node of each stack: its measurement."""
        return {chain[-1].key: chain[-1] for chain in self.chains}

    def is_done(self, key: str) -> bool:
        if key in self.leaves:
            return key in self.observed
        return key in self.outcomes and self.outcomes[key].status == "ok"

    def ended(self, key: str) -> Outcome | None:
        """How a node ended if it did not end well; a fault above it counts as its own."""
        while key:
            outcome = self.outcomes.get(key)
            if outcome and outcome.status != "ok":
                return outcome
            key = self.nodes[key].parent
        return None

    @cached_property
    def pending(self) -> list[Node]:
        """Nodes to work on, parents first: not done, and nothing above them failed."""
        return [n for n in self.nodes.values() if not self.is_done(n.key) and not self.ended(n.key)]

    def seconds(self, node: Node) -> float:
        """How long a node should take, from its kind's past on this store."""
        return self.usual_seconds.get((node.layer, node.name), UNKNOWN_SECONDS[node.layer])


def make_plan(
    stacks: Sequence[Stack], store: Store, retry: bool = False, again: bool = False
) -> StudyPlan:
    """Look up every node. Refusals are always judged anew; other faults only with ``retry``. With
    ``again`` no stack counts as measured."""
    chains: list[tuple[Node, ...]] = []
    members: dict[str, Member] = {}
    for stack in stacks:
        chain = tuple(stack.chain())
        chains.append(chain)
        members.update(zip((node.key for node in chain), _members(stack), strict=True))
    keys = list(members)
    known = store.results.outcomes(keys)
    stale = {"refused"} if not retry else {"refused", "failed", "out_of_memory", "timed_out"}
    outcomes = {key: outcome for key, outcome in known.items() if outcome.status not in stale}
    leaves = [] if again else [chain[-1].key for chain in chains]
    observed = frozenset(store.results.observed(leaves))
    usual = store.results.usual_seconds()
    return StudyPlan(tuple(chains), members, outcomes, observed, usual)


def _members(stack: Stack) -> list[Member]:
    return [member for _, member in stack.members()]
