"""What the store knows about a study beside its results: for the report's page."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from dlas import __version__
from dlas.choices import Choices, open_choices
from dlas.errors import InputError
from dlas.hardware.probe import Ceiling, read_probe
from dlas.measure import conditions as c
from dlas.measure.protocol import Protocol
from dlas.node import Node
from dlas.report.info import Conditions, Dropped, Machine, ReportInfo
from dlas.report.profiled import layer_bars
from dlas.store.results import Measured
from dlas.store.store import Store
from dlas.store.tables import studies

_log = logging.getLogger("dlas.report")


def gather_info(store: Store, study: str) -> ReportInfo:
    """A study's circumstances, from its nodes and measurements. StoreError where unknown."""
    members = store.results.members(study)
    keys = [member["key"] for member in members]
    nodes = store.results.nodes(keys)
    leaves = [nodes[key] for key in keys]
    last = store.results.last_observations(keys)
    measured = list(last.values())
    with store.results.engine.connect() as connection:
        row = connection.execute(sa.select(studies).where(studies.c.name == study)).one()
    return ReportInfo(
        study=study,
        title=row.spec["title"],
        description=row.spec["description"].strip(),
        when=row.run_at,
        dlas_version=__version__,
        command=row.spec["command"],
        machines=tuple(_machines(store, leaves)),
        conditions=_conditions(measured),
        protocol=_protocol(leaves),
        versions=_versions(nodes.values()),
        test_images=_test_images(store, members, nodes),
        dropped=tuple(Dropped(count, sentence) for sentence, count in row.spec["dropped"].items()),
        energy=_energy(measured),
        choices=dict(_choices(store, keys, nodes)),
        warmups_s={key: tuple(m.record.get("warmups_s", ())) for key, m in last.items()},
        layers=dict(layer_bars(store, nodes, last)),
    )


def _machines(store: Store, leaves: Sequence[Node]) -> Iterable[Machine]:
    fingerprints = {
        tuple(sorted(leaf.tools.items())): leaf.tools for leaf in leaves if "cpu" in leaf.tools
    }
    for tools in fingerprints.values():
        fingerprint = {name: value for name, value in tools.items() if not name.startswith("dlas.")}
        probe = read_probe(store.root, fingerprint)
        arithmetic = probe.arithmetic if probe else {}
        yield Machine(
            cpu=tools["cpu"],
            cores=int(tools["cores"]),
            isa=tools["isa"].partition(" ")[0],
            memory_bytes=int(tools["memory_gib"]) * 2**30,
            fp32_flops=_best(arithmetic.get("fp32")),
            fp16_flops=_best(arithmetic.get("fp16")),
            bf16_flops=_best(arithmetic.get("bf16")),
            int8_ops=_best(arithmetic.get("int8")),
            bandwidth_bytes_s=_best(probe.reading.get("memory")) if probe else None,
        )


def _best(ceiling: Ceiling | None) -> float | None:
    return ceiling.one_core.best if ceiling else None


def _conditions(measured: Sequence[Measured]) -> Conditions:
    pairs = [
        (
            msgspec.convert(m.record["before"], c.Conditions),
            msgspec.convert(m.record["after"], c.Conditions),
        )
        for m in measured
    ]
    return Conditions(
        load_average=_range(state.load_average for pair in pairs for state in pair),
        frequency_hz=_range(state.clock_hz for pair in pairs for state in pair),
        steal_share=_range(c.steal_share(before, after) for before, after in pairs),
    )


def _range(values: Iterable[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else None


def _protocol(leaves: Sequence[Node]) -> Protocol:
    return msgspec.convert(leaves[0].spec["protocol"], Protocol) if leaves else Protocol()


def _versions(nodes: Iterable[Node]) -> dict[str, str]:
    """Libraries that took part. The device's traits, tools of its node, are left out."""
    found = {
        name: version
        for node in nodes
        if node.layer != "hardware"
        for name, version in node.tools.items()
        if not name.startswith("dlas.") and name != "target"
    }
    return dict(sorted(found.items()))


def _test_images(
    store: Store, members: Sequence[Mapping[str, Any]], nodes: Mapping[str, Node]
) -> dict[str, int]:
    roots = {}
    for member in members:
        key = member["key"]
        while nodes[key].parent:
            key = nodes[key].parent
        roots[member["labels"]["dataset"]] = key
    outcomes = store.results.outcomes(list(roots.values()))
    return {
        label: int(outcomes[key].metrics["test_images"])
        for label, key in roots.items()
        if key in outcomes and outcomes[key].status == "ok"
    }


def _choices(
    store: Store, keys: Sequence[str], nodes: Mapping[str, Node]
) -> Iterator[tuple[str, Choices]]:
    """By the stack's key. A page is not worth verifying whole executables for."""
    for key in keys:
        system = key
        while nodes[system].layer != "systems":
            system = nodes[system].parent
        try:
            found = open_choices(store.artifacts.place(system))
        except InputError as error:
            _log.warning("%s; the report leaves its choices out", error)
            continue
        if found is not None:
            yield key, found


def _energy(measured: Sequence[Measured]) -> str:
    reasons = {m.record["energy_absent"] for m in measured} - {""}
    return "; ".join(sorted(reasons))
