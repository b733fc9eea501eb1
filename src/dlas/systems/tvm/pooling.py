"""MaxPool on images as they lie (N, C, H, W), rows first and then columns."""

from __future__ import annotations

from typing import Any

from tvm import relax, te

#: Options that are not taken here, and the values that stand for none of them.
NONE = {"ceil_mode": (0,), "auto_pad": ("NOTSET", b"NOTSET"), "storage_order": (0,)}


def plain_max_pool(
    builder: relax.BlockBuilder, data: relax.Expr, attrs: dict[str, Any]
) -> relax.Expr | None:
    """None with options that no network here has.

    A window that reaches beyond the image reads its outermost pixel again, which changes no
    maximum: so nothing is asked for every pixel, and whole rows are compared at once."""
    (r, s), pads = attrs["kernel_shape"], attrs.get("pads", (0, 0, 0, 0))
    sy, sx = attrs.get("strides", (1, 1))
    if any(attrs.get(name, allowed[0]) not in allowed for name, allowed in NONE.items()):
        return None
    if set(attrs.get("dilations", (1,))) != {1} or attrs["tvm_custom"]["num_outputs"] > 1:
        return None
    top, left, bottom, right = pads
    if max(top, bottom) >= r or max(left, right) >= s:
        return None  # a window of padding only
    batch, channels, height, width = map(int, data.ty.shape)
    p, q = (height + top + bottom - r) // sy + 1, (width + left + right - s) // sx + 1

    def pooled(image: te.Tensor) -> te.Tensor:
        y, x = te.reduce_axis((0, r), "r"), te.reduce_axis((0, s), "s")

        def row(i: Any, tap: Any) -> Any:
            return te.max(te.min(i * sy + tap - top, height - 1), 0)

        def column(j: Any, tap: Any) -> Any:
            return te.max(te.min(j * sx + tap - left, width - 1), 0)

        rows = te.compute(
            (batch, channels, p, width),
            lambda n, c, i, j: te.max(image[n, c, row(i, y), j], axis=y),
            name="rows",
        )
        return te.compute(
            (batch, channels, p, q),
            lambda n, c, i, j: te.max(rows[n, c, i, column(j, x)], axis=x),
            name="pool",
        )

    return builder.emit_te(pooled, data, primfunc_name_hint="max_pool")
