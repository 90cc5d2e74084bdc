"""What `throughtime compare` sets side by side, apart from the task's own settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from ..ground.errors import InputError, SettingError, one_of
from .run import MOST_THREADS
from .settings import limited
from .text import LEVELS
from .values import shown, split

DEFAULT_CELLS = ("rnn", "simple-gru", "gru", "lstm", "peephole-lstm")
BASELINES = ("ngram", "feed-forward")


@dataclass
class Comparison:
    """What stands side by side.

    Args:
        cells: Cells, separated by commas or spaces, one for each layer as in [gru,lstm]; default
            rnn,simple-gru,gru,lstm,peephole-lstm, or --cell alone where levels are compared.
        baselines: For language models: ngram (Witten-Bell, the best order up to 5) and feed-forward
            (a network that sees --context tokens, trained as the cells are).
        context: Tokens that the feed-forward baseline sees.
        equal: parameters: each cell as wide as gives it the parameters of --cell at
            --model.hidden_size; width: all of that width; time: that too, and --max-time is all
            that ends a run.
        seeds: Runs of each, with the seeds from --seed on.
        levels: For language models: what a token is (char, byte, word, subword), several of them.
        lengths: For adding, copy and temporal-order: several lengths.
        jobs: Runs at a time; default as many as there are cores for (one on a GPU). Each has its
            share of the threads.
        trust: Go on with runs whose cell's file is not the one in --cells any more, and take cells
            of one's own from --config.
    """

    cells: list[str] = field(default_factory=list)
    baselines: list[str] = field(default_factory=list)
    context: int = limited(8, 1, 10_000)
    equal: Literal["parameters", "time", "width"] = "parameters"
    seeds: int = limited(3, 1, 10_000)
    levels: list[str] = field(default_factory=list)
    lengths: list[str] = field(default_factory=list)
    jobs: int | None = limited(None, 1, MOST_THREADS)
    trust: bool = False

    def settle(self, config: Any) -> None:
        """Split what is joined by commas and fill in the default cells; `InputError` where what is
        asked for does not go with the task of `config`."""
        for name in ("cells", "baselines", "levels", "lengths"):
            found = [part for text in getattr(self, name) for part in split(str(text))]
            if twice := {part for part in found if found.count(part) > 1}:
                raise SettingError(f"{name} has {', '.join(sorted(twice))} twice.", name)
            setattr(self, name, found)
        self.cells = self.cells or ([config.cell] if self.levels else list(DEFAULT_CELLS))
        for name, of in (
            ("levels", "language models: throughtime compare lm"),
            ("baselines", "language models: throughtime compare lm"),
            ("lengths", "adding, copy and temporal-order"),
        ):
            if getattr(self, name) and name not in config.compared_by:
                raise SettingError(f"{name} is for {of}.", name)
        for level in self.levels:
            one_of("level", level, LEVELS.__args__)
        for baseline in self.baselines:
            one_of("baseline", baseline, BASELINES)
        for length in self.lengths:
            if not re.fullmatch("[0-9]{1,9}", length):
                raise SettingError(
                    f"lengths must be whole numbers, got {shown(length)}.", "lengths"
                )
            config.check_length(int(length))
        if not hasattr(getattr(config, "model", None), "hidden_size"):
            raise InputError("this task's model has no model.hidden_size to compare cells at.")
        limits = (config.epochs, config.max_steps)
        if self.equal == "time" and (not config.max_time or limits != (None, None)):
            raise SettingError(
                "equal time needs max_time, and no epochs or max_steps.",
                *("equal", "max_time", "epochs", "max_steps"),
            )
