"""What this machine offers: `throughtime doctor`."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import torch

from . import scans
from .cells.names import CELLS, OF_ZOO, find_cell
from .ground.cache import cache_folder
from .ground.machine import why_no_tiles
from .scans.compiled import gpu, programs
from .scans.compiled.build import BuildFailed, needed_compiler
from .scans.compiled.gpu.ways import choose


def doctor(cell: str | None = None) -> list[tuple[str, str]]:
    """What this machine offers and which scan backends run here, as (name, finding) pairs.

    `cell` names one cell, `FILE.py:Class` for one's own, instead of the built-in ones.
    Those of the zoo are listed, and looked at where one is named: each takes seconds to compile.
    """
    names = [cell] if cell else list(CELLS)
    found = [
        ("python", f"{sys.version.split()[0]} ({sys.executable})"),
        ("torch", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        ("cpu", torch.backends.cpu.get_cpu_capability()),
        ("amx", tiles()),
        ("cuda", torch.cuda.get_device_name() if torch.cuda.is_available() else "not available"),
        ("triton", installed("triton", "it comes with torch's builds for CUDA")),
        ("mps", "available" if torch.mps.is_available() else "not available"),
        ("compiler", compiler()),
        ("tensorboard", installed("tensorboard")),
        ("cache", f"{cache_folder()} ({folder_size(cache_folder()) / 2**20:.1f} MiB)"),
    ]
    if torch.cuda.is_available():
        found += [(f"gpu way: {name}", ways_of(name)) for name in names]
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


def tiles() -> str:
    """Whether products of bfloat16 run on the processor's tiles, or why they do not."""
    reason = why_no_tiles()
    return f"no: {reason}" if reason else "granted: bfloat16 is multiplied on tiles"


def ways_of(name: str) -> str:
    """How compiled scans of a cell run on the GPU at a few widths, in bfloat16, 32 sequences."""
    cell, device = find_cell(name), torch.device("cuda", torch.cuda.current_device())
    if reason := gpu.why_not(cell, device):
        return f"none: {reason}"
    facts = programs.facts(programs.find(cell, "triton"))
    ways = {n: choose(facts, 100, 32, n, torch.bfloat16, device) for n in (128, 512, 1024)}
    return ", ".join(f"{way.name} at n = {n}" for n, way in ways.items())


def installed(package: str, otherwise: str | None = None) -> str:
    """The version of an optional package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed (" + (otherwise or f"pip install 'throughtime[{package}]'") + ")"


def folder_size(folder: Path) -> int:
    """Bytes in a folder's files."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.exists() else 0
