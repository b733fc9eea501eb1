"""Where a study stands, from its store: what has ended how, layer by layer; the latest results;
the fastest stack of every network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from dlas.layer import LAYERS
from dlas.measure.statistics import Estimate, rounds_interval
from dlas.node import Node, lineage
from dlas.stack import FIELDS
from dlas.store.results import Ending, Measured, Results
from dlas.study.costs import GridCost, grid_cost

#: A node below one that did not end well.
CUT_OFF = "cut off"


class Timed(NamedTuple):
    """A measured stack: ``name`` tells it from the others of its ``network``."""

    network: str
    name: str
    latency_s: Estimate


class Best(NamedTuple):
    """The fastest stack of a network, and how many others cannot be told from it."""

    timed: Timed
    rivals: int


class Fault(NamedTuple):
    """What did not end well for the same reason: where first, and how often."""

    layer: str
    status: str
    message: str
    where: str
    times: int


class Standing:
    """As of the last ``refresh``, which reads only what was added to the store since the one
    before: watching must not disturb what is being timed. StoreError for an unknown study."""

    def __init__(self, results: Results, study: str) -> None:
        self.study = study
        self._results = results
        members = results.members(study)
        nodes = results.nodes([member["key"] for member in members])
        self._chains = {member["key"]: lineage(nodes, member["key"]) for member in members}
        labels = {member["key"]: member["labels"] for member in members}
        self._names = _names(self._chains, labels)
        self._wheres = _wheres(self._chains, labels)
        self._last = results.last_number()
        self._endings: dict[str, Ending] = results.endings(list(nodes))
        self._timed: dict[str, Timed] = {}
        self._take(self._endings)

    def refresh(self) -> None:
        added = self._results.endings_after(self._last)
        self._last = max((ending.number for ending in added.values()), default=self._last)
        self._take({key: ending for key, ending in added.items() if key in self._wheres})

    def _take(self, endings: Mapping[str, Ending]) -> None:
        self._endings = {**self._endings, **endings}
        fresh = [key for key in endings if key in self._chains and endings[key].status == "ok"]
        measured = self._results.last_observations(fresh)
        for key in sorted(fresh, key=lambda k: endings[k].number):
            if key in measured:
                self._timed.pop(key, None)
                self._timed[key] = _timed(*self._names[key], measured[key])

    def where(self, key: str) -> str:
        """The choices that lead to a node, its own last; "" for one of another study."""
        return self._wheres.get(key, "")

    def layers(self) -> dict[str, Counter[str]]:
        """Distinct nodes by status, layer by layer; ``pending``, or ``CUT_OFF`` below a fault."""
        found = {layer: Counter[str]() for layer in LAYERS}
        known: dict[str, str] = {"": "ok"}
        for chain in self._chains.values():
            for node in chain:
                if node.key not in known:
                    known[node.key] = self._status(node.key, known[node.parent])
                    found[node.layer][known[node.key]] += 1
        return found

    def _status(self, key: str, above: str) -> str:
        ending = self._endings.get(key)
        if ending is not None and ending.status == "ok":
            return "ok"
        if above not in ("ok", "pending"):
            return CUT_OFF
        return ending.status if ending is not None else "pending"

    def stacks(self) -> Counter[str]:
        """Stacks by how they ended; a fault above counts as their own."""
        found = Counter[str]()
        for key, chain in self._chains.items():
            ended = (self._endings.get(node.key) for node in chain)
            faults = (ending.status for ending in ended if ending and ending.status != "ok")
            found["ok" if key in self._timed else next(faults, "pending")] += 1
        return found

    def latest(self, most: int) -> list[Timed]:
        """The last stacks measured, the latest first."""
        return list(self._timed.values())[: -most - 1 : -1]

    def fastest(self) -> list[Best]:
        """By network, in the order of the study."""
        by_network: dict[str, list[Timed]] = {}
        for key in self._chains:
            if key in self._timed:
                timed = self._timed[key]
                by_network.setdefault(timed.network, []).append(timed)
        return [_best(many) for many in by_network.values()]

    def faults(self) -> list[Fault]:
        """What failed and why, refusals last."""
        alike: dict[tuple[str, str, str], list[str]] = {}
        nodes = {node.key: node for chain in self._chains.values() for node in chain}
        for key, node in nodes.items():
            ending = self._endings.get(key)
            if ending is not None and ending.status != "ok":
                reason = (node.layer, ending.status, ending.message)
                alike.setdefault(reason, []).append(self._wheres[key])
        found = [Fault(*reason, wheres[0], len(wheres)) for reason, wheres in alike.items()]
        return sorted(found, key=lambda fault: fault.status == "refused")

    def cost(self) -> GridCost:
        seconds = {key: ending.seconds for key, ending in self._endings.items()}
        chains = ([node.key for node in chain] for chain in self._chains.values())
        return grid_cost(chains, seconds)


def _names(
    chains: Mapping[str, list[Node]], labels: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[str, str]]:
    """(network, what tells the stack from the network's others) by key. Latencies of different
    data, devices and numbers of images cannot be compared, so these are part of the network."""
    placed = {
        key: (
            labels[key]["model"],
            labels[key]["dataset"],
            labels[key]["hardware"],
            _images(chain),
        )
        for key, chain in chains.items()
    }
    differ = [len(set(column)) > 1 for column in zip(*placed.values(), strict=True)]
    names = {}
    for key, (model, *others) in placed.items():
        shown = [other for other, more in zip(others, differ[1:], strict=True) if more]
        engine = [labels[key]["optimizations"], labels[key]["system"]]
        if labels[key]["algorithm"] != "vendor":
            engine.append(labels[key]["algorithm"])
        names[key] = " · ".join([model, *shown]), " · ".join(engine)
    return names


def _images(chain: list[Node]) -> str:
    batch = next((n.spec.get("batch", 1) for n in chain if n.layer == "systems"), 1)
    return f"{batch} image{'s' if batch != 1 else ''}"


def _wheres(
    chains: Mapping[str, list[Node]], labels: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    fields = {layer: field for field, layer in FIELDS.items()}
    found: dict[str, str] = {}
    for key, chain in chains.items():
        above: dict[str, str] = {}
        for node in chain:
            field = fields[node.layer]
            above[field] = labels[key][field]
            found.setdefault(node.key, " · ".join(list(above.values())[1:] or above.values()))
    return found


def _timed(network: str, name: str, measured: Measured) -> Timed:
    latency = rounds_interval(measured.samples_s, measured.record["blocks"])
    return Timed(network, name, latency)


def _best(many: list[Timed]) -> Best:
    best = min(many, key=lambda timed: timed.latency_s.value)
    high = best.latency_s.high or best.latency_s.value
    rivals = sum((t.latency_s.low or t.latency_s.value) <= high for t in many) - 1
    return Best(best, rivals)
