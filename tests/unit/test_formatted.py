"""Which layers of a plan take the sparse format, and what is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from dlas.errors import SpecError
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.optimizations.magnitude import zeroed
from dlas.plan import Plan, Step
from dlas.spec import parse_member
from dlas.testing.networks import tiny

PRIMITIVES = ("direct", "gemm", "spatial_pack")
ALGORITHMS = (*PRIMITIVES, "cheapest")


@cache
def unpruned() -> Network:
    b = Builder((64, 14, 14))
    x = b.relu(b.conv(b.relu(b.conv("input", "first", 64, 3)), "second", 64, 3))
    return b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 100))


@cache
def pruned(**shares: float) -> Network:
    """With so many zeros in its layers, drawn."""
    network, random = unpruned(), np.random.default_rng(0)
    weights = {row.weight: network.initializers[row.weight] for row in network.layers}
    share_of = {row.weight: shares.get(row.name, 0.0) for row in network.layers}
    masks = {name: random.random(w.shape) >= share_of[name] for name, w in weights.items()}
    return zeroed(network, masks)


def algorithm(name: str, **fields: Any) -> Any:
    return parse_member("algorithms", {"name": name, **fields}, "$")


def formats(plan: Plan) -> dict[str, str]:
    return {step.layer: step.format for step in plan.steps}


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kind", ["csr", "bsr_4x4", "bsr_3x5"])
def test_a_network_without_zeros_is_refused(name: str, kind: str) -> None:
    reason = algorithm(name, format=kind).refuses(unpruned())
    assert f"format = {kind!r} skips weights that are zero, and this network has none" in reason
    assert "prune it before" in reason
    assert algorithm(name).refuses(unpruned()) is None
    assert algorithm(name, format=kind).refuses(pruned(first=0.5)) is None


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_other_types_than_float32_are_refused(dtype: Any) -> None:
    reason = algorithm("direct", format="csr").refuses(tiny("plain", dtype))
    assert reason is not None
    assert f"stores float32 weights, and this network is {dtype}" in reason
    assert algorithm("direct").refuses(tiny("plain", dtype)) is None


@pytest.mark.parametrize("kind", ["dense", "kept_channels"])
def test_a_threshold_is_for_sparse_formats(kind: str) -> None:
    with pytest.raises(SpecError, match=rf"\$\.threshold: is for csr and bsr, not for {kind}"):
        algorithm("gemm", format=kind, threshold=0.5)


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(SpecError, match=r"\$\.threshold"):
        algorithm("gemm", format="csr", threshold=threshold)


@pytest.mark.parametrize(
    "kind, sentence",
    [
        ("crs", "'crs' is not a weight format; did you mean 'csr'?"),
        ("bsr", "did you mean 'bsr_16x1'?"),
        ("bsr_0x4", "each side is 1 to 64 channels"),
        ("", "'' is not a weight format"),
    ],
)
def test_an_unknown_format(kind: str, sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        algorithm("direct", format=kind)
    assert "$.format" in str(error.value)
    assert sentence in str(error.value)


@pytest.mark.parametrize("name", ["winograd", "winograd4", "depthwise"])
def test_algorithms_without_sparse_forms_have_no_such_field(name: str) -> None:
    with pytest.raises(SpecError, match="format"):
        algorithm(name, format="csr")


@pytest.mark.parametrize("kind", ["csr", "bsr_4x4"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_by_default_a_layer_of_few_zeros_stays_dense_and_one_of_many_does_not(
    name: str, kind: str
) -> None:
    blocks = np.ones((4, 4, 1, 1)) if kind == "bsr_4x4" else np.ones((1, 1, 1, 1))
    few_and_many = in_blocks({"first": 0.1, "second": 0.95}, blocks)
    plan = algorithm(name, format=kind).plan(few_and_many)
    dense = algorithm(name).plan(few_and_many)
    assert formats(plan) == {"first": "dense", "second": kind, "fc": "dense"}
    assert plan.primitive("first") == dense.primitive("first")
    assert plan.primitive("second") in (PRIMITIVES if name == "cheapest" else (name,))
    shares = {row.name: 1 - row.nonzeros / row.weights for row in few_and_many.layers}
    for step in plan.steps:
        assert_says_why(step, shares[step.layer])


def assert_says_why(step: Step, zeros: float) -> None:
    if step.is_sparse:
        assert step.note == ""
    else:
        assert step.note.startswith("not ")
        assert f"{zeros:.0%} zeros" in step.note


def in_blocks(shares: dict[str, float], block: Any) -> Network:
    network, random = unpruned(), np.random.default_rng(0)
    masks = {}
    for row in network.layers:
        if row.name in shares:
            k, c, r, s = network.weight(row).shape
            grid = (k // block.shape[0], c // block.shape[1], r, s)
            masks[row.weight] = np.kron(random.random(grid) >= shares[row.name], block) > 0
    return zeroed(network, masks)


@pytest.mark.parametrize(
    "threshold, sparse",
    [
        (0.0, {"first", "second", "fc"}),
        (0.5, {"second", "fc"}),
        (0.95, {"fc"}),
        (1.0, {"fc"}),
    ],
)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_threshold_decides_by_the_share_of_zeros_alone(
    name: str, threshold: float, sparse: set[str]
) -> None:
    network = pruned(first=0.3, second=0.7, fc=1.0)
    plan = algorithm(name, format="csr", threshold=threshold).plan(network)
    assert {layer for layer, kind in formats(plan).items() if kind == "csr"} == sparse
    shares = {row.name: 1 - row.nonzeros / row.weights for row in network.layers}
    for step in plan.steps:
        assert_says_why(step, shares[step.layer])
        assert bool(step.pattern) == step.is_sparse


def test_without_a_format_a_plan_is_as_it_was() -> None:
    for name in ALGORITHMS:
        assert algorithm(name).plan(pruned(first=0.9)) == algorithm(name, format="dense").plan(
            pruned(first=0.9)
        )


def test_a_layer_whose_primitive_has_no_sparse_form_says_so() -> None:
    """spatial_pack falls back to depthwise, which has none."""
    network = tiny("inverted_residual")
    masks = {row.weight: np.arange(row.weights).reshape(network.initializers[row.weight].shape) % 9
             == 0 for row in network.layers}  # fmt: skip
    plan = algorithm("spatial_pack", format="csr", threshold=0).plan(zeroed(network, masks))
    step = plan.step("depthwise")
    assert (step.primitive, step.format) == ("depthwise", "dense")
    assert "not csr: depthwise has no such form" in step.note
    assert formats(plan)["expand"] == "csr"


def test_cheapest_takes_the_primitive_of_least_cost() -> None:
    from dlas.algorithms.formatted import least_cost

    network = pruned(first=0.9, second=0.95)
    plan = algorithm("cheapest", format="csr").plan(network)
    for row in network.layers[:2]:
        costs = {p: least_cost(row, p, "csr", network.weight(row)).total for p in PRIMITIVES}
        assert plan.primitive(row.name) == min(costs, key=lambda name: costs[name])
