"""Layer 2, models & neural architectures: how an image becomes class scores."""

MEMBERS = {
    "resnet": "dlas.models.resnet:ResNet",
    "resnext": "dlas.models.resnext:ResNeXt",
    "vgg": "dlas.models.vgg:Vgg",
    "mobilenetv1": "dlas.models.mobilenet:MobileNetV1",
    "mobilenetv2": "dlas.models.mobilenet:MobileNetV2",
    "densenet": "dlas.models.densenet:DenseNet",
    "efficientnet": "dlas.models.efficientnet:EfficientNet",
    "wrn": "dlas.models.wrn:WideResNet",
    "onnx": "dlas.models.onnx_file:OnnxFile",
    "factory": "dlas.models.factory:Factory",
    "tiny": "dlas.models.tiny:Tiny",
}
