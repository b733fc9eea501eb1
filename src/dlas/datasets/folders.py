"""Images sorted into class folders, on disk or in a .zip: which image is of which class."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dlas.errors import InputError
from dlas.images import SUFFIXES

#: Folder names of a test set, the first that is there.
TEST_NAMES = ("test", "val")


@dataclass(frozen=True)
class Tree:
    """The image files under ``place`` by relative name with "/", sorted."""

    place: Path
    names: tuple[str, ...]
    archive: zipfile.ZipFile | None = None

    def open(self, name: str) -> Path | BinaryIO:
        """What Pillow can open. InputError for a damaged or locked entry of a .zip."""
        if self.archive is None:
            return self.place / name
        try:
            return io.BytesIO(self.archive.read(name))
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            RuntimeError,
            MemoryError,
        ) as error:
            raise InputError(f"{self.place}: {name} cannot be read: {error}") from None


@contextmanager
def image_tree(place: Path) -> Iterator[Tree]:
    """The images of a folder or a .zip. InputError where there are none."""
    if place.is_dir():
        yield _whole(Tree(place, image_names(place)))
        return
    try:
        archive = zipfile.ZipFile(place)
    except FileNotFoundError:
        raise InputError(f"{place}: there is no such file or folder") from None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{place} is no .zip file, or a damaged one: {error}") from None
    with archive:
        yield _whole(Tree(place, tuple(sorted(filter(is_image, archive.namelist()))), archive))


def image_names(folder: Path) -> tuple[str, ...]:
    """All image files below, links followed, by relative name with "/", sorted."""
    found = []
    for parent, _, names in os.walk(folder, followlinks=True):
        below = "".join(f"{part}/" for part in Path(parent).relative_to(folder).parts)
        found += [below + name for name in names if is_image(below + name)]
    return tuple(sorted(found))


def is_image(name: str) -> bool:
    """By its suffix; what other systems leave behind (``._cat.jpg``, ``__MACOSX``) is not."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    return name.lower().endswith(SUFFIXES) and not hidden


def _whole(tree: Tree) -> Tree:
    if not tree.names:
        raise InputError(f"{tree.place} holds no images; known are {' '.join(SUFFIXES)}")
    return tree


@dataclass(frozen=True)
class Sorted:
    """Names of image files and their class numbers, in order of name. Without ``test``, ``train``
    is a pool still to be split."""

    classes: tuple[str, ...]
    train: Sequence[tuple[str, int]]
    test: Sequence[tuple[str, int]] | None


def class_folders(tree: Tree) -> Sorted:
    """``<class>/…``, or ``train/<class>/…`` with ``test/<class>/…`` (or ``val``), below any folders
    that all have in common. Classes are numbered in order of name. InputError for images outside
    any class, and for test classes that training lacks."""
    parts = {name: name.split("/") for name in tree.names}
    above = [names[:-2] for names in parts.values()]
    common = 0
    while all(len(names) > common and names[common] == above[0][common] for names in above):
        common += 1
    below = {name: names[common:] for name, names in parts.items()}
    tops = {names[0] for names in below.values()}
    test = next((name for name in TEST_NAMES if name in tops and "train" in tops), None)
    if test is None:
        pool = _by_class(tree, below, "")
        return Sorted(*_numbered(pool), None)
    others = tops - {"train", *TEST_NAMES}
    if others:
        raise InputError(f"{tree.place}: {min(others)} lies beside train and {test}; move it away")
    classes, train = _numbered(_by_class(tree, below, "train"))
    tested = _by_class(tree, below, test)
    unknown = set(tested.values()) - set(classes)
    if unknown:
        name = min(unknown)
        raise InputError(f"{tree.place}: {test} has the class {name!r}, which train has not")
    return Sorted(classes, train, [(name, classes.index(c)) for name, c in tested.items()])


def _by_class(tree: Tree, below: Mapping[str, list[str]], split: str) -> dict[str, str]:
    """Name → class folder, for the images of one split."""
    found = {}
    for name, parts in below.items():
        if split and parts[0] != split:
            continue
        rest = parts[1:] if split else parts
        if len(rest) < 2:
            raise InputError(f"{tree.place}: {name} lies in no class folder")
        found[name] = rest[0]
    return found


def _numbered(found: Mapping[str, str]) -> tuple[tuple[str, ...], list[tuple[str, int]]]:
    classes = tuple(sorted(set(found.values())))
    number = {name: index for index, name in enumerate(classes)}
    return classes, [(name, number[folder]) for name, folder in found.items()]
