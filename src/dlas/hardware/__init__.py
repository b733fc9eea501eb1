"""Layer 6: hardware."""

MEMBERS = {
    "local": "dlas.hardware.local:Local",
    "null": "dlas.hardware.null:Null",
}
