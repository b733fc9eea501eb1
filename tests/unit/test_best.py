"""Which ways ``best`` leaves open for each layer, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from dlas.algorithms.best import PRIMITIVES, Best
from dlas.algorithms.cheapest import Cheapest
from dlas.errors import InputError, SpecError
from dlas.layer import member, table
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.optimizations.magnitude import zeroed
from dlas.plan import Plan, Step, Way, open_plan
from dlas.spec import parse_member
from dlas.testing.convolutions import GEOMETRIES
from dlas.testing.networks import TINY, tiny


def best(**fields: Any) -> Best:
    found = parse_member("algorithms", {"name": "best", **fields}, "$.algorithm")
    assert isinstance(found, Best)
    return found


def names(step: Step) -> list[str]:
    """Of the ways in the network's own precision."""
    return [way.primitive for way in step.ways if not way.precision]


def wide(step: Step) -> list[str]:
    """Of those in float32 instead."""
    return [way.primitive for way in step.ways if way.precision == "float32"]


def convolution(channels: int, side: int, kernel: int, **fields: Any) -> Network:
    b = Builder((channels, side, side))
    x = b.conv("input", "conv", channels, kernel, **fields)
    return b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10))


def pruned(**shares: float) -> Network:
    """3×3, 1×1, dense; with so many zeros in each, drawn."""
    b, random = Builder((64, 14, 14)), np.random.default_rng(0)
    x = b.relu(b.conv(b.relu(b.conv("input", "first", 64, 3)), "second", 64, 1))
    network = b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 100))
    return zeroed(network, {
        row.weight: random.random(network.initializers[row.weight].shape)
        >= shares.get(row.name, 0.0) for row in network.layers
    })  # fmt: skip


@pytest.mark.parametrize(
    "kernel, fields, expected",
    [
        (3, {}, ["direct", "gemm", "spatial_pack", "winograd", "winograd4"]),
        (3, {"stride": 2}, ["direct", "gemm", "spatial_pack"]),
        (3, {"groups": 16}, ["direct", "gemm", "spatial_pack", "grouped_spatial_pack", "winograd",
                             "winograd4"]),
        (3, {"groups": 2, "stride": 2}, ["direct", "gemm", "spatial_pack"]),
        (5, {"groups": 64}, ["direct", "gemm", "depthwise"]),
        (1, {}, ["direct", "spatial_pack"]),
        (1, {"stride": 2}, ["direct", "gemm", "spatial_pack"]),
    ],
)  # fmt: skip
def test_every_primitive_that_applies_is_a_way(
    kernel: int, fields: dict[str, int], expected: Sequence[str]
) -> None:
    step, dense = best().plan(convolution(64, 14, kernel, **fields)).steps
    assert names(step) == expected
    assert dense == Step("fc", "gemm")  # and no choice


@pytest.mark.parametrize("name", sorted(TINY))
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_the_default_is_what_cheapest_takes(name: str, dtype: Any) -> None:
    network = tiny(name, dtype)
    plan, cheapest = best().plan(network), Cheapest().plan(network)
    plan.check(network)
    for step, usual in zip(plan.steps, cheapest.steps, strict=True):
        assert (step.layer, step.primitive, step.format) == (usual.layer, usual.primitive, "dense")
        assert not step.ways or Way(step.primitive) in step.ways
        assert len(step.ways) != 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("label", sorted(GEOMETRIES))
def test_no_way_is_refused_and_every_algorithm_has_one(label: str, dtype: str) -> None:
    """What any other member takes for a layer is listed, or its twin is."""
    row = replace(GEOMETRIES[label], dtype=dtype)
    step = best(formats=[]).step(row, tiny("plain"))
    ways = step.ways or (Way(step.primitive),)
    for way in ways:
        assert primitive_of(way.primitive).refuses_layer(way.computed(row)) is None
        assert sum(Best.alike(way, other, row) for other in ways) == 1
    for name in PRIMITIVES:
        taken = Way(primitive_of(name).step(row).primitive)
        assert any(Best.alike(way, taken, row) for way in ways)


def primitive_of(name: str) -> Any:
    return member("algorithms", name)()


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_narrow_layers_have_the_ways_of_dot_products(dtype: Any) -> None:
    steps = {s.layer: s for s in best().plan(tiny("inverted_residual", dtype)).steps}
    assert names(steps["conv1"]) == ["direct", "gemm", "spatial_pack"]
    assert names(steps["expand"]) == ["direct", "spatial_pack"]
    assert names(steps["depthwise"]) == ["depthwise"]
    assert steps["fc"] == Step("fc", "gemm")
    grouped = best().plan(tiny("grouped", dtype)).step("conv3")
    assert names(grouped) == ["direct", "gemm", "spatial_pack"]


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_narrow_convolutions_have_ways_in_float32_too(dtype: Any) -> None:
    steps = {s.layer: s for s in best().plan(tiny("inverted_residual", dtype)).steps}
    assert all(not step.precision for step in steps.values()), "none is the usual one"
    assert wide(steps["conv1"]) == wide(steps["expand"]) == ["spatial_pack"]  # stride 2, 1×1
    assert wide(steps["depthwise"]) == ["depthwise", "winograd", "winograd4"]
    assert wide(steps["fc"]) == []
    grouped = best().plan(tiny("grouped", dtype)).step("conv2")
    assert wide(grouped)[:2] == ["spatial_pack", "grouped_spatial_pack"]
    few = best(primitives=["gemm", "winograd"]).plan(tiny("plain", dtype))
    assert [(names(s), wide(s)) for s in few.steps[:1]] == [(["gemm"], ["winograd"])]
    never = best(precisions=[]).plan(tiny("inverted_residual", dtype))
    assert not any(wide(step) for step in never.steps)
    assert never.step("depthwise") == Step("depthwise", "depthwise")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_others_are_computed_as_the_network_says(dtype: Any) -> None:
    assert not any(wide(step) for step in best().plan(tiny("plain", dtype)).steps)


def test_layers_of_zeros_have_sparse_ways_too() -> None:
    network = pruned(first=0.9, second=0.5, fc=0.1)
    first, second, dense = best().plan(network).steps
    assert [w.primitive for w in first.ways if w.format == "csr"] == [
        "direct", "spatial_pack", "gemm",
    ]  # fmt: skip
    assert [w.primitive for w in second.ways if w.format == "csr"] == ["direct"]  # one kernel
    assert first.format == second.format == "dense"
    assert first.pattern
    assert second.pattern
    assert dense == Step("fc", "gemm")
    with pytest.raises(InputError, match="'first' are zero in other places"):
        best().plan(network).check(pruned(first=0.8))


def test_formats_and_threshold_say_which() -> None:
    network = pruned(first=0.9, second=0.5, fc=0.1)
    steps = best(formats=["bsr_16x1", "csr"], threshold=0.05).plan(network).steps
    assert [{w.format for w in step.ways} for step in steps] == [{"dense", "bsr_16x1", "csr"}] * 3
    for none in ({"formats": []}, {"threshold": 1.0}):
        assert all(w.format == "dense" for s in best(**none).plan(network).steps for w in s.ways)


def test_reduced_precision_has_no_sparse_ways() -> None:
    for dtype in ("float16", "bfloat16", "int8"):
        steps = best(threshold=0).plan(tiny("plain", dtype)).steps  # type: ignore[arg-type]
        assert all(way.format == "dense" for step in steps for way in step.ways)


def test_few_primitives() -> None:
    network = convolution(64, 14, 3)
    step, dense = best(primitives=["gemm", "direct"]).plan(network).steps
    assert names(step) == ["direct", "gemm"]
    assert step.primitive in ("direct", "gemm")
    assert dense.primitive == "gemm"
    [only, _] = best(primitives=["direct"]).plan(network).steps
    assert only == Step("conv", "direct")


def test_a_layer_that_none_of_them_computes_says_so() -> None:
    [step, _] = best(primitives=["winograd", "depthwise"]).plan(convolution(64, 14, 5)).steps
    assert (step.primitive, step.ways) == ("spatial_pack", ())
    assert step.note == "computed by none of winograd, depthwise"


@pytest.mark.parametrize(
    "fields, sentence",
    [
        (
            {"primitives": ["winogard"]},
            r"primitives\[0\]: 'winogard' is not one of .*; did you mean 'winograd'",
        ),
        ({"primitives": ["cheapest"]}, r"primitives\[0\]: 'cheapest' is not one of"),
        ({"primitives": []}, r"primitives: an empty list leaves no way"),
        ({"primitives": ["gemm", "gemm"]}, r"primitives\[1\]: 'gemm' stands there twice"),
        ({"primitives": "gemm"}, r"primitives: 'gemm' is not a list"),
        ({"formats": ["crs"]}, r"formats\[0\]: 'crs' is not a weight format; did you mean 'csr'"),
        ({"formats": ["csr", "csr"]}, r"formats\[1\]: 'csr' stands there twice"),
        ({"formats": ["csr", "dense"]}, r"formats\[1\]: 'dense' skips no single zeros"),
        ({"formats": ["kept_channels"]}, r"formats\[0\]: 'kept_channels' skips no single zeros"),
        ({"precisions": ["int8"]}, r"precisions\[0\]: 'int8' is not"),
        ({"precisions": ["float32", "float32"]}, r"precisions\[1\]: 'float32' stands there twice"),
        ({"threshold": 1.5}, r"threshold: 1.5 is not in \[0, 1\]"),
        ({"format": "csr"}, r"format: not a field of best; did you mean 'formats'"),
    ],
)
def test_wrong_fields(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=rf"\$\.algorithm\.{sentence}"):
        best(**fields)


def test_a_plan_with_ways_is_written_and_read(tmp_path: Any) -> None:
    plan = best().plan(pruned(first=0.9))
    plan.save(tmp_path)
    assert open_plan(tmp_path) == plan
    assert isinstance(plan, Plan)


def test_every_primitive_with_a_template_is_among_them() -> None:
    have = [n for n in table("algorithms") if getattr(member("algorithms", n), "template", None)]
    assert sorted(have) == sorted(PRIMITIVES)
