"""What a search has found: its trials in order of merit, as a table and as plain data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.search import said_of
from ..ground.wording import plural
from ..pool.display import last_line
from ..tasks.task import Score, aligned
from ..training.monitor import clock
from .study import Study, Trial

NOTHING = "–"
SHOWN = 10
"""Trials that the terminal shows."""


@dataclass(frozen=True)
class Tried:
    """A trial and its run folder; `found` is what its training told, nothing unless complete."""

    trial: Trial
    folder: Path
    found: dict[str, Any]
    seconds: float | None

    @property
    def at_evaluation(self) -> int:
        """The last evaluation that it came to."""
        return max(self.trial.evaluations, default=0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        trial = self.trial
        return {
            "number": trial.number,
            "state": trial.state,
            "settings": trial.values,
            "score": trial.score,
            "why": trial.why,
            "evaluations": [[k, value] for k, value in sorted(trial.evaluations.items())],
            "metrics": self.found.get("metrics"),
            "parameters": self.found.get("parameters"),
            "steps": self.found.get("steps"),
            "seconds": self.seconds,
            "folder": str(self.folder),
        }


def ranking(study: Study, folder: Path) -> list[Tried]:
    """The complete trials, the best first, then those that were ended, the longest first, then
    those that are running, then those that failed."""
    trials = study.trials()
    sign = -1 if study.higher_is_better else 1

    def by_last(trial: Trial) -> tuple[float, float]:
        last = max(trial.evaluations, default=0)
        return -last, sign * trial.evaluations.get(last, 0.0)

    pruned = sorted((t for t in trials if t.state == "pruned"), key=by_last)
    others = [t for state in ("running", "failed") for t in trials if t.state == state]
    return [tried(trial, folder) for trial in (*study.ranked(trials), *pruned, *others)]


def tried(trial: Trial, folder: Path) -> Tried:
    """A trial with what its files tell."""
    run, result = folder / "trials" / trial.name, folder / "results" / f"{trial.name}.json"
    found = json.loads(result.read_text("utf-8")) if result.exists() else {}
    seconds = found.get("seconds")
    if seconds is None and (line := last_line(run / "metrics.jsonl")) is not None:
        seconds = line["elapsed"]
    return Tried(trial, run, found, seconds)


@dataclass(frozen=True)
class SearchTable:
    """The trials under headings, the best first, and notes."""

    heads: list[str]
    cells: list[list[str]]
    notes: list[str]

    def text(self) -> str:
        """For a terminal: the first of them."""
        left = len(self.cells) - SHOWN
        more = [f"… and {plural(left, 'more trial')}"] if left > 0 else []
        return "\n".join([aligned([self.heads, *self.cells[:SHOWN]]), *more, "", *self.notes])

    def markdown(self) -> str:
        """For a page: all of them."""
        lines = [self.heads, ["---:"] * len(self.heads), *self.cells]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return table + "\n\n" + "\n".join(f"- {note}" for note in self.notes) + "\n"


def table_of(
    rows: Sequence[Tried], names: Sequence[str], score: Score, notes: list[str]
) -> SearchTable:
    """A row for each trial: its score, its settings, what it cost."""
    heads = ["trial", score.title, *names, "parameters", "steps", "time", "ended"]
    cells = [
        [
            str(row.trial.number),
            shown_score(row, score),
            *(setting(row.trial.values.get(name)) for name in names),
            count(row.found.get("parameters")),
            count(row.found.get("steps")),
            NOTHING if row.seconds is None else clock(row.seconds),
            ending(row),
        ]
        for row in rows
    ]
    return SearchTable(heads, cells, notes)


def shown_score(row: Tried, score: Score) -> str:
    """That of the end, in brackets that of the last evaluation of a trial without one."""
    if row.trial.score is not None:
        return score.shown(row.trial.score)
    if not row.trial.evaluations:
        return NOTHING
    return f"({score.shown(row.trial.evaluations[row.at_evaluation])})"


def setting(value: Any) -> str:
    """A setting's value, numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else said_of(value)


def count(value: int | None) -> str:
    """With thousands, or a dash."""
    return NOTHING if value is None else f"{value:,}"


def ending(row: Tried) -> str:
    """How it ended, in a word or two."""
    if row.trial.state == "pruned":
        return row.trial.why or "behind"
    return {"complete": "", "running": "at work"}.get(row.trial.state, row.trial.state)


def notes_of(
    rows: Sequence[Tried], score: Score, importances: dict[str, float], known: Sequence[str]
) -> list[str]:
    """What must be known to read the table."""
    states = [row.trial.state for row in rows]
    counts = {
        state: states.count(state)
        for state in ("complete", "pruned", "running", "failed")
        if state in states
    }
    said = ", ".join(f"{n} {state}" for state, n in counts.items())
    notes = [f"{plural(len(rows), 'trial')}: {said}"]
    if importances:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in importances.items())
        notes.append(f"what mattered among complete trials (PED-ANOVA): {shares}")
    if counts.get("complete"):
        notes.append(
            f"{score.title} of the best of {counts['complete']} is of the validation data that "
            "chose it, and so flattered: measure on test data"
        )
    notes += known
    notes += [
        f"trial {row.trial.number} failed: {row.trial.why}"
        for row in rows
        if row.trial.state == "failed"
    ]
    return notes
