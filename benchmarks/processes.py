"""Measurements that need a process of their own: peak memory, time to the first result."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timing  # first: it prepares the environment that torch reads

# isort: split
import torch

from layer import CELLS, TRAINING, Layer, Options, Shape
from peers import torch_layer
from timing import Bar, Section

ROUNDS = 3
MEMORY_SHAPES: tuple[Shape, ...] = ((128, 32, 512), (64, 64, 650))
SMALL: Shape = (8, 4, 32)
PAGE = 4096


# ---- memory -----------------------------------------------------------------------------------


def peak_memory(o: Options) -> Section:
    """By how much a training step raises the peak of a fresh process, ours and torch's."""
    section = Section("memory", "Peak memory of a training step against torch's")
    shapes = [s for s in MEMORY_SHAPES if s in o.shapes] or o.shapes
    for cell in ("LSTM", "GRUResetAfter"):
        for shape in shapes:
            found: dict[str, list[dict[str, Any]]] = {"ours": [], "torch": []}
            for _ in range(ROUNDS):
                for side, results in found.items():
                    results.append(child(o, "memory", side=side, cell=cell, shape=shape))
            if reason := found["ours"][0].get("why_not"):
                section.note(f"{cell} left out: {reason}")
                continue
            ours, peer = (statistics.median(r["mib"] for r in found[k]) for k in found)
            section.add(
                cell=cell,
                **{"T, B, n": ", ".join(map(str, shape))},
                backend=found["ours"][0]["backend"],
                **{"ours MiB": ours, "torch MiB": peer},
                ratio=ours / peer,
            )
    section.note("growth over two steps, after one at a small size that loads what is needed")
    if section.rows:
        worst = max(row["ratio"] for row in section.rows)
        section.bars.append(Bar("highest", worst, 1.0, at_most=True))
    return section


def measure_memory(o: Options, side: str, cell: str, shape: Shape) -> dict[str, Any]:
    """In the child: MiB."""

    def step(shape: Shape) -> Any:
        layer = Layer(CELLS[cell], shape, o)
        if side == "ours":
            return layer, layer.ours(TRAINING)
        peer = torch_layer(layer.cell, layer.w)
        parameters = list(peer.parameters())
        return layer, layer.call(lambda x: peer(x)[0], parameters, TRAINING)

    layer, run = step(SMALL)
    if side == "ours" and (reason := layer.why_not()):
        return {"why_not": reason}
    run()
    layer, run = step(shape)
    before = start_of_peak(o.device)
    for _ in range(2):
        run()
    growth = max(peak(o.device) - before, PAGE)
    return {"mib": growth / 2**20, "backend": layer.chosen()}


def start_of_peak(device: str) -> float:
    """Forget earlier peaks where the system allows it; bytes that are in use now."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak(device)
    return status("VmRSS")


def peak(device: str) -> float:
    """Bytes at the highest."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    if Path("/proc/self/status").exists():
        return status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def status(name: str) -> float:
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return 1024.0 * int(value.split()[0])
    raise KeyError(name)


# ---- compiling --------------------------------------------------------------------------------


def compile_times(o: Options) -> Section:
    """From the end of the imports to the first result, with an empty cache and with a full one."""
    section = Section("compile", "Time to the first result of forward and backward")
    native = child_options(o, backend="native")
    baseline = [child(native, "first", cell="LSTM")["seconds"] for _ in range(ROUNDS)]
    native_ms = 1e3 * statistics.median(baseline)
    for cell in ("LSTM", "GRU", "PeepholeLSTM", "DecayUnit"):
        with tempfile.TemporaryDirectory() as cache:
            first = child(o, "first", cache=cache, cell=cell)
            if reason := first.get("why_not"):
                section.note(f"{cell} left out: {reason}")
                continue
            later = [child(o, "first", cache=cache, cell=cell)["seconds"] for _ in range(ROUNDS)]
        later_ms = 1e3 * statistics.median(later)
        section.add(
            cell=cell,
            backend=first["backend"],
            **{"empty cache s": first["seconds"], "later process ms": later_ms},
            **{"native LSTM ms": native_ms, "beyond native ms": later_ms - native_ms},
        )
    section.note("the imports are not counted")
    if section.rows:
        first = max(row["empty cache s"] for row in section.rows)
        beyond = max(row["beyond native ms"] for row in section.rows)
        section.bars += [
            Bar("empty cache, s: highest", first, 10, at_most=True),
            Bar("later process beyond native, ms: highest", beyond, 50, at_most=True),
        ]
    return section


def measure_first(o: Options, cell: str) -> dict[str, Any]:
    """In the child: seconds from the end of the imports to the first result."""
    layer = Layer(CELLS[cell], SMALL, o)
    if reason := layer.why_not():
        return {"why_not": reason}
    run = layer.ours(TRAINING)
    started = time.perf_counter()
    run()
    timing.synchronize()
    return {"seconds": time.perf_counter() - started, "backend": layer.chosen()}


# ---- parent and child -------------------------------------------------------------------------


def child_options(o: Options, **changes: Any) -> Options:
    """The options with some changed."""
    return Options(**{**vars(o), **changes})


def child(o: Options, kind: str, *, cache: str | None = None, **arguments: Any) -> dict[str, Any]:
    """What one measurement gives in a process of its own."""
    order = json.dumps({"kind": kind, "options": asdict(o), "arguments": arguments})
    command = [sys.executable, __file__, order]
    command += [timing.TORCH_DEFAULTS] if timing.TORCH_DEFAULTS in sys.argv else []
    environment = dict(os.environ)
    if cache is not None:
        environment["THROUGHTIME_CACHE"] = cache
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """In the child."""
    order = json.loads(sys.argv[1])
    o = Options(**order["options"])
    timing.prepare(o.threads)
    arguments = order["arguments"]
    if "shape" in arguments:
        arguments["shape"] = tuple(arguments["shape"])
    measure = {"memory": measure_memory, "first": measure_first}[order["kind"]]
    print(json.dumps(measure(o, **arguments)))


if __name__ == "__main__":
    main()
