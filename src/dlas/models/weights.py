"""``load_weights``: trained weights from a safetensors file, matched by name. Never pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from dlas.errors import InputError
from dlas.network import Network

#: What wrappers of modules put before every name.
PREFIXES = ("module.", "model.", "_orig_mod.")
#: What PyTorch counts in BatchNorm layers, and inference does not read.
COUNTER = "num_batches_tracked"


def load_weights(network: Network, file: Path) -> Network:
    """The network with all its weights and statistics from ``file``, which holds them by the
    network's names, in any floating-point type, perhaps all behind a prefix of ``PREFIXES``.

    InputError for a file that is none, names that only one side has, other shapes (both named),
    and values that are no finite numbers."""
    arrays = _without_prefix(read_safetensors(file))
    wanted = (*network.trainable, *network.statistics)
    _check_names(file, wanted, arrays)
    model = network.edited()
    for tensor in model.graph.initializer:
        if tensor.name in arrays:
            array = arrays[tensor.name]
            _check_array(file, tensor.name, array, tuple(tensor.dims))
            dtype = network.initializers[tensor.name].dtype
            tensor.CopyFrom(numpy_helper.from_array(array.astype(dtype), tensor.name))
    return Network(model)


def read_safetensors(file: Path) -> dict[str, NDArray[Any]]:
    """Every tensor by name. InputError where the file is absent or something else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(file.read_bytes()))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except (SafetensorError, KeyError) as error:
        raise InputError(
            f"{file} is not a safetensors file that numpy can read ({error}); write one with "
            "safetensors.torch.save_file(module.state_dict(), file): dlas loads no pickle"
        ) from None


def _without_prefix(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    found = {name: array for name, array in arrays.items() if not name.endswith(COUNTER)}
    while prefix := next((p for p in PREFIXES if _all_start(found, p)), None):
        found = {name.removeprefix(prefix): array for name, array in found.items()}
    return found


def _all_start(names: Mapping[str, Any], prefix: str) -> bool:
    return bool(names) and all(name.startswith(prefix) for name in names)


def _check_names(file: Path, wanted: Sequence[str], arrays: Mapping[str, Any]) -> None:
    absent = [name for name in wanted if name not in arrays]
    unknown = [name for name in arrays if name not in wanted]
    if absent:
        has = f"; it has {_some(unknown)}, which the network has not" if unknown else ""
        raise InputError(f"{file} lacks {_some(absent)} of {len(wanted)} tensors{has}")
    if unknown:
        raise InputError(f"{file} has {_some(unknown)}, which the network has not")


def _check_array(file: Path, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise InputError(f"{file}: {name} has shape {array.shape}, the network's has {shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{file}: {name} holds NaN or infinite values")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
