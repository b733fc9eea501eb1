"""A plan from a file: what is replayed, and what is refused with which sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from dlas.algorithms.best import Best
from dlas.algorithms.cheapest import Cheapest
from dlas.algorithms.planned import Planned
from dlas.algorithms.vendor import Vendor
from dlas.choices import Choice, Choices, Costed
from dlas.errors import InputError, Refused
from dlas.network import Network
from dlas.optimizations.magnitude import zeroed
from dlas.plan import Plan, Step
from dlas.spec import parse_member
from dlas.stack import Stack
from dlas.testing.networks import tiny


@cache
def pruned(seed: int = 0) -> Network:
    """Its layers: conv1 (3×3, stride 2), expand and project (1×1), depthwise, fc."""
    network, random = tiny("inverted_residual"), np.random.default_rng(seed)
    return zeroed(network, {
        row.weight: random.random(network.initializers[row.weight].shape) >= 0.6
        for row in network.layers
    })  # fmt: skip


def planned(file: Path) -> Planned:
    found = parse_member("algorithms", {"planned": str(file)}, "$.algorithm")
    assert isinstance(found, Planned)
    return found


def written(tmp_path: Path, plan: Plan, edit: Callable[[Any], Any] = lambda data: None) -> Planned:
    """A plan's file, edited."""
    plan.save(tmp_path)
    file = tmp_path / "plan.json"
    data = msgspec.json.decode(file.read_bytes())
    edit(data)
    file.write_bytes(msgspec.json.encode(data))
    return planned(file)


@pytest.mark.parametrize("fields", [{}, {"format": "csr", "threshold": 0.5},
                                    {"format": "kept_channels"}])  # fmt: skip
def test_a_plan_is_replayed(tmp_path: Path, fields: dict[str, Any]) -> None:
    plan = Cheapest(**fields).plan(pruned())
    member = written(tmp_path, plan)
    assert member.refuses(pruned()) is None
    assert member.plan(pruned()) == Plan("planned", plan.steps)
    assert member.label() == "planned(plan.json)"


def test_what_a_plan_leaves_open_stays_open(tmp_path: Path) -> None:
    plan = Best().plan(pruned())
    assert any(step.ways for step in plan.steps)
    assert written(tmp_path, plan).plan(pruned()).steps == plan.steps


def test_choices_are_replayed(tmp_path: Path) -> None:
    plan = Cheapest().plan(pruned())
    ways = (Costed("gemm", "dense", 1e-4, True), Costed("direct", "dense", None, False, "why"))
    choices = Choices(plan, (Choice("expand", ways, 0),), 0.0, 0.0, 1e-3, {"gemm": 2e-3})
    choices.save(tmp_path)
    assert planned(tmp_path / "choices.json").plan(pruned()).steps == plan.steps


def test_a_step_may_be_edited_without_a_pattern(tmp_path: Path) -> None:
    member = written(
        tmp_path, Cheapest().plan(pruned()),
        lambda data: data["steps"][1].update(primitive="direct", format="csr"),
    )  # fmt: skip
    step = member.plan(pruned()).steps[1]
    assert (step.primitive, step.format) == ("direct", "csr")
    assert step.pattern


def test_the_content_of_the_file_is_in_the_key_and_its_place_is_not(tmp_path: Path) -> None:
    keys = []
    for name, primitive in (("a", "direct"), ("b", "direct"), ("c", "gemm")):
        file = tmp_path / f"{name}.json"
        file.write_bytes(msgspec.json.encode(Plan("x", (Step("conv", primitive),))))
        stack = Stack.parse(
            {
                "dataset": "synthetic",
                "model": "tiny",
                "algorithm": {"planned": file.name},
                "system": "tvm",
                "hardware": "null",
            },
            folder=tmp_path,
        )
        keys.append(next(node.key for node in stack.chain() if node.layer == "algorithms"))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_a_narrow_layer_may_be_computed_in_float32(tmp_path: Path, dtype: Any) -> None:
    network = tiny("plain", dtype)
    wide = {"primitive": "winograd", "precision": "float32"}
    member = written(tmp_path, Cheapest().plan(network), lambda d: d["steps"][0].update(wide))
    assert member.refuses(network) is None
    assert member.plan(network).steps[0] == Step("conv1", "winograd", precision="float32")
    narrow = written(tmp_path, member.plan(network), lambda d: d["steps"][0].pop("precision"))
    assert f"float layers only, not {dtype}" in (narrow.refuses(network) or "")


def step_of(data: Any, layer: str) -> Any:
    return next(step for step in data["steps"] if step["layer"] == layer)


EDITS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "unknown primitive": (
        lambda d: step_of(d, "conv1").update(primitive="spatial_pak"),
        "by 'spatial_pak', but that is not a primitive; did you mean 'spatial_pack'",
    ),
    "no primitive": (
        lambda d: step_of(d, "conv1").update(primitive="cheapest"),
        "'cheapest', but that is not a primitive",
    ),
    "refuses the layer": (
        lambda d: step_of(d, "conv1").update(primitive="winograd"),
        "computes 'conv1' by 'winograd', but winograd computes 3×3 convolutions of stride 1",
    ),
    "no dense layer": (
        lambda d: step_of(d, "fc").update(primitive="direct"),
        "computes 'fc' by 'direct', but a dense layer is a matrix product: 'gemm'",
    ),
    "unknown format": (
        lambda d: step_of(d, "expand").update(format="crs"),
        "'crs' is not a weight format; did you mean 'csr'",
    ),
    "no sparse form": (
        lambda d: step_of(d, "depthwise").update(format="csr"),
        "'depthwise', but it has no form for csr; direct, spatial_pack, gemm have",
    ),
    "some kept": (
        lambda d: step_of(d, "expand").update(format="kept_channels"),
        "kept_channels is for all layers or none",
    ),
    "a way": (
        lambda d: step_of(d, "conv1").update(
            ways=[{"primitive": "direct"}, {"primitive": "depthwise"}]
        ),
        "computes 'conv1' by 'depthwise', but depthwise filters every channel by itself",
    ),
    "float32 already": (
        lambda d: step_of(d, "conv1").update(precision="float32"),
        "but only layers of int8 and bfloat16 take float32 instead; this one is float32",
    ),
    "narrower": (
        lambda d: step_of(d, "conv1").update(ways=[{"primitive": "gemm", "precision": "int8"}]),
        "but 'int8' is not a precision: 'float32', or '' for the network's own",
    ),
    "a layer less": (
        lambda d: d["steps"].pop(1),
        "the network has a layer 'expand', and the plan has not",
    ),
    "another layer": (
        lambda d: d["steps"].append({"layer": "conv9", "primitive": "gemm"}),
        "the plan has a layer 'conv9', and the network has not",
    ),
    "twice": (
        lambda d: d["steps"].append(d["steps"][1]),
        "the plan has 2 steps for the layer 'expand': keep one of them",
    ),
    "none": (lambda d: d["steps"].clear(), "the plan has no layers: algorithm = 'vendor'"),
}


@pytest.mark.parametrize("edit, sentence", EDITS.values(), ids=EDITS.keys())
def test_a_plan_that_does_not_fit_is_refused(
    tmp_path: Path, edit: Callable[[Any], Any], sentence: str
) -> None:
    member = written(tmp_path, Cheapest().plan(pruned()), edit)
    reason = member.refuses(pruned())
    assert reason is not None
    assert reason.startswith(f"{tmp_path / 'plan.json'}: ")
    assert sentence in reason
    with pytest.raises(Refused):
        member.plan(pruned())


def test_other_zeros_are_refused(tmp_path: Path) -> None:
    for plan in (Cheapest(format="csr", threshold=0.5).plan(pruned()), Best().plan(pruned())):
        reason = written(tmp_path, plan).refuses(pruned(seed=1))
        assert reason is not None
        assert "are zero in other places" in reason


def test_a_plan_of_vendor_is_refused(tmp_path: Path) -> None:
    reason = written(tmp_path, Vendor().plan(pruned())).refuses(pruned())
    assert reason is not None
    assert "'vendor', but that is not a primitive" in reason


def test_sparse_formats_are_for_float32(tmp_path: Path) -> None:
    network = tiny("plain", "float16")
    plan = Cheapest().plan(network)
    member = written(tmp_path, plan, lambda d: d["steps"][0].update(primitive="gemm", format="csr"))
    reason = member.refuses(network)
    assert reason is not None
    assert "csr stores float32 weights, and this network is float16" in reason


@pytest.mark.parametrize(
    "text, sentence",
    [
        (b"", "is no JSON, or damaged"),
        (b'{"algorithm": "x", "steps": [', "is no JSON, or damaged"),
        (b"\xff\xfe", "is no JSON, or damaged"),
        (b"[]", r"\$: \[\] is not a table"),
        (b"{}", r"\$.algorithm: a plan needs this field"),
        (b'{"plan": {"algorithm": "x"}}', r"\$.plan.steps: a plan needs this field"),
        (b'{"plan": 3}', r"\$.plan: 3 is not a table"),
        (
            b'{"algorithm": "x", "steps": [{"layer": "a", "primitve": "b"}]}',
            r"\$.steps\[0\].primitve: not a field of steps; did you mean 'primitive'",
        ),
        (
            b'{"algorithm": "x", "steps": [{"layer": "a", "primitive": 3}]}',
            r"\$.steps\[0\].primitive: 3 is not a text",
        ),
        (
            b'{"algorithm": "x", "steps": [{"layer": "a", "primitive": "b", "ways": 3}]}',
            r"\$.steps\[0\].ways: 3 is not a list",
        ),
    ],
)
def test_a_file_without_a_plan(tmp_path: Path, text: bytes, sentence: str) -> None:
    file = tmp_path / "mine.json"
    file.write_bytes(text)
    for use in (planned(file).refuses, planned(file).plan):
        with pytest.raises(InputError, match=sentence) as error:
            use(pruned())
        assert str(file) in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        planned(tmp_path / "none.json").plan(pruned())
    with pytest.raises(InputError, match="is a folder; name a plan"):
        planned(tmp_path).plan(pruned())
