"""From a cell to its program, remembered in memory and on disk.

Tracing takes a tenth of a second and imports much; running `step` once on stand-ins takes a
millisecond. So the operations that `step` calls, logged in order, are the key under which the
traced program is kept.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from ...cache import cache_folder
from ...cell import Cell
from . import build
from .build import BuildFailed

CANNOT = "// cannot: "
"""How a kept answer begins when there is no program but a reason."""

END = "\n// end\n"
"""How a whole answer ends."""

CELLS: dict[str, Cell] = {}
"""A cell behind each program, for the reference that gives second derivatives."""


class _Log(TorchFunctionMode):
    """Writes down each operation, its numbers, and which earlier results it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.numbers: dict[int, int] = {}
        self.alive: list[Tensor] = []  # so that no id is used twice

    def name(self, value: Any) -> str:
        if isinstance(value, Tensor):
            if id(value) not in self.numbers:
                self.numbers[id(value)] = len(self.numbers)
                self.alive.append(value)
                if value.numel() == 1:
                    return f"%{self.numbers[id(value)]}={value.item()!r}"
            return f"%{self.numbers[id(value)]}"
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(self.name, value))}]"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{k}: {self.name(v)}' for k, v in value.items())}}}"
        return repr(value)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            result = func(*args, **(kwargs or {}))
        told = f"{getattr(func, '__module__', '')}.{getattr(func, '__name__', func)}"
        self.lines.append(f"{self.name(result)} = {told}{self.name(args)}{self.name(kwargs or {})}")
        return result


class _Gate:
    """A stand-in whose halves are written into the log."""

    def __init__(self, name: str, log: _Log) -> None:
        self.gate, self.log = name, log

    def __call__(self, v: Tensor, x: Tensor) -> Tensor:
        return self.recurrent(v) + self.input(x)

    def input(self, x: Tensor) -> Tensor:
        return self.half("input", x)

    def recurrent(self, v: Tensor) -> Tensor:
        return self.half("recurrent", v)

    def half(self, which: str, v: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            result = torch.zeros_like(v)
        log = self.log
        log.lines.append(f"{log.name(result)} = {which} {self.gate} {log.name(v)}")
        return result


def fingerprint(cell: Cell) -> str:
    """What `cell.step` computes, as a log of operations."""
    log = _Log()
    with torch.no_grad(), log:
        x, states = torch.zeros(2, 3), [torch.zeros(2, 3) for _ in cell.state]
        vectors = {name: torch.zeros(3) for name in cell.vectors}
        log.lines.append(log.name([x, states, vectors]))
        gates = {name: _Gate(name, log) for name in cell.gates}
        after = cell.step(SimpleNamespace(**gates, **vectors), x, cell.State(*states))
        log.lines.append(f"return {log.name(list(after))}")
    return "\n".join([repr((cell.gates, cell.state, cell.vectors)), *log.lines])


@functools.lru_cache
def ours() -> str:
    """What else a program depends on: torch, and how it is made."""
    here = Path(__file__).parent
    files = b"".join((here / name).read_bytes() for name in ("trace.py", "emit.py"))
    return f"{torch.__version__} {hashlib.sha256(files).hexdigest()}"


def find(cell: Cell) -> str:
    """The program of a cell, or `CANNOT` and the reason."""
    try:
        return _found[cell]
    except KeyError:
        _found[cell] = program = _find(cell)
        return program
    except TypeError:  # an attribute of the cell has no hash; it may change, so look again
        return _find(cell)


_found: dict[Cell, str] = {}


def _find(cell: Cell) -> str:
    with _disable_current_modes():  # real stand-ins, also while torch traces a model
        try:
            told = fingerprint(cell)
        except Exception as error:  # the user's own equations: any error may come
            first = str(error).strip().split("\n")[0]
            return f"{CANNOT}its equations fail: {type(error).__name__}: {first}"
        name = hashlib.sha256(f"{ours()}\0{told}".encode()).hexdigest()[:32]
        path = cache_folder() / "scans" / f"{name}.h"
        if path.exists() and (kept := path.read_text()).endswith(END):
            program = kept
        else:
            program = traced(cell)
            write(path, program)
        CELLS.setdefault(program, cell)
        return program


def traced(cell: Cell) -> str:
    from .emit import emit
    from .trace import Untraceable, trace

    try:
        return f"{emit(trace(cell))}{END}"
    except Untraceable as error:
        return f"{CANNOT}{error}{END}"


def write(path: Path, text: str) -> None:
    """At once, or not at all where the cache cannot be written; then it is traced anew."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(text)
        os.replace(file.name, path)
    except OSError:
        return  # `build.load` says so where it matters


def why_not(cell: Cell, dtype: str) -> str | None:
    """Why there is no library for `cell` here, or None; compiles it if need be."""
    program = find(cell)
    if program.startswith(CANNOT):
        return program.removeprefix(CANNOT).removesuffix(END)
    return _unbuildable(program, dtype, repr(cell))


@functools.cache
def _unbuildable(program: str, dtype: str, name: str) -> str | None:
    try:
        build.load(program, dtype, name)
    except BuildFailed as error:
        return str(error)
    return None
