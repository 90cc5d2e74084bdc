"""The library of a model's cells: one program for any number of layers, of any sizes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from ..scans.compiled import build, programs
from .structs import SIZES, Layer, integer, pointer

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
    """A program's functions; `cells`: those that it has, by their own programs.

    `lanes` W, and vectors of a `chunk` of a matrix.
    """

    def __init__(self, cells: Sequence[str], dtype: torch.dtype, name: str) -> None:
        self.cells = tuple(cells)
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
        self.pack = library.pack
        self.pack.argtypes, self.pack.restype = (pointer, pointer), None
        self._look_up = library.look_up
        self._look_up.argtypes = (pointer, integer, pointer, integer, pointer, integer)
        self._look_up.restype = None

    def looked_up(self, layer: Layer, x: Tensor, slots: int) -> Tensor:
        """z of every row of x [V, n_x] of a layer with so many slots, as a step would make it."""
        x = x.contiguous()
        width = -(-layer.n // self.lanes) * self.lanes * slots
        z = x.new_empty(len(x), width)
        self._look_up(
            ctypes.addressof(layer), len(x), x.data_ptr(), x.shape[1], z.data_ptr(), width
        )
        return z
