"""What a cell's own code raises, told by file, line, class and the names that it may use."""

from __future__ import annotations

import contextlib
import inspect
import os
import traceback
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..ground.errors import CellError, ThroughtimeError, did_you_mean, no_memory
from .base import Bound, Cell

PACKAGE = Path(__file__).resolve().parents[1]
LONGEST_SAID = 400
"""Characters of an error's own text that are repeated."""


def told() -> contextlib.AbstractContextManager[None]:
    """Inside, what a cell of the user's own raises becomes a `CellError`, with that as its cause.

    Left as they are: errors of others, this package's own, torch's own types (with which it also
    steers, as `checkpoint` does), a want of memory, and all that torch.compile meets as it traces.
    """
    return contextlib.nullcontext() if torch.compiler.is_compiling() else _TOLD


class _Told(contextlib.AbstractContextManager[None]):
    """A class, since a generator takes longer than a short scan has."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception):
            return
        ours = isinstance(error, ThroughtimeError) or type(error).__module__.startswith("torch")
        message = None if ours or no_memory(error) else failure(error)
        if message is not None:
            raise CellError(message) from error


_TOLD = _Told()


def failure(error: Exception) -> str | None:
    """What a cell's own code raised, on one line; None where it was not a cell's own code."""
    frames = list(traceback.walk_tb(error.__traceback__))
    inside = (k for k, (frame, _) in enumerate(frames) if of_a_cell(frame) is not None)
    first = next(inside, None)
    if first is None:
        return None
    method, cell = frames[first][0], of_a_cell(frames[first][0])
    assert cell is not None
    file = method.f_code.co_filename
    line = [line for frame, line in frames[first:] if frame.f_code.co_filename == file][-1]
    said = what(error, cell)
    if isinstance(error, RuntimeError) and (shapes := shapes_of(method)):
        said += f"; {shapes}"
    return (
        f"{shown(file)}:{line}: {cell.__name__}.{method.f_code.co_name}: {said}. "
        f"{cell.__name__} has {names_of(cell)}."
    )


def load_failure(path: Path, error: BaseException) -> str:
    """What running a user's file raised, on one line that begins with `FILE:LINE`."""
    if isinstance(error, SyntaxError):
        at, line, said = error.filename, error.lineno, f"{type(error).__name__}: {error.msg}"
    else:
        at, line, said = None, None, what(error)
    if at is None or line is None or not same_file(at, path):
        frames = traceback.walk_tb(error.__traceback__)
        lines = [line for frame, line in frames if same_file(frame.f_code.co_filename, path)]
        elsewhere = f" ({at}:{line})" if at and line else ""
        line, said = (lines[-1] if lines else None), said + elsewhere
    return f"{path}{'' if line is None else f':{line}'}: {said}."


def same_file(file: str, path: Path) -> bool:
    """Whether code's file is `path`; what is no file is none."""
    return os.path.abspath(file) == os.path.abspath(path)


def of_a_cell(frame: FrameType) -> type[Cell] | None:
    """The class of the cell whose method this is, where it is written outside this package."""
    code = frame.f_code
    if not code.co_argcount or PACKAGE in Path(code.co_filename).parents:
        return None
    itself = frame.f_locals.get(code.co_varnames[0])
    if isinstance(itself, Cell):
        return type(itself)
    return itself if isinstance(itself, type) and issubclass(itself, Cell) else None


def what(error: BaseException, cell: type[Cell] | None = None) -> str:
    """The error with its type; of a name that is not there, which may be meant."""
    if isinstance(error, ThroughtimeError):
        return str(error).rstrip(".")
    if isinstance(error, AttributeError) and error.name and cell is not None:
        if isinstance(error.obj, (Bound, SimpleNamespace)):
            names = (*cell.gates, *cell.vectors, *cell.matrices, *cell.inputs)
            kinds = ["gate", "vector", *["matrix"] * bool(cell.matrices)]
            kinds += ["input"] * bool(cell.inputs)
            said = f"{', '.join(kinds[:-1])} or {kinds[-1]}"
            return f"no {said} {error.name!r}{meant(error.name, names)}"
        if isinstance(error.obj, cell.State):
            return f"no state {error.name!r}{meant(error.name, cell.state)}"
    said = "".join(traceback.TracebackException.from_exception(error).format_exception_only())
    return " ".join(said.split())[:LONGEST_SAID].rstrip(".")


def meant(name: str, known: tuple[str, ...]) -> str:
    """`. Did you mean 'x'?`, or nothing."""
    near = did_you_mean(name, known)
    return near and f".{near}".rstrip("?") + "?"


def names_of(cell: type[Cell]) -> str:
    """Its gates, vectors, matrices, inputs and states."""
    of = {"gate": cell.gates, "vector": cell.vectors, "matrix": tuple(cell.matrices)}
    of |= {"input": cell.inputs, "state": cell.state}
    several = {"matrix": "matrices"}
    return ", ".join(
        f"the {several.get(kind, f'{kind}s') if len(names) > 1 else kind} {' and '.join(names)}"
        for kind, names in of.items()
        if names
    )


def shapes_of(frame: FrameType) -> str:
    """The shapes of a method's arguments, as it left them."""
    code = frame.f_code
    found: dict[str, Any] = {}
    for name in code.co_varnames[1 : code.co_argcount]:
        value: Any = frame.f_locals.get(name)
        parts = value._asdict() if hasattr(value, "_asdict") else {}
        found |= {name: value} | {f"{name}.{part}": v for part, v in parts.items()}
    return ", ".join(f"{k} is {list(v.shape)}" for k, v in found.items() if isinstance(v, Tensor))


def defined(method: Any) -> str:
    """`FILE:LINE: ` of where a method is written; nothing for one without source."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    if not isinstance(code, CodeType) or PACKAGE in Path(code.co_filename).parents:
        return ""
    return f"{shown(code.co_filename)}:{code.co_firstlineno}: "


def shown(file: str) -> str:
    """A path as a person reads it: relative where it is below the current folder."""
    with contextlib.suppress(ValueError, OSError):
        return str(Path(file).relative_to(os.getcwd()))
    return file
