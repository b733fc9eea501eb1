"""How far executables agree with the reference, in quantization steps."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from dlas.network import Network
from dlas.study.agreement import quantization_step, share_within
from dlas.testing.networks import tiny

SCORES = np.array([[-1, 0, 4.1], [0.5, 1, 2]], np.float32)


def test_the_step_is_the_scale_that_scores_are_rounded_by() -> None:
    model = tiny("plain", "int8").edited()
    output = model.graph.output[0].name
    last = next(node for node in model.graph.node if output in node.output)
    last.output[list(last.output).index(output)] = "exact"
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(0.25, np.float32), "step"),
            helper.make_tensor("zero", TensorProto.UINT8, [], [128]),
        ]
    )
    model.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", ["exact", "step", "zero"], ["rounded"]),
            helper.make_node("DequantizeLinear", ["rounded", "step", "zero"], [output]),
        ]
    )
    assert quantization_step(Network(model), SCORES) == 0.25


def test_without_rounding_it_is_the_step_that_8_bits_would_have() -> None:
    assert quantization_step(tiny("plain", "int8"), SCORES) == pytest.approx(5.1 / 255)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_networks_without_quantized_layers_have_none(precision: str) -> None:
    assert quantization_step(tiny("plain", precision), SCORES) is None  # type: ignore[arg-type]


def test_scores_a_step_away_agree_and_those_beyond_do_not() -> None:
    found = SCORES + np.array([[0.02, -0.02, 0], [0.03, 0, -0.021]], np.float32)
    assert share_within(found, SCORES, 0.02) == pytest.approx(4 / 6)
    assert share_within(SCORES, SCORES, 0) == 1
    assert share_within(SCORES * np.nan, SCORES, 1) == 0
