"""Scores and accuracy by ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from dlas.data import Split
from dlas.errors import Refused
from dlas.evaluate import BATCH, accuracy, scores, split_scores
from dlas.network import Network
from dlas.testing.networks import DTYPES, DType, noise_images, tiny

COUNT = 2 * BATCH + 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_accuracy_is_the_share_of_highest_scores(dtype: DType) -> None:
    network, images = tiny("plain", dtype), noise_images((3, 16, 16), COUNT)
    found = scores(network, images)
    assert found.shape == (COUNT, 10)
    assert found.dtype == np.float32
    labels = found.argmax(axis=1)
    labels[: COUNT // 2] = (labels[: COUNT // 2] + 1) % 10
    split = Split(labels, lambda indices: images[indices])
    assert accuracy(network, split) == (COUNT - COUNT // 2) / COUNT
    assert [len(part) for part in split_scores(network, split)] == [BATCH, BATCH, 3]


def test_batches_do_not_matter() -> None:
    network, images = tiny("residual"), noise_images((3, 16, 16), 3)
    one_by_one = np.concatenate([scores(network, image[None]) for image in images])
    np.testing.assert_allclose(scores(network, images, threads=2), one_by_one, 1e-4, 1e-6)


def test_what_onnxruntime_lacks_is_refused() -> None:
    model = tiny("plain").edited()
    for opset in model.opset_import:
        opset.version = 999
    with pytest.raises(Refused, match="ONNX Runtime cannot run the network: "):
        scores(Network(model), noise_images((3, 16, 16), 1))
