"""What a network says of images, by ONNX Runtime: the reference for accuracy in every precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dlas.data import Split
from dlas.errors import Refused
from dlas.network import Network

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Images = NDArray[np.float32]  # (n, C, H, W)
Scores = NDArray[np.float32]  # (n, classes)

#: Images in one run: enough to keep a core busy, few enough for ImageNet's activations.
BATCH = 64


def accuracy(network: Network, split: Split, threads: int = 1) -> float:
    """Top-1: the share of the split's images whose highest score is their label's, in [0, 1]."""
    found = [part.argmax(axis=1) for part in split_scores(network, split, threads)]
    return float((np.concatenate(found) == split.labels).mean())


def scores(network: Network, images: Images, threads: int = 1) -> Scores:
    """The scores of all images. For a whole split ``split_scores`` holds one batch at a time."""
    batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    return np.concatenate(list(batch_scores(network, batches, threads)))


def split_scores(network: Network, split: Split, threads: int = 1) -> Iterator[Scores]:
    """The scores of a split's images, batch after batch in the split's order."""
    return batch_scores(network, (images for images, _ in split.batches(BATCH)), threads)


def batch_scores(network: Network, batches: Iterable[Images], threads: int = 1) -> Iterator[Scores]:
    """The scores of each batch. Raises Refused where ONNX Runtime cannot run the network."""
    session = cpu_session(network, threads)
    for images in batches:
        yield session.run([network.output_name], {network.input_name: images})[0]


def cpu_session(network: Network, threads: int = 1) -> InferenceSession:
    """ONNX Runtime's session for the network. Raises Refused where it cannot run it."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors: warnings are for people who watch
    model = network.model.SerializeToString()
    try:
        return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    except (failures.NotImplemented, failures.Fail, failures.InvalidGraph) as error:
        raise Refused(f"ONNX Runtime cannot run the network: {error}") from None
