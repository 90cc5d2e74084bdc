"""What stands in a traced graph for halves of gates; what keeps padding out of it."""

from __future__ import annotations

import torch
from torch import Tensor

_library = torch.library.Library("throughtime_trace", "DEF")
for _name in ("input", "recurrent", "matrix"):
    _library.define(f"{_name}(Tensor v, str gate, int size) -> Tensor")
    _library.impl(
        _name, lambda v, gate, size: v.new_zeros(*v.shape[:-1], size), "CompositeExplicitAutograd"
    )
INPUT = torch.ops.throughtime_trace.input.default
RECURRENT = torch.ops.throughtime_trace.recurrent.default
MATRIX = torch.ops.throughtime_trace.matrix.default
"""A matrix that stands alone: a half of a gate, of which one is known once the graph is there."""


def only(there: Tensor, value: Tensor) -> Tensor:
    """The value of units that are there; nothing comes from others, nor goes to them."""
    return torch.where(there != 0, value, 0.0)
