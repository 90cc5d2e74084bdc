"""Gradients through time: ‖∂L<T>/∂a<t>‖ against the lag T − t."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.stored import Ids
from ..ground.errors import InputError
from ..layers.states import each
from .watch import watching

COLUMNS = 32
"""Positions looked at together: their steps' activations are all in memory."""


ENOUGH = 8
"""A lag that fewer positions reach is not told, unless there are no more."""


@dataclass(frozen=True)
class GradientsThroughTime:
    """‖∂L<T>/∂s<t>‖ for each part s of the state, by the lag k = T − t.

    `norms[part]` is [layers, lags, positions], lag 0 first; NaN where a sequence is shorter, and in
    a layer whose cell has no such part. With
    two directions a row is a layer's direction, forward before backward, and the lag counts the
    steps of that direction. `layers` names the rows.

    Where sequences differ in length, only the longer ones reach a long lag, and they may differ in
    other ways too: each lag is compared with lag 0 of the same positions (`shares`).
    """

    norms: dict[str, Tensor]
    layers: tuple[str, ...]

    def rows(self, part: str) -> list[tuple[int, str]]:
        """The layers that have the part, with their names."""
        there = ~self.norms[part].isnan().flatten(1).all(1)
        return [(row, name) for row, name in enumerate(self.layers) if there[row]]

    def median(self, part: str, layer: int) -> Tensor:
        """Over the positions, [lags]."""
        return self.norms[part][layer].double().nanquantile(0.5, dim=1)

    def band(
        self, part: str, layer: int, low: float = 0.1, high: float = 0.9
    ) -> tuple[Tensor, Tensor]:
        """Quantiles over the positions, [lags] each."""
        norms = self.norms[part][layer].double()
        return norms.nanquantile(low, dim=1), norms.nanquantile(high, dim=1)

    def first(self, part: str, layer: int) -> Tensor:
        """What each lag is compared with, [lags]: the median at lag 0 over the positions that reach
        the lag. It is one number where all do. NaN where hardly any reaches so far.
        """
        norms = self.norms[part][layer].double()
        there = ~norms.isnan()
        compared = norms[0].expand_as(norms).masked_fill(~there, float("nan"))
        few = there.sum(1) < min(ENOUGH, norms.shape[1])
        return compared.nanquantile(0.5, dim=1).masked_fill(few, float("nan"))

    def shares(self, part: str, layer: int) -> Tensor:
        """The curve, [lags]: the median at each lag as a share of `first`; 1 at lag 0."""
        return self.median(part, layer) / self.first(part, layer)

    def horizon(self, part: str, layer: int, share: float = 0.01) -> int | None:
        """The first lag where `shares` is below `share`; None: never, as far as was measured."""
        below = (self.shares(part, layer) < share).nonzero()
        return int(below[0]) if len(below) else None

    @property
    def lags(self) -> int:
        """The longest lag measured, by enough positions."""
        part = next(iter(self.norms))
        return int((~self.first(part, 0).isnan()).nonzero()[-1])

    def longest(self, share: float = 0.01) -> tuple[str, int, int | None]:
        """The part and the layer that last longest, and their horizon; of equals the last layer."""
        found = [
            (part, layer, self.horizon(part, layer, share))
            for layer in reversed(range(len(self.layers)))
            for part in self.norms
            if layer in dict(self.rows(part))
        ]
        return max(found, key=lambda one: math.inf if one[2] is None else one[2])

    def reach(self, share: float = 0.01) -> int | None:
        """The horizon of the layer and state part that lasts longest; None: beyond `lags`."""
        return self.longest(share)[2]

    def rate(self, part: str, layer: int) -> float:
        """The geometric mean of the ratio of a lag's share to that of the lag before.

        shares<K>^(1/K), K the last lag whose share is positive. Above 1 gradients explode, far
        below 1 they vanish. NaN where only one lag was measured.
        """
        growth, last = self.growth(part, layer)
        return growth ** (1 / last) if last else growth

    def growth(self, part: str, layer: int) -> tuple[float, int]:
        """shares<K>, and K: the last lag whose share is positive."""
        shares = self.shares(part, layer)
        if len(shares) == 1 or shares[0] != 1:  # nothing flows back from lag 0 itself
            return float("nan"), 0
        last = int((shares > 0).nonzero()[-1])
        return (float(shares[last]), last) if last else (0.0, 0)


def gradients_through_time(
    model: Any,
    batch: tuple[Tensor, Tensor],
    *,
    state: Any = None,
    dtype: torch.dtype | None = None,
    advance: Callable[[float], None] | None = None,
) -> GradientsThroughTime:
    """‖∂L<T>/∂s<t>‖ in a language model: how much each earlier state moved the last loss.

        L<T> = −log P(targets<T> | tokens<1…T>), one for each column; lag k = T − t

    Exact: one backward pass through the recorded scan, for any cell. The derivative is total:
    through all steps that follow, the layers above, and what `step` made of the same number (an
    LSTM's a<t> is made of c<t>).

    Shapes: tokens, targets [T, B] → norms [layers, T, B] for each part of the state. `state`: that
    before the first step, zeros where it is None. `dtype`: the arithmetic, the model's own where it
    is None; with float64 a copy of the model is measured. `advance` hears of columns done.
    Oracle: autograd by each state alone, over a loop of the equations, in float64, to 1e-8.
    """
    tokens, targets = batch
    if tokens.dim() != 2 or tokens.shape != targets.shape or not tokens.numel():
        raise InputError(
            "a batch is (tokens [T, B], targets [T, B]) with at least one step; got "
            f"{list(tokens.shape)} and {list(targets.shape)}."
        )
    if dtype is not None and dtype != next(model.parameters()).dtype:
        model = copy.deepcopy(model).to(dtype)
        state = None if state is None else each(lambda part: part.to(dtype), state)
    state = model.initial_state(tokens.shape[1]) if state is None else state
    parts: list[dict[str, Tensor]] = []
    names: tuple[str, ...] = ()
    for start in range(0, tokens.shape[1], COLUMNS):
        some = slice(start, start + COLUMNS)
        with watching(model) as watched, torch.enable_grad():
            own = each(lambda part, some=some: part[:, some], state)
            h, _ = model.hidden(tokens[:, some], own)
            loss = nats(model, h[-1], targets[-1, some]).sum()
            seen = watched["stack"]
            found, names = seen.gradient_norms(loss), seen.names()
        parts.append({name: norms.flip(1) for name, norms in found.items()})
        if advance is not None:
            advance(len(targets[-1, some]))
    return GradientsThroughTime(
        {name: torch.cat([part[name] for part in parts], 2) for name in parts[0]}, names
    )


def nats(model: Any, h: Tensor, targets: Tensor) -> Tensor:
    """−log P of targets [N] where the softmax sees h [N, n], in the dtype of h."""
    return nn.functional.cross_entropy(model.head.logits(h), targets, reduction="none")


def language_windows(
    task: Any, ids: Ids, lags: int, positions: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The text before each of so many positions, drawn at random: tokens, targets [lags + 1, B].

    The last target of a column is the token at its position; lags 0 to `lags` can be measured.
    `ids` is a corpus of the task's tokens. A text with fewer positions gives all that it has.
    Errors: `InputError` where the text is too short for one.
    """
    chosen = positions_of(ids, lags, positions, seed)
    rows = np.stack([ids[p - lags - 1 : p + 1] for p in chosen], 1).astype(np.int64)
    both = torch.from_numpy(rows).to(task.device)
    return both[:-1], both[1:]


def positions_of(ids: Ids, lags: int, positions: int, seed: int = 0) -> np.ndarray:
    """The positions in the text of the last targets of `language_windows`, in order."""
    first = lags + 1  # position p has the inputs p − lags − 1 … p − 1
    if lags < 0 or positions < 1:
        raise InputError(f"lags and positions must be at least 0 and 1; got {lags}, {positions}.")
    if len(ids) <= first:
        raise InputError(
            f"the text has {len(ids):,} tokens: looking back {lags} steps from one needs "
            f"{first + 1:,}. Give more text, or fewer lags."
        )
    among = len(ids) - first
    random = np.random.default_rng(seed)
    return first + np.sort(random.choice(among, min(positions, among), replace=False))
