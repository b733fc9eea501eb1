"""Residual networks (He et al. 2015, "Deep Residual Learning for Image Recognition")."""

from __future__ import annotations

from typing import ClassVar, Literal

from dlas.data import Data
from dlas.errors import SpecError
from dlas.models.base import Model
from dlas.models.channels import Width, scaled
from dlas.models.form import Form, choose_form
from dlas.network import Network
from dlas.network.builder import Builder

#: Table 1: residual blocks per stage.
STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
#: Depths from which blocks are bottlenecks: 1×1 down, 3×3, 1×1 up to four times the channels.
BOTTLENECK, EXPANSION = 50, 4


class ResNet(Model, frozen=True, kw_only=True):
    """Depths 20, 32, 44, 56 and 110 are the CIFAR networks of section 4.2: three stages of 16, 32
    and 64 channels, shortcuts without weights (option A: subsample, add zero channels).

    Depths 18, 34, 50, 101 and 152 are the ImageNet networks of section 4.1: four stages from 64
    channels, 1×1 projections where shapes change (option B); in bottlenecks the 3×3 convolution
    has the stride, as torchvision has it. Their ``form`` "cifar" is common practice: a 3×3 stem of
    stride 1 and no pooling. Parameters are named as in torchvision, those of section 4.2 as in
    akamaster/pytorch_resnet_cifar10. ``width`` scales all channels."""

    name: ClassVar[str] = "resnet"

    depth: Literal[18, 20, 32, 34, 44, 50, 56, 101, 110, 152]
    form: Form | None = None
    width: Width = 1.0

    def check(self, path: str) -> None:
        if self.depth not in STAGES and self.form == "imagenet":
            raise SpecError(f"{path}.form", f"ResNet-{self.depth} has the cifar form only")

    def build(self, data: Data) -> Network:
        if self.depth in STAGES:
            return self._section_4_1(data)
        return self._section_4_2(data)

    def _section_4_2(self, data: Data) -> Network:
        b = Builder(data.shape, self.seed, f"resnet{self.depth}")
        x = b.relu(b.batch_norm(b.conv("input", "conv1", scaled(16, self.width), 3), "bn1"))
        for stage, channels in enumerate((16, 32, 64)):
            for block in range((self.depth - 2) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                place = f"layer{stage + 1}.{block}."
                y = _two_convs(b, x, place, scaled(channels, self.width), stride)
                x = b.relu(b.add(y, _option_a(b, x, b.shapes[y][0], stride)))
        return classify(b, x, "linear", len(data.classes))

    def _section_4_1(self, data: Data) -> Network:
        name = f"resnet{self.depth}"
        form = choose_form(self.form, data, name)
        b = Builder(data.shape, self.seed, f"{name}-{form}")
        kernel, stride = (3, 1) if form == "cifar" else (7, 2)
        x = b.conv("input", "conv1", scaled(64, self.width), kernel, stride)
        x = b.relu(b.batch_norm(x, "bn1"))
        if form == "imagenet":
            x = b.max_pool(x, 3, 2, pad=1)
        for stage, blocks in enumerate(STAGES[self.depth]):
            channels = scaled(64 * 2**stage, self.width)
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                place = f"layer{stage + 1}.{block}."
                if self.depth >= BOTTLENECK:
                    y = bottleneck(b, x, place, (channels, EXPANSION * channels), stride)
                else:
                    y = _two_convs(b, x, place, channels, stride)
                x = b.relu(b.add(y, option_b(b, x, place, b.shapes[y][0], stride)))
        return classify(b, x, "fc", len(data.classes))


def _two_convs(b: Builder, x: str, place: str, channels: int, stride: int) -> str:
    y = b.conv(x, place + "conv1", channels, 3, stride)
    y = b.relu(b.batch_norm(y, place + "bn1"))
    return b.batch_norm(b.conv(y, place + "conv2", channels, 3), place + "bn2")


def bottleneck(
    b: Builder, x: str, place: str, channels: tuple[int, int], stride: int, groups: int = 1
) -> str:
    """1×1 to the first number of ``channels``, 3×3 in ``groups``, 1×1 to the second."""
    inner, outputs = channels
    y = b.relu(b.batch_norm(b.conv(x, place + "conv1", inner, 1), place + "bn1"))
    y = b.conv(y, place + "conv2", inner, 3, stride, groups=groups)
    y = b.relu(b.batch_norm(y, place + "bn2"))
    return b.batch_norm(b.conv(y, place + "conv3", outputs, 1), place + "bn3")


def _option_a(b: Builder, x: str, channels: int, stride: int) -> str:
    """Every second row and column, and zero channels on both sides."""
    if stride > 1:
        x = b.subsample(x, stride)
    extra = channels - b.shapes[x][0]
    return b.pad_channels(x, extra // 2, extra - extra // 2) if extra else x


def option_b(b: Builder, x: str, place: str, channels: int, stride: int) -> str:
    """x itself, or projected by a 1×1 convolution where its shape is not that of the block."""
    if stride == 1 and b.shapes[x][0] == channels:
        return x
    y = b.conv(x, place + "downsample.0", channels, 1, stride)
    return b.batch_norm(y, place + "downsample.1")


def classify(b: Builder, x: str, name: str, classes: int) -> Network:
    """The mean of each channel, and one dense layer."""
    return b.network(b.dense(b.flatten(b.global_average_pool(x)), name, classes))
