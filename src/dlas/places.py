"""Where dlas keeps what belongs to the user and to no single store."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$DLAS_CACHE``, else the platform's place for a user's caches. Not made here."""
    chosen = os.environ.get("DLAS_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("dlas")
