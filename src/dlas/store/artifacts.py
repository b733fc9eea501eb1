"""Artifacts by content key: made aside, then renamed into place; verified before they are used.

An artifact is a folder. ``manifest.json`` lists its files with their sha256, and comes last: a
folder without it was never finished. With a remote root (any fsspec URL) artifacts are mirrored:
made here, uploaded, and fetched by whoever lacks them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import fsspec
import psutil

from dlas.errors import StoreError

MANIFEST = "manifest.json"
_log = logging.getLogger("dlas.store")


class Artifacts:
    """Folders under ``root`` by key. ``remote``: an fsspec URL to share them through, or ""."""

    def __init__(self, root: Path, remote: str = "") -> None:
        self.root = root
        self.remote = remote.rstrip("/")
        self._verified: set[str] = set()

    def find(self, key: str) -> Path | None:
        """The artifact's folder, its files verified; None where it must be made. A damaged one is
        removed, with a warning."""
        folder = self.place(key)
        if not folder.exists() and not self._fetch(key):
            return None
        if key not in self._verified:
            damage = _damage(folder)
            if damage:
                _log.warning("artifact %s is damaged (%s) and is made again", key[:12], damage)
                shutil.rmtree(folder)
                return None
            self._verified.add(key)
        return folder

    def begin(self, key: str) -> Path:
        """A scratch folder to fill; ``finish`` or ``drop`` it."""
        scratch = self.root / "scratch"
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{key[:12]}-", dir=scratch))
        except OSError as error:
            raise StoreError(f"the store {self.root} cannot be written: {error.strerror}") from None

    def finish(self, key: str, folder: Path) -> Path:
        """Rename a filled scratch folder into its place, which is returned. If another process
        was first, its artifact stands and ours is dropped."""
        place = self.place(key)
        try:
            _write_manifest(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(place)
        except OSError as error:
            self.drop(folder)
            if not (place / MANIFEST).exists():
                raise StoreError(f"the store {self.root}: {error.strerror}") from None
        shutil.rmtree(self.checkpoints(key), ignore_errors=True)
        self._verified.add(key)
        self._upload(key)
        return place

    def drop(self, folder: Path) -> None:
        """Remove a scratch folder that will not be finished."""
        shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the scratch folders of processes that are gone."""
        for folder in (self.root / "scratch").glob("*-*-*"):
            if not psutil.pid_exists(int(folder.name.partition("-")[0])):
                self.drop(folder)

    def checkpoints(self, key: str) -> Path:
        """A folder that survives a kill, for the next try at the same artifact."""
        return self.root / "checkpoints" / key

    def place(self, key: str) -> Path:
        """Where a key's artifact lies, or would."""
        return self.root / "artifacts" / key[:2] / key

    def _fetch(self, key: str) -> bool:
        if not self.remote:
            return False
        filesystem, path = fsspec.core.url_to_fs(f"{self.remote}/{key}")
        if not filesystem.exists(f"{path}/{MANIFEST}"):
            return False
        scratch = self.root / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            folder = Path(name) / "artifact"
            filesystem.get(path, str(folder), recursive=True)
            place = self.place(key)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                folder.rename(place)
        return True

    def _upload(self, key: str) -> None:
        if not self.remote:
            return
        filesystem, path = fsspec.core.url_to_fs(f"{self.remote}/{key}")
        folder = self.place(key)
        names = [str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.is_file()]
        for name in [n for n in names if n != MANIFEST] + [MANIFEST]:  # the manifest makes it whole
            filesystem.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
            filesystem.put_file(str(folder / name), f"{path}/{name}")


def _write_manifest(folder: Path) -> None:
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    with (folder / MANIFEST).open("w") as file:
        json.dump(files, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _damage(folder: Path) -> str:
    """What is wrong with a finished artifact, "" when nothing is."""
    try:
        files = json.loads((folder / MANIFEST).read_text())
        for name, expected in files.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is gone"
            if path.stat().st_size != expected["bytes"] or _sha256(path) != expected["sha256"]:
                return f"{name} has changed"
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return f"{MANIFEST} cannot be read"
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
