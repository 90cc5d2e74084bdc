"""What this machine offers: `throughtime doctor`."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import torch

from . import scans
from .cells.names import CELLS, OF_ZOO, find_cell
from .ground.cache import cache_folder
from .ground.errors import one_of
from .ground.machine import why_no_tiles
from .scans.compiled import gpu as compiled_gpu
from .scans.compiled import programs
from .scans.compiled.build import BuildFailed, needed_compiler
from .scans.compiled.gpu.cards import CARDS, Card, card_of
from .scans.compiled.gpu.choice import told


def doctor(cell: str | None = None, gpu: str | None = None) -> list[tuple[str, str]]:
    """What this machine offers and which scan backends run here, as (name, finding) pairs.

    `gpu` names a card of which to tell how scans would run there, in place of the one that is here.
    `cell` names one cell, `FILE.py:Class` for one's own, instead of the built-in ones.
    Those of the zoo are listed, and looked at where one is named: each takes seconds to compile.
    """
    names = [cell] if cell else list(CELLS)
    found = [
        ("python", f"{sys.version.split()[0]} ({sys.executable})"),
        ("torch", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        ("cpu", torch.backends.cpu.get_cpu_capability()),
        ("amx", tiles()),
        ("cuda", cuda()),
        ("triton", installed("triton", "it comes with torch's builds for CUDA")),
        ("mps", mps()),
        ("compiler", compiler()),
        ("native writing", compiled_or_not()),
        ("tensorboard", installed("tensorboard")),
        ("cache", f"{cache_folder()} ({folder_size(cache_folder()) / 2**20:.1f} MiB)"),
    ]
    if gpu or torch.cuda.is_available():
        card = card_named(gpu) if gpu else card_of(torch.device("cuda"))
        found.append(("gpu ways", f"on {card.name}: bfloat16, {ROWS} sequences, forward"))
        found += [(f"gpu way: {name}", ways_of(name, card)) for name in names]
    if not cell:
        found.append(("zoo", f"{len(OF_ZOO)} cells: {', '.join(OF_ZOO)}"))
    for backend in scans.BACKENDS:
        for name in names:
            reason = scans.why_not(backend, find_cell(name))
            found.append((f"{backend}: {name}", "runs" if reason is None else f"no: {reason}"))
    for name in names:
        if reason := scans.why_slow(find_cell(name)):
            found.append((f"slow: {name}", reason))
    return found


def compiler() -> str:
    """What compiled scans are built with, its options too, or why nothing is."""
    try:
        return " ".join(needed_compiler())
    except BuildFailed as error:
        return str(error)


def compiled_or_not() -> str:
    """Whether `generate` writes in native code, or why it does not."""
    try:
        needed_compiler()
    except BuildFailed as error:
        return f"no: {error}"
    return "runs: any compiled cell on the CPU, with a full softmax (Run.why_not_native)"


def tiles() -> str:
    """Whether products of bfloat16 run on the processor's tiles, or why they do not."""
    reason = why_no_tiles()
    return f"no: {reason}" if reason else "granted: bfloat16 is multiplied on tiles"


ROWS = 32
WIDTHS = (128, 512, 1024)
"""Sequences, and the widths of which `doctor` tells the way."""


def cuda() -> str:
    """The GPU and its architecture; where there is more than one, how many."""
    if not torch.cuda.is_available():
        return "not available"
    major, minor = torch.cuda.get_device_capability()
    count = torch.cuda.device_count()
    more = f", one of {count}" if count > 1 else ""
    return f"{torch.cuda.get_device_name()} (sm_{major}{minor}{more})"


def mps() -> str:
    """Apple's GPU."""
    if not torch.mps.is_available():
        return "not available"
    return "available; scans run there as the reference, a loop in Python"


def card_named(name: str) -> Card:
    """One of those that are known."""
    return CARDS[one_of("GPU", name.lower(), CARDS)]


def ways_of(name: str, card: Card) -> str:
    """How compiled scans of a cell run on a GPU at a few widths, and why so."""
    cell = find_cell(name)
    if reason := compiled_gpu.why_no_program(cell):
        return f"none: {reason}"
    facts = programs.facts(programs.find(cell, "triton"))
    return "; ".join(told(facts, ROWS, n, torch.bfloat16, card) for n in WIDTHS)


def installed(package: str, otherwise: str | None = None) -> str:
    """The version of an optional package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed (" + (otherwise or f"pip install 'throughtime[{package}]'") + ")"


def folder_size(folder: Path) -> int:
    """Bytes in a folder's files."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.exists() else 0
