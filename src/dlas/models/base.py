"""Layer 2, models & neural architectures: what a member is."""

from __future__ import annotations

import abc

from dlas.context import Context
from dlas.data import Data
from dlas.layer import InputPath, Member
from dlas.network import Network
from dlas.training import Recipe


class Model(Member, frozen=True, kw_only=True):
    """A network and how it gets its weights: ``weights`` (a safetensors file) or ``train``; with
    neither, the seeded initial weights."""

    train: Recipe | None = None
    weights: InputPath | None = None
    seed: int = 0

    @abc.abstractmethod
    def build(self, data: Data) -> Network:
        """The untrained network for this data's shape and classes."""
        raise NotImplementedError

    def make(self, data: Data, context: Context) -> Network:
        """Build, then load weights and train as the spec says."""
        raise NotImplementedError
