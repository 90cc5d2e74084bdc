"""What a task tells an exporter: its model's outline, and what the numbers around it mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..data.affixes import Spelling
from ..data.conditions import Conditions
from ..data.vocabulary import Vocabulary
from ..ground import terminal
from ..layers.outline import Outline

Writes = Literal["text", "abc", "midi"]


@dataclass(frozen=True)
class Exported:
    """A model that says, after each step, the `token` that comes next, or the `label` of what was
    read, or `numbers` of it; the `tag` of each step; the `frame` of keys that comes next; a
    `forecast`; or a `translation`.

    `vocabulary` of what is read, None for numbers, whose `columns` may have names, `characters` of
    its words, `target` of what is written; `labels` of what is said, the names of numbers too, with
    `quantiles` of each. A text begins after the tokens `opening`, and ends with `eos`, where it
    ends; `never` are not drawn. `line_ends`: a line's end is read as <eos>. `condition`: the names
    of the numbers that a condition is made of.

    `series`: what is taken off the targets of each known series, and what they are divided by;
    `others`: mean and deviation of what else a forecast reads at a step, but for the `calendar`,
    whose periods are in days, as is the `step`.
    """

    outline: Outline
    says: Literal["token", "label", "numbers", "tag", "frame", "forecast", "translation"]
    vocabulary: Vocabulary | None = None
    labels: Sequence[str] = ()
    columns: Sequence[str] = ()
    opening: Sequence[int] = ()
    never: Sequence[int] = ()
    eos: int | None = None
    line_ends: bool = False
    condition: Sequence[str] = ()
    characters: Vocabulary | None = None
    target: Vocabulary | None = None
    quantiles: Sequence[float] = ()
    series: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    others: tuple[np.ndarray, np.ndarray] | None = None
    calendar: Sequence[float] = ()
    step: float = 0.0
    calibration: Callable[[], Iterable[Any]] | None = None
    """Sequences of the data that the run knows, as the reference reads them; `InputError` where the
    files are gone."""
    joins: str = ""
    """What stands between the words of a text that is written."""
    beginning: Sequence[int] = ()
    """What a text of its own begins after, where nothing is given; empty: `opening`."""
    conditions: Conditions | None = None
    """What `condition` names, by kinds."""
    longest: int | None = None
    """Steps of a sequence that are read."""
    form: Writes = "text"
    """What the tokens that are written make."""
    frames_per_quarter: int = 1
    """Of a piano roll."""


def tell_plain(reader: Vocabulary | Spelling) -> None:
    """Warn where what is exported reads unknown words otherwise than the run does."""
    if isinstance(reader, Spelling):
        terminal.warn("what is exported reads all unknown words alike, as <unk>, without affixes.")


def mixed(sequences: Any) -> list[Any]:
    """Sequences in a fixed order that no file decides."""
    return [sequences[i] for i in np.random.default_rng(0).permutation(len(sequences))]
