"""Weights in the order in which the engine's loops read them: see `runtime/engine/matrix.h`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..layers.rounding import in_bytes
from .structs import Matrix

KINDS = {"float32": 0, "bf16": 1, "int8": 2}
"""Of how weights are stored, `Matrix.kind`."""

WORDS = {"float32": 1, "bf16": 2, "int8": 4}
"""Weights along the sum in one word."""


class Packing:
    """Tensors that a struct points to, kept alive; `lanes` W and vectors of a chunk V."""

    def __init__(self, lanes: int, chunk: int) -> None:
        self.lanes, self.chunk = lanes, chunk
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
        rows = W.unflatten(0, (-1, n))[list(gates)]  # [slots, n, K]
        return self.matrix(self.laid_out(rows.permute(2, 0, 1)).T, stored)

    def matrix(self, W: Tensor, stored: str) -> Matrix:
        """W [rows, K], rows being those of the result; zeros fill up the last chunk."""
        rows, K = W.shape
        C, L = self.chunk, self.lanes
        vectors = -(-rows // L)
        scale = None
        if stored == "int8":
            W, scale = in_bytes(W)
            W, per = W.to(torch.int8), torch.int8
            scale = F.pad(scale, (0, -len(scale) % (C * L)))
        elif stored == "bf16":
            W, per = W.to(torch.bfloat16).view(torch.int16), torch.int16
        else:
            per = W.dtype
        words = WORDS[stored]
        whole = torch.zeros(-(-rows // (C * L)) * C * L, -(-K // words) * words, dtype=per)
        whole[:rows, :K] = W
        parts = whole.view(-1, C, L, whole.shape[1] // words, words)
        at = self.at(parts.permute(0, 3, 1, 2, 4))
        return Matrix(at, None if scale is None else self.at(scale), vectors, K, KINDS[stored])
