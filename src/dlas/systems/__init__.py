"""Layer 5: systems software."""

MEMBERS = {
    "reference": "dlas.systems.reference:Reference",
    "pytorch": "dlas.systems.pytorch:PyTorch",
    "inductor": "dlas.systems.inductor:Inductor",
    "onnxruntime": "dlas.systems.onnxruntime:OnnxRuntime",
    "openvino": "dlas.systems.openvino:OpenVino",
    "tvm": "dlas.systems.tvm:Tvm",
    "partitioned": "dlas.systems.partitioned:Partitioned",
}
