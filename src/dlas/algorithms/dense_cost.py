"""What a dense layer costs, by an estimate that is the same for every machine: a plan is made
before the target is known. The unit is one multiply-add."""

from __future__ import annotations

import math

from dlas.algorithms.register_tile import PER_WEIGHT
from dlas.network import LayerRow

#: Output channels in a vector, taken as AVX-512's.
VECTOR = 16
#: Multiply-adds in the time that one element of a transformed tile takes, of inputs or outputs:
#: 22 to 28 measured on a Zen 5 core, half as many on a Zen 4, which multiplies half as fast.
PER_TRANSFORMED = 20
#: A grouped layer's multiply-adds take longer: with few outputs for each pixel there are as many
#: loads as multiply-adds. Measured 1.2 to 1.4 on a Zen 5 core, with 8 and 16 channels in a group.
GROUPED = 1.3
#: Places that one register tile takes in.
AT_ONCE = 16
#: Of copying one element to a column of im2col.
COLUMN = 5.0
#: How much longer images as they lie take than blocks: pixels are read at any offset.
PLAIN = 1.1
#: A depthwise layer on images as they lie: every multiply-add reads its pixels anew.
PLAIN_DEPTHWISE = 6.0


def dense_cost(primitive: str, row: LayerRow) -> float:
    """Of the primitive's template form on this layer."""
    taps, places = math.prod(row.kernel), math.prod(row.output_hw)
    if primitive in ("winograd", "winograd4"):
        return winograd_cost(row, {"winograd": 2, "winograd4": 4}[primitive])
    if primitive == "grouped_spatial_pack":
        return weights_cost(row, row.weights, places)
    if primitive == "depthwise":
        return GROUPED * row.weights * places
    if primitive == "direct" and row.groups == row.in_channels:
        return PLAIN_DEPTHWISE * row.weights * places
    if primitive == "direct":
        vectors = math.ceil(places / VECTOR) * VECTOR
        return PLAIN * row.weights * vectors + PER_WEIGHT * row.weights
    columns = row.in_channels * taps * places if primitive == "gemm" and taps > 1 else 0
    return products_cost(row, taps, places) + COLUMN * columns


def products_cost(row: LayerRow, taps: int, places: int) -> float:
    """``weights_cost`` of so many matrices of weights at so many places. A vector of output
    channels that spans groups multiplies the inputs of all of them."""
    outputs = row.out_channels // row.groups
    spanned = min(row.groups, math.ceil(VECTOR / outputs))
    weights = row.out_channels * taps * spanned * (row.in_channels // row.groups)
    return weights_cost(row, weights, places)


def weights_cost(row: LayerRow, weights: int, places: int) -> float:
    """Of multiplying by so many weights at so many places, and of reading them once, which passes
    unseen where all places are one register tile."""
    slowness = GROUPED if row.groups > 1 else 1.0
    if places <= AT_ONCE:
        return weights * max(places * slowness, PER_WEIGHT)
    return weights * (places * slowness + PER_WEIGHT)


def winograd_cost(row: LayerRow, m: int) -> float:
    """Of F(m×m, 3×3), in multiply-adds."""
    elements = (m + 2) ** 2
    tiles = math.prod(math.ceil(size / m) for size in row.output_hw)
    transformed = elements * tiles * (row.in_channels + row.out_channels)
    return products_cost(row, elements, tiles) + PER_TRANSFORMED * transformed
