"""How a layer's weights are stored: numpy arrays, exact in both directions.

Formats are named as in a plan's step: ``dense``, ``csr``, ``kept_channels``, and ``bsr_RxC`` for
blocks of R output by C input channels, such as ``bsr_16x1``.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from dlas.algorithms.formats.bsr import Bsr, misfit
from dlas.algorithms.formats.csr import Csr
from dlas.algorithms.formats.dense import Dense
from dlas.algorithms.formats.files import open_weights, save
from dlas.algorithms.formats.kept_channels import KeptChannels
from dlas.algorithms.formats.stored import Floats, Stored
from dlas.errors import SpecError
from dlas.layer import did_you_mean

__all__ = [
    "FORMATS", "Bsr", "Csr", "Dense", "KeptChannels", "Stored", "WeightFormat", "convert",
    "open_weights", "save", "weight_format",
]  # fmt: skip

#: The names, and of the family bsr_RxC those that a sweep over formats takes.
FORMATS = ("dense", "csr", "kept_channels", "bsr_16x1", "bsr_4x4", "bsr_1x16")


class WeightFormat(NamedTuple):
    """What a name says; ``block`` (R_b, C_b) is that of ``bsr``."""

    kind: Literal["dense", "csr", "kept_channels", "bsr"]
    block: tuple[int, int] = (1, 1)

    def of(self, weight: Floats, groups: int = 1) -> Stored:
        """weight (K, C/groups, R, S) float32, so stored. InputError for any other array."""
        match self.kind:
            case "dense":
                return Dense.of(weight)
            case "csr":
                return Csr.of(weight)
            case "kept_channels":
                return KeptChannels.of(weight, groups)
            case "bsr":
                return Bsr.of(weight, self.block)


def weight_format(name: str, path: str = "$.format") -> WeightFormat:
    """The format of a name. SpecError where there is none, with what may be meant."""
    if name in ("dense", "csr", "kept_channels"):
        return WeightFormat(name)  # type: ignore[arg-type]  # one of the literals
    sides = re.fullmatch("bsr_(0|[1-9][0-9]*)x(0|[1-9][0-9]*)", name)
    if sides is None:
        hint = "; did you mean 'bsr_16x1'?" if name == "bsr" else did_you_mean(name, FORMATS)
        raise SpecError(path, f"{name!r} is not a weight format{hint}")
    block = int(sides[1]), int(sides[2])
    sentence = misfit(block)
    if sentence:
        raise SpecError(path, f"{name!r} has {sentence}")
    return WeightFormat("bsr", block)


def convert(name: str, weight: Floats, groups: int = 1) -> Stored:
    """The weight (K, C/groups, R, S) in the format of that name, exactly."""
    return weight_format(name).of(weight, groups)
