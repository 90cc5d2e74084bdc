"""A quick look inside while a model trains: how far gradients reach, and which gates are stuck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..ground.errors import InputError
from ..inspect.endings import gates_by_stack, gradients_by_stack, sequences
from ..inspect.gates import Gates, gates_through_time, of_units
from ..inspect.gradients import GradientsThroughTime, gradients_through_time, language_windows
from ..inspect.watch import require_stacks
from ..tasks.task import Task

LOOK_LAGS = 200
"""Gradients are followed so far at most."""
LOOK_POSITIONS = 32
"""At so many places of the validation data, the same each time."""
STUCK = 0.99
"""A unit whose gate is closed, or open, in more than this share of the steps is stuck."""
KEEPS = 0.9
"""Units that keep at least this share of their memory in a step are none the worse for it."""


@dataclass(frozen=True)
class Glance:
    """What one stack of cells does by now.

    `horizon`: the lag from which the influence of a step is below 1%, None where that is beyond the
    `lags` measured (`GradientsThroughTime.reach`). `stuck`: for a gate and a layer, as in
    "Γ_i in layer 1 closed", the share of the units that are and keep no memory; only what is above
    zero.
    """

    horizon: int | None
    lags: int
    stuck: dict[str, float]
    gated: bool

    def describe(self) -> str:
        """In a few words."""
        if not self.lags:
            return "one step: no horizon"
        reach = f"over {self.lags}" if self.horizon is None else f"{self.horizon} of {self.lags}"
        worst = max(self.stuck, key=lambda name: self.stuck[name], default=None)
        stuck = f", {worst} in {self.stuck[worst]:.0%} of the units" if worst else ""
        return f"horizon {reach} steps{stuck}"


class Glancer:
    """Looks at a model now and then, always at the same validation data.

    The model's weights, gradients, mode and random state are left as they are. Errors: `InputError`
    where there is nothing to look at: no stack of cells, or no data of the kind that `inspect`
    reads.
    """

    def __init__(self, task: Task, model: nn.Module) -> None:
        self.windows = self.sequences = None
        try:
            require_stacks(model)
            if (text := task.running_text()) is not None:
                lags = min(LOOK_LAGS, text.window or LOOK_LAGS, len(text.ids) // 2)
                self.windows = language_windows(task, text.ids, lags, LOOK_POSITIONS)
            else:
                self.sequences = sequences(task, None, LOOK_POSITIONS, seed=0)
        except InputError as error:
            raise InputError(f"{error} Leave out loop.inspect_every.") from error

    def __call__(self, model: Any) -> dict[str, Glance]:
        """What each stack does by now, by its name in the model."""
        if self.windows is not None:
            found = gradients_through_time(model, self.windows)
            return {"stack": glance(found, gates_through_time(model, self.windows))}
        assert self.sequences is not None
        gradients = gradients_by_stack(model, self.sequences, LOOK_LAGS)
        gates = gates_by_stack(model, self.sequences)
        return {name: glance(found, gates[name]) for name, found in gradients.items()}


def glance(gradients: GradientsThroughTime, gates: Gates) -> Glance:
    """A stack's gradients and gates in a few numbers."""
    stuck = {}
    for gate, values in gates.gates.items():
        for row, layer in gates.rows(gate):
            free = torch.ones(len(of_units(values.closed[row])), dtype=torch.bool)
            if gates.memory is not None and row in dict(gates.rows(gates.memory)):
                free = of_units(gates.kept[gates.memory][row]).abs() < KEEPS
            for name, share in (
                ("closed", of_units(values.closed[row])),
                ("open", of_units(values.open[row])),
            ):
                if units := float(((share > STUCK) & free).double().mean()):
                    stuck[f"Γ_{gate} in {layer} {name}"] = units
    return Glance(gradients.reach(), gradients.lags, stuck, bool(gates.gates))
