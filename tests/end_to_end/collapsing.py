"""A network in the style of EfficientNet that int8 ruins, and the script that trained it.

Depthwise networks come to have channels whose ranges differ a hundredfold (Nagel et al. 2019,
figure 2). This one does from the start: the factors of its BatchNorms are drawn over nine octaves
before it is trained on scikit-learn's digits, and training leaves them about there.

    python tests/end_to_end/collapsing.py    # writes collapsing.safetensors beside it
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import numpy_helper

from dlas.context import Context
from dlas.data import Data, open_data
from dlas.datasets.digits import Digits
from dlas.network import Network
from dlas.network.builder import Builder

WEIGHTS = Path(__file__).with_suffix(".safetensors")
OCTAVES = 4.5


def digits(folder: Path) -> Data:
    Digits(size=16).make(Context(folder, folder))
    return open_data(folder)


def untrained(seed: int = 0) -> Network:
    b = Builder((1, 16, 16), seed)
    x = b.silu(b.batch_norm(b.conv("input", "stem", 16, 3, stride=2), "bn1"))
    x = _block(b, x, "block1", 48, 12)
    x = _block(b, x, "block2", 64, 24, stride=2)
    x = b.add(x, _block(b, x, "block3", 96, 24))
    x = b.silu(b.batch_norm(b.conv(x, "head", 96, 1), "bn2"))
    model = b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10)).edited()
    random = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        if tensor.name.endswith(".weight") and len(tensor.dims) == 1:
            factors = np.exp2(random.uniform(-OCTAVES, OCTAVES, tuple(tensor.dims)))
            tensor.CopyFrom(numpy_helper.from_array(factors.astype(np.float32), tensor.name))
    return Network(model)


def _block(b: Builder, x: str, place: str, hidden: int, channels: int, stride: int = 1) -> str:
    """Expand, depthwise, squeeze-and-excitation, project."""
    y = b.silu(b.batch_norm(b.conv(x, f"{place}.expand", hidden, 1), f"{place}.bn1"))
    y = b.conv(y, f"{place}.depthwise", hidden, 3, stride, groups=hidden)
    y = b.silu(b.batch_norm(y, f"{place}.bn2"))
    gate = b.silu(b.conv(b.global_average_pool(y), f"{place}.reduce", 4, 1, bias=True))
    y = b.mul(y, b.sigmoid(b.conv(gate, f"{place}.widen", hidden, 1, bias=True)))
    return b.batch_norm(b.conv(y, f"{place}.project", channels, 1), f"{place}.bn3")


if __name__ == "__main__":
    from safetensors.numpy import save_file

    from dlas.evaluate import accuracy
    from dlas.training import Recipe, train

    with TemporaryDirectory() as name:
        folder = Path(name)
        data = digits(folder)
        recipe = Recipe(epochs=40, lr=0.05, batch=64)
        network = train(untrained(), data, recipe, seed=0, context=Context(folder, folder))
        print(f"{100 * accuracy(network, data.test):.2f} % of the digits")
    names = (*network.trainable, *network.statistics)
    save_file({name: network.initializers[name] for name in names}, WEIGHTS)
