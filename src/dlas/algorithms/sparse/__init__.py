"""Convolutions that skip the weights that are zero, on images as they lie (N, C, H, W).

    weights (CSR or BSR) ── blocks ──▶ blocks of channels that stay in the first cache
    image ── window, tile ──▶ for a tile of outputs, each block's pixels packed ── kernel ──▶ sums

A vector is one of positions along the rows, so that one weight meets one vector of pixels whatever
the pattern. The three primitives differ in what they copy while a block is packed: ``direct`` the
rows as they are, and then reads them at any offset; ``spatial_pack`` every row once for each column
of the kernel, shifted; ``gemm`` every row once for each tap (im2col), so that each load is aligned.

Source: Park et al. 2017, "Faster CNNs with Direct Sparse Convolutions and Guided Pruning",
arXiv:1608.01409, for offsets computed beforehand; the blocking and the copies are ours.
"""
