"""Kernels on narrow numbers, built and run on drawn ones: what their tests share."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dlas.layer import member
from dlas.network import LayerRow
from dlas.target import Target
from dlas.target.blocks import block_count
from dlas.testing.convolutions import Array, convolution

if TYPE_CHECKING:
    from dlas.algorithms.dot.kernel import Affine, Kernel

#: What the zero points of drawn images are.
ZERO = {"uint8": 37, "int8": -19, "bfloat16": 0}
#: Bytes from which on generated code takes an array to begin.
ALIGNMENT = 64


@dataclass(frozen=True)
class Drawn:
    """A layer's numbers as they are stored: image (N, C, H, W), weight (K, C/G, R, S); bfloat16 as
    bits. ``zero``: the integer that stands for 0."""

    row: LayerRow
    number: str
    image: Array
    weight: Array
    zero: int

    @classmethod
    def of(cls, row: LayerRow, number: str, batch: int = 1) -> Drawn:
        random = np.random.default_rng(0)
        image = (batch, row.in_channels, *row.input_hw)
        weight = (row.out_channels, row.in_channels // row.groups, *row.kernel)
        if number == "bfloat16":
            given = [bits(random.normal(size=shape)) for shape in (image, weight)]
        else:
            kinds = zip((image, weight), (number, "int8"), strict=True)
            given = [every(random, shape, kind) for shape, kind in kinds]
        return cls(row, number, *given, ZERO[number])

    @property
    def sums(self) -> Array:
        """(N, K, P, Q), exact: int64, or float64."""
        if self.number == "bfloat16":
            image, weight = (real(each).astype(np.float64) for each in (self.image, self.weight))
        else:
            image, weight = self.image.astype(np.int64) - self.zero, self.weight.astype(np.int64)
        return convolution(image, weight, 0, self.row)

    @property
    def affine(self) -> Affine:
        """That leaves sums as they are, without the zero point."""
        from dlas.algorithms.dot.kernel import Affine

        count = self.row.out_channels
        if self.number == "bfloat16":
            return Affine(np.zeros(count, np.float32))
        totals = self.weight.reshape(count, -1).sum(1, dtype=np.int64)
        ones, none = np.ones(count, np.float32), np.zeros(count, np.float32)
        return Affine((-self.zero * totals).astype(np.int32), ones, none)

    def kernels(self, primitive: str, target: Target, affine: Affine | None = None) -> list[Kernel]:
        """All candidates of the primitive, the first that it recommends first."""
        form = member("algorithms", primitive)().dot  # type: ignore[attr-defined]
        stored = self.number, stored_channels(self.row.in_channels, target.lanes), self.zero
        given = affine or self.affine
        found = form.kernels(self.row, stored, self.weight, given, target, 1_000_000)
        return [replace(kernel, batch=len(self.image)) for kernel in found]

    def arguments(self, kernel: Kernel) -> list[Array]:
        """What the kernel is called with: the image channels last, with any numbers in the channels
        that fill it up; the constants; and the output as nothing leaves it."""
        random = np.random.default_rng(1)
        shape, (dtype, channels) = kernel.image_shape, (self.image.dtype, self.row.in_channels)
        if self.number == "bfloat16":  # finite, as whatever writes images leaves them
            last = bits(1e3 * random.normal(size=shape))
        else:
            last = every(random, shape, str(dtype))
        last[:, 0, :, :, :channels] = self.image.transpose(0, 2, 3, 1)
        return [last, *kernel.constants.values(), np.full(kernel.output_shape, np.nan, np.float32)]

    def by_channel(self, output: Array) -> Array:
        """What a kernel wrote, as (N, K, P, Q)."""
        return output[:, 0, :, :, : self.row.out_channels].transpose(0, 3, 1, 2)


def stored_channels(channels: int, lanes: int) -> int:
    """Of an image with so many, as the system tvm stores it."""
    filled = 4 if channels <= 4 else block_count(channels, lanes) * lanes
    return -(-filled // 4) * 4


def every(random: np.random.Generator, shape: Sequence[int], kind: str) -> Array:
    """Integers over their whole range."""
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, shape, kind, endpoint=True)


def bits(values: Array) -> Array:
    """Numbers cut off to bfloat16, as its bits."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def real(values: Array) -> Array:
    """What bits of bfloat16 stand for, float32."""
    return (values.astype(np.uint32) << 16).view(np.float32)


def in_order(kernel: Kernel, threads: int = 1, name: str = "main") -> Any:
    """A ``tvm.tirx.PrimFunc`` with its loops in order."""
    from dlas.systems.tvm.schedule import form_in
    from dlas.systems.tvm.template import opened

    order = opened(kernel.function())
    form = form_in(order)
    assert form is not None
    form.apply(order, {}, threads)
    return order.mod["main"].with_attr("global_symbol", name)


def module(kernels: Sequence[Kernel], target: Target, threads: int = 1) -> Any:
    """All of them compiled, as ``kernel0`` and so on."""
    import tvm

    from dlas.systems.tvm.lower import compiled

    functions = {f"kernel{i}": in_order(k, threads, f"kernel{i}") for i, k in enumerate(kernels)}
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        return compiled(tvm.IRModule(functions), target, threads)


def executed(runs: Sequence[tuple[Drawn, Kernel]], target: Target, threads: int) -> list[Array]:
    """What each kernel writes (N, 1, P, Q, K filled up), on this processor."""
    import tvm

    built, outputs = module([kernel for _, kernel in runs], target, threads).jit(), []
    for i, (drawn, kernel) in enumerate(runs):
        given = [guarded(array) for array in drawn.arguments(kernel)]
        built[f"kernel{i}"](*map(tvm.runtime.from_dlpack, given))
        outputs.append(given[-1].copy())
    return outputs


def guarded(array: Array) -> Array:
    """A copy whose end is that of its memory: it is an error to read on."""
    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, size + page)
    behind = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + size
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(behind), page, 0) == 0
    start = (size - array.nbytes) // ALIGNMENT * ALIGNMENT
    copy = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
    copy[...] = array
    return copy
