"""What a task tells an exporter: its model's outline, and what the numbers around it mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..data.vocabulary import Vocabulary
from ..layers.outline import Outline


@dataclass(frozen=True)
class Exported:
    """A model that says, after each step, the `token` that comes next, or the `label` of what was
    read.

    `vocabulary` of what is read, None for numbers, whose `columns` may have names; `labels` of what
    is said. A text begins after the tokens `opening`, and ends with `eos`, where it ends; `never`
    are not drawn. `line_ends`: a line's end is read as <eos>. `condition`: the names of the numbers
    that a condition is made of.
    """

    outline: Outline
    says: Literal["token", "label"]
    vocabulary: Vocabulary | None = None
    labels: Sequence[str] = ()
    columns: Sequence[str] = ()
    opening: Sequence[int] = ()
    never: Sequence[int] = ()
    eos: int | None = None
    line_ends: bool = False
    condition: Sequence[str] = ()
    joins: str = ""
    """What stands between the words of a text that is written."""
