"""One recurrent layer, ours against every peer, in one run: times, memory, compiling.

    python benchmarks/layers.py [--section lstm loop …] [--shapes 64,32,128 …] [--seconds 1.5]
        [--backend auto] [--threads 2] [--device cpu] [--json FILE] [--torch-defaults]

Shapes are T,B,n with n_x = n; float32 but in the sections of bfloat16. Sides take turns call by
call; a ratio is the median over rounds, above 1 where ours is faster. GFLOP/s count the matrix
products alone. Every side runs with the environment of the command line (waiting threads spin for
microseconds only, large buffers in huge pages), or with torch's own under --torch-defaults. Before
a row is timed, both sides' outputs and, in training, gradients of x are compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timing  # first: it prepares the environment that torch reads

# isort: split
import torch

from jax_loops import jax
from layer import (
    AMPLIFYING,
    CELLS,
    INFERENCE,
    MODES,
    TRAINING,
    Layer,
    Options,
    Shape,
    agree,
    versus,
)
from peak import Peak
from peers import OnnxLayer, onnx_model
from processes import compile_times, peak_memory
from rows import against, bars, loop_peer, torch_peer, unable
from steps import step
from timing import Section, Times, take_turns

SHAPES: tuple[Shape, ...] = (
    (64, 32, 128),
    (64, 32, 256),
    (128, 32, 512),
    (64, 64, 650),
    (35, 20, 1500),
    (256, 1, 256),
)
SMALL: tuple[Shape, ...] = (
    *((40, 12, 96), (20, 16, 128), (64, 16, 128), (100, 8, 64), (128, 4, 128)),
    *((256, 1, 128), (50, 16, 32), (32, 8, 48), (200, 2, 64), (28, 16, 100)),
)
"""Shapes at which launching counts."""
TORCHS = ("LSTM", "RNN", "GRUResetAfter")
"""Cells that are torch's own layers."""


# ---- against torch ----------------------------------------------------------------------------


def lstm(o: Options) -> Section:
    """Against the layer that torch does best."""
    section = Section("lstm", "Against torch.nn.LSTM")
    against(section, o, ["LSTM"], torch_peer)
    for mode in MODES:
        bars(section, mode, geometric=1.15, lowest=0.95)
    return section


def lstm_bfloat16(o: Options) -> Section:
    """The same in bfloat16, where oneDNN uses AMX tiles."""
    section = Section("lstm-bfloat16", "Against torch.nn.LSTM, both in bfloat16")
    against(section, o, ["LSTM"], torch_peer, torch.bfloat16)
    for mode in MODES:
        bars(section, mode, geometric=1.0, lowest=0.8)
    return section


def gru_rnn(o: Options) -> Section:
    """Against torch's layers that are not fused on the CPU."""
    section = Section("gru-rnn", "Against torch.nn.GRU and torch.nn.RNN")
    against(section, o, ["GRUResetAfter", "RNN"], torch_peer)
    bars(section, TRAINING, geometric=2.3)
    bars(section, INFERENCE, geometric=1.9)
    return section


def loop(o: Options) -> Section:
    """Against what one writes where torch has no layer."""
    section = Section("loop", "Against a plain torch loop, the input's product hoisted")
    against(section, o, [name for name in CELLS if name not in TORCHS], loop_peer)
    for mode in MODES:
        bars(section, mode, geometric=1.5, only=lambda n: n >= 512, where="n ≥ 512")
    return section


def small(o: Options) -> Section:
    """Small layers, where a loop's time is Python's and the launching of operations."""
    section = Section("small", "All cells against a plain torch loop, n ≤ 128, B ≤ 16")
    against(section, o, list(CELLS), loop_peer, shapes=SMALL)
    for mode in MODES:
        bars(section, mode, geometric=8.0, lowest=4.0)
    return section


# ---- against ourselves and the machine --------------------------------------------------------

_rounds: dict[tuple[Options, Shape, str], tuple[dict[str, Layer], Times, Peak | None]] = {}


def all_cells(o: Options, shape: Shape, mode: str, section: Section) -> Any:
    """All cells and the machine's peak in turn; measured once for the two sections that ask."""
    layers = {name: Layer(cell, shape, o) for name, cell in CELLS.items()}
    layers = {name: layer for name, layer in layers.items() if not unable(section, layer)}
    key = (o, shape, mode)
    if key not in _rounds:
        print(f"  all cells: {shape}, {mode}", file=sys.stderr, flush=True)
        sides: dict[str, Callable[[], Any]] = {k: v.ours(mode) for k, v in layers.items()}
        peak = None
        if o.device == "cpu":
            try:
                peak = sides["peak"] = Peak(o.threads)
            except FileNotFoundError as error:
                section.note(str(error))
        _rounds[key] = layers, take_turns(sides, o.seconds * len(sides) / 2), peak
    return _rounds[key]


def cells(o: Options) -> Section:
    """No cell may be a poor relation."""
    section = Section(
        "cells", "Every cell against our own LSTM, speed per floating-point operation"
    )
    for shape in o.shapes:
        for mode in MODES:
            layers, times, _ = all_cells(o, shape, mode, section)
            if "LSTM" not in layers:
                continue
            per_flop = layers["LSTM"].flop(mode)
            for name, layer in layers.items():
                if name != "LSTM":
                    section.add(
                        **speed(layer, mode, times),
                        ratio=times.ratio("LSTM", name) * layer.flop(mode) / per_flop,
                    )
    for mode in MODES:
        bars(section, mode, geometric=0.8, lowest=0.8)
    return section


def peak(o: Options) -> Section:
    """The machine's own limit: fused multiply-adds on registers, on as many threads."""
    section = Section("peak", "Share of the measured peak, n ≥ 256, B ≥ 32")
    for shape in o.shapes:
        if shape[1] < 32 or shape[2] < 256:
            continue
        for mode in MODES:
            layers, times, limit = all_cells(o, shape, mode, section)
            if limit is None:
                section.note("no peak is measured here")
                continue
            for name, layer in layers.items():
                section.add(
                    **speed(layer, mode, times),
                    **{"peak GFLOP/s": limit.flop / times.median("peak") / 1e9},
                    share=times.ratio("peak", name) * layer.flop(mode) / limit.flop,
                )
    for mode in MODES:
        bars(section, mode, geometric=0.75, lowest=0.6, column="share")
    return section


def speed(layer: Layer, mode: str, times: Times) -> dict[str, Any]:
    """How a row of one of all cells begins."""
    seconds = times.median(layer.name)
    return {
        **layer.row(mode),
        "backend": layer.chosen(),
        "ms": 1e3 * seconds,
        "GFLOP/s": layer.flop(mode) / seconds / 1e9,
    }


def threads(o: Options) -> Section:
    """All threads against one, in the same process: after each switch one call is not timed."""
    section = Section("threads", f"{o.threads} threads against one, n ≥ 256")
    if o.device != "cpu" or o.threads < 2:
        section.note("needs the CPU and two threads at least")
        return section
    count = {"ours": o.threads, "peer": 1}
    for cell in ("LSTM", "GRU"):
        for shape in (shape for shape in o.shapes if shape[2] >= 256):
            layer = Layer(CELLS[cell], shape, o)
            if unable(section, layer):
                continue
            for mode in MODES:
                run = layer.ours(mode)

                def switch(side: str, run: Callable[[], Any] = run) -> None:
                    torch.set_num_threads(count[side])
                    run()

                times = take_turns(dict.fromkeys(count, run), o.seconds, before=switch)
                section.add(**renamed(versus(layer, mode, times), f"{o.threads} threads", "one"))
    torch.set_num_threads(o.threads)
    for mode in MODES:
        bars(section, mode, geometric=1.8 if o.threads == 2 else 0.9 * o.threads)
    return section


def bfloat16(o: Options) -> Section:
    """Weights and input in bfloat16 against float32."""
    section = Section("bfloat16", "bfloat16 against float32, n ≥ 256, B ≥ 16")
    for cell in CELLS:
        for shape in (shape for shape in o.shapes if shape[2] >= 256 and shape[1] >= 16):
            full, half = Layer(CELLS[cell], shape, o), Layer(CELLS[cell], shape, o, torch.bfloat16)
            if unable(section, full) or unable(section, half):
                continue
            if full.chosen() != half.chosen():
                section.note(f"{cell} left out: {full.chosen()} does not run it in bfloat16")
                continue
            for mode in MODES:
                sides = {"ours": half.ours(mode), "peer": full.ours(mode)}
                steps = slice(8 if cell in AMPLIFYING else None)
                agree(*(sides[name]()[0][steps] for name in sides), 0.05, f"{cell} in bfloat16")
                row = versus(half, mode, take_turns(sides, o.seconds))
                section.add(**renamed(row, "bfloat16", "float32"))
    bars(section, TRAINING, geometric=2.2)
    bars(section, INFERENCE, geometric=2.8)
    return section


def renamed(row: dict[str, Any], ours: str, peer: str) -> dict[str, Any]:
    """A row whose sides are both ours."""
    return {k.replace("ours", ours).replace("peer", peer): v for k, v in row.items()}


# ---- against ONNX Runtime ---------------------------------------------------------------------


def onnx(o: Options) -> Section:
    """Inference by ONNX Runtime's LSTM and GRU, its threads spinning or not: the better counts.

    The spinning session stops when its call ends: left alone, its threads spin on and slow the next
    side's turn down 2 to 3 times (docs/log.md).
    """
    section = Section("onnx", "Against ONNX Runtime, inference")
    try:
        import onnx as _  # noqa: F401
        import onnxruntime
    except ImportError as error:
        section.note(f"left out: {error.name} is not installed: pip install -e '.[bench]'")
        return section
    section.note(
        f"onnxruntime {onnxruntime.__version__}, the better of two sessions: one whose threads "
        "sleep when they wait, one whose threads spin until the end of the call"
    )
    if o.device != "cpu":
        section.note("left out: CPU only")
        return section
    for cell in ("LSTM", "GRUResetAfter", "GRU"):
        for shape in o.shapes:
            layer = Layer(CELLS[cell], shape, o)
            if not unable(section, layer):
                against_onnx(section, layer, o)
    bars(section, INFERENCE, geometric=1.2)
    return section


def against_onnx(section: Section, layer: Layer, o: Options) -> None:
    """Add one row."""
    T, B, n = layer.shape
    model = onnx_model(layer.cell, layer.w, T, B)
    ours = layer.ours(INFERENCE)
    sides: dict[str, Callable[[], Any]] = {"ours": ours}
    for name, spinning in (("spinning", True), ("sleeping", False)):
        sides[name] = peer = OnnxLayer(model, layer.x, n, o.threads, spinning)
        peer()
        agree(ours()[0], peer.result(), 1e-4, f"{layer.name} {layer.shape}, ONNX Runtime")

    times = take_turns(sides, o.seconds)
    better = min(("spinning", "sleeping"), key=times.median)
    section.add(**versus(layer, INFERENCE, times, better), **{"its threads": better})


# ---- the command line -------------------------------------------------------------------------

SECTIONS: dict[str, Callable[[Options], Section]] = {
    "lstm": lstm,
    "lstm-bfloat16": lstm_bfloat16,
    "gru-rnn": gru_rnn,
    "loop": loop,
    "small": small,
    "jax": jax,
    "cells": cells,
    "onnx": onnx,
    "threads": threads,
    "bfloat16": bfloat16,
    "step": step,
    "peak": peak,
    "memory": peak_memory,
    "compile": compile_times,
}


def main(arguments: list[str] | None = None) -> None:
    """Run the sections asked for and print them; all bars once more at the end."""
    chosen = parser().parse_args(arguments)
    o = Options(tuple(chosen.shapes), chosen.seconds, chosen.backend, chosen.device, chosen.threads)
    timing.prepare(o.threads)
    print("# One layer\n")
    timing.say_environment()
    began, found = time.perf_counter(), {}
    for name in chosen.section:
        print(f"{time.perf_counter() - began:5.0f} s  {name}", file=sys.stderr, flush=True)
        section = found[name] = SECTIONS[name](o)
        section.print()
    print(f"\n## All bars, after {time.perf_counter() - began:.0f} s\n")
    for name, section in found.items():
        for bar in section.bars:
            print(f"- {name}: {bar}")
    if chosen.json:
        sections = {name: section.as_json() for name, section in found.items()}
        result = {"environment": timing.environment(), "options": vars(o), "sections": sections}
        Path(chosen.json).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--section", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="NAME")
    add("--shapes", nargs="+", type=shape, default=list(SHAPES), metavar="T,B,n")
    add("--seconds", type=float, default=1.5, help="for each row")
    add("--backend", default="auto")
    add("--threads", type=int, default=2)
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--json", metavar="FILE", help="write everything there")
    add(timing.TORCH_DEFAULTS, action="store_true", help="OpenMP and malloc as torch has them")
    return parser


def shape(text: str) -> Shape:
    """`T,B,n`."""
    T, B, n = map(int, text.split(","))
    return T, B, n


if __name__ == "__main__":
    main()
