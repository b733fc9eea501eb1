"""``pool_first``: the mean over pixels and a 1×1 convolution, a sum of channels, may change places.

DenseNet's transitions convolve and then average 2×2 pixels; the other way round there are four
times fewer multiplications.
"""

from __future__ import annotations

from collections import Counter

import onnx

from dlas.network.layers import attributes

#: Attributes of AveragePool under which its weights do not depend on the place.
PLAIN_POOL = {"kernel_shape", "strides"}


def pool_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function with every AveragePool without padding before the 1×1 convolution that it
    alone reads; the given model is not changed."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    nodes = changed.graph.node
    weights = {tensor.name: list(tensor.dims) for tensor in changed.graph.initializer}
    places = {name: place for place, node in enumerate(nodes) for name in node.output}
    readers = Counter(name for node in nodes for name in node.input)
    readers.update(output.name for output in changed.graph.output)
    for place, pool in enumerate(nodes):
        before = places.get(pool.input[0]) if pool.op_type == "AveragePool" else None
        if before is None or readers[pool.input[0]] > 1:
            continue
        conv = nodes[before]
        if pointwise(conv, weights) and averages_everywhere(pool):
            image, between, result = conv.input[0], conv.output[0], pool.output[0]
            first, second = onnx.NodeProto(), onnx.NodeProto()
            first.CopyFrom(pool)
            second.CopyFrom(conv)
            first.input[0], first.output[0] = image, between
            second.input[0], second.output[0] = between, result
            nodes[before].CopyFrom(first)
            nodes[place].CopyFrom(second)
            places[between], places[result] = before, place
    return changed


def pointwise(node: onnx.NodeProto, weights: dict[str, list[int]]) -> bool:
    """Whether it is a 1×1 convolution of stride 1 without padding."""
    given = attributes(node)
    return (
        node.op_type == "Conv"
        and weights.get(node.input[1], [])[2:] == [1, 1]
        and set(given.get("strides", (1,))) == {1}
        and set(given.get("pads", (0,))) == {0}
        and given.get("auto_pad", b"NOTSET") == b"NOTSET"
    )


def averages_everywhere(pool: onnx.NodeProto) -> bool:
    """Whether every output is the mean of a whole window."""
    given = attributes(pool)
    padded = set(given.get("pads", (0,))) != {0}
    other = given.keys() - PLAIN_POOL - {"pads", "count_include_pad"}
    return not padded and not any(given[name] not in (0, b"NOTSET") for name in other)
