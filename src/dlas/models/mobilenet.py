"""MobileNets: depthwise convolutions filter, 1×1 convolutions mix."""

from __future__ import annotations

from typing import ClassVar

from dlas.data import Data
from dlas.models.base import Model
from dlas.models.channels import Width, divisible
from dlas.models.form import Form, choose_form
from dlas.network import Network
from dlas.network.builder import Builder

#: V1, table 1: channels and stride of each pair of depthwise and 1×1 convolution.
PAIRS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
    (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
#: V2, table 2: expansion t, channels c, repetitions n, stride s of the first.
BOTTLENECKS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
#: The dense layer's initial standard deviation, as torchvision has it.
DENSE_STD = 0.01


class MobileNetV1(Model, frozen=True, kw_only=True):
    """Howard et al. 2017, "MobileNets". ``form`` "cifar" gives the first convolution stride 1.
    ``width`` is the paper's α, channels rounded to multiples of 8. Parameters are named as in
    kuangliu/pytorch-cifar."""

    name: ClassVar[str] = "mobilenetv1"

    width: Width = 1.0
    form: Form | None = None

    def build(self, data: Data) -> Network:
        form = choose_form(self.form, data, self.name)
        b = Builder(data.shape, self.seed, f"{self.name}-{form}")
        stride = 1 if form == "cifar" else 2
        x = b.conv("input", "conv1", divisible(32, self.width), 3, stride)
        x = b.relu(b.batch_norm(x, "bn1"))
        for index, (channels, stride) in enumerate(PAIRS):
            place, inputs = f"layers.{index}.", b.shapes[x][0]
            x = b.conv(x, place + "conv1", inputs, 3, stride, groups=inputs)
            x = b.relu(b.batch_norm(x, place + "bn1"))
            x = b.conv(x, place + "conv2", divisible(channels, self.width), 1)
            x = b.relu(b.batch_norm(x, place + "bn2"))
        features = b.flatten(b.global_average_pool(x))
        return b.network(b.dense(features, "linear", len(data.classes), DENSE_STD))


class MobileNetV2(Model, frozen=True, kw_only=True):
    """Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks". ``form``
    "cifar" gives the first convolution and the second stage stride 1, so that 32×32 images end as
    4×4 (strides of kuangliu/pytorch-cifar). ``width`` scales channels, rounded to multiples of 8;
    the last 1×1 convolution is only widened (section 5). Parameters are named as in torchvision."""

    name: ClassVar[str] = "mobilenetv2"

    width: Width = 1.0
    form: Form | None = None

    def build(self, data: Data) -> Network:
        form = choose_form(self.form, data, self.name)
        b = Builder(data.shape, self.seed, f"{self.name}-{form}")
        stride = 1 if form == "cifar" else 2
        x = _conv_bn_relu6(b, "input", "features.0.", divisible(32, self.width), 3, stride)
        index = 1
        for stage, (expansion, channels, repetitions, first) in enumerate(BOTTLENECKS):
            if form == "cifar" and stage == 1:
                first = 1
            for repetition in range(repetitions):
                stride = first if repetition == 0 else 1
                place = f"features.{index}.conv."
                x = _inverted_residual(
                    b, x, place, expansion, divisible(channels, self.width), stride
                )
                index += 1
        last = divisible(1280, max(1.0, self.width))
        x = _conv_bn_relu6(b, x, f"features.{index}.", last, 1)
        features = b.flatten(b.global_average_pool(x))
        return b.network(b.dense(features, "classifier.1", len(data.classes), DENSE_STD))


def _inverted_residual(
    b: Builder, x: str, place: str, expansion: int, channels: int, stride: int
) -> str:
    inputs = b.shapes[x][0]
    hidden, index, y = expansion * inputs, 0, x
    if expansion != 1:
        y = _conv_bn_relu6(b, y, f"{place}0.", hidden, 1)
        index = 1
    y = _conv_bn_relu6(b, y, f"{place}{index}.", hidden, 3, stride, groups=hidden)
    y = b.conv(y, f"{place}{index + 1}", channels, 1)
    y = b.batch_norm(y, f"{place}{index + 2}")
    return b.add(x, y) if stride == 1 and inputs == channels else y


def _conv_bn_relu6(
    b: Builder, x: str, place: str, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> str:
    x = b.conv(x, place + "0", channels, kernel, stride, groups=groups)
    return b.relu6(b.batch_norm(x, place + "1"))
