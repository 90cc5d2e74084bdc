"""One display of all runs that are at work, from the metrics.jsonl that each writes."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import seconds
from ..ground import terminal
from ..ground.output import measured
from ..training.monitor import LiveBars, clock
from .process import Job, Planned

TAIL = 4096
"""Bytes at the end of metrics.jsonl among which its last line is looked for."""


class RunsDisplay(LiveBars):
    """A bar for each run on a terminal, else a line about all of them every ten seconds."""

    def __init__(self, total: int) -> None:
        super().__init__(named=True)
        self.total, self.done = total, 0
        self.rows: dict[str, Any] = {}

    def ended(self, job: Job, failure: str | None) -> None:
        """A run is over: a line that stays."""
        if failure is not None:
            self.over(job.run.name, f"failed: {failure}", job.log)
            return
        found = json.loads(job.result.read_text("utf-8"))
        score = f"{found['score']} {found['metrics'][found['score']]:.4f}"
        self.over(job.run.name, f"{score}, {clock(found['seconds'])}")

    def over(self, name: str, how: str, log: Path | None = None) -> None:
        """A run is over, its bar too; `log` of one that failed."""
        self.done += 1
        if name in self.rows:
            self.bars.remove_task(self.rows.pop(name))
        count = f"{self.done} of {self.total}"
        if log is not None:
            terminal.warn(f"{name} {how} ({count}; {log})")
        else:
            terminal.say(f"{name}: {how} ({count})")

    def show(self, running: Sequence[Job]) -> None:
        """Where the running ones are."""
        if not self.live and not self.line_due():
            return
        said = []
        for job in running:
            share, text = progress(job.run)
            if self.live:
                name = job.run.name
                if name not in self.rows:
                    self.rows[name] = self.bars.add_task("starting", total=1.0, name=name)
                self.bars.update(self.rows[name], completed=share, description=text)
            said.append(f"{job.run.name} {share:.0%} {text}")
        if not self.live and said:
            terminal.say(f"{self.done} of {self.total} done;  " + ";  ".join(said))


def progress(run: Planned) -> tuple[float, str]:
    """The share of a run's budget that is spent, and its training loss, from metrics.jsonl."""
    line = last_line(run.folder / "metrics.jsonl")
    if line is None:
        return 0.0, "starting"
    c = run.config
    share = max(
        line["elapsed"] / (seconds(c.max_time) if c.max_time else math.inf),
        line["step"] / (c.max_steps or math.inf),
        line["epoch"] / (c.most_epochs() or math.inf),
    )
    return min(share, 1.0), f"loss {line['loss']:.3f}"


def last_line(path: Path) -> dict[str, Any] | None:
    """The last whole training line of metrics.jsonl, None where there is none yet."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - TAIL))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        with contextlib.suppress(ValueError):  # the first may be cut
            values = measured(line.decode())
            if values["kind"] == "train":
                return values
    return None
