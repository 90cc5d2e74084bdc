"""What the compiler says of the kernels for GPUs, without a GPU: each compiled to a cubin.

    python benchmarks/gpu_resources.py [--architectures 80 90 100] [--widths 64 …] [--cells LSTM …]
        [--batch 16] [--dtypes bfloat16 …] [--way auto] [--json FILE] [--markdown FILE]

Of each kernel: registers of a thread, bytes spilled, shared memory in KiB and what `gpu/ways.py`
reckons it to be, instructions of the time loop by kind, and how many loads of the recurrent weights
stand before that loop ("W before") and in it. The
launches are those of `gpu/call.py`, recorded from tensors without numbers, so that signatures,
constants and alignment are what a device would get. Needs Triton, and no device.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

os.environ.pop("TRITON_INTERPRET", None)  # the interpreter compiles nothing; read at the import

import timing  # first: it prepares the environment that torch reads

# isort: split
import torch
import triton
from torch import sigmoid, tanh
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import throughtime as tt
from throughtime.cells import Cell
from throughtime.scans.compiled import programs
from throughtime.scans.compiled.gpu import call, cards, choice, kernels, memory, ways
from throughtime.scans.compiled.inputs import Inputs
from timing import Section


class ThreeLevels(tt.Cell):
    """Three products, each of what the one before made."""

    gates = ("r", "q", "c")
    state = ("c",)

    def step(self, w: Any, x: Any, s: Any) -> Any:
        """r = σ(W_r [c, x]);  q = σ(W_q [r * c, x]);  c<t> = tanh(W_c [q * c, x]) / 2 + c / 2."""
        r = sigmoid(w.r(s.c, x))
        q = sigmoid(w.q(r * s.c, x))
        return self.State(c=0.5 * tanh(w.c(q * s.c, x)) + 0.5 * s.c)


CELLS: dict[str, Cell] = {
    "LSTM": tt.LSTM(),
    "GRU": tt.GRU(),
    "LayerNormLSTM": tt.LayerNormLSTM(),
    "ThreeLevels": ThreeLevels(),
}
WIDTHS = (64, 128, 256, 512, 1024)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CARDS = {
    arch: cards.CARDS[name]
    for arch, name in {80: "a100", 86: "a40", 89: "l40s", 90: "h100", 100: "b200"}.items()
}
"""A card of each architecture."""

POINTERS = {
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
    torch.uint8: "*u8",
}


class Launch(NamedTuple):
    """One launch of a kernel: `which` is "forward" or "backward"."""

    which: str
    grid: tuple[int, int]
    arguments: Sequence[Any]
    options: dict[str, Any]


class Report(NamedTuple):
    """What the compiler made of a launch."""

    registers: int
    spilled: int
    shared: int
    loop: Counter[str]
    """Instructions of the time loop by kind."""
    weights_before: int
    weights_inside: int
    """Loads of the recurrent weights before the time loop, and in it."""


def main(arguments: list[str] | None = None) -> None:
    """Compile what the command line asks for, print the table, and write it."""
    chosen = parser().parse_args(arguments)
    print(f"# What the compiler says of the kernels, triton {triton.__version__}")
    section = Section("gpu-resources", f"{chosen.batch} sequences, every input there")
    for arch in chosen.architectures:
        for name in chosen.cells:
            for dtype in chosen.dtypes:
                for n in chosen.widths:
                    for row in rows(name, arch, n, chosen.batch, DTYPES[dtype], chosen.way):
                        section.add(**row)
    section.print()
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(section.as_json(), indent=1) + "\n")
    if chosen.markdown:
        Path(chosen.markdown).write_text(timing.table(section.rows) + "\n")


def rows(
    name: str, arch: int, n: int, B: int, dtype: torch.dtype, asked: str = "auto"
) -> list[dict[str, Any]]:
    """Forward and backward of a cell at a width, by the way that is chosen there or asked for."""
    program = programs.find(CELLS[name], "triton")
    facts, card = programs.facts(program), CARDS[arch]
    found = ways.found(facts, B, n, dtype.itemsize, card)
    if asked == "auto":
        given = found, facts, 100, B, n, dtype.itemsize, card
        both = [choice.cheapest(*given, back) for back in (False, True)]
    else:
        both = [found[asked]] * 2
    chosen = [way for way in both if isinstance(way, ways.Way)]
    if len(chosen) < 2:
        return []
    made = []
    for launch in launches(program, chosen, B, n, dtype):
        way = chosen[launch.which == "backward"]
        report = compiled(program, launch, arch)
        segment = launch.options["SEG"]
        made.append(
            {
                "sm": arch,
                "cell": name,
                "dtype": str(dtype).removeprefix("torch."),
                "n": n,
                "kernel": launch.which + (f" {segment}" if segment >= 0 else ""),
                "way": way.name + ("" if way.resident else ", read anew"),
                "programs": launch.grid[0] * launch.grid[1],
                "warps": way.warps,
                "registers": report.registers,
                "spilled": report.spilled,
                "shared KiB": report.shared / 1024,
                "reckoned": ways.shared(facts, way, dtype.itemsize) / 1024,
                "instructions": report.loop.total(),
                **{kind: report.loop[kind] for kind in KINDS},
                "W before": report.weights_before,
                "W inside": report.weights_inside,
            }
        )
    return made


def launches(
    program: str, chosen: Sequence[ways.Way], B: int, n: int, dtype: torch.dtype
) -> list[Launch]:
    """The launches of a scan with all inputs there, forward and backward, as `call` makes them.

    `chosen`: the way forward and the way back.
    Those that differ: of steps launched one by one, one.
    """
    made: dict[tuple[str, int], Launch] = {}

    class Kernel:
        """Stands for a kernel, and writes its launches down."""

        def __init__(self, which: str) -> None:
            self.which = which

        def __getitem__(self, grid: tuple[int, int]) -> Any:
            def launch(*given: Any, **o: Any) -> None:
                made[self.which, o["SEG"]] = Launch(self.which, grid, given, o)

            return launch

    recorded = SimpleNamespace(forward=Kernel("forward"), backward=Kernel("backward"))
    T, sizes = 2, memory.Sizes(program, 2, B, n)

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(*shape, dtype=dtype, device="meta")

    rows = (max(sizes.gates, default=-1) + 1) * n
    x, W_x, W_a = (empty(*shape, n, dtype=dtype) for shape in ((T, B), (rows,), (rows,)))
    inputs = Inputs(
        *(x, W_x, W_a, empty(rows), [empty(n) for _ in range(sizes.V)]),
        *([empty(B, n) for _ in range(sizes.K)], [empty(T, B, n) for _ in range(sizes.Q)]),
        *(empty(B, dtype=torch.int32), empty(T, B, dtype=torch.uint8)),
    )
    with (
        mock.patch.object(call, "choose", lambda *_, back=False: chosen[back]),
        mock.patch.object(kernels, "load", return_value=recorded),
        mock.patch.object(call, "plain", lambda inputs: inputs),
    ):
        y, *final, kept = call.scan(program, inputs, keep=True)
        call.scan_backward(program, [y, *final], inputs, y, kept, [True] * len(inputs.leaves))
    return list(made.values())


def compiled(program: str, launch: Launch, arch: int) -> Report:
    """A launch's kernel as a cubin, read back."""
    kernel = getattr(kernels.load(program), launch.which)
    names, options = kernel.arg_names, dict(launch.options)
    compiler = {key: options.pop(key) for key in COMPILERS if key in options}
    signature: dict[str, str] = {}
    aligned: dict[tuple[int], list[list[Any]]] = {}
    for k, (name, given) in enumerate(zip(names, launch.arguments)):
        tensor = torch.is_tensor(given)
        signature[name] = POINTERS[given.dtype] if tensor else "i32"
        if tensor or (name == "n" and given % 16 == 0):  # as a launch specialises them
            aligned[(k,)] = [["tt.divisibility", 16]]
    signature |= dict.fromkeys(options, "constexpr")
    constants = {(names.index(name),): value for name, value in options.items()}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
    made = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=compiler)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        usage = tool("cuobjdump", "-res-usage", file.name)
        listing = tool("nvdisasm", "-g", "-c", file.name)
    told = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    text = program.split("\n", 1)[1].split("\n")
    weights = {k for k, line in enumerate(text, 1) if re.search(r"= tl\.load\(W \+", line)}
    loop, before, inside = read(listing, weights)
    spilled = told["STACK"] + told["LOCAL"]
    return Report(told["REG"], spilled, made.metadata.shared, loop, before, inside)


COMPILERS = ("num_warps", "num_stages", "enable_fp_fusion", "launch_cooperative_grid")


def tool(name: str, *options: str) -> str:
    """What a tool that Triton brings prints."""
    path = Path(triton.__file__).parent / "backends/nvidia/bin" / name
    done = subprocess.run([path, *options], check=True, capture_output=True, text=True)
    return done.stdout


KINDS = {
    "global loads": r"LDG|LDGSTS|UBLKCP|UTMALDG",
    "shared loads": r"LDS|LDSM",
    "products": r"HMMA|IMMA|HGMMA|UTCHMMA|FFMA",
    "barriers": r"BAR|SYNCS",
    "spills": r"LDL|STL",
}
"""Instructions of the machine, by kind."""


def read(listing: str, weights: set[int]) -> tuple[Counter[str], int, int]:
    """The time loop's instructions by kind; loads on lines `weights` before it, in it.

    The time loop is what the widest jump backwards leaps over.
    """
    code: list[tuple[str, int]] = []  # instruction and line of the source
    labels: dict[str, int] = {}
    line = 0
    for text in listing.split("\n"):
        if found := re.match(r"\s*//## File .*, line (\d+)", text):
            line = int(found[1])
        elif found := re.match(r"(\.L_x_\d+):", text):
            labels[found[1]] = len(code)
        elif found := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+ )?(.*?);", text):
            code.append((found[1], line))
    back = [(0, 0)]
    for at, (instruction, _) in enumerate(code):
        target = re.search(r"BRA.*\((\.L_x_\d+)\)", instruction)
        if target and labels[target[1]] < at:
            back.append((labels[target[1]], at + 1))
    first, last = max(back, key=lambda span: span[1] - span[0])
    kinds: Counter[str] = Counter()
    for instruction, _ in code[first:last]:
        word = re.split(r"[. ]", instruction)[0]
        kinds[next((k for k, words in KINDS.items() if re.fullmatch(words, word)), "other")] += 1
    loads = [
        at for at, (instruction, line) in enumerate(code)
        if line in weights and re.match(KINDS["global loads"], instruction)
    ]  # fmt: skip
    return kinds, sum(at < first for at in loads), sum(first <= at < last for at in loads)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--architectures", nargs="+", type=int, choices=CARDS, default=[80, 90, 100])
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS), metavar="NAME")
    add("--widths", nargs="+", type=int, default=list(WIDTHS), metavar="n")
    add("--batch", type=int, default=16, metavar="B")
    add("--dtypes", nargs="+", choices=DTYPES, default=["bfloat16"])
    add("--way", choices=["auto", *ways.WAYS], default="auto")
    add("--json", metavar="FILE", help="write everything there")
    add("--markdown", metavar="FILE", help="write the table there")
    add(timing.TORCH_DEFAULTS, action="store_true", help="OpenMP and malloc as torch has them")
    return parser


if __name__ == "__main__":
    main()
