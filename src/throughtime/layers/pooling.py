"""From the outputs over time to one vector: what stands for a whole sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ground import lengths as ragged
from ..ground.errors import one_of
from .outline import Pool, affine, array

POOLINGS = ("last", "mean", "max", "attention")


class Pooling(nn.Module):
    """y [T, B, n] and lengths [B] → [B, n]; padding has no part in it.

        last:       [forward a<T_x(i)>, backward a<1>], the final state of each direction
        mean:       1/T_x(i) · Σ_t y<t>
        max:        max_t y<t>, unit by unit
        attention:  Σ_t α<t> y<t>,  α = softmax over t < T_x(i) of vᵀ tanh(W y<t> + b)

    An empty sequence gives zeros. Source: Yang et al. 2016 (attention). Oracle: each sequence by
    itself, in NumPy.
    """

    def __init__(self, kind: str, size: int) -> None:
        super().__init__()
        self.kind = one_of("pooling", kind, POOLINGS)
        if kind == "attention":
            self.keys, self.query = nn.Linear(size, size), nn.Linear(size, 1, bias=False)

    def outline(self) -> Pool:
        """For exporters."""
        if self.kind != "attention":
            return Pool(self.kind)
        return Pool(self.kind, affine(self.keys, "tanh"), array(self.query.weight)[0])

    def forward(self, y: Tensor, final: Tensor, lengths: Tensor) -> Tensor:
        """`final [D, B, n / D]`: the last layer's final state of each direction."""
        if self.kind == "last":
            return final.transpose(0, 1).flatten(1)
        empty = (lengths == 0)[:, None]
        if self.kind == "mean":
            return ragged.zero_padding(y, lengths).sum(0) / lengths.clamp(min=1)[:, None]
        outside = ~ragged.mask(lengths, len(y))[..., None]
        if self.kind == "max":
            found = y.masked_fill(outside, -torch.inf).amax(0)
            return found.masked_fill(empty, 0.0)
        scores = self.query(torch.tanh(self.keys(y))).masked_fill(outside, -torch.inf)
        weights = scores.masked_fill(empty, 0.0).softmax(0).masked_fill(outside, 0.0)
        return (weights * y).sum(0)
