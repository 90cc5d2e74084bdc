"""Weights on the disk: safetensors with a checksum, and what their header tells.

The header's metadata hold `sha256`, of the names, types and shapes and of all bytes after the
header, and `files`: the SHA-256 of each text file that the weights were trained with.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from .ground.errors import InputError, first_line
from .ground.whole import refuse_special

LONGEST_HEADER = 100_000_000
"""Bytes; safetensors' own limit."""
CHUNK = 1 << 20
NOT_YET = "0" * 64


Shapes = dict[str, tuple[int, ...]]
"""Of tensors, by name."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself: its tensors' shapes, its checksum, those of other files.

    The checksums are None in what release 0.1 wrote.
    """

    shapes: Shapes
    sha256: str | None
    files: dict[str, str] | None


def save_weights(model: nn.Module, path: Path, files: dict[str, str]) -> None:
    """Write a module's tensors; `files` are kept with them."""
    save_model(model, str(path), {"sha256": NOT_YET, "files": json.dumps(files)})
    with open(path, "r+b") as file:  # the checksum takes its place when all the rest is there
        length, said = _header(file, path)
        at = file.seek(8) + file.read(length).index(NOT_YET.encode())
        checksum = _checksum(file, length, said)
        file.seek(at)
        file.write(checksum.encode())


def read_header(path: Path) -> Header:
    """The header alone; `InputError` for a file that is damaged."""
    refuse_special(path, links=True)
    with _told(path), open(path, "rb") as file:
        _, said = _header(file, path)
        metadata = said.get("__metadata__") or {}
        shapes = {k: tuple(v["shape"]) for k, v in said.items() if k != "__metadata__"}
        if "sha256" not in metadata:
            return Header(shapes, None, None)
        return Header(shapes, metadata["sha256"], dict(json.loads(metadata["files"])))


def load_weights(model: nn.Module, path: Path) -> None:
    """Read the weights into `model`; `InputError` where they are not as they were written, and
    `RuntimeError`, torch's, where they are another model's."""
    refuse_special(path, links=True)
    with _told(path):
        with open(path, "rb") as file:
            length, said = _header(file, path)
            checksum = (said.get("__metadata__") or {}).get("sha256")
            if checksum is not None and checksum != _checksum(file, length, said):
                raise ValueError("its bytes are not those that were written (checksum)")
        load_model(model, str(path))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Inside, a file that cannot be read as weights is an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise InputError(
            f"{path}: damaged or truncated: {first_line(error)}. The weights of the last "
            "checkpoint are in trainer.pt: --checkpoint last."
        ) from error


def _header(file: Any, path: Path) -> tuple[int, dict[str, Any]]:
    """How long the header is, and what it says."""
    (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
    if not 2 <= length <= min(LONGEST_HEADER, path.stat().st_size - 8):
        raise ValueError(f"a header of {length} bytes")
    said = json.loads(file.read(length))
    if not isinstance(said, dict):
        raise ValueError("a header that is no mapping")
    return length, said


def _checksum(file: Any, length: int, said: dict[str, Any]) -> str:
    """Of a header but for its own place, and of all that comes after it."""
    metadata = {k: v for k, v in (said.get("__metadata__") or {}).items() if k != "sha256"}
    rest = {**said, "__metadata__": metadata}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    file.seek(8 + length)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
