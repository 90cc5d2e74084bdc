"""Weights on the disk: safetensors with a checksum, and what their header tells.

Among the header's metadata is `throughtime`, a JSON object of `sha256`, of the header but for
itself and of all bytes after it, and `files`, the SHA-256 of each text file that the weights were
trained with. Beside it stand the names of tensors that are another's (safetensors' own), in order:
equal weights are equal files.
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
ENTRY = "throughtime"
NOT_YET = "0" * 64


Shapes = dict[str, tuple[int, ...]]
"""Of tensors, by name."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself: its tensors' shapes, its checksum, those of other files.

    The checksums are None in what release 0.1 wrote.
    """

    shapes: Shapes
    sha256: str | None = None
    files: dict[str, str] | None = None


def save_weights(model: nn.Module, path: Path, files: dict[str, str]) -> None:
    """Write a module's tensors; `files` are kept with them."""
    said = json.dumps({"sha256": NOT_YET, "files": files}, sort_keys=True)
    save_model(model, str(path), {ENTRY: said})
    with open(path, "r+b") as file:  # the checksum takes its place when all the rest is there
        length, said = _header(file, path)
        said["__metadata__"] = dict(sorted(said["__metadata__"].items()))
        text = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
        header = text.replace(NOT_YET, _checksum(file, length, said)).encode()
        assert len(header) <= length, "the same entries in another order"
        file.seek(8)
        file.write(header.ljust(length))


def read_header(path: Path) -> Header:
    """The header alone; `InputError` for a file that is damaged."""
    refuse_special(path, links=True)
    with _told(path), open(path, "rb") as file:
        _, said = _header(file, path)
        ours = _ours(said)
        shapes = {k: tuple(v["shape"]) for k, v in said.items() if k != "__metadata__"}
        return Header(shapes, ours["sha256"], dict(ours["files"])) if ours else Header(shapes)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read the weights into `model`; `InputError` where they are not as they were written, and
    `RuntimeError`, torch's, where they are another model's."""
    refuse_special(path, links=True)
    with _told(path):
        with open(path, "rb") as file:
            length, said = _header(file, path)
            ours = _ours(said)
            if ours and ours["sha256"] != _checksum(file, length, said):
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


def _ours(said: dict[str, Any]) -> dict[str, Any]:
    """Our entry; empty where there is none."""
    metadata = said.get("__metadata__") or {}
    if odd := [k for k, v in metadata.items() if k != ENTRY and v not in said]:
        raise ValueError(f"unknown metadata {odd[0][:80]!r}")
    return json.loads(metadata.get(ENTRY, "{}"))


def _checksum(file: Any, length: int, said: dict[str, Any]) -> str:
    """Of a header but for its own place, and of all that comes after it."""
    metadata = {**said["__metadata__"], ENTRY: _ours(said)["files"]}
    rest = {**said, "__metadata__": metadata}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    file.seek(8 + length)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
