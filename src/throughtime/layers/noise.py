"""The noise of a stack's recurrence: its rates, and the masks of a call.

A mask is a function of (seed, layer, direction, sequence, step, unit), so it is the same on every
backend, with any threads, neighbours and batch size, and when it is computed again. It takes a byte
for each unit, sequence and step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..cells import Cell, declared
from ..cells.names import CELLS, OF_ZOO
from ..cells.noisy import Expected, Noisy
from ..ground import chance
from ..ground.errors import InputError

PLACES = 64
"""Masks that one scan may have: of each part of its state, of its candidate, of its operand."""
CANDIDATE, OPERAND = PLACES - 2, PLACES - 1


@dataclass(frozen=True)
class Draw:
    """What the noise of one call is drawn from.

    `seed`: two words [2]. `start`: the number of the call's first step, where a sequence comes in
    several calls. `sequences` [B]: an integer that names each sequence; None: its place in the
    batch.
    """

    seed: Tensor
    start: int = 0
    sequences: Tensor | None = None

    def after(self, steps: int) -> Draw:
        """For the steps that follow so many of these."""
        return replace(self, start=self.start + steps)


@dataclass(frozen=True)
class Noise:
    """Rates of noise; as `Stack` describes them, checked against its cells."""

    cells: tuple[Cell, ...]
    zoneout: float | Mapping[str, float] = 0.0
    recurrent_dropout: float = 0.0
    variational_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("recurrent_dropout", "variational_dropout"):
            check_rate(name, getattr(self, name))
        if isinstance(self.zoneout, Mapping):
            known = dict.fromkeys(
                part for cell in self.cells for part in cell.state if part not in cell.lagged
            )
            for part, rate in self.zoneout.items():
                if part not in known:
                    raise InputError(
                        f"zoneout names no state of {one_or_all(self.cells)}: {part!r}; the states "
                        f"are {', '.join(known)}."
                    )
                check_rate(f"zoneout of {part}", rate)
        else:
            check_rate("zoneout", self.zoneout)
        without = [cell for cell in self.cells if not cell.candidate]
        if self.recurrent_dropout and without:
            raise InputError(
                f"recurrent_dropout acts on the candidate, and {without[0]!r} names none; these "
                f"do: {', '.join(with_candidate())}. In a cell of your own: candidate = 'c_tilde', "
                "and in step c_tilde = w.c_tilde(…)."
            )

    def rates(self, cell: Cell) -> tuple[tuple[str, float], ...]:
        """The parts of a cell's state under zoneout, and the rate of each."""
        of = self.zoneout
        each = of if isinstance(of, Mapping) else dict.fromkeys(cell.state, of)
        parts = (part for part in cell.state if part not in cell.lagged)
        return tuple((part, float(each[part])) for part in parts if each.get(part))

    def expected(self, cell: Cell) -> Cell:
        """The cell at evaluation."""
        rates = self.rates(cell)
        return Expected(cell, rates) if rates else cell

    def noisy(self, cell: Cell) -> Cell:
        """The cell in training; the cell itself where there is no noise."""
        zoneout = tuple(part for part, _ in self.rates(cell))
        thins, masks = bool(self.recurrent_dropout), bool(self.variational_dropout)
        return Noisy(cell, zoneout, thins, masks) if zoneout or thins or masks else cell

    def streams(
        self,
        cell: Cell,
        draw: Draw,
        scan: tuple[int, int],
        x: Tensor,
        n: int,
        reset: Tensor | None,
    ) -> list[Tensor]:
        """What the noisy cell reads beside x [T, B, n_x] in the order of its inputs.

        `scan` is the layer and the direction; a backward scan counts its own steps and resets. The
        mask of a part with a size of its own is as wide.
        """
        T, B, n_x = x.shape
        sizes = dict(zip(cell.state, cell.state_sizes(n, n_x)))
        seed = draw.seed.to(x.device)
        steps = torch.arange(T, device=x.device)[:, None] + draw.start
        given = draw.sequences
        sequences = torch.arange(B, device=x.device) if given is None else given.to(x.device)
        first = (2 * scan[0] + scan[1]) * PLACES
        rates = self.rates(cell)
        places = [first + cell.state.index(part) for part, _ in rates]
        shares = [rate for _, rate in rates]
        if self.recurrent_dropout:
            places.append(first + CANDIDATE)
            shares.append(1 - self.recurrent_dropout)
        found: list[Tensor] = []
        if places:
            rows = sequences, steps
            widths = [sizes[part] for part, _ in rates] + [n] * bool(self.recurrent_dropout)
            widest = max(widths)
            made = chance.truths(seed, whole(places, x), *rows, widest, shares_of(shares, x))
            found.extend(mask[..., :width] for mask, width in zip(made.unbind(0), widths))
        if self.recurrent_dropout:
            found.append(scale(self.recurrent_dropout, x))
        if self.variational_dropout:
            place, share = [first + OPERAND], [1 - self.variational_dropout]
            rows = sequences, begins(steps, reset)
            taken = declared.shapes(cell, n, n_x).taken
            made = chance.truths(seed, whole(place, x), *rows, taken, shares_of(share, x))
            found.extend(made.unbind(0))
            found.append(scale(self.variational_dropout, x))
        return found


def check_rate(name: str, rate: Any) -> None:
    """Raise `InputError` unless it is a probability below 1."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
        raise InputError(f"{name} must be a probability below 1, got {rate!r}.")


def one_or_all(cells: Iterable[Cell]) -> str:
    """The cells of a stack, each once."""
    return " or ".join(dict.fromkeys(map(repr, cells)))


def with_candidate() -> list[str]:
    """The names of the known cells that name their candidate."""
    return [name for name, cell in (CELLS | OF_ZOO).items() if cell.candidate]


def whole(numbers: Sequence[int], like: Tensor) -> Tensor:
    """Integers on the device of `like`."""
    return torch.tensor(numbers, device=like.device)


def shares_of(rates: Sequence[float], like: Tensor) -> Tensor:
    """Rates on the device of `like`, in float64 where it has that."""
    exact = torch.float32 if like.device.type == "mps" else torch.float64
    return torch.tensor(rates, dtype=exact, device=like.device)


def begins(steps: Tensor, reset: Tensor | None) -> Tensor:
    """Of each step, where the sequence that it belongs to began: [T, B], or [1, 1] for one."""
    if reset is None:
        return torch.zeros_like(steps[:1])
    return torch.where(reset, steps + 1, torch.zeros_like(steps)).cummax(0).values


def scale(rate: float, x: Tensor) -> Tensor:
    """1 / (1 − p), [1, 1, 1], in no less than float32."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return torch.full((1, 1, 1), 1 / (1 - rate), dtype=dtype, device=x.device)
