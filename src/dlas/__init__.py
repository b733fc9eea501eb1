"""dlas: the deep-learning acceleration stack.

Which choices across all six layers — data sets, models, model optimizations, algorithms and data
formats, systems software, hardware — make *your* network fast, small and still accurate on *your*
machine, and why.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlas.api import results, run, write_report
    from dlas.errors import DlasError
    from dlas.executable import load
    from dlas.stack import Stack
    from dlas.study.space import Study

__version__ = "0.1.0"
__all__ = ["DlasError", "Stack", "Study", "load", "results", "run", "write_report"]

_PLACES = {
    "DlasError": "dlas.errors",
    "Stack": "dlas.stack",
    "Study": "dlas.study.space",
    "load": "dlas.executable",
    "results": "dlas.api",
    "run": "dlas.api",
    "write_report": "dlas.api",
}


def __getattr__(name: str) -> Any:  # imported when first used: `dlas --help` must not wait
    if name not in _PLACES:
        raise AttributeError(f"module 'dlas' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
