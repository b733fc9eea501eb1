"""Digests of the files a user names, so that the key follows their content and not their place."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from dlas.errors import InputError


def digest(path: Path) -> str:
    """sha256 of a file's bytes, or of a folder's sorted relative names and file digests.

    Raises InputError where there is nothing to read."""
    try:
        if path.is_dir():
            walk = os.walk(path, followlinks=True)  # class folders are often links
            files = sorted(file for parent, _, names in walk for name in names
                           if (file := Path(parent, name)).is_file())  # fmt: skip
            state = tuple((str(p.relative_to(path)), *_stat(p)) for p in files)
            return _folder_digest(path, state)
        return _file_digest(path, *_stat(path))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file or folder") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read by this user") from None


def _stat(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=4096)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _folder_digest(path: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for name, size, mtime_ns in state:
        total.update(f"{name}\0{_file_digest(path / name, size, mtime_ns)}\n".encode())
    return total.hexdigest()
