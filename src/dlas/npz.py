"""Named arrays in an .npz file that someone else wrote: no pickle, every fault one sentence."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlas.errors import InputError

#: What numpy raises for files that are no .npz, or truncated, or damaged.
_DAMAGED = (
    OSError, ValueError, TypeError, EOFError, LookupError, RuntimeError, SyntaxError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_arrays(path: Path, known: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """All arrays; where names are ``known``, the file's others by name alone, empty.

    Raises InputError where the file is absent, damaged or would have to be unpickled."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise InputError(f"{path} is one array without a name; save it with numpy.savez")
            wanted = loaded.files if known is None else known
            return {n: _array(loaded, n) if n in wanted else np.empty(0) for n in loaded.files}
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except MemoryError:
        raise InputError(f"{path} does not fit into memory") from None
    except _DAMAGED as error:
        pickled = "pickle" in str(error) and zipfile.is_zipfile(path)
        reason = "it holds Python objects, which dlas never loads" if pickled else str(error)
        raise InputError(f"{path} cannot be read as an .npz file: {reason}") from None


def _array(loaded: np.lib.npyio.NpzFile, name: str) -> NDArray[Any]:
    value: NDArray[Any] | bytes = loaded[name]  # bytes: what does not begin like an array
    if isinstance(value, bytes):
        raise ValueError(f"{name} is no array")
    return value
