"""How large the numbers are that products take: what int8-full fixes before it writes."""

from __future__ import annotations

from typing import Any

from ...ground.errors import InputError
from ...layers.outline import Array, Outline
from ...tasks.exported import Exported
from ..answers import forecast, tags
from ..lowering import Lowered
from . import programs, recorded
from .integers import Exact, Ranges

MOST_STEPS = 1000
"""Steps of the training data that are read."""


def calibrated(exported: Exported, model: Lowered) -> tuple[Ranges, str]:
    """The ranges, and what they were found on, in words."""
    made: list[Exact] = []

    def making(outline: Outline, condition: Array | None = None) -> Exact:
        made.append(Exact(model, None, condition))
        return made[-1]

    exact = making(model.outline)

    said = "what the model was given by the exporter, which found no training data"
    steps = 0
    try:
        for sequence in exported.calibration() if exported.calibration else ():
            if steps >= MOST_STEPS:
                break
            steps += read(exported, exact, sequence, MOST_STEPS - steps)
    except InputError:  # the files are gone
        steps = 0
    if steps:
        said = f"{steps:,} steps of the training data"
    else:
        program = recorded.language if exported.says == "token" else programs.program
        program(exported, model, making, 1.0)
    ranges: Ranges = {}
    for one in made:
        for key, largest in one.seen.items():
            ranges[key] = max(ranges.get(key, 0.0), largest)
    return ranges, said


def read(exported: Exported, exact: Exact, sequence: Any, most: int) -> int:
    """Let a sequence through; how many steps it has."""
    if exported.says == "forecast":
        forecast(exact, *sequence)
        return len(sequence[0])
    some = sequence[:most]
    if exported.says == "token":
        exact.begin()
        for token in [*exported.opening, *some]:
            exact.step(token)
    elif exported.says == "tag":
        tags(exact, some)
    else:
        exact.result(some)
    return len(some)
