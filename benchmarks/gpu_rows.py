"""What the sections of `gpu.py` share: what was chosen, rows that may fail, times on a device."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import timing  # first: it prepares the environment that torch reads

# isort: split
import torch
from torch import Tensor

import throughtime as tt
from layer import Options, Shape
from throughtime.cells import Cell, Weights
from throughtime.scans.compiled.gpu.ways import VARIABLE
from timing import Section, Times, take_turns

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Chosen:
    """What the command line chose, and the clock at which no row begins any more."""

    device: str
    seconds: float
    until: float
    json: Path | None = None
    shapes: tuple[Shape, ...] | None = None
    cells: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None
    backend: str = "compiled"

    @property
    def trial(self) -> bool:
        """Whether nothing is measured: the interpreter, tiny shapes."""
        return self.device == "cpu"

    def options(self, shape: Shape, backend: str | None = None) -> Options:
        """Of a layer."""
        return Options((shape,), self.seconds, backend or self.backend, self.device, 1)

    def kinds(self, *names: str) -> list[str]:
        """The dtypes asked for, or these. The interpreter multiplies no bfloat16."""
        chosen = self.dtypes or names
        return sorted({"float16" if self.trial and n == "bfloat16" else n for n in chosen})

    def over(self, *shapes: Shape) -> list[Shape]:
        """The shapes asked for, or these."""
        return [(3, 2, 16)] if self.trial else list(self.shapes or shapes)


class Told(Section):
    """A section whose rows are in a file as soon as they are there."""

    def __init__(self, name: str, title: str, o: Chosen) -> None:
        super().__init__(name, title)
        self.o = o
        self.left_out: list[str] = []

    def attempt(self, what: str, row: Callable[[], dict[str, Any]]) -> None:
        """One row. What fails is told, and the rest goes on; past the time nothing begins."""
        if time.perf_counter() > self.o.until:
            self.left_out.append(what)
            return
        try:
            self.add(**row())
        except Exception as error:  # noqa: BLE001  one row, of which the table tells
            said = (str(error).strip().splitlines() or [""])[0]
            self.note(f"failed: {what}: {type(error).__name__}: {said[:300]}")
        finally:
            free()
            self.write()

    def write(self) -> None:
        """All so far."""
        if self.o.json:
            self.o.json.write_text(json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n")

    def close(self) -> Told:
        """Nothing more comes. What a trial took is no figure."""
        if self.o.trial:
            self.bars.clear()
        if self.left_out:
            first = ", ".join(self.left_out[:4])
            self.note(f"out of time before {len(self.left_out)} rows: {first} …")
        self.write()
        return self


def free() -> None:
    """Memory of rows that are over."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def in_parallel(
    work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], seconds: float
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Jobs and what `work` made of them, as they are done, by a process for each of twelve cores.

    After so many seconds the rest is given up.
    """
    workers = max(1, min(os.cpu_count() or 1, 12))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    pending = {pool.submit(work, *job): job for job in jobs}
    try:
        for future in as_completed(pending, timeout=seconds):
            yield pending[future], future.result()
    except (TimeoutError, BrokenProcessPool):
        return
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # a compiler cannot be asked to stop
            process.terminate()


@contextlib.contextmanager
def by(way: str) -> Iterator[None]:
    """Compiled scans go by this way; by auto's where it is empty."""
    if not way:
        yield
        return
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = way
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


@contextlib.contextmanager
def as_on_the_cpu() -> Iterator[None]:
    """Compiled scans are the CPU's, in a trial too."""
    before = os.environ.pop(VARIABLE, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[VARIABLE] = before


def turns(sides: dict[str, Callable[[], Any]], o: Chosen, least: int = 5) -> Times:
    """Sides in turn; once in a trial."""
    return take_turns(sides, o.seconds, least=1 if o.trial else least)


def us(times: Times, side: str, T: int) -> float:
    """Microseconds a step."""
    return 1e6 * times.median(side) / T


def in_graph(call: Callable[[], Any]) -> Callable[[], Any] | None:
    """The call captured in a CUDA graph; None where there is no card, or no room on it."""
    if not torch.cuda.is_available():
        return None
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
    except torch.cuda.OutOfMemoryError:
        return None
    return graph.replay


def peak(call: Callable[[], Any]) -> float | str:
    """MiB that a call needs beyond what is there before it."""
    if not torch.cuda.is_available():
        return "–"
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def in_float64(w: Weights) -> Weights:
    """On the CPU."""
    parts = [part.detach().double().cpu() for part in w[:3]]
    return tt.Weights(*parts, {k: v.detach().double().cpu() for k, v in w.vectors.items()})


def outcome(
    cell: Cell, w: Weights, given: dict[str, Tensor], backend: str, **more: Any
) -> dict[str, Tensor]:
    """y, the last state, and the gradients of a weighted sum of y by x and all weights."""
    leaves = {"x": given["x"], **dict(zip(("W_x", "W_a", "b"), w[:3])), **w.vectors}
    leaves = {name: leaf.detach().clone().requires_grad_() for name, leaf in leaves.items()}
    parts = [leaves[name] for name in ("W_x", "W_a", "b")]
    own = tt.Weights(*parts, {name: leaves[name] for name in w.vectors})
    y, last = tt.scan(cell, own, leaves["x"], backend=backend, **more)
    total = (y * given["dy"]).sum() + sum(part.float().sum() for part in last).to(y.dtype)
    found = torch.autograd.grad(total, list(leaves.values()))
    named = dict(zip((f"d {name}" for name in leaves), found))
    return {"y": y.detach(), **named}


def table_of(section: dict[str, Any]) -> list[str]:
    """A section as JSON has it, as lines of Markdown."""
    lines = [f"\n## {section['title']}\n"]
    if section["rows"]:
        lines.append(timing.table(section["rows"]))
    bars = [timing.Bar(b["what"], b["value"], b["bound"], b["at_most"]) for b in section["bars"]]
    return [*lines, *(f"- {line}" for line in [*map(str, bars), *section["notes"]])]
