"""MACs are what the arithmetic adds up: with ones everywhere and no padding, the outputs' sum."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from dlas.network import Network
from dlas.network.builder import Builder

SIZES = st.integers(1, 3)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A convolution without padding, of any geometry, and a dense layer."""
    groups, kernel, dilation = draw(SIZES), draw(st.tuples(SIZES, SIZES)), draw(SIZES)
    sides = [dilation * (k - 1) + 1 + draw(st.integers(0, 4)) for k in kernel]
    b = Builder((groups * draw(SIZES), sides[0], sides[1]))
    y = b.conv(
        "input", "conv", groups * draw(SIZES), kernel, draw(st.tuples(SIZES, SIZES)),
        pad=0, groups=groups, dilation=dilation,
    )  # fmt: skip
    return b.network(b.dense(b.flatten(y), "fc", draw(SIZES)))


@given(networks())
@settings(max_examples=40, deadline=None)
def test_macs_are_what_is_added_up(network: Network) -> None:
    import onnxruntime

    model = network.edited()
    for tensor in model.graph.initializer:
        value = np.ones(tuple(tensor.dims), np.float32) * (not tensor.name.endswith("bias"))
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))
    conv = model.graph.node[0].output[0]
    model.graph.output.append(helper.make_tensor_value_info(conv, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    ones = np.ones((1, *network.input_shape), np.float32)
    (summed,) = session.run([conv], {network.input_name: ones})
    row, dense = network.layers
    assert row.macs == summed.sum()
    assert row.output_hw == summed.shape[2:]
    assert dense.macs == summed.size * network.classes
    assert network.macs == row.macs + dense.macs


@given(networks(), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_effective_macs_follow_the_zeros(network: Network, share: float) -> None:
    model = network.edited()
    weight = next(t for t in model.graph.initializer if t.name == "conv.weight")
    value = numpy_helper.to_array(weight).copy()
    zeros = int(share * value.size)
    value.reshape(-1)[:zeros] = 0
    weight.CopyFrom(numpy_helper.from_array(value, weight.name))
    before, after = network.layers[0], Network(model).layers[0]
    assert after.macs == before.macs
    assert after.effective_macs * before.weights == before.macs * (before.weights - zeros)
    assert after.sparse_bytes <= before.sparse_bytes
