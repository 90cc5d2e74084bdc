"""The sections of `gpu.py`: agreement, training, steps, first use; those of `gpu_times.py`."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import timing  # first: it prepares the environment that torch reads

# isort: split
import torch
from torch import nn

import throughtime as tt
from gpu_rows import (
    DTYPES,
    Chosen,
    Told,
    as_on_the_cpu,
    by,
    in_float64,
    in_parallel,
    outcome,
    turns,
    us,
)
from gpu_times import ALL, cudnn, loops, way_times
from layer import CELLS, TRAINING, Layer
from throughtime.scans.compiled.gpu import ways
from timing import Bar

# ---- agreement --------------------------------------------------------------------------------

ALLOWED = {"float32": 1e-3, "bfloat16": 0.06, "float16": 0.02}
"""Of the largest number: difference from the float64 reference. float32 products are exact here."""


def agreement(o: Chosen) -> Told:
    """Each cell by each way against float64: y and every gradient; the same bits twice."""
    section = Told("agreement", "Agreement with the float64 reference; lengths and resets", o)
    names = o.cells or (("LSTM", "GRU") if o.trial else tuple(ALL))
    kinds = o.kinds("float32", "bfloat16")
    jobs = [(name, way, dtype, o.device)
            for dtype in kinds for name in names for way in ways.WAYS]  # fmt: skip
    if o.trial:
        for job in jobs:
            section.attempt(str(job), lambda: agreeing(*job))  # noqa: B023
    else:  # compiling takes the time
        done = in_parallel(agreeing_or_not, jobs, o.until - time.perf_counter())
        for job, row in done:
            section.attempt(str(job), lambda: as_row(row))  # noqa: B023
    failed = [row for row in section.rows if row["agrees"] != "yes"]
    section.note(f"{len(section.rows) - len(failed)} of {len(jobs)} agree, {len(failed)} do not")
    return section.close()


def agreeing_or_not(*job: Any) -> dict[str, Any] | str:
    """A row, or what was raised."""
    try:
        return agreeing(*job)
    except Exception as error:  # noqa: BLE001  told as a row's failure
        return f"{type(error).__name__}: {error}"


def as_row(found: dict[str, Any] | str) -> dict[str, Any]:
    """Raise what another process did."""
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


def agreeing(name: str, way: str, dtype: str, device: str) -> dict[str, Any]:
    """One cell, by one way."""
    cell, (T, B, n) = ALL[name], (3, 2, 5) if device == "cpu" else (9, 21, 40)
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.manual_seed(3)
    kind = DTYPES[dtype]
    drawn = cell.weights(n, n)
    parts = [part.detach().to(kind) for part in drawn[:3]]
    w = tt.Weights(*parts, {k: v.detach().to(kind) for k, v in drawn.vectors.items()})
    given = {part: torch.randn(T, B, n, dtype=kind) for part in ("x", "dy")}
    more = {
        "lengths": torch.tensor([(T, 0, T - 1)[k % 3] for k in range(B)]),
        "reset": torch.arange(T * B).reshape(T, B) % 7 == 3,
    }
    exact = {part: one.double() for part, one in given.items()}
    right = outcome(cell, in_float64(w), exact, "reference", **more)
    vectors = {name: vector.to(device) for name, vector in w.vectors.items()}
    on = tt.Weights(*(part.to(device) for part in w[:3]), vectors)
    there = {part: one.to(device) for part, one in given.items()}
    more = {part: one.to(device) for part, one in more.items()}
    with by(way):
        got, again = (outcome(cell, on, there, "compiled", **more) for _ in range(2))
    off = {
        part: float((got[part].double().cpu() - one).abs().max()) / max(1.0, float(one.abs().max()))
        for part, one in right.items()
    }
    worst = max(off, key=off.__getitem__)
    same = all(torch.equal(got[part], again[part]) for part in got)
    agrees = off[worst] <= ALLOWED[dtype]
    return {
        "cell": name, "way": way, "dtype": dtype, "worst of": worst, "off by": off[worst],
        "allowed": ALLOWED[dtype], "agrees": "yes" if agrees else "NO",
        "same bits twice": "yes" if same else "NO",
    }  # fmt: skip


# ---- training and steps -----------------------------------------------------------------------


def training(o: Chosen) -> Told:
    """A language model, any cell: tokens/s of our loop by those of a bare one over nn.LSTM."""
    import loop as bare

    section = Told("training", "Training of a language model, tokens/s", o)
    T, B, n = (8, 2, 16) if o.trial else (128, 128, 1024)
    names = o.cells or (("lstm",) if o.trial else ("lstm", "gru", "peephole-lstm",
                                                   "layer-norm-lstm"))  # fmt: skip
    for name, precision in itertools.product(
        names, ("float32",) if o.trial else ("bf16", "float32")
    ):
        with as_on_the_cpu() if o.trial else nullcontext():
            section.attempt(f"{name} {precision}",
                            lambda: trained(bare, name, (T, B, n), precision, o))  # noqa: B023  # fmt: skip
    for row in section.rows:
        section.bars.append(Bar(f"{row['cell']} {row['precision']} by nn.LSTM", row["ratio"], 0.9))
    return section.close()


def trained(
    bare: Any, name: str, shape: tuple[int, int, int], precision: str, o: Chosen
) -> dict[str, Any]:
    """One run of ours, one of nn.LSTM's."""
    T, B, n = shape
    steps = bare.WARM * (3 if o.trial else 6)
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        lines = 400 if o.trial else 12_000
        text.write_text("the cat, which already ate a lot of food, was full.\n" * lines)
        task = bare.make_task(text, T, B, n, steps, f"{folder}/run", o.device, precision, name)
        ours = bare.run_ours(task)
        theirs = bare.run_bare(task, bare.Bare(len(task.vocabulary), n).to(task.device))
    return {
        "cell": name, "T, B, n": ", ".join(map(str, shape)), "precision": precision,
        "ours": ours, "nn.LSTM": theirs, "ratio": ours / theirs,
    }  # fmt: skip


def steps(o: Chosen) -> Told:
    """One token at batch 1: a step of a frozen stack, and all of generation."""
    from throughtime.config import ModelConfig
    from throughtime.decoding import sample
    from throughtime.layers.mode import frozen
    from throughtime.models.language import LanguageModel

    section = Told("steps", "One token at batch 1, µs", o)
    for layers, n in ((1, 16),) if o.trial else ((1, 128), (2, 512), (1, 1024)):
        for name in o.cells or ("LSTM", "GRU"):
            section.attempt(f"step {name} {layers} × {n}", lambda: step_row(name, layers, n, o))  # noqa: B023

    def generation() -> dict[str, Any]:
        count, n = (4, 16) if o.trial else (300, 512)
        model = LanguageModel(tt.LSTM, 96, ModelConfig(hidden_size=n, num_layers=2)).eval()
        model = model.to(o.device)

        def ours() -> None:
            with torch.inference_mode(), frozen(model):
                list(sample(model, [0], count))

        times = turns({"ours": ours}, o, least=3)
        return {"what": "generate LSTM", "layers, n": f"2, {n}", "ours": us(times, "ours", count),
                "nn.LSTM": "–", "ratio": "–"}  # fmt: skip

    section.attempt("generation", generation)
    for row in section.rows:
        if row["layers, n"] == "2, 512":
            section.bars.append(Bar(f"µs of {row['what']} 2 × 512", row["ours"], 60, at_most=True))
    return section.close()


def step_row(name: str, layers: int, n: int, o: Chosen) -> dict[str, Any]:
    """Steps of ours and of nn.LSTM, the state carried."""
    count = 3 if o.trial else 200
    stack = tt.Stack(CELLS[name], n, n, layers).eval().to(o.device)
    theirs = nn.LSTM(n, n, layers).eval().to(o.device)
    x = torch.randn(1, n, device=o.device)

    def ours() -> None:
        state = None
        for _ in range(count):
            _, state = stack.step(x, state)

    def peer() -> None:
        state = None
        for _ in range(count):
            _, state = theirs(x[None], state)

    with torch.inference_mode(), stack.frozen():
        times = turns({"ours": ours, "nn.LSTM": peer}, o)
    return {
        "what": f"step {name}", "layers, n": f"{layers}, {n}", "ours": us(times, "ours", count),
        "nn.LSTM": us(times, "nn.LSTM", count), "ratio": times.ratio("nn.LSTM", "ours"),
    }  # fmt: skip


# ---- first use --------------------------------------------------------------------------------


def first_use(o: Chosen) -> Told:
    """A cell nobody has used: seconds of its first scan and gradients; then another T and B."""
    section = Told("first-use", "First use of a cell, seconds", o)

    class Fresh(tt.Cell):
        """One that is in no cache: a number of its own."""

        gates = ("h",)
        state = ("a",)
        number = time.time_ns() % 1000 / 1000

        def step(self, w: Any, x: Any, s: Any) -> Any:
            return self.State(a=torch.tanh(w.h(s.a, x)) * 0.5 + self.number * s.a)

    def row() -> dict[str, Any]:
        cell, n, took = Fresh(), 16 if o.trial else 512, []
        for T, B in ((2, 2), (3, 2)) if o.trial else ((16, 16), (33, 7)):
            layer = Layer(cell, (T, B, n), o.options((T, B, n), "compiled"), torch.float32)
            began = time.perf_counter()
            layer.ours(TRAINING)()
            timing.synchronize()
            took.append(time.perf_counter() - began)
        return {"cell": "one of one's own", "n": n, "first": took[0], "another T and B": took[1]}

    section.attempt("first use", row)
    for row in section.rows:
        section.bars.append(Bar("seconds of a first use", row["first"], 10, at_most=True))
        section.bars.append(
            Bar("seconds of another T and B", row["another T and B"], 0.3, at_most=True)
        )
    return section.close()


SECTIONS: dict[str, tuple[Callable[[Chosen], Told], float]] = {
    "agreement": (agreement, 75),
    "ways": (way_times, 110),
    "cudnn": (cudnn, 60),
    "loops": (loops, 90),
    "first-use": (first_use, 25),
    "steps": (steps, 30),
    "training": (training, 60),
}
"""What runs, in this order, and the seconds that it may begin rows in, of --limit 450."""
