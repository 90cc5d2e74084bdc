"""From a cell to its program, remembered in memory and on disk.

Tracing takes a tenth of a second and imports much; running `step` once on stand-ins takes a
millisecond. So the operations that `step` calls, logged in order, are the key under which the
traced program is kept.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Hashable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from ...cells import Cell
from ...cells.failures import failure
from ...ground import terminal
from ...ground.cache import cache_folder
from ...ground.errors import ThroughtimeError
from . import build
from .build import BuildFailed

CANNOT = "// cannot: "
"""How a kept answer begins when there is no program but a reason."""

END = "\n// end\n"
"""How a whole answer ends."""

SIZES = ((2, 3, torch.float32), (5, 4, torch.float64), (1, 1040, torch.float32))
"""Of stand-ins: batch, width, dtype. One sequence and a large width, which code may treat apart."""

CELLS: dict[str, Cell] = {}
"""A cell behind each program, for the reference that gives second derivatives."""


class Opaque(ThroughtimeError):
    """A cell's equations cannot be followed; the message is the reason."""


class _Log(TorchFunctionMode):
    """Writes down each operation, its numbers, and which earlier results it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.numbers: dict[int, int] = {}
        self.alive: list[Tensor] = []  # so that no id is used twice

    def name(self, value: Any, made: bool = False) -> str:
        if isinstance(value, Tensor):
            if id(value) not in self.numbers and not made and value.numel() != 1:
                raise Opaque(
                    "its equations read a tensor that is not a parameter of the cell, or one from "
                    "a function that torch does not tell of (torch.jit, autograd.Function)."
                )
            if id(value) not in self.numbers:
                self.numbers[id(value)] = len(self.numbers)
                self.alive.append(value)
                if value.requires_grad:
                    raise Opaque("its equations read a parameter that the cell does not name.")
                if value.numel() == 1:
                    return f"%{self.numbers[id(value)]}={value.item()!r}"
            return f"%{self.numbers[id(value)]}"
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(self.name(v, made) for v in value)}]"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{k}: {self.name(v)}' for k, v in value.items())}}}"
        return repr(value)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            result = func(*args, **(kwargs or {}))
        if func is torch._C._set_grad_enabled:
            raise Opaque("its equations switch gradients off or on.")
        told = f"{getattr(func, '__module__', '')}.{getattr(func, '__name__', func)}"
        given = f"{self.name(args)}{self.name(kwargs or {})}"
        self.lines.append(f"{self.name(result, made=True)} = {told}{given}")
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
        log.lines.append(f"{log.name(result, made=True)} = {which} {self.gate} {log.name(v)}")
        return result


def fingerprint(cell: Cell) -> str:
    """What `cell.step` computes, as a log of operations on stand-ins of several sizes and kinds."""
    logs = [_logged(cell, *size) for size in SIZES]
    return "\n".join([repr((cell.gates, cell.state, cell.vectors)), *logs])


def _logged(cell: Cell, batch: int, width: int, dtype: torch.dtype) -> str:
    log = _Log()

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=dtype)

    with torch.no_grad(), log:
        x, states = zeros(batch, width), [zeros(batch, width) for _ in cell.state]
        vectors = {name: zeros(width) for name in cell.vectors}
        log.lines.append(log.name([x, states, list(vectors.values())], made=True))
        gates = {name: _Gate(name, log) for name in cell.gates}
        after = cell.step(SimpleNamespace(**gates, **vectors), x, cell.State(*states))
        log.lines.append(f"return {log.name(list(after))}")
    return "\n".join(log.lines)


@functools.lru_cache
def ours() -> str:
    """What else a program depends on: torch, and how it is made."""
    here = Path(__file__).parent
    files = b"".join((here / name).read_bytes() for name in ("programs.py", "trace.py", "emit.py"))
    return f"{torch.__version__} {hashlib.sha256(files).hexdigest()}"


def find(cell: Cell) -> str:
    """The program of a cell, or `CANNOT` and the reason."""
    attributes = vars(cell).values()
    if any(isinstance(value, Tensor) or not isinstance(value, Hashable) for value in attributes):
        return _find(cell)  # what may change under our feet
    return _found(cell)


def _find(cell: Cell) -> str:
    with _disable_current_modes():  # real stand-ins, also while torch traces a model
        try:
            told = fingerprint(cell)
        except Opaque as error:
            return f"{CANNOT}{error}{END}"
        except Exception as error:  # noqa: BLE001  the user's own equations: any error may come
            first = str(error).strip().split("\n")[0]
            said = failure(error) or f"{type(error).__name__}: {first}"
            return f"{CANNOT}its equations fail: {said}{END}"
        name = hashlib.sha256(f"{ours()}\0{told}".encode()).hexdigest()[:32]
        path = cache_folder() / "scans" / f"{name}.h"
        program = read(path)
        if not program.endswith(END):
            program = traced(cell)
            write(path, program)
        CELLS.setdefault(program, cell)
        return program


_found = functools.lru_cache(maxsize=None)(_find)


def read(path: Path) -> str:
    """What is kept at `path`; nothing where it cannot be read: it is traced anew."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def traced(cell: Cell) -> str:
    """The program, made anew, or `CANNOT` and the reason."""
    from .emit import emit
    from .trace import STAND_INS, Untraceable, trace

    try:
        program, *others = (emit(trace(cell, stand_in)) for stand_in in STAND_INS)
        if any(other != program for other in others):
            raise Untraceable("its equations depend on the sizes or the dtype of what they read.")
        return f"{program}{END}"
    except Untraceable as error:
        return f"{CANNOT}{error}{END}"


def write(path: Path, text: str) -> None:
    """At once, or not at all where the cache cannot be written; then it is traced anew."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(text)
        os.chmod(file.name, 0o644)  # others may share the cache
        os.replace(file.name, path)
    except OSError:
        return  # `build.load` says so where it matters


def reads_x(cell: Cell) -> bool:
    """Whether the equations read x itself, not only through a gate."""
    program = find(cell)
    return not program.startswith(CANNOT) and facts(program)["reads_x"]


@functools.cache
def facts(program: str) -> dict[str, Any]:
    """What the first line of a program tells of its cell."""
    return json.loads(program.split("\n", 1)[0].removeprefix("// "))


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
        if not _warned:
            _warned.append(name)
            terminal.warn(f"scans run slower than they could: {error}")
        return str(error)
    return None


_warned: list[str] = []
"""Not empty once a person was told that nothing can be built here."""


for _answer in (find, reads_x, why_not):
    # What torch.compiler.assume_constant_result does, without importing the compiler for it.
    _answer._dynamo_marked_constant = True  # type: ignore[attr-defined]
