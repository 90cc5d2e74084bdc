"""The weights, states and inputs of an uneven cell padded for its even cell, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ...cells import Cell, Weights
from ..contract import Problem
from . import programs
from .even import Even, evened, units_of


class Evened(NamedTuple):
    """An uneven cell's weights, made even.

    `widest` is what all parts are padded to, `masks` [1, 1, widest] are its further inputs.
    """

    cell: Even
    w: Weights
    widest: int
    masks: list[Tensor]
    reads_x: bool


def even(cell: Cell, w: Weights, target: str = "cpp") -> Evened:
    """The weights of an uneven cell, padded; they may be derived already."""
    units = units_of(cell, w)
    made: Even = cell.ask(evened, units)
    told = programs.facts(made.ask(programs.find, target))
    widest = max(units.values())
    reads_x = told["reads_x"]
    n_x = w.W_x.shape[-1]
    wide_x = widest if reads_x else n_x
    G, (by_x, by_others) = len(cell.gates), halves(made, told)
    blocks: list[list[Tensor]] = []
    for W, width, read in ((w.W_x, wide_x, by_x), (w.W_a, widest, by_others)):
        nothing = W.new_zeros(1, 1, 1).expand(1, widest, width)
        blocks.append([padded(W.unflatten(0, (G, -1)), widest, width)])
        for name in cell.matrices:
            M = w.matrices[name][None]
            blocks[-1].append(padded(M, widest, width) if name in read else nothing)
    b = wider(w.b.unflatten(0, (G, -1)), widest).flatten()
    b = F.pad(b, (0, len(cell.matrices) * widest))
    vectors = {name: wider(v, widest) for name, v in w.vectors.items()}
    masks = [
        (torch.arange(widest, device=w.b.device) < units[name]).view(1, 1, widest)
        for name in made.masked
    ]
    W_x, W_a = (torch.cat(parts).flatten(0, 1) for parts in blocks)
    return Evened(made, Weights(W_x, W_a, b, vectors), widest, masks, reads_x)


def halves(cell: Even, told: dict[str, Any]) -> tuple[set[str], set[str]]:
    """The gates that take x, and those that take something else."""
    gates = [cell.gates[gate] for gate in told["gates"]]
    products = [gates[first : first + count] for _, _, first, count in told["products"]]
    return set(gates[: told["inputs"]]), {gate for run in products for gate in run}


def padded(W: Tensor, rows: int, columns: int) -> Tensor:
    """With zeros below and to the right; itself where it is so large."""
    down, right = rows - W.shape[-2], columns - W.shape[-1]
    return F.pad(W, (0, right, 0, down)) if down or right else W


def wider(part: Tensor, width: int) -> Tensor:
    """The last dimension padded with zeros; one number for all units stays that."""
    more = width - part.shape[-1]
    return F.pad(part, (0, more)) if more else part


def even_problem(given: Problem, target: str) -> Problem:
    """The problem of an uneven cell as one of the even cell."""
    cell, w, x, state, lengths, reset, _, streams = given
    made = even(cell, w, target)
    N = made.widest
    streams = [s if s.shape[-1] == 1 != N else wider(s, N) for s in streams]
    parts = made.cell.State(*(wider(part, N) for part in state))
    x = wider(x, N) if made.reads_x else x
    return Problem(made.cell, made.w, x, parts, lengths, reset, None, [*streams, *made.masks])


def own(cell: Cell, state: Any, y: Tensor, final: Any) -> tuple[Tensor, Any]:
    """What an even cell made, without the padding; `state` is as wide as it was."""
    parts = (new[..., : old.shape[-1]] for new, old in zip(final, state))
    return y[..., : state[0].shape[-1]], cell.State(*parts)
