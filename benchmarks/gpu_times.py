"""Times of `gpu.py`: every way, cuDNN, a plain loop and that loop in a CUDA graph."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import timing  # noqa: F401  first: it prepares the environment that torch reads

# isort: split
import torch
from torch import Tensor

import throughtime as tt
from gpu_rows import DTYPES, Chosen, Told, by, in_graph, peak, turns, us
from layer import CELLS, INFERENCE, MODES, TRAINING, Layer, Shape
from peers import LOOPS, torch_layer
from throughtime.cells import Cell, Weights
from throughtime.scans.compiled import programs
from throughtime.scans.compiled.gpu import cards, cost, ways
from timing import Bar, geometric_mean

ZOO = {name: tt.zoo.ZOO[name]() for name in ("janet", "mgu", "ugrnn")}
ALL = CELLS | ZOO
CUDNN = ("LSTM", "GRUResetAfter")
OF_ISSUE = ("LSTM", "GRU", "GRUResetAfter", "PeepholeLSTM", "LayerNormLSTM", "DecayUnit")


# ---- ways -------------------------------------------------------------------------------------

WAY_SHAPES: tuple[Shape, ...] = (
    (1024, 16, 768), (1024, 16, 128), (256, 32, 512), (128, 128, 1024), (1024, 16, 64),
    (512, 1, 256), (256, 32, 128), (64, 256, 2048),
)  # fmt: skip
FLASH = {"forward ms": 4.9, "both ms": 13.6}
"""Published for FlashRNN's fused LSTM at T = 1024, H = 768, B = 16."""


def way_times(o: Chosen) -> Told:
    """Every way over the same work, and what the model expected of it."""
    section = Told("ways", "The ways, µs a step, beside what `gpu/cost.py` has on paper", o)
    names = o.cells or (("GRU",) if o.trial else ("LSTM", "GRU", "LayerNormLSTM", "PeepholeLSTM"))
    for shape, dtype, name in itertools.product(
        o.over(*WAY_SHAPES), o.kinds("bfloat16", "float32"), names
    ):
        if dtype == "float32" and name != "LSTM" and not o.cells:
            continue
        cell, (_, B, n), size = ALL[name], shape, DTYPES[dtype].itemsize
        facts = programs.facts(programs.find(cell, "triton"))
        card = cards.card_of(torch.device(o.device))
        for way, made in ways.found(facts, B, n, size, card).items():
            what = f"{name} {shape} {dtype} {way}"
            if isinstance(made, str):
                section.note(f"{name}, n = {n}, B = {B}, {dtype}: no {way}: {made}")
                continue
            on_paper = [cost.of_step(facts, made, B, n, size, card, back) for back in (False, True)]
            section.attempt(what, lambda: way_row(name, shape, dtype, way, on_paper, o))  # noqa: B023
    rows = [row for row in section.rows if row["cell"] == "LSTM" and row["dtype"] == "bfloat16"]
    narrow = [row["us forward"] for row in rows if row["T, B, n"] == "1024, 16, 128"]
    if narrow:
        section.bars.append(Bar("µs of a step, n = 128", min(narrow), 1.5, at_most=True))
    flash = [row for row in rows if row["T, B, n"] == "1024, 16, 768"]
    for key, bound in (("forward ms", 2.0), ("both ms", 1.5)):
        if flash:
            best = min(row[key] for row in flash)
            section.bars.append(Bar(f"FlashRNN's {key} by ours", FLASH[key] / best, bound))
    return section.close()


def way_row(
    name: str, shape: Shape, dtype: str, way: str, on_paper: list[cost.Cost], o: Chosen
) -> dict[str, Any]:
    """Forward alone, and with the backward."""
    layer = Layer(ALL[name], shape, o.options(shape, "compiled"), DTYPES[dtype])
    with by(way):
        sides = {mode: layer.ours(mode) for mode in MODES}
        times = turns(sides, o, least=3)
        memory = peak(sides[TRAINING])
    T = shape[0]
    forward, both = us(times, INFERENCE, T), us(times, TRAINING, T)
    return {
        "cell": name, "T, B, n": ", ".join(map(str, shape)), "dtype": dtype, "way": way,
        "forward ms": forward * T / 1e3, "both ms": both * T / 1e3, "us forward": forward,
        "on paper": on_paper[0].us, "us back": both - forward, "back on paper": on_paper[1].us,
        "MiB": memory,
    }  # fmt: skip


def measured(rows: list[dict[str, Any]], card: str) -> list[dict[str, Any]]:
    """Rows of `way_times` as `gpu/measured.json` has them."""
    found = []
    for row in rows:
        T, B, n = map(int, row["T, B, n"].split(", "))
        both = (False, "us forward", "on paper"), (True, "us back", "back on paper")
        for back, key, paper in both:
            if row[key] > 0:
                found.append({
                    "card": card, "cell": row["cell"], "dtype": row["dtype"], "T": T, "B": B,
                    "n": n, "way": row["way"], "back": back, "us": round(row[key], 2),
                    "on paper": round(row[paper], 3),
                })  # fmt: skip
    return found


# ---- cuDNN and loops --------------------------------------------------------------------------

CUDNN_SHAPES: tuple[Shape, ...] = (
    (1024, 16, 768), (256, 32, 512), (128, 128, 1024), (1024, 16, 128), (512, 1, 256),
    (256, 64, 256),
)  # fmt: skip


def cudnn(o: Chosen) -> Told:
    """LSTM and GRU (reset after) against cuDNN, whose weights are in one piece."""
    section = Told("cudnn", "Against cuDNN", o)
    for dtype, shape, name, mode in itertools.product(
        o.kinds("bfloat16", "float16"), o.over(*CUDNN_SHAPES), o.cells or CUDNN, MODES
    ):
        if name in CUDNN:
            section.attempt(f"{name} {shape} {dtype} {mode}",
                            lambda: against(name, shape, dtype, mode, o, ("cuDNN",)))  # noqa: B023  # fmt: skip
    for dtype, bound in (("bfloat16", 1.3), ("float16", 0.8)):
        for mode in MODES:
            rows = section.where(dtype=dtype, mode=mode)
            if ratios := [row["cuDNN / ours"] for row in rows]:
                section.bars += [
                    Bar(f"{dtype} {mode}, geometric mean", geometric_mean(ratios), bound),
                    Bar(f"{dtype} {mode}, least", min(ratios), bound),
                ]
    return section.close()


LOOP_SHAPES: tuple[Shape, ...] = ((256, 32, 512), (128, 64, 1024), (256, 1, 256))


def loops(o: Chosen) -> Told:
    """Any cell against what one writes, and against that in a CUDA graph."""
    section = Told("loops", "Against a plain loop, and the loop in a CUDA graph", o)
    names = o.cells or (("GRU",) if o.trial else OF_ISSUE)
    for shape, dtype, mode, name in itertools.product(
        o.over(*LOOP_SHAPES), o.kinds("bfloat16"), MODES, names
    ):
        section.attempt(f"{name} {shape} {dtype} {mode}",
                        lambda: against(name, shape, dtype, mode, o, ("loop", "graph")))  # noqa: B023  # fmt: skip
    for side, bound in (("loop", 30.0), ("graph", 2.5)):
        ratios = [r for row in section.rows if isinstance(r := row[f"{side} / ours"], float)]
        if ratios:
            section.bars += [
                Bar(f"{side} / ours, least", min(ratios), bound),
                Bar(f"{side} / ours, geometric mean", geometric_mean(ratios), bound),
            ]
    for mode in MODES:
        per_operation(section, mode)
    return section.close()


def per_operation(section: Told, mode: str) -> None:
    """Bars: each cell's operations a second by our LSTM's of the same shape."""
    rows = [row for row in section.rows if row["mode"] == mode]
    lstm = {row["T, B, n"]: row["GFLOP/s"] for row in rows if row["cell"] == "LSTM"}
    for name in {row["cell"]: None for row in rows if row["cell"] != "LSTM"}:
        ratios = [row["GFLOP/s"] / lstm[row["T, B, n"]] for row in rows
                  if row["cell"] == name and row["T, B, n"] in lstm]  # fmt: skip
        if ratios:
            what = f"{name} per operation by our LSTM, {mode}"
            section.bars.append(Bar(what, geometric_mean(ratios), 0.6))


def against(
    name: str, shape: Shape, dtype: str, mode: str, o: Chosen, peers: tuple[str, ...]
) -> dict[str, Any]:
    """Ours and these sides, in turns; peak memory of ours and of the first of them."""
    layer = Layer(ALL[name], shape, o.options(shape), DTYPES[dtype])
    sides: dict[str, Callable[[], Any]] = {"ours": layer.ours(mode)}
    if "cuDNN" in peers:
        peer = torch_layer(layer.cell, layer.w)
        peer.flatten_parameters()
        sides["cuDNN"] = layer.call(lambda x: peer(x)[0], list(peer.parameters()), mode)
    if "loop" in peers:
        plain = layer.call(lambda x: loop(layer.cell, layer.w, x), layer.parameters, mode)
        sides["loop"] = plain
        if graphed := in_graph(plain):
            sides["graph"] = graphed
    memory = {side: peak(sides[side]) for side in ("ours", peers[0])}
    times = turns(sides, o, least=3)
    row = {
        **layer.row(mode), "dtype": dtype, "ours ms": 1e3 * times.median("ours"),
        "us a step": us(times, "ours", shape[0]),
        "GFLOP/s": layer.flop(mode) / times.median("ours") / 1e9,
    }  # fmt: skip
    for side in peers:
        there = side in sides
        row[f"{side} ms"] = 1e3 * times.median(side) if there else "–"
        row[f"{side} / ours"] = times.ratio(side, "ours") if there else "–"
    return row | {"MiB ours": memory["ours"], f"MiB {peers[0]}": memory[peers[0]]}


def loop(cell: Cell, w: Weights, x: Tensor) -> Tensor:
    """What one writes: the peer's loop where there is one, else the equations step by step."""
    if cell in LOOPS:
        return LOOPS[cell](w, x)
    return tt.scan(cell, w, x, backend="reference")[0]
