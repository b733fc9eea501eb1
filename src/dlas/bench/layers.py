"""What is timed layer by layer: every distinct convolution of some networks, and grouped ones.

One layer alone would also be timed laying the image out in a runtime's blocks and reading the
result, which in a network its neighbours do. So a layer is repeated where it fits onto itself: a
*chain*, or for 1×1 layers that widen, *there and back* in turns (both have the same arithmetic).
What fits neither way, such as a strided layer, stands alone, and its time includes both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from dlas.bench.cases import NETWORKS, Case, drawn, known
from dlas.network import LayerRow, Network
from dlas.network.builder import Builder

#: Copies at most, and what their weights may take: they stay in the second or third cache.
MOST = 8
WEIGHT_BYTES = 8 << 20

GROUPED = "grouped"
#: Channels, rows and columns, and the groups of a 3×3 convolution.
GROUPED_SHAPES = (
    (128, 28, (1, 2, 4, 8, 16, 32, 64, 128)),
    (256, 14, (1, 2, 4, 8, 16, 32, 64, 128, 256)),
)
#: Layers of a kind that have a place of their own, like ``resnet18-cifar-3x3``.
KINDS: Mapping[str, Callable[[Workload], bool]] = {
    "3x3": lambda work: work.kernel == (3, 3) and work.groups == 1,
    "1x1": lambda work: work.kernel == (1, 1) and work.groups == 1,
    "depthwise": lambda work: work.groups == work.inputs > 1,
}
OF_A_KIND = {f"{network}-{kind}": (network, kind) for network in NETWORKS for kind in KINDS}
USUAL = ("resnet18-cifar", "resnet50", "mobilenetv2", GROUPED)
PLACES: Mapping[str, object] = {**NETWORKS, GROUPED: GROUPED_SHAPES}


class Workload(NamedTuple):
    """The shapes of a convolution: all that its time depends on. ``pad``: above and below, left
    and right."""

    inputs: int
    outputs: int
    hw: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @classmethod
    def of(cls, row: LayerRow) -> Workload:
        return cls(
            row.in_channels, row.out_channels, row.input_hw, row.kernel, row.stride, row.pads[:2],
            row.dilation, row.groups,
        )  # fmt: skip

    @property
    def keeps_image(self) -> bool:
        spans = zip(self.kernel, self.pad, self.dilation, strict=True)
        return self.stride == (1, 1) and all(2 * p == d * (k - 1) for k, p, d in spans)

    @property
    def is_chain(self) -> bool:
        return self.keeps_image and self.inputs == self.outputs

    @property
    def returns(self) -> bool:
        """Whether it is timed there and back."""
        pointwise = self.kernel == (1, 1) and self.groups == 1
        return pointwise and self.keeps_image and not self.is_chain

    @property
    def copies(self) -> int:
        taps = self.kernel[0] * self.kernel[1]
        held = 4 * self.outputs * self.inputs // self.groups * taps
        fitting = max(1, min(MOST, WEIGHT_BYTES // held))
        if self.returns:
            return max(2, fitting - fitting % 2)
        return fitting if self.is_chain else 1

    @property
    def name(self) -> str:
        """Like ``64x56x56-256-1x1-both``: channels and image, output channels, kernel, the rest."""
        (height, width), (rows, columns) = self.hw, self.kernel
        parts = [f"{self.inputs}x{height}x{width}-{self.outputs}-{rows}x{columns}"]
        for letter, value, usual in (
            ("s", self.stride, (1, 1)),
            ("d", self.dilation, (1, 1)),
            (
                "p",
                self.pad,
                tuple(d * (k - 1) // 2 for d, k in zip(self.dilation, self.kernel, strict=True)),
            ),
        ):
            if value != usual:
                parts.append(
                    letter + "x".join(map(str, value if value[0] != value[1] else value[:1]))
                )
        if self.groups > 1:
            parts.append("depthwise" if self.groups == self.inputs else f"g{self.groups}")
        return "-".join([*parts, "both"] if self.returns else parts)

    def draw(self) -> Network:
        """Copies of the layer with bias and ReLU, as BatchNorm leaves them, and one average at
        the end."""
        b = Builder((self.inputs, *self.hw), name=self.name)
        x = "input"
        for copy in range(self.copies):
            channels = self.inputs if self.returns and copy % 2 else self.outputs
            y = b.conv(
                x, f"conv{copy}", channels, self.kernel, self.stride, self.pad, self.groups,
                self.dilation, bias=True,
            )  # fmt: skip
            x = b.relu(y)
        return b.network(b.flatten(b.global_average_pool(x)))

    def case(self) -> Case:
        return Case(self.name, self.draw, self.copies)


def layer_cases(places: Sequence[str] = USUAL) -> list[Case]:
    """The distinct convolutions of these networks, and of the place ``grouped``, each once.
    InputError for a name that is neither."""
    found: dict[Workload, None] = {}
    for place in known(places, PLACES, "network"):
        found.update(dict.fromkeys(map(_there_and_back, workloads(place))))
    return [work.case() for work in found]


def kind_cases(place: str) -> list[Case]:
    """The distinct convolutions of one of ``OF_A_KIND`` that fit onto themselves, or there and
    back."""
    network, kind = OF_A_KIND[place]
    found = dict.fromkeys(map(_there_and_back, filter(KINDS[kind], workloads(network))))
    return [work.case() for work in found if work.is_chain or work.returns]


def workloads(place: str) -> Iterator[Workload]:
    """Those of a place, in its order; some more than once."""
    if place != GROUPED:
        yield from (Workload.of(row) for row in drawn(place).layers if row.op == "conv")
        return
    for channels, side, counts in GROUPED_SHAPES:
        for groups in counts:
            yield Workload(channels, channels, (side, side), (3, 3), pad=(1, 1), groups=groups)


def _there_and_back(work: Workload) -> Workload:
    """The one that stands for both directions: the one that widens."""
    if work.returns and work.inputs > work.outputs:
        return work._replace(inputs=work.outputs, outputs=work.inputs)
    return work
