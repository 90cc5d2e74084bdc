"""What a task answers when its model is looked into: the losses at the ends of its sequences.

A scan's lag counts its own steps before the loss, so a forward scan is measured from the loss at
the last step of a sequence, a backward scan from that at the first, where a task has one at each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ..data.stored import Ids


class Ends(NamedTuple):
    """The losses of some examples, each summed over them, and lengths [B] by stack.

    "last" is the loss at the end of a sequence, "first" that at its first step, "whole" of all
    steps: what counts for stacks whose steps are not those of the loss (`apart`).
    """

    losses: dict[str, Callable[[], Tensor]]
    lengths: dict[str, Tensor]
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunningText:
    """The tokens `ids` [N] of one long text, and a line about them.

    `window`: the steps that gradients went back in training, 0 for all. `reach`: where a model sees
    so many tokens and no more.
    """

    ids: Ids
    said: str
    window: int
    reach: int | None
