"""Weights are asked for ahead of the loop that multiplies by them; kernels are measured as cold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlas.layer import member
from dlas.network.builder import Builder
from dlas.target import host

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")

LANES = 8


def kernel(name: str, groups: int = 1) -> tuple[Any, Any]:
    """A 3×3 layer's primitive and its kernel (image, weights, bias → output), not scheduled yet."""
    from dlas.systems.tvm.runtime import quick_import

    quick_import("tvm")
    from tvm import te

    b = Builder((32, 8, 8))
    layer = b.conv("input", "layer", 32, 3, groups=groups)
    (row,) = b.network(b.flatten(b.global_average_pool(layer))).layers
    primitive: Any = member("algorithms", name)()
    packed = primitive.pack_blocked(np.ones((32, 32 // groups, 3, 3), np.float32), row, LANES)
    image = te.placeholder((1, 4, 8, 8, LANES), "float32", "image")
    taps = te.placeholder(packed.shape, "float32", "taps")
    bias = te.placeholder((4, LANES), "float32", "bias")
    sums = primitive.compute_blocked(image, taps, row, LANES)
    output = te.compute(sums.shape, lambda n, k, y, x, c: sums[n, k, y, x, c] + bias[k, c])
    return primitive, te.create_prim_func([image, taps, bias, output])


@pytest.mark.parametrize("name", ["spatial_pack", "gemm", "winograd", "winograd4"])
def test_every_vector_of_weights_that_an_iteration_reads_is_asked_for(name: str) -> None:
    primitive, unordered = kernel(name)
    from dlas.systems.tvm.template import by_template, opened

    knobs = next(
        tile for tile in primitive.candidates(opened(unordered), host()) if tile["rk"] == 2
    )
    text = by_template(unordered, knobs, 1).script()
    assert text.count('"llvm.prefetch"') == 2
    assert all("taps[" in line for line in text.splitlines() if '"llvm.prefetch"' in line)


def test_few_weights_are_not_worth_it() -> None:
    primitive, unordered = kernel("depthwise", groups=32)
    from dlas.systems.tvm.template import by_template, opened

    knobs = primitive.candidates(opened(unordered), host())[0]
    assert "prefetch" not in by_template(unordered, knobs, 1).script()


@pytest.mark.parametrize("name", ["spatial_pack", "winograd"])
def test_measured_with_the_weights_of_as_many_layers_as_the_network_has(name: str) -> None:
    from dlas.systems.tvm.questions import COPIES, Setting, of_template

    primitive, unordered = kernel(name)
    held = int(np.prod([int(extent) for extent in unordered.params[1].shape])) * 4

    def given(weight_bytes: int) -> list[list[Any]]:
        return of_template(unordered, Setting(host(), 1, weight_bytes)).arguments(0)

    three = int(3 * primitive.expansion)  # all layers pack them as this one does
    assert [len(given(count * held)) for count in (0, 1, 3, 1000)] == [1, 1, three, COPIES]
    first, second, *_ = given(3 * held)
    assert [a.same_as(b) for a, b in zip(first, second, strict=True)] == [True, False, True, True]
    np.testing.assert_array_equal(first[1].numpy(), second[1].numpy())
