"""Training health: what metrics.jsonl tells, with the moments of trouble."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from ..ground.errors import InputError
from ..ground.output import measured

SPIKE = 1.2
"""A logged loss so many times the median of the `LINES_BEFORE` before it is a spike."""
LARGE = 10.0
"""A gradient norm so many times the median of the `LINES_BEFORE` before it is large."""
LINES_BEFORE = 11
RISEN = 0.01
"""The last validation loss is this share above the best: it has risen."""
OFTEN = 0.5
"""More than this share of steps clipped is often."""


@dataclass(frozen=True)
class Trouble:
    """A moment of trouble: at which step, of which kind, and what was seen."""

    step: int
    kind: str
    what: str


@dataclass(frozen=True)
class Health:
    """The course of a training run.

    `train` and `valid` are the lines of metrics.jsonl as they stand; in those of `train`,
    `clipped_here` is the share of steps clipped since the line before. `inside`: looks taken while
    it trained (`loop.inspect_every`). `troubles` in order.
    """

    train: list[dict[str, Any]]
    valid: list[dict[str, Any]]
    skipped: list[dict[str, Any]]
    inside: list[dict[str, Any]] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def clipped(self) -> float:
        """The share of all steps whose gradient was clipped."""
        return float(self.train[-1].get("clipped", 0.0)) if self.train else math.nan


def read_health(path: Path) -> Health:
    """The health of the run whose metrics.jsonl this is.

    A last line that a killed run left unfinished is passed over; any other that is not JSON is an
    `InputError` with its number.
    """
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}.") from error
    kinds: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("train", "valid", "skipped", "inside")
    }
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = measured(line)
            kind, step = values["kind"], int(values["step"])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise InputError(f"{path}:{number}: not a line of metrics: {error!r}.") from error
        if kind in kinds:
            kinds[kind].append({**values, "step": step})
    since(kinds["train"])
    health = Health(kinds["train"], kinds["valid"], kinds["skipped"], kinds["inside"])
    health.troubles.extend(find_troubles(health))
    return health


def since(train: list[dict[str, Any]]) -> None:
    """Add `clipped_here`: metrics hold the share since the beginning."""
    before, steps = 0.0, 0
    for line in train:
        clipped = float(line.get("clipped", 0.0)) * line["step"]
        took = line["step"] - steps
        line["clipped_here"] = min(1.0, max(0.0, (clipped - before) / took)) if took > 0 else 0.0
        before, steps = clipped, line["step"]


def find_troubles(health: Health) -> list[Trouble]:
    """Skipped steps, spikes, large gradients, steps clipped often, validation risen or lost."""
    found = [
        Trouble(s["step"], "skipped", f"step skipped: loss {s.get('loss')}, norm {s.get('norm')}")
        for s in health.skipped
    ]
    spikes = jumps(health.train, "loss", SPIKE, "spike", "loss {value:.3g}, {times:.1f} times")
    found += spikes + [
        large
        for large in jumps(
            health.train,
            "norm",
            LARGE,
            "large gradient",
            "gradient norm {value:.3g}, {times:.0f} times",
        )
        if did_harm(large, spikes, health.train)
    ]
    if health.clipped > OFTEN:
        last = health.train[-1]["step"]
        found.append(Trouble(last, "clipped often", f"{health.clipped:.0%} of all steps clipped"))
    losses = [(line["loss"], line["step"]) for line in health.valid if "loss" in line]
    finite = [pair for pair in losses if math.isfinite(pair[0])]
    if losses and not math.isfinite(losses[-1][0]):
        last, step = losses[-1]
        found.append(Trouble(step, "validation lost", f"the last validation loss is {last}"))
    elif len(finite) > 1:
        best, step = min(finite)
        last, _ = losses[-1]
        if best > 0 and last > best * (1 + RISEN):
            found.append(
                Trouble(
                    step,
                    "validation rose",
                    f"validation loss was best here, {best:.4g}, and rose to {last:.4g}",
                )
            )
    return sorted(found, key=lambda trouble: trouble.step)


def did_harm(large: Trouble, spikes: list[Trouble], train: list[dict[str, Any]]) -> bool:
    """Whether the loss spiked in the line of a large gradient or the one after it.

    Where it did not there was no trouble: of a model that is right about nearly all it sees, the
    usual norm is next to nothing, and any example that it has wrong towers above it.
    """
    after = [line["step"] for line in train if line["step"] >= large.step][:2]
    return any(spike.step in after for spike in spikes)


def jumps(
    train: list[dict[str, Any]], name: str, times: float, kind: str, what: str
) -> list[Trouble]:
    """Where a value is `times` the median of the ones before it; the first of neighbours only."""
    found, inside = [], False
    for i, line in enumerate(train):
        value = float(line.get(name, math.nan))
        recent = (
            float(earlier.get(name, math.nan)) for earlier in train[max(0, i - LINES_BEFORE) : i]
        )
        before = [v for v in recent if math.isfinite(v)]
        if len(before) < 3 or not median(before) > 0:
            continue
        ratio = value / median(before)
        above = not ratio < times  # NaN is above
        if above and not inside:
            said = what.format(value=value, times=ratio)
            found.append(Trouble(line["step"], kind, f"{said} the median of the lines before"))
        inside = above
    return found
