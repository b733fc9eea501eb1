"""A plan holds for the network that it was made from, and for its zeros."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import numpy_helper

from dlas.errors import InputError
from dlas.executable import compile_network
from dlas.network import Network
from dlas.optimizations.magnitude import magnitude_masks, zeroed
from dlas.plan import Plan, Step, Way, open_plan, pattern_of
from dlas.spec import parse_member
from dlas.testing.networks import tiny


def pruned(name: str = "residual", share: float = 0.9) -> Network:
    network = tiny(name)
    return zeroed(network, magnitude_masks(network, share, "layer"))


def sparse_plan(network: Network) -> Plan:
    fields = {"name": "gemm", "format": "csr", "threshold": 0.0}
    found: Plan = parse_member("algorithms", fields, "$").plan(network)  # type: ignore[attr-defined]
    return found


def with_weight(network: Network, name: str, value: np.ndarray) -> Network:
    model = network.edited()
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(value, name))
    return Network(model)


def test_a_pattern_is_where_weights_are_not_zero() -> None:
    weight = np.array([[0.0, 1.0], [-0.0, 2.0]], np.float32)
    assert pattern_of(weight) == pattern_of(-3 * weight)
    assert pattern_of(weight) != pattern_of(weight[:, ::-1])
    assert len(pattern_of(weight)) == 16


def test_other_values_at_the_same_places_keep_the_plan() -> None:
    network = pruned()
    row = network.layers[1]
    sparse_plan(network).check(with_weight(network, row.weight, -2 * network.weight(row)))


@pytest.mark.parametrize("change", ["one more", "one less", "moved"])
def test_other_zeros_are_an_error_that_names_the_layer(change: str, tmp_path: Path) -> None:
    network = pruned()
    plan, row = sparse_plan(network), network.layers[1]
    weight = network.weight(row).copy()
    full, empty = (tuple(np.argwhere(found)[0]) for found in (weight != 0, weight == 0))
    if change != "one less":
        weight[empty] = 1.0
    if change != "one more":
        weight[full] = 0.0
    changed = with_weight(network, row.weight, weight)
    with pytest.raises(InputError, match=f"{row.name!r} are zero in other places .* make the plan"):
        plan.check(changed)
    system = parse_member("systems", {"name": "tvm"}, "$")
    with pytest.raises(InputError, match="make the plan anew from this network"):
        compile_network(system, changed, plan, tmp_path)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_dense_layers_may_change_as_they_like() -> None:
    network = pruned()
    plan = parse_member("algorithms", {"name": "gemm"}, "$").plan(network)  # type: ignore[attr-defined]
    plan.check(tiny("residual"))


def test_a_plan_of_another_network() -> None:
    plan = sparse_plan(pruned("residual"))
    with pytest.raises(InputError, match="the plan has a layer 'conv3', and the network has not"):
        plan.check(pruned("option_a"))
    fewer = Plan(plan.algorithm, plan.steps[:-1])
    with pytest.raises(InputError, match="the network has a layer 'fc', and the plan has not"):
        fewer.check(pruned("residual"))


def test_a_plan_keeps_format_and_pattern(tmp_path: Path) -> None:
    plan = sparse_plan(pruned())
    plan.save(tmp_path)
    assert open_plan(tmp_path) == plan
    assert {step.format for step in plan.steps} == {"csr"}
    assert all(step.pattern for step in plan.steps)


def test_a_plan_keeps_precision(tmp_path: Path) -> None:
    ways = Way("direct"), Way("depthwise", precision="float32")
    plan = Plan("best", (Step("layer", "direct", precision="float32", ways=ways),))
    plan.save(tmp_path)
    assert open_plan(tmp_path) == plan
    assert plan.steps[0].way == Way("direct", precision="float32")


def test_names_of_ways() -> None:
    assert Way("gemm").name == "gemm"
    assert Way("gemm", "csr").name == "gemm csr"
    assert Way("winograd4", precision="float32").name == "winograd4 in float32"


def test_the_type_that_a_layer_is_computed_in() -> None:
    row = tiny("plain", "int8").layers[0]
    assert Way("gemm").computed(row) == row
    assert Way("gemm", precision="float32").computed(row).dtype == "float32"


def test_what_is_sparse() -> None:
    steps = {kind: Step("layer", "direct", kind) for kind in ("dense", "kept_channels", "csr")}
    assert [step.is_sparse for step in steps.values()] == [False, False, True]
    assert msgspec.structs.replace(steps["csr"], format="bsr_4x4").is_sparse
