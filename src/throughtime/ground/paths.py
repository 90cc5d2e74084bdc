"""Paths as they were typed."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import InputError

LONGEST_NAME = 255
"""Bytes of a name in a path, on every file system in use."""


def typed_path(given: str | Path) -> Path:
    """The path, ~ as its owner's home; `InputError` for one that no file can have."""
    if given == "":
        raise InputError("a name of a file or folder is empty.")
    try:
        path = Path(given).expanduser()
    except RuntimeError as error:  # nobody of that name
        raise InputError(f"{given}: {error}") from error
    try:
        encoded = [os.fsencode(part) for part in path.parts]
    except UnicodeEncodeError as error:
        raise InputError(f"{given}: not text in UTF-8, as the name of a file must be.") from error
    if any(b"\0" in part for part in encoded):
        raise InputError(f"{given}: a name of a file holds no NUL.")
    if any(len(part) > LONGEST_NAME for part in encoded) or len(os.fsencode(path)) > 4000:
        raise InputError(f"{given}: too long for the name of a file.")
    return path
