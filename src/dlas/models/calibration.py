"""Random networks that compute as trained ones do: no value vanishes or overflows on the way."""

from __future__ import annotations

import numpy as np
from onnx import helper, numpy_helper

from dlas.evaluate import cpu_session
from dlas.network import Network

IMAGES = 8
#: With shifts around zero, every ReLU halves what it passes on and the next BatchNorm makes up for
#: it, rounding errors included: by 1.2 per layer (Yang et al. 2019, "A Mean Field Theory of Batch
#: Normalization"), which after 50 layers is all that bfloat16 leaves. Above zero it is 1.03.
SCALES, SHIFTS = (0.5, 1.0), (0.5, 1.5)
#: A channel of less variance, as pruning leaves many, is constant but for rounding errors, and
#: would have them divided by next to nothing.
CONSTANT = 1e-4


def calibrated(network: Network, seed: int = 0) -> Network:
    """The network with random BatchNorm scales and shifts, and the means and variances that
    ``IMAGES`` images of normal noise have there."""
    random = np.random.default_rng(seed)
    model = network.edited()
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    for node in norms:
        for name, (low, high) in ((node.input[1], SCALES), (node.input[2], SHIFTS)):
            value = random.uniform(low, high, tuple(tensors[name].dims)).astype(np.float32)
            tensors[name].CopyFrom(numpy_helper.from_array(value, name))
    if not norms:
        return Network(model)
    variances = {node.input[4] for node in norms}
    drawn = Network(model)
    measured = _with_statistics_computed(drawn)
    images = random.standard_normal((IMAGES, *network.input_shape), dtype=np.float32)
    found = cpu_session(measured).run(list(drawn.statistics), {network.input_name: images})
    for name, value in zip(drawn.statistics, found, strict=True):
        if name in variances:
            value = np.where(value < CONSTANT, np.float32(1), value)
        tensors[name].CopyFrom(numpy_helper.from_array(value, name))
    return Network(model)


def _with_statistics_computed(network: Network) -> Network:
    """The graph in which each BatchNorm's mean and variance are not constants but those of its
    input, over batch and image, and are outputs."""
    model = network.edited()
    nodes = list(model.graph.node)
    constants = [t for t in model.graph.initializer if t.name not in network.statistics]
    axes = numpy_helper.from_array(np.array([0, 2, 3], np.int64), "calibration.axes")
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.initializer.extend([*constants, axes])
    for node in nodes:
        if node.op_type == "BatchNormalization":
            x, (mean, variance) = node.input[0], node.input[3:5]
            kept, apart, square = f"{mean}.kept", f"{mean}.apart", f"{mean}.square"
            model.graph.node.extend(
                [
                    helper.make_node("ReduceMean", [x, axes.name], [mean], keepdims=0),
                    helper.make_node("ReduceMean", [x, axes.name], [kept], keepdims=1),
                    helper.make_node("Sub", [x, kept], [apart]),
                    helper.make_node("Mul", [apart, apart], [square]),
                    helper.make_node("ReduceMean", [square, axes.name], [variance], keepdims=0),
                ]
            )
        model.graph.node.append(node)
    model.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in network.statistics)
    return Network(model)
