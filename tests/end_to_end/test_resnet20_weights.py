"""Published ResNet weights, loaded by name, score on real images what they are known to score, and
in int8 nearly so."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dlas.context import Context
from dlas.data import Data, Header, open_data, write_data
from dlas.evaluate import accuracy, scores
from dlas.layer import member
from dlas.models.resnet import ResNet
from dlas.network import Network
from dlas.optimizations.base import Optimization
from dlas.optimizations.bfloat16 import BFloat16
from dlas.optimizations.float16 import Float16
from dlas.optimizations.int8 import Int8
from dlas.study.agreement import quantization_step, share_within
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
        chosen = np.random.default_rng(0).permutation(len(stored["train_x"]))[:128]
        seen = stored["train_x"][chosen], stored["train_y"][chosen].astype(np.int64)
    header = Header((3, 32, 32), tuple(map(str, range(10))), MEAN, STD, 255.0)
    write_data(folder, header, {"train": seen, "calibration": seen, "test": test})
    return open_data(folder)


def trained(depth: int, data: Data) -> Network:
    weights = FOLDER / "weights" / f"resnet{depth}_cifar10.safetensors"
    return ResNet(depth=depth, weights=str(weights)).make(data, Context(Path(), Path()))


def correct(network: Network, data: Data) -> int:
    return round(accuracy(network, data.test) * len(data.test))


@pytest.mark.parametrize("depth,known", [(20, 932), (32, 944)])  # 91.64 % and 92.82 % of 1,017
def test_known_accuracy(depth: int, known: int, data: Data) -> None:
    assert correct(trained(depth, data), data) == known


@pytest.mark.parametrize(
    "optimization,points",
    [
        (Float16(), 0.1),
        (BFloat16(), 0.2),
        (Int8(), 0.5),
        (Int8(calibration="mse", activations="int8"), 0.5),
        (Int8(calibration="entropy", bias_correction=True, equalization=True), 0.5),
    ],
    ids=lambda value: value.label() if isinstance(value, Optimization) else str(value),
)
def test_fewer_bits_keep_the_accuracy(
    optimization: Optimization, points: float, data: Data
) -> None:
    network = trained(20, data)
    narrow = optimization.apply(network, data, Context(Path(), Path()))
    assert narrow.dtype == optimization.name
    assert correct(narrow, data) >= correct(network, data) - points / 100 * len(data.test)


@pytest.mark.parametrize(
    "optimization,algorithm,points",
    [
        (Float16(), "cheapest", 0.1),
        (BFloat16(), "spatial_pack", 0.2),
        (Int8(), "spatial_pack", 0.5),
    ],
)
def test_accuracy_as_executed(
    optimization: Optimization, algorithm: str, points: float, data: Data, tmp_path: Path
) -> None:
    """Of the compiled network, against the trained one in float32."""
    sentence = Tvm.missing()
    if sentence:
        pytest.skip(sentence)
    network, test = trained(20, data), data.test
    narrow = optimization.apply(network, data, Context(tmp_path, tmp_path))
    plan = member("algorithms", algorithm)().plan(narrow)  # type: ignore[attr-defined]
    system = Tvm(tuning="template", trials=1)
    system.compile(narrow, plan, tmp_path)
    run = system.load(tmp_path)
    found = np.concatenate([run(image[None]) for image in test.images()])
    right = (found.argmax(1) == test.labels).sum()
    assert right >= correct(network, data) - points / 100 * len(test)
    expected = scores(narrow, test.images())
    step = quantization_step(narrow, expected)
    assert step is None or share_within(found, expected, step) >= 0.999
