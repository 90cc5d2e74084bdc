"""One recurrent layer on a CUDA GPU: ours, cuDNN, a plain loop, and that loop in a CUDA graph.

    python benchmarks/gpu.py [--shapes 1024,16,768 …] [--cells LSTM …] [--dtypes float32 …]
        [--backend auto] [--seconds 0.3] [--limit 420] [--json FILE] [--markdown FILE]

Shapes are T,B,n with n_x = n. Sides take turns call by call; figures are medians. Before a row is
timed, ours and the loop are compared with the float64 reference over the first steps. Rows come
shape by shape until --limit seconds are over; what was left out is counted. Without a GPU it says
so and ends.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timing  # first: it prepares the environment that torch reads

# isort: split
import torch
from torch import Tensor

import throughtime as tt
from layer import CELLS, MODES, Layer, Options, Shape
from layers import shape
from peers import LOOPS, torch_layer
from throughtime.cells import Cell, Weights
from throughtime.scans import BACKENDS
from timing import Section, take_turns

SHAPES: tuple[Shape, ...] = (
    (256, 32, 512),
    (1024, 16, 768),
    (256, 32, 128),
    (128, 128, 1024),
    (512, 1, 256),
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CHECKED_STEPS = 16
ALLOWED = {"float32": 5e-3, "bfloat16": 0.15, "float16": 0.02}
"""Largest difference from the float64 reference over the checked steps; float32 is TF32."""


def main(arguments: list[str] | None = None) -> None:
    """Time what the command line asks for, print it, and write it."""
    chosen = parser().parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a CUDA GPU; torch sees none here.")
    torch.backends.cuda.matmul.fp32_precision = "tf32"  # as cuDNN's layers do by default
    print(f"# One layer on {torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    section = Section("gpu", "Milliseconds a call, and microseconds a step of ours")
    wanted = list(itertools.product(chosen.shapes, chosen.dtypes, chosen.cells, MODES))
    began = time.perf_counter()
    for done, (size, dtype, cell, mode) in enumerate(wanted):
        if time.perf_counter() - began > chosen.limit:
            section.note(f"{len(wanted) - done} of {len(wanted)} rows left out: out of time")
            break
        o = Options((size,), chosen.seconds, chosen.backend, "cuda", 1)
        section.add(**row(Layer(CELLS[cell], size, o, DTYPES[dtype]), dtype, mode, o))
        gc.collect()
        torch.cuda.empty_cache()
    section.print()
    result = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, **section.as_json()}
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if chosen.markdown:
        Path(chosen.markdown).write_text(timing.table(section.rows) + "\n")


def row(layer: Layer, dtype: str, mode: str, o: Options) -> dict[str, Any]:
    """One cell at one shape: all sides timed, ours checked, peak memory of ours and cuDNN."""
    torch.manual_seed(2)
    differs = check(layer)
    if differs > ALLOWED[dtype]:
        raise AssertionError(f"{layer.name} {layer.shape} {dtype}: off by {differs:.2e}")
    plain = layer.call(lambda x: loop(layer.cell, layer.w, x), layer.parameters, mode)
    sides: dict[str, Callable[[], Any]] = {"ours": layer.ours(mode), "loop": plain}
    if graphed := in_graph(plain):
        sides["graph"] = graphed
    if isinstance(layer.cell, (tt.LSTM, tt.GRUResetAfter, tt.RNN)):
        peer = torch_layer(layer.cell, layer.w)
        peer.flatten_parameters()
        sides["cuDNN"] = layer.call(lambda x: peer(x)[0], list(peer.parameters()), mode)
    peaks = {name: peak(sides[name]) for name in ("ours", "cuDNN") if name in sides}
    times = take_turns(sides, o.seconds, least=3)
    told = {name: 1e3 * times.median(name) if name in sides else "–" for name in
            ("ours", "cuDNN", "loop", "graph")}  # fmt: skip
    return {
        **layer.row(mode),
        "dtype": dtype,
        **told,
        "us a step": 1e6 * times.median("ours") / layer.shape[0],
        "loop / ours": times.ratio("loop", "ours"),
        "cuDNN / ours": times.ratio("cuDNN", "ours") if "cuDNN" in sides else "–",
        "MiB ours": peaks["ours"],
        "MiB cuDNN": peaks.get("cuDNN", "–"),
        "off by": differs,
    }


def loop(cell: Cell, w: Weights, x: Tensor) -> Tensor:
    """What one writes: the peer's loop where there is one, else the equations step by step."""
    if cell in LOOPS:
        return LOOPS[cell](w, x)
    return tt.scan(cell, w, x, backend="reference")[0]


def check(layer: Layer) -> float:
    """The largest difference of ours from the float64 reference on the CPU, first steps."""
    x = layer.x[:CHECKED_STEPS]
    with torch.no_grad():
        got = layer.scan(x).double().cpu()
        parts = [part.double().cpu() for part in layer.w[:3]]
        w = tt.Weights(*parts, {k: v.double().cpu() for k, v in layer.w.vectors.items()})
        right = tt.scan(layer.cell, w, x.double().cpu(), backend="reference")[0]
    return float((got - right).abs().max())


def in_graph(call: Callable[[], Any]) -> Callable[[], Any] | None:
    """The call captured in a CUDA graph; None where the card has no room for it."""
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


def peak(call: Callable[[], Any]) -> float:
    """MiB that a call needs beyond what is there before it."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--shapes", nargs="+", type=shape, default=list(SHAPES), metavar="T,B,n")
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS), metavar="NAME")
    add("--dtypes", nargs="+", choices=DTYPES, default=["float32", "bfloat16"])
    add("--backend", default="auto", choices=["auto", *BACKENDS], help="ours: which one")
    add("--seconds", type=float, default=0.3, help="for each row")
    add("--limit", type=float, default=420.0, help="seconds after which no row begins")
    add("--json", metavar="FILE", help="write everything there")
    add("--markdown", metavar="FILE", help="write the table there")
    add(timing.TORCH_DEFAULTS, action="store_true", help="OpenMP and malloc as torch has them")
    return parser


if __name__ == "__main__":
    main()
