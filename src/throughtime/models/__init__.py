"""Models: what goes into a stack of cells, the stack, what comes out; one file each."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..cells import Cell
from ..config import StackConfig
from ..config.run import zoneout_rates
from ..layers.stack import Stack

Cells = Cell | type[Cell] | Sequence[Cell | type[Cell]]
"""The cell of all layers, or that of each."""


def stack_of(
    cell: Cells,
    input_size: int,
    config: StackConfig,
    *,
    bidirectional: bool = False,
    num_layers: int | None = None,
    state_is_given: bool = False,
) -> Stack:
    """The stack that a configuration asks for; `num_layers` instead of its depth.

    `state_is_given`: the model sets every first state, so that none is learned.
    """
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
        zoneout=zoneout_rates(c.zoneout),
        recurrent_dropout=c.recurrent_dropout,
        variational_dropout=c.variational_dropout,
        skips=c.skips,
        learned_initial_state=c.learned_initial_state and not state_is_given,
        initial=c.initial or None,
        backend=c.backend,
    )


def initialise(model: nn.Module, bound: float | None) -> None:
    """Uniform in ±bound for matrices and vectors, zero for biases (Zaremba et al. 2014).

    Learned first states stay zero.
    None: what layers begin with stays.
    """
    if bound is None:
        return
    for name, parameter in model.named_parameters():
        *_, of, last = ("", *name.split("."))
        if last in ("b", "bias") or of == "first":
            nn.init.zeros_(parameter)
        else:
            nn.init.uniform_(parameter, -bound, bound)
