"""What the gates do: how they are distributed, how much a step keeps of the memory, how long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..ground import lengths as ragged
from .watch import Seen, watching

SATURATED = 0.1
"""A gate below this is called closed, above 1 − this open (Karpathy et al. 2015)."""
BINS = 20


@dataclass(frozen=True)
class GateValues:
    """One gate over all steps looked at.

    Rows of layers that have no such gate are NaN, and so are units that a narrower layer lacks.
    `histogram [layers, BINS]`: the share of values in each twentieth of 0 to 1. `closed`, `open`
    [layers, n]: the share of steps in which each unit is below SATURATED, above 1 − SATURATED.
    """

    histogram: Tensor
    closed: Tensor
    open: Tensor


@dataclass(frozen=True)
class Gates:
    """The gates of a stack, and what share of each part of the state one step keeps.

        kept[i] = mean over steps of ∂c<t>[i]/∂c<t-1>[i], gates and candidates held constant
        τ[i] = −1 / ln kept[i], in steps

    `gates` by name in the cell; `kept[part]` is [layers, n], for the parts that have a direct path
    from step to step (none in a basic RNN). `layers` names the rows. NaN as in `GateValues`.
    """

    gates: dict[str, GateValues]
    kept: dict[str, Tensor]
    layers: tuple[str, ...]
    steps: int
    """How many steps were looked at, over all sequences."""

    @property
    def memory(self) -> str | None:
        """The part that keeps the most; None where no part has a direct path."""
        return max(self.kept, key=lambda part: float(self.kept[part].abs().nanmean()), default=None)

    def time_constants(self, part: str) -> Tensor:
        """τ [layers, n]: 0 where nothing is kept, infinite where all is or more."""
        kept = self.kept[part].double().abs()
        return torch.where(kept >= 1, math.inf, -1 / kept.log().clamp(max=-1e-300))

    def rows(self, name: str) -> list[tuple[int, str]]:
        """The layers that have the gate, or the part of the state, with their names."""
        by_unit = self.gates[name].closed if name in self.gates else self.kept[name]
        return [
            (row, layer) for row, layer in enumerate(self.layers) if len(of_units(by_unit[row]))
        ]


def gates_through_time(model: Any, batch: tuple[Tensor, Tensor], *, state: Any = None) -> Gates:
    """The gates of a language model over a batch of text (tokens, targets [T, B])."""
    return summary(watch_gates(model, batch[0], state))


@torch.no_grad()
def watch_gates(model: Any, tokens: Tensor, state: Any = None) -> Seen:
    """A language model's stack over tokens [T, B], its gates recorded."""
    with watching(model, gates=True) as watched:
        model.hidden(tokens, model.initial_state(tokens.shape[1]) if state is None else state)
    return watched["stack"]


def summary(seen: Seen, lengths: Tensor | None = None) -> Gates:
    """What a stack's gates did; with `lengths [B]` steps beyond them do not count."""
    T, B = len(seen.steps[0]), len(seen.steps[0][0].after[0]) if seen.steps[0] else 0
    alive = None if lengths is None else ragged.mask(lengths, T)
    names = list(dict.fromkeys(name for steps in seen.steps for s in steps for name in s.gates))
    order = list(
        dict.fromkeys(gate for cell in seen.cells for gate in (*cell.gates, *cell.matrices))
    )
    names.sort(key=lambda name: order.index(name.split("+")[0]))
    found = {}
    for name in names:
        layers = [
            _flat([s.gates[name] for s in steps], alive) if name in steps[0].gates else None
            for steps in seen.steps
        ]
        found[name] = GateValues(
            _rows([None if v is None else _histogram(v) for v in layers]),
            _rows([None if v is None else (v < SATURATED).double().mean(0) for v in layers]),
            _rows([None if v is None else (v > 1 - SATURATED).double().mean(0) for v in layers]),
        )
    kept = {
        part: _rows(
            [
                _flat([s.kept[part] for s in steps], alive).double().mean(0)
                if part in steps[0].kept
                else None
                for steps in seen.steps
            ]
        )
        for part in seen.parts
        if T
    }
    kept = {part: share for part, share in kept.items() if bool(share.nan_to_num().any())}
    steps = T * B if alive is None else int(alive.sum())
    return Gates(found, kept, seen.names(), steps)


def of_units(values: Tensor) -> Tensor:
    """Those of the units that are there."""
    return values[~values.isnan()]


def _rows(layers: list[Tensor | None]) -> Tensor:
    """[layers, the widest]: NaN where a layer has none, or fewer units."""
    there = [row for row in layers if row is not None]
    table = there[0].new_full((len(layers), max(map(len, there))), torch.nan)
    for k, row in enumerate(layers):
        if row is not None:
            table[k, : len(row)] = row
    return table


def _flat(steps: list[Tensor], alive: Tensor | None) -> Tensor:
    """[N, n] of the steps that count."""
    values = torch.stack(steps)
    return (values.flatten(0, 1) if alive is None else values[alive]).cpu()


def _histogram(values: Tensor) -> Tensor:
    counts = torch.histc(values.float(), BINS, 0, 1).double()
    return counts / counts.sum().clamp(min=1)
