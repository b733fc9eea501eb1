"""Tiny networks that between them hold every construct the model zoo uses, for conformance suites.

Each takes a few milliseconds to run on the slowest system. BatchNorm statistics and biases are
drawn at random, as training would leave them, so that a system that drops or misplaces one fails.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.context import Context
from dlas.data import Data, Split
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.optimizations.base import Optimization
from dlas.optimizations.bfloat16 import BFloat16
from dlas.optimizations.float16 import Float16
from dlas.optimizations.int8 import Int8

CLASSES = 10
DType = Literal["float32", "float16", "bfloat16", "int8"]
DTYPES: tuple[DType, ...] = ("float32", "float16", "bfloat16", "int8")
OPTIMIZATIONS: dict[str, Optimization] = {
    "float16": Float16(),
    "bfloat16": BFloat16(),
    "int8": Int8(samples=16),
}


def plain(b: Builder) -> str:
    """Convolution, BatchNorm, ReLU, max pooling, two dense layers: VGG."""
    y = b.relu(b.batch_norm(b.conv("input", "conv1", 8, 3, bias=True), "bn1"))
    y = b.relu(b.dense(b.flatten(b.max_pool(y, 2, 2)), "fc1", 16))
    return b.dense(y, "fc2", CLASSES)


def residual(b: Builder) -> str:
    """A strided residual block with a projection shortcut: ResNet."""
    x = b.relu(b.batch_norm(b.conv("input", "conv1", 8, 3), "bn1"))
    y = b.relu(b.batch_norm(b.conv(x, "conv2", 16, 3, stride=2), "bn2"))
    y = b.batch_norm(b.conv(y, "conv3", 16, 3), "bn3")
    shortcut = b.batch_norm(b.conv(x, "downsample", 16, 1, stride=2), "bn4")
    return _classify(b, b.relu(b.add(y, shortcut)))


def pre_activation(b: Builder) -> str:
    """BatchNorm and ReLU before the convolutions, where no layer can absorb them: WRN."""
    x = b.conv("input", "conv1", 8, 3)
    y = b.conv(b.relu(b.batch_norm(x, "bn1")), "conv2", 8, 3)
    y = b.conv(b.relu(b.batch_norm(y, "bn2")), "conv3", 8, 3)
    return _classify(b, b.relu(b.batch_norm(b.add(x, y), "bn3")))


def option_a(b: Builder) -> str:
    """A shortcut that subsamples and pads with zero channels: CIFAR ResNet."""
    x = b.relu(b.batch_norm(b.conv("input", "conv1", 8, 3), "bn1"))
    y = b.batch_norm(b.conv(x, "conv2", 16, 3, stride=2), "bn2")
    return _classify(b, b.relu(b.add(y, b.pad_channels(b.subsample(x, 2), 4, 4))))


def inverted_residual(b: Builder) -> str:
    """Expand, depthwise, project, with ReLU6: MobileNetV2."""
    x = b.relu6(b.batch_norm(b.conv("input", "conv1", 8, 3, stride=2), "bn1"))
    y = b.relu6(b.batch_norm(b.conv(x, "expand", 24, 1), "bn2"))
    y = b.relu6(b.batch_norm(b.conv(y, "depthwise", 24, 3, groups=24), "bn3"))
    y = b.batch_norm(b.conv(y, "project", 8, 1), "bn4")
    return _classify(b, b.add(x, y))


def dense_block(b: Builder) -> str:
    """Pre-activation, concatenation, average pooling: DenseNet."""
    x = b.conv("input", "conv1", 8, 3)
    y = b.conv(b.relu(b.batch_norm(x, "bn1")), "conv2", 8, 3)
    x = b.concat([x, y])
    x = b.average_pool(b.conv(b.relu(b.batch_norm(x, "bn2")), "transition", 8, 1), 2, 2)
    return _classify(b, b.relu(b.batch_norm(x, "bn3")))


def squeeze_excite(b: Builder) -> str:
    """SiLU, a 5×5 depthwise convolution and squeeze-and-excitation: EfficientNet."""
    x = b.silu(b.batch_norm(b.conv("input", "conv1", 16, 3, stride=2), "bn1"))
    y = b.silu(b.batch_norm(b.conv(x, "depthwise", 16, 5, groups=16), "bn2"))
    gate = b.silu(b.conv(b.global_average_pool(y), "reduce", 4, 1, bias=True))
    y = b.mul(y, b.sigmoid(b.conv(gate, "widen", 16, 1, bias=True)))
    return _classify(b, b.add(x, b.batch_norm(b.conv(y, "project", 16, 1), "bn3")))


def hard_swish(b: Builder) -> str:
    """HardSwish and a dilated convolution."""
    y = b.hard_swish(b.batch_norm(b.conv("input", "conv1", 8, 3), "bn1"))
    return _classify(b, b.hard_swish(b.batch_norm(b.conv(y, "conv2", 8, 3, dilation=2), "bn2")))


def grouped(b: Builder) -> str:
    """Convolutions in four groups, one of them strided and widening."""
    y = b.relu(b.batch_norm(b.conv("input", "conv1", 16, 3), "bn1"))
    y = b.relu(b.batch_norm(b.conv(y, "conv2", 32, 3, stride=2, groups=4), "bn2"))
    return _classify(b, b.relu(b.batch_norm(b.conv(y, "conv3", 16, 3, groups=4), "bn3")))


def oblong(b: Builder) -> str:
    """1×7 and 7×1 kernels, unequal strides and odd channel counts."""
    y = b.relu(b.batch_norm(b.conv("input", "conv1", 5, (1, 7), stride=(1, 2)), "bn1"))
    y = b.relu(b.batch_norm(b.conv(y, "conv2", 7, (7, 1), stride=(2, 1)), "bn2"))
    return _classify(b, y)


TINY: dict[str, Callable[[Builder], str]] = {
    draw.__name__: draw
    for draw in (
        plain, residual, pre_activation, option_a, inverted_residual, dense_block, squeeze_excite,
        hard_swish, grouped, oblong,
    )
}  # fmt: skip


@cache
def tiny(name: str, dtype: DType = "float32") -> Network:
    """A network of the table ``TINY``, (3, 16, 16) → 10 scores, optimized to ``dtype``."""
    if dtype != "float32":
        optimization, network = OPTIMIZATIONS[dtype], tiny(name)
        with TemporaryDirectory() as folder:
            return optimization.apply(network, noise(network), Context(Path(folder), Path(folder)))
    builder = Builder((3, 16, 16))
    return randomized(builder.network(TINY[name](builder)))


def randomized(network: Network, seed: int = 0) -> Network:
    """The same graph with random BatchNorm parameters and biases in place of the neutral ones."""
    random = np.random.default_rng(seed)
    model = network.edited()
    for tensor in model.graph.initializer:
        kind = tensor.name.rpartition(".")[2]
        if kind not in ("bias", "weight", "running_mean", "running_var") or len(tensor.dims) != 1:
            continue
        low, high = (0.5, 1.5) if kind in ("weight", "running_var") else (-0.3, 0.3)
        value = random.uniform(low, high, tuple(tensor.dims)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return Network(model)


def noise(network: Network, count: int = 16, seed: int = 0) -> Data:
    """A data set of normal noise in the network's shape; all splits are the same images."""
    images = noise_images(network.input_shape, count, seed)
    labels = np.arange(count, dtype=np.int64) % network.classes
    split = Split(labels, lambda indices: images[indices])
    classes = tuple(str(label) for label in range(network.classes))
    return Data(network.input_shape, classes, split, split, split)


def noise_images(shape: tuple[int, int, int], count: int, seed: int = 0) -> NDArray[np.float32]:
    """(count, C, H, W) of standard normal values."""
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def _classify(b: Builder, x: str) -> str:
    return b.dense(b.flatten(b.global_average_pool(x)), "fc", CLASSES)
