"""Attention: what a decoder's state sees of the encoder's outputs."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..ground import lengths as ragged
from ..ground.errors import one_of
from .outline import Scores, affine, array

ATTENTIONS = ("multiplicative", "additive", "none")
SCORES_AT_ONCE = 1 << 24
"""Entries of the additive score's [T_y, T_x, B, n] that exist at a time: 64 MB in float32."""


class Memory(NamedTuple):
    """The encoder's outputs, as attention reads them again and again.

    values [T_x, B, n_h]; keys [T_x, B, n], which depend on the source alone; outside [T_x, B], true
    at padding.
    """

    values: Tensor
    keys: Tensor
    outside: Tensor


class Attention(nn.Module):
    """Context vectors: for each state s<t> of a decoder a weighted mean of the outputs h_j.

        multiplicative:  e<t>_j = s<t>ᵀ W h_j
        additive:        e<t>_j = vᵀ tanh(W_s s<t> + W_h h_j + b)
        α<t> = softmax over j < T_x of e<t>;  c<t> = Σ_j α<t>_j h_j

    All steps of a decoder are read at once: scores are one batched product. The additive score is
    taken a few steps at a time where [T_y, T_x, B, n] would exceed 64 MB, and computed again on the
    way back.

    Shapes: s [T_y, B, n] and a `Memory` of h [T_x, B, n_h] → c [T_y, B, n_h], α [T_y, B, T_x].
    An empty source gives c = 0 and α = 0. Initial values: as in `torch.nn.Linear`, v uniform in
    ±1/√n. Source: Luong et al. 2015 (general), arXiv:1508.04025; Bahdanau et al. 2015,
    arXiv:1409.0473. Oracle: each sentence and step by itself, in NumPy.
    """

    def __init__(self, kind: str, state_size: int, memory_size: int) -> None:
        super().__init__()
        self.kind = one_of("attention", kind, ATTENTIONS[:2])
        additive = kind == "additive"
        self.keys = nn.Linear(memory_size, state_size, bias=additive)
        if additive:
            self.queries = nn.Linear(state_size, state_size, bias=False)
            bound = 1 / math.sqrt(state_size)
            self.v = nn.Parameter(torch.empty(state_size).uniform_(-bound, bound))

    def outline(self) -> Scores:
        """For exporters."""
        if self.kind == "multiplicative":
            return Scores(affine(self.keys))
        return Scores(affine(self.keys), array(self.queries.weight), array(self.v))

    def memory(self, h: Tensor, lengths: Tensor) -> Memory:
        """Outputs h [T_x, B, n_h] of sequences of those lengths, made ready."""
        h = ragged.zero_padding(h, lengths)
        return Memory(h, self.keys(h), ~ragged.mask(lengths, len(h)))

    def forward(self, s: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Contexts and weights."""
        outside = memory.outside.t()[:, None]  # [B, 1, T_x]
        e = self.scores(s, memory.keys)
        weights = e.masked_fill(outside, -torch.inf)
        empty = outside.all(2, keepdim=True)
        weights = weights.masked_fill(empty, 0.0).softmax(2).masked_fill(outside, 0.0)
        context = torch.bmm(weights.to(memory.values.dtype), memory.values.transpose(0, 1))
        return context.transpose(0, 1), weights.transpose(0, 1)

    def scores(self, s: Tensor, keys: Tensor) -> Tensor:
        """e [B, T_y, T_x]."""
        if self.kind == "multiplicative":
            return torch.bmm(s.transpose(0, 1), keys.permute(1, 2, 0))
        queries = self.queries(s)
        rows = max(1, SCORES_AT_ONCE // max(1, keys.numel()))
        if rows >= len(queries):
            return self.additive(queries, keys)
        parts = queries.split(rows)
        return torch.cat(
            [checkpoint(self.additive, part, keys, use_reentrant=False) for part in parts],  # type: ignore[misc]
            1,
        )

    def additive(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The additive score of some steps, [B, T, T_x]."""
        return (torch.tanh(queries[:, None] + keys) @ self.v).permute(2, 0, 1)
