"""Runs in processes of their own, several at a time, with one display of them all."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from .. import config as configs
from ..config import seconds
from ..ground import terminal
from ..ground.interrupts import Interrupted, asked
from ..ground.output import measured
from ..training.monitor import LiveBars, clock
from .plan import PlannedRun

AGAIN = "give the command again"
"""What to do when there is room on the disk again."""
INTERRUPTED = (130, 143, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of runs that were asked to stop or killed."""

LOOK_EVERY = 0.25
"""Seconds between looks at the runs."""

TAIL = 4096
"""Bytes at the end of metrics.jsonl among which its last line is looked for."""


@dataclass(frozen=True)
class Job:
    """A run, and where its result and its log go."""

    run: PlannedRun
    result: Path
    log: Path

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1].removeprefix("error: ") if lines else "no message"


class Working:
    """A job's process, apart from the terminal's Ctrl-C; it holds the lock too."""

    def __init__(self, job: Job, task: str, jobs: int, lock: int, trust: bool) -> None:
        self.job, self.asked_to_stop = job, False
        order = {
            "task": task,
            "config": configs.to_dict(job.run.config),
            "result": str(job.result),
            "jobs": jobs,
            "trust": trust,
        }
        with open(job.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "throughtime.compare.worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
                pass_fds=(lock,),
            )
        self.stdin = cast(IO[str], self.process.stdin)
        with contextlib.suppress(BrokenPipeError):  # it died: its exit code is looked at
            self.stdin.write(json.dumps(order) + "\n")
            self.stdin.flush()

    def ask_to_stop(self, *, at_once: bool = False) -> None:
        """Let it save and stop, or kill it; one that is not loaded yet just ends."""
        if at_once:
            self.process.kill()
        elif not self.asked_to_stop:
            self.asked_to_stop = True
            self.process.terminate()

    def ended(self) -> int | None:
        """Its exit code, None while it runs."""
        code = self.process.poll()
        if code is not None:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.close()
        return code


def run_all(
    jobs: Sequence[Job], task: str, at_once: int, lock: int, trust: bool = False
) -> dict[str, str]:
    """Run them, `at_once` at a time; return what went wrong, by the run's name.

    `lock` is the open file whose lock the runs hold together with this process; `trust` is
    `Comparison.trust`.

    After Ctrl-C running ones save and stop, and `Interrupted` is raised; a second Ctrl-C kills
    them, which costs what they did since their last save.
    """
    waiting, running = list(jobs), list[Working]()
    failures: dict[str, str] = {}
    stopping = threading.Event()

    def ask() -> bool:
        again = stopping.is_set()
        stopping.set()
        if again:
            terminal.say("stopping every run at once")
        for work in running:
            work.ask_to_stop(at_once=again)
        return True

    def say() -> None:
        terminal.say("stopping: every run saves (Ctrl-C again: at once, back to its last save)")

    with asked(ask, say), RunsDisplay(len(jobs)) as display:
        try:
            while running or (waiting and not stopping.is_set()):
                while waiting and len(running) < at_once and not stopping.is_set():
                    running.append(Working(waiting.pop(0), task, at_once, lock, trust))
                if stopping.is_set():  # one that was being started did not hear of it
                    for work in running:
                        work.ask_to_stop()
                time.sleep(LOOK_EVERY)
                for work in [work for work in running if work.ended() is not None]:
                    running.remove(work)
                    job, code = work.job, work.ended()
                    if stopping.is_set() and code in INTERRUPTED:
                        continue
                    if code != 0:
                        failures[job.run.name] = reason(job, code)
                    display.ended(job, failures.get(job.run.name))
                display.show([work.job for work in running])
        finally:
            for work in running:  # only after an error of ours
                work.ask_to_stop(at_once=True)
    if stopping.is_set():
        raise Interrupted
    return failures


def reason(job: Job, code: int | None) -> str:
    """Why a run ended with this exit code."""
    if code in (130, 143):
        return "interrupted; the same command goes on with it"
    if code == -signal.SIGKILL:
        return "killed, for want of memory perhaps; the same command resumes it"
    if code is not None and code < 0:
        return f"ended by signal {-code}; its last words: {job.last_words()}"
    return job.last_words()


class RunsDisplay(LiveBars):
    """A bar for each run on a terminal, else a line about all of them every ten seconds."""

    def __init__(self, total: int) -> None:
        super().__init__(named=True)
        self.total, self.done = total, 0
        self.rows: dict[str, Any] = {}

    def ended(self, job: Job, failure: str | None) -> None:
        """A run is over: a line that stays."""
        self.done += 1
        name = job.run.name
        if name in self.rows:
            self.bars.remove_task(self.rows.pop(name))
        if failure is not None:
            terminal.warn(f"{name} failed: {failure} ({self.done} of {self.total}; {job.log})")
            return
        found = json.loads(job.result.read_text("utf-8"))
        score = f"{found['score']} {found['metrics'][found['score']]:.4f}"
        terminal.say(f"{name}: {score}, {clock(found['seconds'])} ({self.done} of {self.total})")

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


def progress(run: PlannedRun) -> tuple[float, str]:
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
