"""The errors a user can meet. Each is one sentence that names the place and the remedy; the
command line prints it without a traceback and exits with status 2."""

from __future__ import annotations


class DlasError(Exception):
    """Something the user can mend; ``str(error)`` is the whole message."""


class SpecError(DlasError):
    """A stack or study says what it cannot mean. ``path`` is the place, like ``$.model.width``."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(f"{path}: {sentence}")
        self.path = path
        self.sentence = sentence


class InputError(DlasError):
    """A file or folder that the user named is absent, damaged or holds something else."""


class Refused(DlasError):
    """This combination of choices has no meaning or no implementation; recorded, not a crash."""


class OverBudget(DlasError):
    """It would take longer than it was given; recorded as timed out, not a crash."""


class StoreError(DlasError):
    """The store cannot be read or written (full disk, damaged database, no permission)."""
