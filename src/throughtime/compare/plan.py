"""What a comparison consists of: variants, each a row of the table, and a run for each seed."""

from __future__ import annotations

import copy
import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.comparison import Comparison
from ..ground.errors import InputError
from . import sizes


@dataclass(frozen=True)
class Variant:
    """A row of the table: a cell, or the feed-forward baseline, at a level or a length.

    `config` is its configuration but for the folder and the seed.
    """

    name: str
    label: str
    at: str
    config: Any
    parameters: int


@dataclass(frozen=True)
class PlannedRun:
    """A variant with a seed: one run folder."""

    variant: Variant
    seed: int
    folder: Path
    config: Any

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name


def axis(comparison: Comparison, config: Any) -> tuple[str, list[str]]:
    """What varies besides the cell, and its values: levels, lengths, or nothing (one empty)."""
    if comparison.levels:
        return "level", comparison.levels
    if comparison.lengths:
        return "length", comparison.lengths
    return "", [""]


def at(config: Any, name: str, value: str) -> Any:
    """The configuration at a value of the axis."""
    changed = copy.deepcopy(config)
    if name:
        setattr(changed, name, int(value) if name == "length" else value)
    if name == "level" and changed.data.eos == "auto":
        changed.data.eos = "line"  # so that all levels predict the same line ends
    return changed


def variants(comparison: Comparison, config: Any, tasks: dict[str, Any]) -> list[Variant]:
    """Every row that is trained; `tasks` are the prepared ones, by value of the axis.

    Errors: `InputError` where parameters cannot be matched.
    """
    name, values = axis(comparison, config)
    wanted = None
    if comparison.equal == "parameters":
        first = at(config, name, getattr(config, name)) if name else config
        task = tasks[str(getattr(config, name))] if name else tasks[""]
        wanted = sizes.parameters(task, first)
    found = []
    for value in values:
        base = at(config, name, value)
        cells: list[tuple[str, int | None]] = [(cell, None) for cell in comparison.cells]
        if "feed-forward" in comparison.baselines:
            cells.append(("feed-forward", comparison.context))
        for label, context in cells:
            changed = copy.deepcopy(base)
            if context is None:
                changed.cell = label
            else:
                changed.model.context = context
                changed.loop.inspect_every = "0"  # nothing to look into
            count = sizes.match(tasks[value], changed, wanted, label)
            slug = "-".join(part for part in (slug_of(label), value) if part)
            found.append(Variant(slug, Path(label).name, value, changed, count))
    names = [variant.name for variant in found]
    if twice := {n for n in names if names.count(n) > 1}:
        raise InputError(f"two of the cells would share the folder {', '.join(sorted(twice))}.")
    return found


def slug_of(cell: str) -> str:
    """A cell's name as part of a folder's: lstm(output=identity) → lstm-output-identity."""
    name = cell.rpartition(".py:")[2]
    return re.sub(r"\W+", "-", name).strip("-")


def runs(found: list[Variant], comparison: Comparison, out: Path, threads: int) -> list[PlannedRun]:
    """A run for each variant and seed: all variants of the first seed come first."""
    planned = []
    for k in range(comparison.seeds):
        for variant in found:
            seed = variant.config.seed + k
            folder = out / f"{variant.name}-{seed}"
            config = dataclasses.replace(
                copy.deepcopy(variant.config), seed=seed, out=str(folder), threads=threads
            )
            planned.append(PlannedRun(variant, seed, folder, config))
    return planned
