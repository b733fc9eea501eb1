"""A network is an ONNX graph: every layer of the stack reads and writes the same form."""

from dlas.network.layers import LayerRow, layer_rows
from dlas.network.network import Network

__all__ = ["LayerRow", "Network", "layer_rows"]
