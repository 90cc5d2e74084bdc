"""Runs in processes of their own: started, asked to stop, and why they ended.

A process each, since threads, the allocator and Ctrl-C belong to a process. Whoever starts it holds
a pipe to it, whose end it hears; the lock that it inherits keeps others away until it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

from .. import config as configs
from ..ground import machine

AGAIN = "give the command again"
"""What to do when there is room on the disk again."""
INTERRUPTED = (130, 143, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of runs that were asked to stop or killed."""

LOOK_EVERY = 0.25
"""Seconds between looks at the runs."""


class Planned(Protocol):
    """A run that is to be: its folder, whose name is its own, and its configuration."""

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def config(self) -> Any: ...


@dataclass(frozen=True)
class Job:
    """A run, and where its result and its log go."""

    run: Planned
    result: Path
    log: Path

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1].removeprefix("error: ") if lines else "no message"


class Working:
    """A job's process, apart from the terminal's Ctrl-C; it holds the lock too.

    `worker` is the module that it runs; `jobs` is how many go at once.
    """

    def __init__(self, job: Job, worker: str, task: str, jobs: int, lock: int, trust: bool) -> None:
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
                [sys.executable, "-m", worker],
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


def reason(job: Job, code: int | None) -> str:
    """Why a run ended with this exit code."""
    if code in (130, 143):
        return "interrupted; the same command goes on with it"
    if code == -signal.SIGKILL:
        return "killed, for want of memory perhaps; the same command resumes it"
    if code is not None and code < 0:
        return f"ended by signal {-code}; its last words: {job.last_words()}"
    return job.last_words()


def share_out(config: Any, jobs: int | None, runs: int) -> tuple[int, int]:
    """How many runs go at once, and with how many threads each; `jobs` as it was asked for."""
    cores, most = cores_here(), jobs
    if most is None:
        on_gpu = machine.choose_device(config.device).type != "cpu"
        most = 1 if on_gpu else max(1, cores // (config.threads or 1))
    at_once = min(most, runs)
    return at_once, config.threads or max(1, cores // at_once)


def cores_here() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
