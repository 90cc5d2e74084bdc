"""Where derived files live: encoded corpora, compiled scans."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$THROUGHTIME_CACHE, or throughtime in the user's cache folder."""
    chosen = os.environ.get("THROUGHTIME_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "throughtime"
