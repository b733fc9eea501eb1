"""Records as a file for other machines: JSON lines, the first of which says what the others are.

Whoever reads one takes the lines that hold, and says which do not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dlas.errors import InputError
from dlas.tuning.record import Record

FORMAT, VERSION = "dlas tuning records", 1

_RECORD = msgspec.json.Decoder(Record)


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line."""

    format: str
    version: int


@dataclass(frozen=True)
class Imported:
    """What a file holds. ``problems``: a sentence for each line that was skipped."""

    records: tuple[Record, ...]
    problems: tuple[str, ...]


def encoded(record: Record) -> bytes:
    """One line, without its end. Numbers may be numpy's."""
    return msgspec.json.encode(record, enc_hook=float)


def decoded(line: bytes) -> Record:
    """What ``encoded`` gave. ValueError, with what is wrong, for anything else."""
    return _RECORD.decode(line)


def write_records(records: Iterable[Record], file: Path) -> int:
    """How many were written. The file is made aside and renamed, so that it is always whole; a
    device or pipe is written to. InputError where it cannot be."""
    header = msgspec.json.encode(Header(FORMAT, VERSION))
    lines = [header, *map(encoded, records)]
    text = b"".join(line + b"\n" for line in lines)
    try:
        if file.exists() and not file.is_file():
            file.write_bytes(text)
            return len(lines) - 1
        aside = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            aside.write_bytes(text)
            aside.replace(file)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from None
    return len(lines) - 1


def read_records(file: Path) -> Imported:
    """The records of a file, in its order, also those of other machines. InputError where it is
    none of ours, or cannot be read."""
    records, problems = [], []
    try:
        with file.open("rb") as lines:
            _check(lines.readline(), file)
            for number, line in enumerate(lines, 2):
                try:
                    records.append(decoded(line))
                except ValueError as error:
                    problems.append(f"{file} line {number} was skipped: {error}")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    return Imported(tuple(records), tuple(problems))


def _check(line: bytes, file: Path) -> None:
    header = None
    with contextlib.suppress(ValueError):
        header = msgspec.json.decode(line, type=Header)
    if header is None or header.format != FORMAT:
        raise InputError(
            f"{file} holds no tuning records: `dlas tuning export` writes files of them"
        )
    if header.version != VERSION:
        raise InputError(
            f"{file} has tuning records of version {header.version}, and this dlas reads version "
            f"{VERSION}: export them again with the same dlas"
        )
