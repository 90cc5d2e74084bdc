"""Gradients through time: ‖∂L<T>/∂a<t>‖ against the lag T − t."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from .watch import watching

COLUMNS = 32
"""Positions looked at together: their steps' activations are all in memory."""


@dataclass(frozen=True)
class GradientsThroughTime:
    """‖∂L<T>/∂s<t>‖ for each part s of the state, by the lag k = T − t.

    `norms[part]` is [layers, lags, positions], lag 0 first; NaN where a sequence is shorter. With
    two directions a row is a layer's direction, forward before backward, and the lag counts the
    steps of that direction. `layers` names the rows.
    """

    norms: dict[str, Tensor]
    layers: tuple[str, ...]

    def median(self, part: str, layer: int) -> Tensor:
        """Over the positions, [lags]."""
        return self.norms[part][layer].double().nanquantile(0.5, dim=1)

    def band(
        self, part: str, layer: int, low: float = 0.1, high: float = 0.9
    ) -> tuple[Tensor, Tensor]:
        """Quantiles over the positions, [lags] each."""
        norms = self.norms[part][layer].double()
        return norms.nanquantile(low, dim=1), norms.nanquantile(high, dim=1)

    def horizon(self, part: str, layer: int, share: float = 0.01) -> int | None:
        """The first lag where the median is below `share` of that at lag 0; None: never so far."""
        median = self.median(part, layer)
        below = (median < share * median[0]).nonzero()
        return int(below[0]) if len(below) else None

    @property
    def lags(self) -> int:
        """The longest lag measured."""
        return next(iter(self.norms.values())).shape[1] - 1

    def reach(self, share: float = 0.01) -> int | None:
        """The horizon of the layer and state part that lasts longest; None: beyond `lags`."""
        found = [
            self.horizon(part, layer, share)
            for part in self.norms
            for layer in range(len(self.layers))
        ]
        reached = [k for k in found if k is not None]
        return max(reached) if len(reached) == len(found) else None

    def rate(self, part: str, layer: int) -> float:
        """The geometric mean of the ratio of a lag's median to that of the lag before.

        Over all lags whose median is positive: (m<K> / m<0>)^(1/K). Above 1 gradients explode, far
        below 1 they vanish. NaN where only one lag was measured.
        """
        median = self.median(part, layer)
        positive = (median > 0).nonzero()
        last = int(positive[-1]) if len(positive) else 0
        if last == 0:
            return 0.0 if len(median) > 1 else float("nan")
        return float(median[last] / median[0]) ** (1 / last) if median[0] > 0 else float("nan")


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
        state = state and type(state)(*(part.to(dtype) for part in state))
    state = model.initial_state(tokens.shape[1]) if state is None else state
    parts: list[dict[str, Tensor]] = []
    names: tuple[str, ...] = ()
    for start in range(0, tokens.shape[1], COLUMNS):
        some = slice(start, start + COLUMNS)
        with watching(model) as watched, torch.enable_grad():
            h, _ = model.hidden(tokens[:, some], type(state)(*(part[:, some] for part in state)))
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
    task: Any, ids: np.ndarray, lags: int, positions: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The text before each of so many positions, drawn at random: tokens, targets [lags + 1, B].

    The last target of a column is the token at its position; lags 0 to `lags` can be measured.
    `ids` is a corpus of the task's tokens. A text with fewer positions gives all that it has.
    Errors: `InputError` where the text is too short for one.
    """
    chosen = positions_of(ids, lags, positions, seed)
    rows = np.asarray(ids)[chosen[None, :] + np.arange(-lags - 1, 1)[:, None]].astype(np.int64)
    both = torch.from_numpy(rows).to(task.device)
    return both[:-1], both[1:]


def positions_of(ids: np.ndarray, lags: int, positions: int, seed: int = 0) -> np.ndarray:
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
