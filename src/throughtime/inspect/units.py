"""The units that keep longest, and what they track in a text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .gates import Gates
from .watch import Seen

MOMENTS = 4
ALIKE = 0.7


@dataclass(frozen=True)
class Unit:
    """One unit of a layer: how long it keeps, its course, and where in the text it stands out.

    `values [T]` is its memory over the passage of column `column`. `high` and `low` are places
    (step, column, value), one a column, where it is highest and lowest; `raises` and `lowers` are
    the tokens after which it moves up or down most in the mean: (token, mean change, count).
    """

    layer: int
    unit: int
    kept: float
    time_constant: float
    column: int
    values: Tensor
    high: list[tuple[int, int, float]]
    low: list[tuple[int, int, float]]
    raises: list[tuple[int, float, int]]
    lowers: list[tuple[int, float, int]]


def longest_units(
    seen: Seen, found: Gates, tokens: Tensor, count: int = 4, *, skip: int = 0
) -> list[Unit]:
    """The `count` units of all layers that keep the largest share of their memory a step.

    A unit that goes with one chosen before it (|correlation| above ALIKE) is passed over, and so is
    one that hardly moves: a deviation below a tenth of its layer's median, since a constant tracks
    nothing. `tokens [T, B]` were read while watched; the first `skip` steps, in which the state
    settles, do not count. Empty where nothing has a direct path.
    """
    part = found.memory
    if part is None:
        return []
    tokens, kept = tokens[skip:].cpu(), found.kept[part].abs()
    n = kept.shape[1]
    states = torch.full((len(kept), *tokens.shape, n), torch.nan, dtype=kept.dtype)
    for k, _ in found.rows(part):  # NaN in what a layer lacks
        values = torch.stack([getattr(s, part) for s in seen.states[k][skip:]])
        states[k, ..., : values.shape[-1]] = values
    deviation = states.flatten(1, 2).std(1)
    still = ~(deviation >= 0.1 * deviation.nanmedian(1, keepdim=True).values)
    kept = kept.masked_fill(still, -1.0)
    chosen: list[int] = []
    courses: list[Tensor] = []
    for index in kept.flatten().argsort(descending=True).tolist()[: int((~still).sum())]:
        course = states[index // n, :, :, index % n].flatten()
        course = (course - course.mean()) / course.std()
        if all(float((course * other).mean().abs()) < ALIKE for other in courses):
            chosen.append(index)
            courses.append(course)
        if len(chosen) == count:
            break
    time_constants = found.time_constants(part)
    return [
        describe(
            states[layer, :, :, unit],
            tokens,
            layer,
            unit,
            float(kept[layer, unit]),
            float(time_constants[layer, unit]),
        )
        for layer, unit in (divmod(index, n) for index in chosen)
    ]


def describe(
    values: Tensor, tokens: Tensor, layer: int, unit: int, kept: float, time_constant: float
) -> Unit:
    """A unit from its values [T, B] after each of the tokens [T, B]."""
    column = int(values.std(0).argmax())  # where it moves most
    moved = effects(values, tokens)
    return Unit(
        layer,
        unit,
        kept,
        time_constant,
        column,
        values[:, column],
        extremes(values, largest=True),
        extremes(values, largest=False),
        [entry for entry in moved if entry[1] > 0][:MOMENTS],
        [entry for entry in reversed(moved) if entry[1] < 0][:MOMENTS],
    )


def extremes(values: Tensor, *, largest: bool) -> list[tuple[int, int, float]]:
    """(step, column, value) of the most extreme, each in a column of its own."""
    best, at = values.max(0) if largest else values.min(0)
    order = best.argsort(descending=largest)[:MOMENTS].tolist()
    return [(int(at[b]), b, float(best[b])) for b in order]


def effects(values: Tensor, tokens: Tensor, least: int = 5) -> list[tuple[int, float, int]]:
    """Tokens seen `least` times by the mean change of the unit on reading them, largest first."""
    change, read = (values[1:] - values[:-1]).flatten(), tokens[1:].flatten()
    size = int(tokens.max()) + 1
    counts = torch.zeros(size).index_add_(0, read, torch.ones_like(read, dtype=torch.float))
    sums = torch.zeros(size, dtype=torch.float64).index_add_(0, read, change.double())
    often = (counts >= least).nonzero()[:, 0]
    found = [(int(i), float(sums[i] / counts[i]), int(counts[i])) for i in often]
    return sorted(found, key=lambda entry: -entry[1])
