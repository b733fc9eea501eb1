"""Layer 4: algorithms & data formats."""

MEMBERS = {
    "vendor": "dlas.algorithms.vendor:Vendor",
    "direct": "dlas.algorithms.direct:Direct",
    "gemm": "dlas.algorithms.gemm:Gemm",
    "spatial_pack": "dlas.algorithms.spatial_pack:SpatialPack",
    "grouped_spatial_pack": "dlas.algorithms.grouped_spatial_pack:GroupedSpatialPack",
    "winograd": "dlas.algorithms.winograd:Winograd",
    "winograd4": "dlas.algorithms.winograd:Winograd4",
    "cheapest": "dlas.algorithms.cheapest:Cheapest",
    "depthwise": "dlas.algorithms.depthwise:Depthwise",
    "best": "dlas.algorithms.best:Best",
    "planned": "dlas.algorithms.planned:Planned",
}
