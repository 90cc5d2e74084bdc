"""Settings of numbers through time, whatever is learned from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..ground.errors import SettingError

MISSING = Literal["error", "mask", "forward", "mean"]
"""What becomes of values that are missing."""


@dataclass
class StepsConfig:
    """How tables with a row per step become sequences of numbers.

    Args:
        sequence: With level numbers, the column that tells sequences apart; a file without it is
            one sequence.
        features: With level numbers, the columns of a step's numbers; default: all that no other
            setting names. They are told by name: a file may have them in another order.
        time: With level numbers, the column of stamps, dates or numbers: the seconds since the step
            before are a number of the step.
        categories: With level numbers, columns of names, which are embedded.
        group: With level numbers, the column that tells which sequences belong together, as those
            of one person: they are held out together.
        missing: With level numbers, what becomes of values that are missing (empty, NaN): error;
            mask, the value before, and a mark that it is missing; forward, the value before; mean,
            that of training.
        split: With level numbers, which examples are held out: random ones, or by time, those that
            begin last.
    """

    sequence: str = "sequence"
    features: list[str] = field(default_factory=list)
    time: str | None = None
    categories: list[str] = field(default_factory=list)
    group: str | None = None
    missing: MISSING = "error"
    split: Literal["random", "time"] = "random"

    def of_steps(self) -> dict[str, object]:
        """The settings that are for numbers alone, and are not as they are by default."""
        default = StepsConfig()
        names = [name for name in vars(default) if name != "sequence"]
        return {n: getattr(self, n) for n in names if getattr(self, n) != getattr(default, n)}


def check_split(data: StepsConfig) -> None:
    """What is held out by time has one, and is not held out by group too."""
    if data.split == "time" and not data.time:
        raise SettingError(
            "data.split time needs the column of stamps: give data.time.", "data.split", "data.time"
        )
    if data.split == "time" and data.group:
        said = "data.split time holds out by time, data.group by group: give one of them."
        raise SettingError(said, "data.split", "data.group")
