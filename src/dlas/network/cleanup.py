"""``drop_unused``: what a rewritten graph no longer needs."""

from __future__ import annotations

import onnx


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove, in place, nodes and initializers that no output depends on, and recorded shapes of
    intermediate tensors, which a rewrite may have made untrue."""
    graph = model.graph
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    nodes = kept[::-1]
    initializers = [tensor for tensor in graph.initializer if tensor.name in wanted]
    for field, items in ((graph.node, nodes), (graph.initializer, initializers)):
        if len(field) != len(items):
            del field[:]
            field.extend(items)
    del graph.value_info[:]
