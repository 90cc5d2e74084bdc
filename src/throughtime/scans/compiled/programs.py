"""From a cell to its program, remembered in memory and on disk.

Tracing takes a tenth of a second and imports much; the fingerprint of a cell takes a millisecond,
and finds the program that was traced before, of this cell or of one that computes the same.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ...cells import Cell
from ...cells.failures import failure
from ...ground import terminal
from ...ground.cache import own_bytes, private, writing
from ...ground.errors import passing
from ..identity import key_of
from . import build
from .aside import aside
from .build import BuildFailed
from .fingerprint import Opaque, fingerprint

CANNOT = "// cannot: "
"""How a kept answer begins when there is no program but a reason."""

END = "\n// sha256 "
"""What stands before the checksum at the end of an answer."""

VERSION = 2
"""Of the answers kept: 1 took the caller's context for the equations' fault."""

MAKERS = (
    "programs", "fingerprint", "stand_ins", "even", "halves", "decompositions", "trace", "walk",
    "phases",
    "targets/facts", "targets/cpp",
    *(f"targets/triton/{part}" for part in ("__init__", "text", "kernel", "forward", "backward")),
)  # fmt: skip
"""The modules that decide what a program is."""

CELLS: dict[str, Cell] = {}
"""A cell behind each program, for the reference that gives second derivatives."""


class Answer(NamedTuple):
    """What is known of a cell: its program, or `CANNOT` and the reason.

    `kept`: it lies in the equations, and so holds on disk for every later process; `again`: it lies
    in this moment, and the next call asks again.
    """

    text: str
    kept: bool = True
    again: bool = False


@functools.lru_cache
def ours() -> str:
    """What else a program depends on: torch, and how it is made."""
    here = Path(__file__).parent
    files = b"".join((here / f"{name}.py").read_bytes() for name in MAKERS)
    return f"{VERSION} {torch.__version__} {hashlib.sha256(files).hexdigest()}"


def find(cell: Cell, target: str = "cpp") -> str:
    """The program of a cell for a target (`targets/`), or `CANNOT` and the reason."""
    known = key_of(cell)
    if known is None:
        return _find(cell, target).text  # what may change under our feet
    key = (known, target, torch.get_default_dtype())  # equations make constants of that
    answer = _found.get(key)
    if answer is None:
        answer = _find(cell, target)
        if not answer.again:
            _found[key] = answer
    return answer.text


_found: dict[Any, Answer] = {}


def _find(cell: Cell, target: str) -> Answer:
    """Nothing of the caller's context is seen: a first use may come in any."""
    try:
        answer = aside(lambda: _looked_up(cell, target))
    except Exception as error:
        if not passing(error):
            raise
        return Answer(_cannot(f"it could not be traced now: {_said(error)}"), again=True)
    if not answer.text.startswith(CANNOT):
        CELLS.setdefault(answer.text, cell)
    return answer


def _looked_up(cell: Cell, target: str) -> Answer:
    """From the cache, or traced now; what passes is raised."""
    try:
        told = fingerprint(cell)
    except Opaque as error:
        return Answer(_cannot(str(error)))
    except Exception as error:  # the user's own equations: any error may come
        if passing(error):
            raise
        return Answer(_cannot(f"its equations fail: {failure(error) or _said(error)}"))
    name = hashlib.sha256(f"{ours()}\0{target}\0{told}".encode()).hexdigest()[:32]
    try:
        path = private("scans") / f"{name}.h"
    except OSError:  # `build.load` says so where it matters
        return traced(cell, target)
    answer = Answer(read(path))
    if not answer.text:
        answer = traced(cell, target)
        if answer.kept:
            write(path, answer.text)
    return answer


def _said(error: BaseException) -> str:
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first}"


def sealed(text: str) -> str:
    """The text and, in its last line, its checksum."""
    return f"{text}{END}{hashlib.sha256(text.encode()).hexdigest()}\n"


def _cannot(reason: str) -> str:
    return sealed(f"{CANNOT}{reason}")


def read(path: Path) -> str:
    """What is kept at `path`; nothing where that is not what was written: it is traced anew."""
    try:
        text = (own_bytes(path) or b"").decode()
    except UnicodeDecodeError:
        return ""
    whole = text == sealed(text.rpartition(END)[0])
    return text if whole else ""


def traced(cell: Cell, target: str) -> Answer:
    """The program, made anew, or `CANNOT` and the reason."""
    from .stand_ins import STAND_INS
    from .targets import cpp, triton
    from .trace import Untraceable, trace

    emit = {"cpp": cpp, "triton": triton}[target].emit
    try:
        program, *others = (emit(trace(cell, stand_in)) for stand_in in STAND_INS)
        if any(other != program for other in others):
            raise Untraceable("its equations depend on the sizes or the dtype of what they read.")
        return Answer(sealed(program))
    except Untraceable as error:
        return Answer(_cannot(str(error)), kept=error.cause is None)


def write(path: Path, text: str) -> None:
    """At once, or not at all where the cache cannot be written; then it is traced anew."""
    with contextlib.suppress(OSError), writing(path) as fresh:  # `build.load` says so
        fresh.write_text(text)


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
        return program.removeprefix(CANNOT).rpartition(END)[0]
    return unbuildable(program, dtype, repr(cell))


@dataclass
class _Failure:
    """Builds of one program that failed in a row: why the last one did, and when to try again."""

    reason: str
    count: int
    again: float  # by time.monotonic()


_failures: dict[tuple[str, str], _Failure] = {}


def unbuildable(program: str, dtype: str, name: str, frame: build.Frame = build.SCAN) -> str | None:
    """Why there is no library of a program, or None; what passes is tried again at once, then ever
    more seldom."""
    if (program, dtype) in _built:
        return None
    last = _failures.get((program, dtype))
    if last and time.monotonic() < last.again:
        return last.reason
    began = time.monotonic()
    try:
        build.load(program, dtype, name, frame)
    except BuildFailed as error:
        now, count = time.monotonic(), last.count + 1 if last else 1
        wait = 0.0 if count == 1 else max(10 * (now - began), min(0.1 * 2**count, 60.0))
        again = now + wait if error.passing else math.inf
        _failures[program, dtype] = _Failure(str(error), count, again)
        if not _warned:
            _warned.append(name)
            terminal.warn(f"scans run slower than they could: {error}")
        return str(error)
    _failures.pop((program, dtype), None)
    _built.add((program, dtype))
    return None


_built: set[tuple[str, str]] = set()
"""Programs and dtypes that have a library."""

able: set[Any] = set()
"""Questions that were answered with "nothing is in the way" already, by those who ask here."""

_warned: list[str] = []
"""Not empty once a person was told that nothing can be built here."""


def forget() -> None:
    """As in a new process."""
    for remembered in (_found, _failures, _built, able, _warned):
        remembered.clear()
    build.load.cache_clear()


for _answer in (find, reads_x, why_not):
    # What torch.compiler.assume_constant_result does, without importing the compiler for it.
    _answer._dynamo_marked_constant = True  # type: ignore[attr-defined]
