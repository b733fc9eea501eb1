"""Fetch a file once, whole and checked, into the user's cache."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from dlas.context import silent
from dlas.errors import InputError

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0


def download(
    url: str,
    md5: str,
    file: Path,
    open_url: Callable[..., BinaryIO] = urllib.request.urlopen,
    progress: Callable[[float, str], None] = silent,
) -> None:
    """Bring ``url`` to ``file`` unless it lies there with this md5. The file appears under its name
    only when whole and checked, so two processes may race. Raises InputError, with the reason,
    where the network does not give it."""
    if file.is_file() and _md5(file) == md5:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
    try:
        with os.fdopen(handle, "wb") as aside:
            for chunk in _chunks(url, open_url, progress):
                aside.write(chunk)
        found = _md5(Path(name))
        if found != md5:
            raise InputError(f"{url} arrived damaged: its md5 is {found}, expected {md5}")
        os.replace(name, file)
    finally:
        Path(name).unlink(missing_ok=True)


def _chunks(
    url: str, open_url: Callable[..., BinaryIO], progress: Callable[[float, str], None]
) -> Iterator[bytes]:
    try:
        with open_url(url, timeout=TIMEOUT_S) as answer:
            total = int(getattr(answer, "headers", {}).get("Content-Length") or 0)
            done = 0
            while chunk := answer.read(CHUNK_BYTES):
                done += len(chunk)
                progress(done / total if total else 0.0, f"downloading, {done / 1e6:.0f} MB")
                yield chunk
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise InputError(f"{url} cannot be downloaded: {error}") from None


def _md5(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
