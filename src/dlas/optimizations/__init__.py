"""Layer 3: model optimizations."""

MEMBERS = {
    "weight_pruning": "dlas.optimizations.weight_pruning:WeightPruning",
    "channel_pruning": "dlas.optimizations.channel_pruning:ChannelPruning",
    "float16": "dlas.optimizations.float16:Float16",
    "bfloat16": "dlas.optimizations.bfloat16:BFloat16",
    "int8": "dlas.optimizations.int8:Int8",
}
