"""Published ResNet weights, loaded by name, score on real images what they are known to score."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dlas.context import Context
from dlas.data import Data, Header, open_data, write_data
from dlas.evaluate import accuracy
from dlas.layer import member
from dlas.models.resnet import ResNet
from dlas.network import Network
from dlas.optimizations.float16 import Float16
from dlas.systems.tvm import Tvm

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


def trained(depth: int, data: Data, folder: Path) -> Network:
    weights = FOLDER / "weights" / f"resnet{depth}_cifar10.safetensors"
    return ResNet(depth=depth, weights=str(weights)).make(data, Context(folder, folder))


@pytest.mark.parametrize("depth,correct", [(20, 932), (32, 944)])  # 91.64 % and 92.82 % of 1,017
def test_known_accuracy(depth: int, correct: int, data: Data, tmp_path: Path) -> None:
    network = trained(depth, data, tmp_path)
    assert round(accuracy(network, data.test) * len(data.test)) == correct


@pytest.mark.parametrize("algorithm", ["spatial_pack", "cheapest"])
def test_float16_as_executed_is_as_accurate(algorithm: str, data: Data, tmp_path: Path) -> None:
    """Within 0.1 points of float32, with and without Winograd: one image of 1,017."""
    sentence = Tvm.missing()
    if sentence:
        pytest.skip(sentence)
    network = trained(20, data, tmp_path)
    half = Float16().apply(network, data, Context(tmp_path, tmp_path))
    plan = member("algorithms", algorithm)().plan(half)  # type: ignore[attr-defined]
    system = Tvm(tuning="template", trials=1)
    system.compile(half, plan, tmp_path)
    run, test = system.load(tmp_path), data.test
    found = [run(image[None]).argmax() for image in test.images()]
    correct = (np.array(found) == test.labels).mean()
    assert abs(correct - accuracy(network, test)) < 0.001
