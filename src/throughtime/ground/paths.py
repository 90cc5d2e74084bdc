"""Paths as they were typed."""

from __future__ import annotations

import glob
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


def absolute(given: str | Path) -> str:
    """The path from the root of the file system, so that it leads to the same from any folder.

    A glob stays one; what the current folder's own name has of a glob's signs means itself. Links
    are not followed: the name is that which was typed. It stays relative where the current folder's
    name is no text in UTF-8, which no file of settings could hold.
    """
    path, here = typed_path(given), os.getcwd()
    if path.is_absolute() or not is_text(here):
        return str(path)
    parts = path.parts
    while parts[:1] == ("..",):
        here, parts = os.path.dirname(here), parts[1:]
    is_glob = glob.has_magic(str(path)) and not os.path.lexists(path)
    return os.path.join(glob.escape(here) if is_glob else here, *parts)


def is_text(path: str) -> bool:
    """Whether a path is text in UTF-8; the system's own names need not be."""
    return path.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in path)


def leads(path: str) -> bool:
    """Whether there is anything at a path; of a glob, whether there is a folder to look in."""
    if os.path.exists(path):
        return True
    there = Path()
    for part in Path(path).parts:
        there /= part
        if not os.path.exists(there):
            return glob.has_magic(part)
    return False
