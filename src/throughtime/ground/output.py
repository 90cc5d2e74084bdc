"""What verbs write: files never over another, whole or not at all; JSON that any reader takes."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from .errors import InputError
from .paths import typed_path


def refuse_existing(path: str | Path) -> Path:
    """The path, if a new file can be made there; otherwise an `InputError` that says why."""
    path = typed_path(path)
    if path.exists():
        raise InputError(f"{path} exists and is not overwritten. Choose another name.")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder to write {path.name} into.")
    return path


def json_text(value: Any, **options: Any) -> str:
    """JSON as every reader takes it: numbers that are not finite are null."""
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False, **options)


def finite(value: Any) -> Any:
    """The same plain data, None in the place of numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return value


def make_folder(path: Path) -> None:
    """The folder, and those above it, where they are not there; `InputError` if it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made: {error.strerror}.") from error


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder to write into, made if need be; one made for a block that fails does not stay."""
    path = typed_path(path)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    make_folder(path)
    try:
        yield path
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: what is in it was asked for
            for folder in made:
                folder.rmdir()
        raise


@contextlib.contextmanager
def new_path(path: str | Path) -> Iterator[Path]:
    """A temporary path; what is written there appears under the name when the block ends well."""
    path = refuse_existing(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    temporary.unlink(missing_ok=True)  # left by a killed process
    try:
        yield temporary
        publish(temporary, path)
    except FileExistsError as error:
        raise InputError(f"{path} exists and is not overwritten. Choose another name.") from error
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Give the file its name, never over what came there meanwhile: `FileExistsError`.

    On a file system without links a kill at that very moment leaves an empty file.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # no links there: the name is taken by an empty file first
        path.open("x").close()
        try:
            os.replace(temporary, path)
        except OSError:
            path.unlink()
            raise


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[TextIO]:
    """A new text file that appears under its name when the block ends well."""
    with (
        new_path(path) as temporary,
        open(temporary, "x", encoding="utf-8", newline="\n") as file,
    ):
        yield file


def measured(line: str) -> dict[str, Any]:
    """A line of metrics.jsonl; NaN for null, which was written for a number that is not finite.

    `ValueError` for a line that is not one.
    """
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, got {line[:40]!r}")
    return {name: math.nan if value is None else value for name, value in values.items()}
