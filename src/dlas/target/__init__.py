"""The machine that code is generated for, as a compiler sees it: part of an executable's identity.

The *device* that an executable is timed on is layer 6's, in ``dlas.hardware``."""

from dlas.target.target import Cache, Target, host

__all__ = ["Cache", "Target", "host"]
