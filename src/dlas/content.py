"""Digests of the files a user names, so that the key follows their content and not their place."""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import lru_cache
from pathlib import Path

from dlas.errors import InputError
from dlas.places import cache_folder

#: The digest of a folder this large is kept by the names, sizes and times of its files: reading
#: ImageNet for every command would take minutes.
KEPT_FROM_BYTES = 64 << 20


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
    if sum(size for _, size, _ in state) < KEPT_FROM_BYTES:
        return _read_folder(path, state)
    known = hashlib.sha256(repr((str(path), state)).encode()).hexdigest()
    kept = cache_folder() / "digests" / known
    if kept.exists():
        return kept.read_text()
    found = _read_folder(path, state)
    with contextlib.suppress(OSError):  # where nothing can be kept, it is read again next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        scratch = kept.with_suffix(f".{os.getpid()}")
        scratch.write_text(found)
        scratch.replace(kept)
    return found


def _read_folder(path: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for name, size, mtime_ns in state:
        total.update(f"{name}\0{_file_digest(path / name, size, mtime_ns)}\n".encode())
    return total.hexdigest()
