"""Weights in the order in which the engine's loops read them: see `runtime/engine/matrix.h`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .program import Library
from .structs import Matrix

KINDS = {"float32": 0, "bf16": 1, "int8": 2}
"""Of how weights are stored, `Matrix.kind`."""

WORDS = {"float32": 1, "bf16": 2, "int8": 4}
"""Weights along the sum in one word."""


class Packing:
    """Tensors that structs of a library's point to, kept alive."""

    def __init__(self, library: Library) -> None:
        self.lanes, self.chunk, self.pack = library.lanes, library.chunk, library.pack
        self.held: list[Tensor] = []

    def at(self, tensor: Tensor) -> int:
        """The address of a tensor's numbers, in order."""
        self.held.append(tensor := tensor.contiguous())
        return tensor.data_ptr()

    def padded(self, n: int) -> int:
        """To whole vectors."""
        return -(-n // self.lanes) * self.lanes

    def vector(self, v: Tensor) -> int:
        """[n] with zeros behind it."""
        return self.at(F.pad(v, (0, self.padded(len(v)) - len(v))))

    def laid_out(self, slots: Tensor) -> Tensor:
        """What has numbers [..., S, n] for each slot as z has them: [..., vectors · S · W]."""
        *many, S, n = slots.shape
        wide = F.pad(slots, (0, self.padded(n) - n)).unflatten(-1, (-1, self.lanes))
        return wide.transpose(-3, -2).reshape(*many, S * self.padded(n))

    def gates(self, W: Tensor, gates: Sequence[int], n: int, stored: str) -> Matrix:
        """The rows of W [G·n, K] of some gates, side by side for each vector of units."""
        units = np.arange(self.padded(n)).reshape(-1, 1, self.lanes)
        rows = np.asarray(gates)[None, :, None] * n + units
        return self.matrix(W, stored, np.where(units < n, rows, -1).ravel())

    def matrix(self, W: Tensor, stored: str, rows: np.ndarray | None = None) -> Matrix:
        """W [m, K]; `rows`: which of them are those of the result, -1 for zeros; None: all, and
        what fills up the last chunk counts too."""
        m, K = W.shape
        whole = self.chunk * self.lanes
        vectors = -(-m // whole) * self.chunk if rows is None else len(rows) // self.lanes
        rows = np.arange(m) if rows is None else rows
        rows = np.concatenate([rows, np.full(-len(rows) % whole, -1)])
        W, zeros = W.contiguous(), W.new_zeros(K)
        places = np.where(rows < 0, zeros.data_ptr(), W.data_ptr() + rows * K * W.itemsize)
        words = WORDS[stored]
        to = torch.empty(len(rows) * -(-K // words), dtype=W.dtype)
        scale = torch.empty(len(rows), dtype=W.dtype) if stored == "int8" else None
        at = None if scale is None else self.at(scale)
        made = Matrix(self.at(to), at, vectors, K, KINDS[stored])
        self.pack(ctypes.addressof(made), np.ascontiguousarray(places, np.int64).ctypes.data)
        return made
