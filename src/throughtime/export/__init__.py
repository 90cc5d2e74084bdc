"""Trained models in other languages, all from the same traces: C, ONNX, a page.

Why it is so: docs/decisions/exporting.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..ground.errors import InputError, one_of
from ..ground.output import make_folder
from ..ground.paths import typed_path
from ..tasks.exported import Exported

LARGE = 16 * 2**20
"""Bytes of weights above which C asks for `yes`."""

TARGETS = ("c", "onnx", "page")


def write(
    exported: Exported,
    out: str | Path,
    *,
    to: str = "c",
    name: str,
    precision: str = "float32",
    what: str = "A model",
    form: str = "sequence",
    kind: str = "",
    yes: bool = False,
) -> Path:
    """The folder, which is new, with the files of a target. `kind`: the name of the task."""
    one_of("target", to, TARGETS)
    folder = new(out)
    if to == "page":
        from . import page

        one_of("precision", precision, page.PRECISIONS)
        return put_page(folder, page.file(exported, name, precision, what))
    known(name)
    if to == "onnx":
        from . import onnx

        one_of("precision", precision, onnx.PRECISIONS)
        one_of("form", form, onnx.FORMS)
        put(folder, onnx.files(exported, name, precision, what, form, kind))
        return folder
    from . import c

    one_of("precision", precision, c.PRECISIONS)
    size = numbers_in(exported) * (4 if precision == "float32" else 1)
    if size > LARGE and not yes:
        raise InputError(
            f"the weights are {size / 2**20:.0f} MB, a file of C three times that, which compilers "
            "take minutes for: --yes writes it all the same, --precision int8 a quarter of it."
        )
    put(folder, c.files(exported, name, precision, what))
    return folder


def put_page(out: Path, text: str) -> Path:
    """Write the page: `out` itself, where it ends in .html, else index.html in it."""
    if out.suffix.lower() in (".html", ".htm"):
        make_folder(out.parent)
        out.write_text(text, encoding="utf-8")
    else:
        put(out, {"index.html": text})
    return out


def put(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files into a folder that was not there."""
    make_folder(folder)
    for path, text in files.items():
        target = folder / path
        make_folder(target.parent)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())


def new(out: str | Path) -> Path:
    """The path of a folder that is not there yet."""
    folder = typed_path(out)
    if folder.exists():
        raise InputError(f"{folder} exists and is not overwritten. Choose another --out.")
    return folder


def known(name: str) -> str:
    """A name that functions of C may begin with."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise InputError(
            f"{name!r} is no name in C: expected a letter, then letters, digits and _. Give --name."
        )
    return name


def numbers_in(exported: Exported) -> int:
    """How many numbers the weights are; an array that stands in two places is one."""
    arrays = arrays_in(exported.outline)
    return sum({(one.shape, one.tobytes()): one.size for one in arrays}.values())


def arrays_in(part: Any) -> Iterator[np.ndarray]:
    """All arrays in a part of an outline."""
    inside: Iterable[Any] = ()
    if isinstance(part, np.ndarray):
        yield part
    elif isinstance(part, Mapping):
        inside = part.values()
    elif isinstance(part, tuple):
        inside = part
    elif is_dataclass(part) and not isinstance(part, type):
        inside = (getattr(part, field.name) for field in fields(part))
    for one in inside:
        yield from arrays_in(one)
