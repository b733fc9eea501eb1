"""Layer 1: data sets & problem spaces."""

MEMBERS = {
    "digits": "dlas.datasets.digits:Digits",
    "cifar10": "dlas.datasets.cifar10:Cifar10",
    "imagenet": "dlas.datasets.imagenet:ImageNet",
    "arrays": "dlas.datasets.arrays:Arrays",
    "synthetic": "dlas.datasets.synthetic:Synthetic",
}
