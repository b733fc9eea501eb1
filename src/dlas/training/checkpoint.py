"""A training's state between two epochs, in one safetensors file that is replaced as a whole.

Imports torch: import this file inside functions only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dlas.training.history import Epoch


def save_checkpoint(file: Path, state: dict[str, Tensor], history: Sequence[Epoch]) -> None:
    """A kill at any moment leaves the old file or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(f".{os.getpid()}")
    dense = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(dense, aside, {"history": msgspec.json.encode(history).decode()})
    os.replace(aside, file)


def load_checkpoint(file: Path, state: dict[str, Tensor]) -> list[Epoch]:
    """Fill the tensors of ``state`` in place; the epochs done, none where there is no checkpoint
    that can be read."""
    try:
        with safe_open(file, "pt") as saved:
            tensors = {name: saved.get_tensor(name) for name in state}
            history = msgspec.json.decode(saved.metadata()["history"], type=list[Epoch])
    except (FileNotFoundError, SafetensorError):
        return []
    for name, tensor in state.items():
        tensor.copy_(tensors[name])
    return history
