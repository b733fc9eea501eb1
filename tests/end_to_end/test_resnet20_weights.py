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


@pytest.mark.parametrize("depth,correct", [(20, 932), (32, 944)])  # 91.64 % and 92.82 % of 1,017
def test_known_accuracy(depth: int, correct: int, data: Data, tmp_path: Path) -> None:
    weights = FOLDER / "weights" / f"resnet{depth}_cifar10.safetensors"
    network = ResNet(depth=depth, weights=str(weights)).make(data, Context(tmp_path, tmp_path))
    assert round(accuracy(network, data.test) * len(data.test)) == correct
