"""A user's own network, from an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from dlas.data import Data
from dlas.layer import InputPath
from dlas.models.base import Model
from dlas.network import Network
from dlas.network.opening import external_files


class OnnxFile(Model, frozen=True, kw_only=True):
    """``path``: a classifier with one image input (N, C, H, W) and one output of scores, both
    float32. Other opsets and fixed batches are converted where the graph allows; see
    ``dlas.network.opening``. Weights in files beside it are read too."""

    name: ClassVar[str] = "onnx"
    distributions: ClassVar[tuple[str, ...]] = ("onnx",)
    has_weights: ClassVar[bool] = True

    path: InputPath

    def inputs(self) -> dict[str, Path]:
        """The file, and those beside it that hold its weights."""
        file = Path(self.path)
        beside = {f"path/{name}": file.parent / name for name in external_files(file)}
        return {**super().inputs(), **beside}

    def build(self, data: Data) -> Network:
        return Network.open(Path(self.path))
