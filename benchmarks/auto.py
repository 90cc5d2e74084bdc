"""What `backend="auto"` takes against the best backend by hand, over random scans.

    python benchmarks/auto.py [--scans 200] [--rounds 9] [--threads 2] [--seed 1] [--json FILE]

Cells that torch has and two that it has not, from one step of one sequence to a tenth of a second,
float32, float64 and bfloat16, inference and training. The backends that can run take turns
call by call; a row's ratio is the best median by that of auto's choice: 1 where it chose right.
Bar: no row below 0.9.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timing  # first: it prepares the environment that torch reads

# isort: split
import torch

import throughtime as tt
from layer import MODES, TRAINING
from throughtime import scans
from throughtime.scans.contract import Problem
from timing import Bar, Section, take_turns

CELLS = [tt.LSTM(), tt.GRUResetAfter(), tt.RNN(), tt.GRU(), tt.PeepholeLSTM()]
DTYPES = [torch.float32, torch.bfloat16, torch.float32, torch.bfloat16, torch.float64]
LARGEST = 1e9
"""Multiply-adds of the largest scan, forward."""


def drawn(seed: int) -> Iterator[tuple[Problem, str]]:
    """Random scans and modes, without end; a third of them one step."""
    random.seed(seed)
    torch.manual_seed(seed)

    def between(low: int, high: int) -> int:
        return round(math.exp(random.uniform(math.log(low), math.log(high))))

    while True:
        cell, dtype = random.choice(CELLS), random.choice(DTYPES)
        T = 1 if random.random() < 1 / 3 else between(2, 512)
        B, n = between(1, 128), between(8, 1024)
        n_x = random.choice([n, between(1, 1024)])
        if T * B * len(cell.gates) * n * (n + n_x) > LARGEST:
            continue
        w = cell.weights(n_x, n, dtype=dtype)
        yield Problem(cell, w, torch.randn(T, B, n_x, dtype=dtype)), random.choice(MODES)


def call(problem: Problem, mode: str, backend: str) -> Callable[[], Any]:
    """A call of one backend: y; in training with the gradients of x and of all parameters."""
    cell, w, x, *_ = problem
    leaves = [x.clone().requires_grad_(), *w[:3], *w.vectors.values()]
    dy = torch.randn(*x.shape[:2], w.W_a.shape[-1], dtype=x.dtype)

    def run() -> Any:
        with torch.set_grad_enabled(mode == TRAINING):
            y, _ = tt.scan(cell, w, leaves[0] if mode == TRAINING else x, backend=backend)
            if mode == TRAINING:
                torch.autograd.grad(y, leaves, dy)

    return run


def measured(problem: Problem, mode: str, rounds: int) -> dict[str, list[float]]:
    """The seconds of each backend that can run; the loop is left out of long scans."""
    T = problem.x.shape[0]
    sides = {
        name: call(problem, mode, name)
        for name, backend in scans.BACKENDS.items()
        if not isinstance(way := backend.prepare(problem), str) and (T <= 8 or not way.interpreted)
    }
    times = take_turns(sides, 0.0, least=rounds)
    return times.seconds


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    """Of each backend."""
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def chosen(problem: Problem, mode: str) -> str:
    """The backend that auto takes."""
    with torch.set_grad_enabled(mode == TRAINING):
        way = scans.choose("auto", problem)
    return next(n for n, b in scans.BACKENDS.items() if getattr(b, "run", None) is way.run)


def compare(o: argparse.Namespace) -> Section:
    """A row for each scan, auto's choice against the best."""
    section = Section("auto", "auto against the best backend by hand")
    problems = drawn(o.seed)
    for _ in range(o.scans):
        problem, mode = next(problems)
        times = medians(measured(problem, mode, o.rounds))
        took = chosen(problem, mode)
        if min(times.values()) < 0.9 * times.get(took, math.inf):  # once more, for noise
            again = medians(measured(problem, mode, 3 * o.rounds))
            if min(again.values()) / again[took] > min(times.values()) / times[took]:
                times = again
        best = min(times, key=lambda name: times[name])
        T, B, n_x = problem.x.shape
        section.add(
            cell=type(problem.cell).__name__,
            dtype=str(problem.x.dtype).removeprefix("torch."),
            mode=mode,
            **{"T, B, n_x, n": f"{T}, {B}, {n_x}, {problem.w.W_a.shape[-1]}"},
            auto=took,
            best=best,
            ms=1e3 * times[took],
            ratio=times[best] / times[took],
        )
    ratios = [row["ratio"] for row in section.rows]
    section.bars.append(Bar("lowest", min(ratios), 0.9))
    section.bars.append(Bar("geometric mean", timing.geometric_mean(ratios), 0.98))
    return section


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("scans", 200), ("rounds", 9), ("threads", 2), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    o = parser.parse_args()
    timing.prepare(o.threads)
    timing.say_environment()
    section = compare(o)
    section.print()
    if o.json:
        found = {"environment": timing.environment(), "section": section.as_json()}
        Path(o.json).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
