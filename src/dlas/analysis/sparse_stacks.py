"""What a store holds for explaining a sparse speedup: a measured stack, the same with dense
weights, and networks that may be pruned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from dlas.algorithms.base import Algorithm
from dlas.algorithms.sparse.cost import Machine
from dlas.analysis.sparse_cost import PlanCost, plan_cost
from dlas.errors import InputError
from dlas.measure.statistics import median_interval
from dlas.network import Network
from dlas.node import Node, canonical
from dlas.plan import DENSE, KEPT, Plan, open_plan
from dlas.spec import parse_member
from dlas.store.frame import dense_algorithm
from dlas.store.results import Measured
from dlas.store.store import Store
from dlas.target import host


@dataclass(frozen=True)
class SparseStack:
    """A measured stack whose weights are in a sparse format. ``stack_s``: the median of its last
    measurement; ``dense_s``: that of the same stack with dense weights, None where there is none.
    ``doubts``: sentences on what makes these times or their comparison doubtful."""

    network: Network
    plan: Plan
    dense_plan: Plan
    threads: int
    templates: bool
    stack_s: float
    dense_s: float | None
    doubts: tuple[str, ...]

    def cost(self, machine: Machine) -> PlanCost:
        return plan_cost(self.network, self.plan, self.dense_plan, machine, self.templates)


def sparse_stack(store: Store, key: str) -> SparseStack:
    """InputError says why a stack cannot be explained."""
    chain = recorded_chain(store, key)
    algorithm, system = _at(chain, "algorithms"), _at(chain, "systems")
    sentence = _refusal(algorithm, system)
    if sentence:
        raise InputError(f"{key[:12]}: {sentence}")
    measured = store.results.observations([key]).get(key)
    if not measured:
        raise InputError(f"{key[:12]} was not measured: {_ending(store, chain)}")
    network = opened_network(store, algorithm.parent)
    plan = open_plan(artifact_folder(store, algorithm.key))
    dense = cast(
        Algorithm, parse_member("algorithms", dense_algorithm(algorithm.spec), "$.algorithm")
    )
    dense_s, doubts = _dense_time(store, key, network, measured[-1])
    return SparseStack(
        network=network,
        plan=plan,
        dense_plan=dense.plan(network),
        threads=system.spec["threads"],
        templates=system.spec.get("tuning") == "template",
        stack_s=_median_s(measured[-1]),
        dense_s=dense_s,
        doubts=(*_warnings(measured[-1], "this stack"), *doubts),
    )


def model_network(store: Store, chain: Sequence[Node]) -> Network:
    """A stack's network before any optimization. InputError where it was not made yet."""
    return opened_network(store, _at(chain, "models").key)


def opened_network(store: Store, key: str) -> Network:
    return Network.open(artifact_folder(store, key))


def recorded_chain(store: Store, key: str) -> list[Node]:
    """The nodes of a stack that the store knows, data set first."""
    nodes = store.results.nodes([key])
    chain: list[Node] = []
    while key:
        chain.append(nodes[key])
        key = nodes[key].parent
    return chain[::-1]


def _refusal(algorithm: Node, system: Node) -> str | None:
    name = algorithm.spec.get("format", DENSE)
    target = system.tools.get("target", host().name)
    if algorithm.name == "vendor":
        return (
            f"{system.name} chooses its own kernels, and does not tell what they do with zeros; "
            "stacks of the system tvm can be explained"
        )
    if algorithm.name in ("best", "planned"):
        return (
            "its layers were not all given one format, of which the speedup could be told: "
            "dlas explain shows what every way of a layer costs"
        )
    if name == DENSE:
        return (
            "no layer is in a sparse format, so zeros are multiplied like other weights: give the "
            "algorithm one (format = 'csr'), or see with --predict what that would bring"
        )
    if name == KEPT:
        return (
            f"{KEPT} computes the channels that are left densely, there are no parts to tell: "
            "compare it with the stack whose channels are removed (dlas compare)"
        )
    if target != host().name:
        return f"it was compiled for {target}, and this is {host().name}: explain it there"
    return None


def _dense_time(
    store: Store, key: str, network: Network, measured: Measured
) -> tuple[float | None, list[str]]:
    """Of the same stack with dense weights, else of the same that is not pruned; and doubts."""
    for twin in _twins(store, key):
        found = store.results.observations([twin]).get(twin)
        if not found or not _has_shape(store, twin, network):
            continue
        doubts = _warnings(found[-1], "the dense stack")
        if found[-1].record["group"] != measured.record["group"]:
            doubts.append(f"the dense stack, {twin[:12]}, was not timed side by side with it")
        return _median_s(found[-1]), doubts
    return None, [
        "no stack that differs in the format only was measured, so dense time is an estimate: "
        "add the algorithm without a format to the study"
    ]


def _twins(store: Store, key: str) -> Iterator[str]:
    """Keys of the same stack with dense weights, then of the same without optimizations; those of
    the last study first."""
    members = [m for study in store.results.studies() for m in store.results.members(study)]
    own = next(member["stack"] for member in members if member["key"] == key)
    pruned = {**own, "algorithm": dense_algorithm(own["algorithm"])}
    for wanted in (pruned, {**pruned, "optimizations": []}):
        name = canonical(wanted)
        yield from (m["key"] for m in members if canonical(m["stack"]) == name)


def _has_shape(store: Store, key: str, network: Network) -> bool:
    """Whether that stack's network does as many multiplications as this one, zeros counted."""
    folder = store.artifacts.find(_at(recorded_chain(store, key), "algorithms").parent)
    return folder is not None and Network.open(folder).macs == network.macs


def _at(chain: Sequence[Node], layer: str) -> Node:
    return next(node for node in chain if node.layer == layer)


def artifact_folder(store: Store, key: str) -> Any:
    folder = store.artifacts.find(key)
    if folder is None:
        raise InputError(f"artifact {key[:12]} is not in the store: run the study (dlas run)")
    return folder


def _ending(store: Store, chain: Sequence[Node]) -> str:
    outcomes = store.results.outcomes([node.key for node in chain])
    bad = (o for n in chain if (o := outcomes.get(n.key)) is not None and o.status != "ok")
    found = next(bad, None)
    return f"{found.status.replace('_', ' ')}, {found.message}" if found else "run its study"


def _warnings(measured: Measured, whose: str) -> list[str]:
    return [f"{whose}: {flag['sentence']}" for flag in measured.record["warnings"]]


def _median_s(measured: Measured) -> float:
    return median_interval(measured.samples_s).value
