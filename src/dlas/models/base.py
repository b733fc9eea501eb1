"""Layer 2, models & neural architectures: what a member is."""

from __future__ import annotations

import abc
import importlib.util
from pathlib import Path
from typing import ClassVar

from dlas.context import Context
from dlas.data import Data
from dlas.errors import InputError, Refused
from dlas.layer import InputPath, Member, distribution_version
from dlas.models.weights import load_weights
from dlas.network import Network
from dlas.training import REVISION, Recipe


class Model(Member, frozen=True, kw_only=True):
    """A network and how it gets its weights: from ``weights`` (a safetensors file), by ``train``,
    or both, which goes on training from the file. With neither they are random, and BatchNorm has
    the statistics of noise, so that numbers stay in the range of trained networks' (see
    ``calibration``)."""

    #: Its random numbers are the initial weights.
    distributions: ClassVar[tuple[str, ...]] = ("numpy",)
    #: Whether what it builds comes with weights that mean something.
    has_weights: ClassVar[bool] = False

    train: Recipe | None = None
    weights: InputPath | None = None
    seed: int = 0

    @property
    def untrained(self) -> str:
        """Why its accuracy would say nothing, as a sentence; "" where it does."""
        trains = self.train is not None and self.train.epochs > 0
        if self.has_weights or self.weights is not None or trains:
            return ""
        return "its weights are random, so it has no accuracy: give it weights, or train"

    @abc.abstractmethod
    def build(self, data: Data) -> Network:
        """The network for this data's shape and classes, with initial weights drawn by ``seed``.
        Raises Refused where it has no form for such images."""
        raise NotImplementedError

    def make(self, data: Data, context: Context) -> Network:
        """Build, load, train. Raises InputError where weights or network do not fit, Refused where
        PyTorch is needed and absent."""
        network = self.build(data)
        self._check_fit(network, data)
        if self.weights is not None:
            network = load_weights(network, Path(self.weights))
        if self.train is not None:
            if importlib.util.find_spec("torch") is None:
                raise Refused("training needs torch: pip install 'dlas[torch]'")
            from dlas.training import train

            network = train(network, data, self.train, seed=self.seed, context=context)
        if self.untrained:
            from dlas.models.calibration import calibrated

            network = calibrated(network, self.seed)
        return network

    def tools(self) -> dict[str, str]:
        if self.untrained:
            return {**super().tools(), "dlas.calibration": "1"}
        if self.train is None:
            return super().tools()
        training = {"dlas.training": str(REVISION), "torch": distribution_version("torch")}
        return {**super().tools(), **training}

    def _check_fit(self, network: Network, data: Data) -> None:
        if network.input_shape != data.shape:
            raise InputError(
                f"{self.label()} takes images of shape {network.input_shape}, "
                f"the data set's have {data.shape}"
            )
        if network.classes != len(data.classes):
            raise InputError(
                f"{self.label()} gives {network.classes} scores, "
                f"the data set has {len(data.classes)} classes"
            )
