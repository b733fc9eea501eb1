"""Made-up stores as large as one may get: a study of 2,016 stacks with raw samples, and as many
such studies as are wanted. Real specs and real keys, so that what is timed is what users meet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import numpy as np
import sqlalchemy as sa

from dlas.layer import LAYERS
from dlas.measure.conditions import Conditions
from dlas.measure.observation import Observation
from dlas.measure.protocol import LayerTime, Protocol
from dlas.node import Node
from dlas.stack import Stack
from dlas.store import tables as t
from dlas.store.results import Results
from dlas.study.space import Study

STUDY = "made-up"
#: Keys are random, so that what is added goes everywhere: pages are kept until many have changed.
_QUICKLY = ("cache_size=-1500000", "wal_autocheckpoint=250000")
#: Stacks that are copied in one go; last digits of a key that tell one study's from another's.
_AT_ONCE, _DIGITS = 24, 8
_WHEN = "2026-01-31T12:00:00+00:00"
#: (spec, MACs, parameters, accuracy)
_MODELS: Sequence[tuple[dict[str, Any], float, float, float]] = (
    ({"name": "resnet", "depth": 20}, 40.8e6, 0.27e6, 0.92),
    ({"name": "resnet", "depth": 32}, 69.1e6, 0.46e6, 0.925),
    ({"name": "resnet", "depth": 44}, 97.4e6, 0.66e6, 0.93),
    ({"name": "vgg", "depth": 11}, 153e6, 9.2e6, 0.92),
    ({"name": "vgg", "depth": 16}, 314e6, 14.7e6, 0.94),
    ({"name": "mobilenetv2", "width": 0.5}, 28e6, 0.7e6, 0.91),
    ({"name": "mobilenetv2", "width": 1.0}, 88e6, 2.2e6, 0.94),
)
#: (spec, share of MACs left, promised speedup, bytes per parameter, accuracy lost, time left)
_OPTIMIZATIONS: Sequence[tuple[list[Any], float, float, float, float, float]] = (
    ([], 1.0, 1.0, 4.0, 0.0, 1.0),
    ([{"name": "weight_pruning", "sparsity": 0.5}], 0.5, 2.0, 4.0, 0.002, 1.0),
    ([{"name": "weight_pruning", "sparsity": 0.8}], 0.2, 5.0, 4.0, 0.01, 1.0),
    ([{"name": "weight_pruning", "sparsity": 0.95}], 0.05, 20.0, 4.0, 0.08, 1.0),
    ([{"name": "channel_pruning", "sparsity": 0.25}], 0.56, 1.8, 2.3, 0.01, 0.62),
    ([{"name": "channel_pruning", "sparsity": 0.5}], 0.25, 4.0, 1.0, 0.04, 0.33),
    (["float16"], 1.0, 2.0, 2.0, 0.0, 1.6),
    (["int8"], 1.0, 4.0, 1.05, 0.006, 0.5),
)
#: (system, tuning or "") → seconds per MAC
_SYSTEMS = {
    ("pytorch", ""): 4.5e-11,
    ("onnxruntime", ""): 2.6e-11,
    ("openvino", ""): 2.3e-11,
    ("tvm", "untuned"): 9.0e-11,
    ("tvm", "template"): 3.4e-11,
}
_ALGORITHMS = {"vendor": 1.0, "direct": 1.7, "gemm": 1.2, "spatial_pack": 1.0}


def study(name: str = STUDY) -> Study:
    """Seven networks × eight optimizations × 36 ways to run them, which are 2,016 stacks."""
    systems = [
        {"name": system, **({"tuning": tuning} if tuning else {}), "threads": n, "batch": batch}
        for system, tuning in _SYSTEMS for n in (1, 2) for batch in (1, 8)
    ]  # fmt: skip
    axes: dict[str, list[Any]] = {
        "model": [spec for spec, *_ in _MODELS],
        "optimizations": [spec for spec, *_ in _OPTIMIZATIONS],
        "algorithm": list(_ALGORITHMS),
        "system": systems,
    }
    base = {"dataset": {"name": "synthetic"}, "hardware": "local"}
    return Study(name=name, title="A made-up study", base=base, axes=axes)


def fill(
    results: Results, made_up: Study, samples: int = 150, layers: int = 20, seed: int = 0
) -> None:
    """Record the study as if it had been run: some stacks refused, some failed, the others with so
    many samples and a profile of so many layers."""
    rows = _Rows(made_up, samples, layers, seed).all()
    with _quickly(results) as connection:
        for table, found in rows.items():
            connection.execute(table.insert(), found)


def fill_many(results: Results, count: int, samples: int = 20, seed: int = 0) -> Iterator[float]:
    """Record ``count`` studies of 2,016 stacks each, which share all but executables and
    measurements; the share that is there. Rows of one study lie all over the tables, as far from
    each other as they can: only the last digits of a key tell the studies apart."""
    first = study(f"{STUDY}-0")
    fill(results, first, samples, 0, seed)
    with _quickly(results) as connection:
        connection.execute(_inserted(t.studies, _studies(first.name, count)))
    chains = [stack.chain() for stack in first.stacks]
    pairs = sorted({tuple(node.key for node in chain[-2:]) for chain in chains})
    for start in range(0, len(pairs), _AT_ONCE):
        some = pairs[start : start + _AT_ONCE]
        with _quickly(results) as connection:
            for layer, keys in zip(("systems", "hardware"), zip(*some, strict=True), strict=True):
                for table, rows in _copies(layer, keys, count).items():
                    connection.execute(_inserted(table, rows))
        yield (start + len(some)) / len(pairs)


def _inserted(table: sa.Table, rows: sa.Select[Any]) -> sa.Insert:
    return table.insert().from_select(list(rows.selected_columns.keys()), rows)


def _numbers_to(count: int) -> sa.CTE:
    """1 … count − 1, one row each."""
    one = sa.select(sa.literal(1).label("n")).cte("numbers", recursive=True)
    return one.union_all(sa.select(one.c.n + 1).where(one.c.n < count - 1))


def _studies(first: str, count: int) -> sa.Select[Any]:
    numbers = _numbers_to(count)
    name = (sa.literal(f"{STUDY}-") + sa.cast(numbers.c.n, sa.String)).label("name")
    rows: sa.Select[Any] = sa.select(name, t.studies.c.spec, t.studies.c.run_at)
    each = t.studies.join(numbers, numbers.c.n < count)
    return rows.select_from(each).where(t.studies.c.name == first)


def _copies(layer: str, keys: Sequence[str], count: int) -> dict[sa.Table, sa.Select[Any]]:
    """The rows of these nodes for every further study."""
    numbers, text = _numbers_to(count), sa.String()
    number = sa.cast(numbers.c.n + 10**_DIGITS, text)
    digits = sa.func.substr(number, 2, _DIGITS, type_=text)

    def own(key: sa.Column[str]) -> sa.Label[str]:
        return (sa.func.substr(key, 1, 64 - _DIGITS, type_=text) + digits).label(key.name)

    def copied(table: sa.Table, *changed: sa.Label[str]) -> sa.Select[Any]:
        names = {"id", *(label.name for label in changed)}
        same = [column for column in table.c if column.name not in names]
        each = table.join(numbers, numbers.c.n < count)
        columns: list[Any] = [*changed, *same]
        return sa.select(*columns).select_from(each).where(table.c.key.in_(keys))

    of_node = [own(t.nodes.c.key)]
    if layer == "hardware":
        of_node.append(own(t.nodes.c.parent))
    found = {
        t.nodes: copied(t.nodes, *of_node),
        t.outcomes: copied(t.outcomes, own(t.outcomes.c.key)),
        t.metrics: copied(t.metrics, own(t.metrics.c.key)),
    }
    if layer == "hardware":
        name = (sa.literal(f"{STUDY}-") + sa.cast(numbers.c.n, text)).label("study")
        found[t.observations] = copied(t.observations, own(t.observations.c.key))
        found[t.members] = copied(t.members, own(t.members.c.key), name)
    return found


class _Made(NamedTuple):
    """A stack as every study has it. ``numbers``: by layer; ``middle_s``: its latency."""

    chain: Sequence[Node]
    spec: dict[str, Any]
    labels: dict[str, str]
    numbers: dict[str, dict[str, float]]
    middle_s: float
    record: dict[str, Any]


class _Rows:
    """Rows of every table for one study."""

    def __init__(self, made_up: Study, samples: int, layers: int, seed: int) -> None:
        self._name, self._spec, self._samples = made_up.name, made_up.spec(), samples
        self._random = np.random.default_rng(seed)
        self._stacks = [
            _Made(
                stack.chain(),
                stack.spec(),
                made_up.labels(stack),
                {layer: _numbers(stack, layer) for layer in LAYERS},
                latency_s(stack),
                _record(stack, samples, layers),
            )
            for stack in made_up.stacks
        ]

    def all(self) -> dict[sa.Table, list[dict[str, Any]]]:
        found: dict[sa.Table, list[dict[str, Any]]] = {
            t.nodes: [], t.outcomes: [], t.metrics: [], t.observations: [],
            t.studies: [{"name": self._name, "spec": self._spec, "run_at": _WHEN}],
            t.members: [],
        }  # fmt: skip
        seen: set[str] = set()
        for position, made in enumerate(self._stacks):
            trouble = self._random.random()
            for node in made.chain:
                if node.key not in seen:
                    seen.add(node.key)
                    found[t.nodes].append({**node.plain(), "key": node.key})
                    self._end(found, made, node.layer, node.key, trouble)
            member = {"study": self._name, "position": position, "key": made.chain[-1].key}
            found[t.members].append({**member, "stack": made.spec, "labels": made.labels})
        return found

    def _end(
        self,
        found: Mapping[sa.Table, list[dict[str, Any]]],
        made: _Made,
        layer: str,
        key: str,
        trouble: float,
    ) -> None:
        status, message = "ok", ""
        if layer == "systems" and trouble < 0.04:
            status, message = "refused", "the dense layer of 3 inputs cannot be vectorized by 16"
        if layer == "hardware" and trouble < 0.04:
            return
        if layer == "hardware" and trouble < 0.06:
            status, message = "timed_out", "a block of 4 runs took longer than 120 s"
        ended = {"key": key, "status": status, "message": message, "finished_at": _WHEN}
        found[t.outcomes].append({**ended, "seconds": float(self._random.lognormal())})
        if status != "ok":
            return
        if layer == "hardware":
            middle_s = made.middle_s * self._random.lognormal(0, 0.03)
            samples_s = middle_s * self._random.lognormal(0, 0.02, self._samples)
            packed = samples_s.astype("<f8").tobytes()
            row = {"key": key, "taken_at": _WHEN, "samples_s": packed, "record": made.record}
            found[t.observations].append(row)
        for name, value in made.numbers[layer].items():
            found[t.metrics].append({"key": key, "name": name, "value": value})


def latency_s(stack: Stack) -> float:
    """What the made-up machine takes; layers and pairs of layers have effects that can be found."""
    model, optimization = stack.model.spec(), [o.spec()["name"] for o in stack.optimizations]
    system = stack.system.spec()
    macs = next(m[1] for m in _MODELS if m[0].items() <= model.items())
    left = _optimization(stack)[-1]
    if optimization == ["int8"] and system["name"] == "pytorch":
        left = 1.3  # an interaction of layers 3 and 5
    way = _ALGORITHMS[stack.algorithm.name]
    if system.get("tuning") == "untuned" and stack.algorithm.name == "direct":
        way = 0.7  # and a flip of layers 4 and 5
    each = _SYSTEMS[system["name"], system.get("tuning", "")] * macs * left * way
    return 5e-5 + float(system["batch"] * each / system["threads"] ** 0.9)


def _optimization(stack: Stack) -> tuple[list[Any], float, float, float, float, float]:
    wanted = [o.spec() for o in stack.optimizations]
    for choice in _OPTIMIZATIONS:
        specs = [s if isinstance(s, dict) else {"name": s} for s in choice[0]]
        alike = len(specs) == len(wanted) and all(
            a.items() <= b.items() for a, b in zip(specs, wanted, strict=True)
        )
        if alike:
            return choice
    raise AssertionError(wanted)


def _numbers(stack: Stack, layer: str) -> dict[str, float]:
    _, macs, parameters, accuracy = next(
        m for m in _MODELS if m[0].items() <= stack.model.spec().items()
    )
    _, share, promised, each, lost, _ = _optimization(stack)
    sizes = {
        "effective_macs": macs * share,
        "nonzeros": parameters * share,
        "size_bytes": parameters * each,
        "sparse_bytes": parameters * min(each, 8 * share),
    }
    found: Mapping[str, dict[str, float]] = {
        "datasets": {"train_images": 5e4, "calibration_images": 1e3, "test_images": 1e4},
        "models": {"accuracy": accuracy, "macs": macs, "parameters": parameters, "pixels": 1024.0,
                   **sizes, "effective_macs": macs},
        "optimizations": {"accuracy_before": accuracy, "accuracy_after": accuracy - lost,
                          "promised_speedup": promised, **sizes},
        "systems": {"executed_accuracy": accuracy - lost, "label_agreement": 1.0,
                    "checked_images": 1e4, "compile_s": 2.0, "executable_bytes": parameters * each},
    }  # fmt: skip
    return found.get(layer, {})


def _record(stack: Stack, samples: int, layers: int) -> dict[str, Any]:
    middle_s = latency_s(stack)
    moment = Conditions(
        at_s=1e5, cpus=2, own_s=10.0, load_average=0.4, busy_s=4e4, steal_s=12.0,
        clock_hz=2.5e9, clock_max_hz=3e9, governor="performance", throttles=0,
    )  # fmt: skip
    observation = Observation(
        samples_s=(),
        blocks=(math.ceil(samples / 5),) * 5,
        first_run_s=middle_s * 4,
        warmups_s=(middle_s * 1.1,) * 3,
        taken_at=_WHEN,
        group=str(stack.model.spec()),
        protocol=Protocol(),
        before=moment,
        after=moment,
        peak_bytes=90_000_000,
        base_bytes=40_000_000,
        energy_j=None,
        energy_absent="no counter of energy on this machine",
        warnings=(),
        profile=tuple(
            LayerTime(name=f"kernel_{i}", op="Conv", seconds=middle_s / layers, kind="layer",
                      layers=(f"conv{i}",)) for i in range(layers)
        ),
    )  # fmt: skip
    record: dict[str, Any] = msgspec.to_builtins(observation)
    del record["samples_s"], record["taken_at"]
    return record


@contextmanager
def _quickly(results: Results) -> Iterator[sa.Connection]:
    with results.engine.begin() as connection:
        for setting in _QUICKLY if connection.dialect.name == "sqlite" else ():
            connection.exec_driver_sql(f"PRAGMA {setting}")
        yield connection
