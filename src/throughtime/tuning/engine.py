"""Who executes trials: told what to run, it tells how far it is; it knows nothing of the study.

The engine here starts processes on this machine. Another one would give the same to a cluster: what
a trial is, what is drawn next and what counts as its end are not for it to say.
"""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..config import Every, seconds
from ..ground.output import measured
from ..pool.process import INTERRUPTED, Job, Working, reason

WORKER = "throughtime.tuning.worker"


class Measured(NamedTuple):
    """An evaluation of a trial at work: the how manieth in the budget it is, its metrics, and
    whether it is the `last`, after which there is nothing to save by ending the trial."""

    evaluation: int
    metrics: dict[str, float]
    last: bool = False


class Ended(NamedTuple):
    """How an execution ended: what it `found`, or `why` not.

    `stopped`: on request, its state saved. `killed`: by somebody, or for want of memory.
    """

    found: dict[str, Any] | None = None
    why: str = ""
    stopped: bool = False
    killed: bool = False


class Execution(Protocol):
    """A trial at work."""

    job: Job

    def evaluations(self) -> list[Measured]:
        """Those since this was asked last, in order."""
        ...

    def ask_to_stop(self, *, at_once: bool = False) -> None:
        """Let it save and stop, or end it."""
        ...

    def ended(self) -> Ended | None:
        """How it ended, None while it is at work."""
        ...


class Engine(Protocol):
    """Executes trials, so many at once."""

    places: int

    def start(self, job: Job, lock: int) -> Execution:
        """Begin a trial or go on with it; `lock` is held for as long as anything works on it."""
        ...


class LocalProcesses:
    """The engine of this machine: a process for each trial."""

    def __init__(self, task: str, places: int, trust: bool) -> None:
        self.task, self.places, self.trust = task, places, trust

    def start(self, job: Job, lock: int) -> LocalProcess:
        """A process that resumes the run where it has begun."""
        return LocalProcess(job, Working(job, WORKER, self.task, self.places, lock, self.trust))


class LocalProcess:
    """A trial in a process of its own, read from the files that it writes."""

    def __init__(self, job: Job, work: Working) -> None:
        self.job, self.work = job, work
        self.log = EvaluationLog(job.run.folder / "metrics.jsonl", job.run.config)

    def evaluations(self) -> list[Measured]:
        """From metrics.jsonl."""
        return self.log.new()

    def ask_to_stop(self, *, at_once: bool = False) -> None:
        """By a signal."""
        self.work.ask_to_stop(at_once=at_once)

    def ended(self) -> Ended | None:
        """By the exit code."""
        code = self.work.ended()
        if code is None:
            return None
        if code == 0:
            return Ended(json.loads(self.job.result.read_text("utf-8")))
        asked = code in (130, 143) or (self.work.asked_to_stop and code in INTERRUPTED)
        killed = code == -signal.SIGKILL and not asked
        return Ended(None, reason(self.job, code), asked, killed)


class EvaluationLog:
    """The evaluations in a run's metrics.jsonl, as they come.

    A run that is resumed takes back what it wrote after its checkpoint, and writes it again. A
    checkpoint follows each evaluation, so nearly always the lines up to the last one stay; where
    they do not, the file is read from its beginning, and some come again.
    """

    def __init__(self, path: Path, config: Any) -> None:
        self.path, self.every = path, Every.parse(config.loop.eval_every)
        self.seconds = seconds(config.max_time) if config.max_time else math.inf
        self.steps, self.epochs = config.max_steps or math.inf, config.most_epochs() or math.inf
        self.offset, self.count = 0, 0

    def new(self) -> list[Measured]:
        """Those since the last time."""
        try:
            return self.read()
        except FileNotFoundError:
            return []
        except ValueError:  # not at the beginning of a line any more
            self.offset, self.count = 0, 0
            return self.read()

    def read(self) -> list[Measured]:
        """Those after the last one that was read; `ValueError` where the file is another now."""
        with open(self.path, "rb") as file:
            if file.seek(0, os.SEEK_END) < self.offset:
                raise ValueError(self.path)
            file.seek(self.offset)
            lines = file.read().split(b"\n")[:-1]
        found, at = [], self.offset
        for line in lines:
            at += len(line) + 1
            values = measured(line.decode())
            if values["kind"] == "valid":
                self.offset, self.count = at, self.count + 1
                number = self.number(values)
                found.append(Measured(number, values, self.is_last(number, values)))
        return found

    def number(self, line: dict[str, float]) -> int:
        """The how manieth evaluation a line is. With a budget of time by what the interval counts:
        one that is left out, since evaluations took too long, does not move those after it."""
        amount, unit = self.every.amount, self.every.unit
        share = self.share(line)
        positions = {"steps": line["step"], "seconds": line["elapsed"], "budget": share}
        if unit not in positions or amount <= 0 or self.seconds == math.inf:
            return self.count
        return max(1, int(positions[unit] / amount + 1e-9))

    def share(self, line: dict[str, float]) -> float:
        """Of a budget of time or steps, what is spent."""
        return max(line["elapsed"] / self.seconds, line["step"] / self.steps)

    def is_last(self, number: int, line: dict[str, float]) -> bool:
        """Whether the budget is spent; of epochs the lines do not tell, but for the evaluations."""
        amount, unit = self.every.amount, self.every.unit
        whole = {"budget": 1.0, "epochs": self.epochs}.get(unit, math.inf)
        return self.share(line) >= 1 or number * amount >= whole - 1e-9
