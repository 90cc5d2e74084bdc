"""Recurrent layers on a CUDA GPU, in one command: agreement first, then times, a table at the end.

    python benchmarks/gpu.py [--limit 450] [--json FILE] [--markdown FILE] [--measured FILE]
        [--section ways …] [--shapes 1024,16,768 …] [--cells LSTM …] [--dtypes bfloat16 …]
        [--backend compiled] [--seconds 0.2] [--no-prewarm]
    python benchmarks/gpu.py --try

Shapes are T,B,n with n_x = n. Sides take turns call by call; figures are medians. Kernels are
compiled beforehand by as many processes as there are cores. Each section is a process: what breaks
one leaves the others alone, and a row that fails is told. A section begins no row after its share
of --limit; what was left out is counted. --measured writes the table that `auto` goes by
(`src/throughtime/scans/compiled/gpu/measured.json`). --try runs all of it on the CPU, in Triton's
interpreter, at sizes that measure nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if "--try" in sys.argv:  # Triton reads it once, at the import
    os.environ["TRITON_INTERPRET"] = "1"
    os.environ.setdefault("THROUGHTIME_GPU", "graph")

import timing  # first: it prepares the environment that torch reads

# isort: split
import torch

from gpu_rows import DTYPES, Chosen, by, in_parallel, table_of
from gpu_sections import SECTIONS
from gpu_times import ALL, CUDNN, CUDNN_SHAPES, LOOP_SHAPES, OF_ISSUE, WAY_SHAPES, measured
from layer import MODES, Layer, Options, Shape
from layers import shape
from throughtime.scans import BACKENDS
from throughtime.scans.compiled.gpu import ways

WARMING = 100.0
"""Seconds that compiling beforehand may take."""


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line asks for, print it, and write it."""
    chosen = parser().parse_args(arguments)
    if not chosen.trial and not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a CUDA GPU; torch sees none here. Try it: --try")
    if chosen.one:
        one(chosen)
        return
    began = time.perf_counter()
    name = "no GPU: nothing here measures" if chosen.trial else torch.cuda.get_device_name()
    print(f"# Layers on {name}, torch {torch.__version__}", flush=True)
    if not chosen.trial and chosen.prewarm:
        print(prewarm(min(WARMING, 0.25 * chosen.limit)), flush=True)
    found, left = {}, chosen.limit - (time.perf_counter() - began)
    shares = {section: SECTIONS[section][1] for section in chosen.section}
    for section, share in shares.items():
        ends = chosen.limit - (time.perf_counter() - began)
        seconds = min(left * share / sum(shares.values()), ends)
        found[section] = apart(section, max(seconds, 1.0), sys.argv[1:] if arguments is None
                               else arguments)  # fmt: skip
    text = "\n".join(line for section in found.values() for line in table_of(section))
    print(text)
    whole = {"gpu": name, "torch": torch.__version__, "seconds": time.perf_counter() - began}
    if chosen.json:
        written = json.dumps({**whole, "sections": found}, indent=1, ensure_ascii=False)
        Path(chosen.json).write_text(written + "\n")
    if chosen.markdown:
        Path(chosen.markdown).write_text(text + "\n")
    if chosen.measured and "ways" in found:
        rows = map(json.dumps, measured(found["ways"]["rows"], name))
        Path(chosen.measured).write_text("[\n " + ",\n ".join(rows) + "\n]\n")


def apart(section: str, seconds: float, arguments: list[str]) -> dict[str, Any]:
    """A section in a process of its own; what it had when it ended, however it did."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        command = [sys.executable, __file__, *arguments, "--one", section]
        command += ["--limit", str(seconds), "--json", str(file)]
        ended = ""
        try:
            done = subprocess.run(command, timeout=seconds + 45, check=False, capture_output=True)
            sys.stderr.buffer.write(done.stderr[-20_000:])
            if done.returncode:
                last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
                ended = f"it ended with {done.returncode}: {' '.join(last)[:300]}"
        except subprocess.TimeoutExpired:
            ended = f"it was ended after {seconds + 45:.0f} s"
        sys.stderr.flush()
        empty = {"title": section, "rows": [], "bars": [], "notes": []}
        found = json.loads(file.read_text()) if file.exists() else empty
    return {**found, "notes": [*found["notes"], ended] if ended else found["notes"]}


def one(chosen: argparse.Namespace) -> None:
    """One section, in this process."""
    if chosen.trial:
        sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
        import interpreting  # noqa: F401  what the interpreter lacks
    else:
        torch.backends.cuda.matmul.fp32_precision = "tf32"  # as cuDNN's layers do by default
    o = Chosen(
        device="cpu" if chosen.trial else "cuda",
        seconds=0.0 if chosen.trial else chosen.seconds,
        until=time.perf_counter() + (600 if chosen.trial else chosen.limit),
        json=Path(chosen.json) if chosen.json else None,
        shapes=tuple(chosen.shapes) if chosen.shapes else None,
        cells=tuple(chosen.cells) if chosen.cells else None,
        dtypes=tuple(chosen.dtypes) if chosen.dtypes else None,
        backend="compiled" if chosen.trial else chosen.backend,
    )
    SECTIONS[chosen.one][0](o)


# ---- compiling beforehand ---------------------------------------------------------------------


def prewarm(seconds: float) -> str:
    """Compile what the sections will run, in parallel: Triton keeps it for them."""
    jobs = list(dict.fromkeys(warming()))
    began, told = time.perf_counter(), list(in_parallel(warm, jobs, seconds))
    failed = [f"{job}: {reason}" for job, reason in told if reason]
    said = f"; {len(failed)} not: {failed[0][:300]}" if failed else ""
    took = time.perf_counter() - began
    return f"{len(told)} of {len(jobs)} rows compiled beforehand in {took:.0f} s{said}"


def warming() -> list[tuple[str, Shape, str, str]]:
    """Cell, shape, dtype and way, the most wanted first."""
    half = [("LSTM", s, "bfloat16", way) for s in WAY_SHAPES for way in ways.WAYS]
    wide = [(name, s, "bfloat16", "") for name in OF_ISSUE for s in LOOP_SHAPES]
    peers = [(name, s, "bfloat16", "") for name in CUDNN for s in CUDNN_SHAPES]
    more = [(name, s, "bfloat16", way) for name in ("GRU", "PeepholeLSTM", "LayerNormLSTM")
            for s in WAY_SHAPES[:4] for way in ways.WAYS]  # fmt: skip
    return [*half, *peers, *wide, *more]


def warm(name: str, shape: Shape, dtype: str, way: str) -> str:
    """Forward and backward over two steps; why it failed, or nothing."""
    two = (2, *shape[1:])
    try:
        o = Options((two,), 0.0, "compiled", "cuda", 1)
        layer = Layer(ALL[name], two, o, DTYPES[dtype])
        with by(way):
            for mode in MODES:
                layer.ours(mode)()
    except Exception as error:  # noqa: BLE001  the sections tell what fails
        return type(error).__name__
    return ""


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--section", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="NAME")
    add("--shapes", nargs="+", type=shape, metavar="T,B,n")
    add("--cells", nargs="+", metavar="NAME", help=f"of {', '.join(ALL)}; of training: lstm, …")
    add("--dtypes", nargs="+", choices=DTYPES)
    add("--backend", default="compiled", choices=["auto", *BACKENDS], help="ours: which one")
    add("--seconds", type=float, default=0.15, help="for each row")
    add("--limit", type=float, default=450.0, help="for everything; a row that began is ended")
    add("--json", metavar="FILE", help="write everything there")
    add("--markdown", metavar="FILE", help="write the tables there")
    add("--measured", metavar="FILE", help="write what auto goes by there")
    add("--no-prewarm", dest="prewarm", action="store_false", help="compile as rows need it")
    add("--try", dest="trial", action="store_true", help="on the CPU, in Triton's interpreter")
    add("--one", choices=SECTIONS, help=argparse.SUPPRESS)
    add(timing.TORCH_DEFAULTS, action="store_true", help="OpenMP and malloc as torch has them")
    return parser


if __name__ == "__main__":
    main()
