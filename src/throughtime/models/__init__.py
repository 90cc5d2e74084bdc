"""Models: what goes into a stack of cells, the stack, what comes out; one file each."""

from __future__ import annotations

from torch import nn

from ..cells import Cell
from ..config import StackConfig
from ..layers.stack import Stack


def stack_of(
    cell: Cell | type[Cell],
    input_size: int,
    config: StackConfig,
    *,
    bidirectional: bool = False,
    num_layers: int | None = None,
) -> Stack:
    """The stack that a configuration asks for; `num_layers` instead of its depth."""
    c = config
    return Stack(
        cell,
        input_size,
        c.hidden_size,
        num_layers or c.num_layers,
        bidirectional=bidirectional,
        dropout=c.dropout,
        locked_dropout=c.locked_dropout,
        weight_drop=c.weight_drop,
        skips=c.skips,
        backend=c.backend,
    )


def initialise(model: nn.Module, bound: float | None) -> None:
    """Uniform in ±bound for matrices and vectors, zero for biases (Zaremba et al. 2014).

    None: what layers begin with stays.
    """
    if bound is None:
        return
    for name, parameter in model.named_parameters():
        if name.rsplit(".", 1)[-1] in ("b", "bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.uniform_(parameter, -bound, bound)
