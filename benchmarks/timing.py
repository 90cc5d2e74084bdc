"""What the benchmarks share: the environment, sides that take turns, tables and bars.

Sides of a comparison take turns call by call, the order reversed every other round, so that a
machine that slows down slows both; ratios are taken within a round, and their median counts.
"""

from __future__ import annotations

import gc
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from throughtime.command.cli import prepare_environment

TORCH_DEFAULTS = "--torch-defaults"
"""The option that leaves OpenMP and malloc as torch has them; read before torch is loaded."""

if TORCH_DEFAULTS not in sys.argv:
    prepare_environment()

import torch

from throughtime.ground import machine

MOST_ROUNDS = 1000


def prepare(threads: int | None) -> None:
    """Threads, and the process settings of the command line unless torch's defaults are asked."""
    if TORCH_DEFAULTS not in sys.argv:
        machine.prepare(threads)
    elif threads is not None:
        torch.set_num_threads(threads)


def environment() -> dict[str, Any]:
    """Where and how the figures were taken: the same for every side."""
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "THP_MEM_ALLOC_ENABLE")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "variables": {name: os.environ.get(name) for name in names},
        "process": "torch's defaults"
        if TORCH_DEFAULTS in sys.argv
        else "denormals flushed, freed buffers kept, as the command line does",
    }


def say_environment() -> None:
    """The same in two lines."""
    e = environment()
    variables = ", ".join(f"{k}={v or 'unset'}" for k, v in e["variables"].items())
    print(f"{e['processor']}, {e['cores']} cores; torch {e['torch']}, {e['threads']} threads")
    print(f"for every side: {variables}; {e['process']}", flush=True)


def processor() -> str:
    """The processor's name, with what matters for speed."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line.split(":", 1) for line in file if ":" in line]
    except OSError:
        return platform.processor() or platform.machine()
    known = {key.strip(): value.strip() for key, value in lines}
    flags = known.get("flags", known.get("Features", "")).split()
    wide = [f for f in ("avx512f", "avx2", "avx512_bf16", "amx_bf16", "asimd") if f in flags]
    return f"{known.get('model name', platform.machine())} ({', '.join(wide)})"


# ---- taking turns -----------------------------------------------------------------------------


@dataclass
class Times:
    """Seconds of each side, round by round."""

    seconds: dict[str, list[float]]

    def median(self, side: str) -> float:
        """Of one side's seconds."""
        return statistics.median(self.seconds[side])

    def ratio(self, peer: str, ours: str) -> float:
        """How many times faster `ours` is: the median over rounds of peer's by our seconds."""
        return statistics.median(
            p / o for p, o in zip(self.seconds[peer], self.seconds[ours], strict=True)
        )

    @property
    def rounds(self) -> int:
        """How often each side ran."""
        return len(next(iter(self.seconds.values())))


def take_turns(
    sides: dict[str, Callable[[], Any]],
    seconds: float,
    *,
    before: Callable[[str], Any] | None = None,
    least: int = 5,
    warm: int = 1,
) -> Times:
    """Run the sides in turn for about so many seconds, `least` rounds at least.

    Where those would take more than three times as long, three rounds do. `before(side)` runs
    before each call, untimed. Garbage is collected before, not meanwhile.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for name in order * warm:
        if before:
            before(name)
        sides[name]()
    synchronize()
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        for k in range(MOST_ROUNDS):
            spent = time.perf_counter() - began
            if spent >= seconds and (k >= least or (k >= 3 and spent >= 3 * seconds > 0)):
                break
            for name in order if k % 2 else reversed(order):
                if before:
                    before(name)
                    synchronize()
                started = time.perf_counter()
                sides[name]()
                synchronize()
                times[name].append(time.perf_counter() - started)
    finally:
        gc.enable()
    return Times(times)


def synchronize() -> None:
    """Wait for the GPU where this process uses one."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


# ---- results ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A figure of a section and what the project asks of it."""

    what: str
    value: float
    bound: float
    at_most: bool = False

    @property
    def reached(self) -> bool:
        """Whether the figure is on the right side of its bound."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        verdict = "reached" if self.reached else "missed"
        return f"{self.what} {self.value:.2f} (bar {sign} {self.bound:g}: {verdict})"


@dataclass
class Section:
    """One table: its rows as dictionaries with the same keys, its bars, what was left out."""

    name: str
    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say once why rows are missing or how something was measured."""
        if text not in self.notes:
            self.notes.append(text)

    def add(self, **row: Any) -> None:
        """One more row; progress goes to stderr."""
        self.rows.append(row)
        print(f"  {self.name}: " + ", ".join(map(shown, row.values())), file=sys.stderr, flush=True)

    def where(self, **fields: Any) -> list[dict[str, Any]]:
        """The rows with these values."""
        return [row for row in self.rows if all(row[k] == v for k, v in fields.items())]

    def print(self) -> None:
        """A Markdown table, the bars and the notes."""
        print(f"\n## {self.title}\n")
        if self.rows:
            print(table(self.rows))
        for line in [*map(str, self.bars), *self.notes]:
            print(f"- {line}")
        sys.stdout.flush()

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        bars = [{**asdict(bar), "reached": bar.reached} for bar in self.bars]
        return {"title": self.title, "rows": self.rows, "bars": bars, "notes": self.notes}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as Markdown, columns aligned for the terminal too."""
    names = list(rows[0])
    cells = [names, *([shown(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def shown(value: Any) -> str:
    """A figure with three digits that count."""
    if not isinstance(value, float):
        return str(value)
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{min(max(digits, 0), 4)}f}"


def geometric_mean(values: Iterable[float]) -> float:
    """Of ratios."""
    return math.exp(statistics.fmean(math.log(value) for value in values))
