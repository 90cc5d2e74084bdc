"""The library of a model's cells: one program for any number of layers, of any sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..scans.compiled import build, programs
from .structs import SIZES, integer, pointer

FRAME = build.Frame("engine/layer.h", "engine/entry.h", "engine")


def program(cells: Sequence[str]) -> str:
    """That of cells whose own programs these are, each once."""
    spaces = (f"namespace cell{k} {{\n{one}\n}}\n" for k, one in enumerate(cells))
    functions = ", ".join(f"functions_of<cell{k}::Cell>()" for k in range(len(cells)))
    return "".join(spaces) + f"extern const Functions FUNCTIONS[] = {{{functions}}};\n"


def dtype_name(dtype: torch.dtype) -> str:
    """As `build.KINDS` has it."""
    return str(dtype).removeprefix("torch.")


def why_not(cells: Sequence[str], dtype: torch.dtype, name: str) -> str | None:
    """Why there is no library here, or None; compiles it if need be."""
    return programs.unbuildable(program(cells), dtype_name(dtype), name, FRAME)


class Library:
    """A program's functions."""

    def __init__(self, cells: Sequence[str], dtype: torch.dtype, name: str) -> None:
        library = build.load(program(cells), dtype_name(dtype), name, FRAME)
        sizes, self.write, self.step = library.sizes, library.write, library.step
        sizes.argtypes, sizes.restype = (integer,), integer
        theirs = tuple(sizes(k) for k in range(len(SIZES)))
        if theirs != SIZES:
            raise RuntimeError(f"structs have {theirs} bytes in runtime/engine, {SIZES} in Python.")
        self.lanes, self.chunk = sizes(len(SIZES)), sizes(len(SIZES) + 1)
        self.write.argtypes = (*(pointer, pointer, integer, pointer), *(integer,) * 3)
        self.write.restype = integer
        self.step.argtypes = (
            *(pointer, integer, pointer, pointer, pointer, pointer, pointer),
            *(integer, pointer, integer),
        )
        self.step.restype = None

