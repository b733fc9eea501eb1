"""The kernel of a convolution on narrow numbers, written out as the loops it is.

the image with padding around it, or its columns          (where ``window.py`` wants a copy)
for every tile of rows and blocks of output channels:
    the tile's sums                                        (``vectors.py``, ``matrix.py``, …)
    every output: its sum, scaled, + bias                  (what follows is fused by the system)

Integers stand for numbers: q for s · (q - z). With the image's (s_x, z_x) and weights of scale
s_w[k] around nought, an output is

    s_x · s_w[k] · (Σ q_x · q_w  -  z_x · Σ q_w[k])  +  bias[k]

where padding holds z_x, so that it stands for 0. Sums are int32 and exact, and begin with the term
that does not depend on the image; only the rest is float32 (Jacob et al. 2018, arXiv:1712.05877,
equations 3 and 7; they also round the scales to fixed-point numbers, we do not).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dlas.algorithms.dot.tile import Tile
from dlas.algorithms.sparse.kernel import ELEMENTWISE_MAY_FOLLOW
from dlas.algorithms.sparse.loops import Expr, argument, int64
from dlas.algorithms.tiles import numbers_of, of_batch

Array = NDArray[Any]
#: The stages before and after the tiles.
STAGED, IMAGE = "dot_staged", "dot_image"


@dataclass(frozen=True)
class Affine:
    """What becomes of the sums of every output channel, which begin with ``offset`` (int32, or
    float32): sum · ``factor`` + ``shift``, each (K). Sums in float32 may have neither."""

    offset: Array
    factor: Array | None = None
    shift: Array | None = None

    def arrays(self, channels: int) -> dict[str, Array]:
        """By name, filled up to so many channels."""
        given = {"offset": self.offset, "factor": self.factor, "shift": self.shift}
        fill = channels - len(self.offset)
        return {name: np.pad(a, (0, fill)) for name, a in given.items() if a is not None}


@dataclass(frozen=True)
class Kernel:
    """``stage``: the name of the stage that computes the tiles. ``weights`` as the window packs
    them; ``zero``: what padding holds. ``compute``: writes the loops of one tile; ``extras``: what
    it is called with besides. ``estimate``: of its cost, in multiply-adds."""

    stage: str
    tile: Tile
    weights: Array
    affine: Affine
    zero: int
    compute: Callable[[Kernel, Expr, Expr, dict[str, Any]], None]
    extras: tuple[Array, ...] = ()
    batch: int = 1
    estimate: float = 1.0

    def of(self, batch: int) -> Kernel:
        """The same for so many images, of the kernel for one."""
        return replace(self, batch=batch, estimate=batch * self.estimate)

    @property
    def choices(self) -> str:
        return f"{self.stage} {self.tile.choices}"

    @property
    def workload(self) -> dict[str, float]:
        """The layer in numbers, by which a cost model tells it from others."""
        window = self.tile.window
        shapes = numbers_of(window.row, self.batch)
        return {**shapes, "channels": window.channels, "columns": window.columns}

    @property
    def knobs(self) -> dict[str, float]:
        tile = self.tile
        return {
            "rows": tile.rows, "blocks": tile.blocks, "rows_outside": tile.rows_outside,
            "places": tile.places, "vectors": tile.vectors, "matrix": tile.matrix,
        }  # fmt: skip

    @property
    def filled(self) -> int:
        """Output channels, those that fill the last block among them."""
        return self.tile.window.blocks * self.tile.window.lanes

    @property
    def constants(self) -> dict[str, Array]:
        """What it is called with after the image, by name."""
        window = self.tile.window
        zero = np.full(1, self.zero, window.number.stored)
        extras = {f"extra{i}": array for i, array in enumerate(self.extras)}
        affine = self.affine.arrays(self.filled)
        return {"weights": self.weights, "zero": zero, **extras, **affine}

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.batch, 1, *self.tile.window.row.input_hw, self.tile.window.channels)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.batch, 1, *self.tile.window.row.output_hw, self.filled)

    @property
    def identity(self) -> str:
        """What it computes, and how; not with which weights."""
        window = self.tile.window
        shape = msgspec.structs.replace(window.row, name="", weight="", nonzeros=0)
        image = f"{window.number.name} {window.channels} {window.lanes} {window.columns}"
        return f"{shape} {image} {self.choices}{of_batch(self.batch)}"

    def function(self, result: str = "float32") -> Any:
        """A ``tvm.tirx.PrimFunc``: image (N, 1, H, W, C), the constants → (N, 1, P, Q, K). In
        another type than float32 results are cut off, to be measured as what is fused leaves them.
        """
        from tvm.script.ir_builder import IRBuilder
        from tvm.script.ir_builder import tirx as T

        with IRBuilder() as builder, T.prim_func(is_private=True, s_tir=True):
            T.func_name("dot")
            T.func_attr({"op_pattern": ELEMENTWISE_MAY_FOLLOW, "tirx.noalias": True})
            image = argument("image", self.image_shape, self.tile.window.number.stored)
            given = {
                name: argument(name, array.shape, str(array.dtype))
                for name, array in self.constants.items()
            }
            out = argument("out", self.output_shape, result)
            given["image"] = self.staged(image, given["zero"])
            self.outputs(given, out, self.tiles(given))
        return builder.get()

    def staged(self, image: Any, zero: Any) -> Any:
        """What the tiles read, (N, 1, rows, columns, elements)."""
        from tvm.script.ir_builder import tirx as T

        window = self.tile.window
        if not window.copies:
            return image
        row, channels = window.row, window.channels
        (top, left, *_), (height, width) = row.pads, row.input_hw
        (sy, sx), (dy, dx) = row.stride, row.dilation
        gathered = window.columns
        taps = row.kernel if gathered else (1, 1)
        rows, columns, _ = window.stored
        shape = (self.batch, rows, columns, *taps, channels)
        copied = T.sblock_alloc_buffer((self.batch, 1, *window.stored), window.number.stored)
        with T.grid(*map(int64, shape)) as loops, T.sblock(STAGED):
            n, y, x, r, s, c = (
                T.axis.spatial(int64(e), at) for e, at in zip(shape, loops, strict=True)
            )
            i = (y * sy + r * dy if gathered else y) - top
            j = (x * sx + s * dx if gathered else x) - left
            element = (r * taps[1] + s) * channels + c
            T.reads(image[n, 0, i, j, c], zero[0])
            T.writes(copied[n, 0, y, x, element])
            inside = T.And(T.And(i >= 0, i < height), T.And(j >= 0, j < width))
            pixel = T.if_then_else(inside, image[n, 0, i, j, c], zero[0])
            T.buffer_store(copied, pixel, [n, 0, y, x, element])
        return copied

    def tiles(self, given: dict[str, Any]) -> Any:
        """The sums (N · tiles of rows, tiles of channels, positions, channels) of every tile."""
        from tvm.script.ir_builder import tirx as T

        tile, window = self.tile, self.tile.window
        high = self.batch * (window.row.output_hw[0] // tile.rows)
        wide, width = window.blocks // tile.blocks, tile.blocks * window.lanes
        sums = T.sblock_alloc_buffer((high, wide, tile.span, width), window.number.total)
        with T.grid(*map(int64, (high, wide, 1))) as loops, T.sblock(self.stage):
            at, part, whole = (
                T.axis.spatial(int64(extent), loop)
                for extent, loop in zip((high, wide, 1), loops, strict=True)
            )
            inputs = {name: each for name, each in given.items() if name not in SCALES}
            T.reads(*(x[tuple(slice(0, n) for n in x.shape)] for x in inputs.values()))
            positions = slice(whole * tile.span, whole * tile.span + tile.span)
            T.writes(sums[at, part, positions, slice(whole * width, whole * width + width)])
            T.sblock_attr({"tile": [tile.rows, width, int(tile.rows_outside)]})
            self.compute(self, at, part, {**given, "sums": sums})
        return sums

    def outputs(self, given: dict[str, Any], out: Any, sums: Any) -> None:
        from tvm.script.ir_builder import tirx as T

        tile, window = self.tile, self.tile.window
        width, high = tile.blocks * window.lanes, window.row.output_hw[0] // tile.rows
        scales = {name: given[name] for name in SCALES if name in given}
        shape = self.output_shape
        with T.grid(*map(int64, shape)) as loops, T.sblock(IMAGE):
            n, one, y, x, k = (
                T.axis.spatial(int64(e), at) for e, at in zip(shape, loops, strict=True)
            )
            position = y % tile.rows * window.pitch + x
            place = [n * high + y // tile.rows, k // width, position, k % width]
            T.reads(sums[tuple(place)], *(each[k] for each in scales.values()))
            T.writes(out[n, one, y, x, k])
            total = sums[tuple(place)]
            if scales:
                total = total.astype("float32") * scales["factor"][k] + scales["shift"][k]
            if out.dtype == "uint16":
                total = T.reinterpret("uint32", total) >> T.uint32(16)
            T.buffer_store(out, total.astype(str(out.dtype)), [n, one, y, x, k])


#: What sums are scaled with.
SCALES: Sequence[str] = ("factor", "shift")


def element(buffer: Any, place: Sequence[Expr], count: int = 1) -> Expr:
    """The elements of a buffer from ``place`` on, a vector where there are several."""
    from tvm import tirx

    *outer, last = place
    index = last if count == 1 else tirx.Ramp(int64(last), tirx.const(1, "int64"), count)
    return tirx.BufferLoad(buffer, [*map(int64, outer), int64(index) if count == 1 else index])
