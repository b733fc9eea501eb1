"""Layer 4: algorithms & data formats."""

MEMBERS = {
    "vendor": "dlas.algorithms.vendor:Vendor",
    "direct": "dlas.algorithms.direct:Direct",
    "gemm": "dlas.algorithms.gemm:Gemm",
    "spatial_pack": "dlas.algorithms.spatial_pack:SpatialPack",
}
