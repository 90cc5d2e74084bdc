"""Which files a name, a glob or a directory stands for; how they are opened, .gz too."""

from __future__ import annotations

import glob
import gzip
from pathlib import Path
from typing import BinaryIO, cast

from ..ground.errors import InputError
from ..ground.paths import typed_path


def find_files(patterns: list[str]) -> list[Path]:
    """The files that names, globs and directories stand for, in order, each once."""
    found: list[Path] = []
    for pattern in patterns:
        path = typed_path(pattern)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and not hidden(p, path))
        elif path.exists():
            files = [path]
        else:
            files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
            files = [p for p in files if p.is_file()]
        if not files and path.is_dir():
            raise InputError(f"{pattern}: the directory has no files.")
        if not files:
            raise InputError(f"no such file, directory or match: {pattern}")
        found += files
    return list(dict.fromkeys(found))


def hidden(path: Path, below: Path) -> bool:
    """Whether a file or a folder on the way to it begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def open_bytes(path: Path) -> BinaryIO:
    """Open for reading, decompressing .gz."""
    try:
        return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error
