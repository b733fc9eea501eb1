"""What is timed: networks in the forms that the paper names, their weights random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from dlas.data import Data, Split
from dlas.errors import InputError
from dlas.layer import did_you_mean
from dlas.models.base import Model
from dlas.models.calibration import calibrated
from dlas.network import Network
from dlas.plan import DENSE
from dlas.spec import parse_member

#: Images' shape and number of classes.
Task = tuple[tuple[int, int, int], int]
CIFAR: Task = ((3, 32, 32), 10)
IMAGENET: Task = ((3, 224, 224), 1000)

NETWORKS: Mapping[str, tuple[dict[str, Any], Task]] = {
    "vgg16-cifar": ({"vgg": 16}, CIFAR),
    "resnet18-cifar": ({"resnet": 18, "form": "cifar"}, CIFAR),
    "mobilenetv2-cifar": ({"name": "mobilenetv2", "form": "cifar"}, CIFAR),
    "densenet161": ({"densenet": 161}, IMAGENET),
    "efficientnetb0": ({"efficientnet": "b0"}, IMAGENET),
    "resnet50": ({"resnet": 50, "form": "imagenet"}, IMAGENET),
    "mobilenetv2": ({"name": "mobilenetv2", "form": "imagenet"}, IMAGENET),
    "mobilenetv1-cifar": ({"name": "mobilenetv1", "form": "cifar"}, CIFAR),
    "mobilenetv1": ({"name": "mobilenetv1", "form": "imagenet"}, IMAGENET),
    "wrn-40-2-cifar": ({"wrn": 40, "width": 2.0}, CIFAR),
    "resnet34-cifar": ({"resnet": 34, "form": "cifar"}, CIFAR),
    "resnet34": ({"resnet": 34, "form": "imagenet"}, IMAGENET),
    "resnext29-32x4d-cifar": ({"resnext": 29, "cardinality": 32, "base_width": 4}, CIFAR),
    "resnext29-8x64d-cifar": ({"resnext": 29, "cardinality": 8, "base_width": 64}, CIFAR),
}
FLOAT32 = "float32"
#: The seven of the paper (arXiv:2311.08909, table 1).
PAPER = tuple(NETWORKS)[:7]


@dataclass(frozen=True)
class Case:
    """``draw`` gives the network. It computes the workload ``copies`` times: what is reported is
    the time of one. ``format``: the weight format that its zeros are for; only contenders in this
    one or without a format take part. ``precisions``: those that the network is given in."""

    name: str
    draw: Callable[[], Network]
    copies: int = 1
    format: str = DENSE
    precisions: tuple[str, ...] = (FLOAT32,)


def network_cases(names: Sequence[str] = PAPER) -> list[Case]:
    """InputError for a name that is no network's."""
    return [Case(name, partial(build, name)) for name in known(names, NETWORKS, "network")]


def build(name: str) -> Network:
    """A network of the table, its weights and BatchNorm statistics random."""
    return calibrated(drawn(name))


def drawn(name: str) -> Network:
    """The same, its BatchNorm statistics not those of its weights: good for its shapes."""
    spec, (shape, classes) = NETWORKS[name]
    model = cast(Model, parse_member("models", spec, f"$.{name}"))
    empty = Split(np.empty(0, np.int64), lambda indices: np.empty((0, *shape), np.float32))
    return model.build(Data(shape, tuple(map(str, range(classes))), empty, empty, empty))


def known(names: Sequence[str], table: Mapping[str, Any], what: str) -> list[str]:
    """The names, each once. InputError for one that is not in the table, with what may be meant."""
    for name in names:
        if name not in table:
            raise InputError(f"{name!r} is not a {what} of dlas bench{did_you_mean(name, table)}")
    return list(dict.fromkeys(names))
