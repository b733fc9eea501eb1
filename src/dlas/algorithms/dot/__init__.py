"""Convolutions on 8-bit integers and bfloat16, by the processor's dot products.

Images lie channels last, (N, H, W, C) with C filled up to whole vectors, so that what one
instruction multiplies lies side by side.

    number.py       what is stored, multiplied and summed: uint8, int8, bfloat16
    instruction.py  vectors of short dot products: VNNI, pairs of 16 bits, Arm's, portable
    window.py       which stored pixels an output reads, and weights in the order of reading
    tile.py         how outputs are cut into tiles; which cuts are worth a measurement
    kernel.py       the kernel around a tile: padding or columns, tiles, scale and bias
    vectors.py      a tile by vectors of output channels in registers
    matrix.py       a tile by a matrix unit (AMX)
    depthwise.py    a tile where every channel is filtered by itself
    form.py         the kernels of a primitive for a layer, and the order of their loops
"""
