"""Published ResNet weights, loaded by name, score on real images what they are known to score."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dlas.context import Context
from dlas.data import Data, Header, open_data, write_data
from dlas.evaluate import accuracy
from dlas.models.resnet import ResNet
from dlas.network import Network
from dlas.optimizations.base import Optimization
from dlas.optimizations.bfloat16 import BFloat16
from dlas.optimizations.float16 import Float16

FOLDER = Path(
    os.environ.get("DLAS_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")
)
IMAGES = FOLDER / "cifar10" / "lossless_subset.npz"
#: What the weights were trained with (akamaster/pytorch_resnet_cifar10).
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

pytestmark = pytest.mark.skipif(
    not IMAGES.exists(), reason=f"{IMAGES} is absent: set DLAS_TEST_DATA to the folder of test data"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("cifar10")
    with np.load(IMAGES, allow_pickle=False) as stored:
        test = stored["test_x"], stored["test_y"].astype(np.int64)
    header = Header((3, 32, 32), tuple(map(str, range(10))), MEAN, STD, 255.0)
    write_data(folder, header, dict.fromkeys(("train", "calibration", "test"), test))
    return open_data(folder)


def trained(depth: int, data: Data) -> Network:
    weights = FOLDER / "weights" / f"resnet{depth}_cifar10.safetensors"
    return ResNet(depth=depth, weights=str(weights)).make(data, Context(Path(), Path()))


def correct(network: Network, data: Data) -> int:
    return round(accuracy(network, data.test) * len(data.test))


@pytest.mark.parametrize("depth,known", [(20, 932), (32, 944)])  # 91.64 % and 92.82 % of 1,017
def test_known_accuracy(depth: int, known: int, data: Data) -> None:
    assert correct(trained(depth, data), data) == known


@pytest.mark.parametrize("optimization,points", [(Float16(), 0.1), (BFloat16(), 0.2)])
def test_half_the_bits_keep_the_accuracy(
    optimization: Optimization, points: float, data: Data
) -> None:
    network = trained(20, data)
    narrow = optimization.apply(network, data, Context(Path(), Path()))
    assert correct(narrow, data) >= correct(network, data) - points / 100 * len(data.test)
