"""Layer 6, hardware: what a member is."""

from __future__ import annotations

import abc
from pathlib import Path

from dlas.layer import Member
from dlas.measure.protocol import Protocol, Session


class Hardware(Member, frozen=True, kw_only=True):
    """A device on which executables are timed."""

    protocol: Protocol = Protocol()

    @abc.abstractmethod
    def open(self, executable: Path) -> Session:
        """Start to load an executable on the device, in a process of its own; the session's
        ``wait`` returns when it is ready. Raises Refused with a sentence where the device cannot
        run it, InputError where the folder holds no executable."""
        raise NotImplementedError

    @abc.abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """What this device is; part of the key, so two machines are never mixed."""
        raise NotImplementedError

    def probe(self, folder: Path) -> None:
        """Measure what the device can do at most, once; it is kept in ``folder``."""

    def tools(self) -> dict[str, str]:
        return {**super().tools(), **self.fingerprint()}
