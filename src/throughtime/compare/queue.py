"""The runs of a comparison, several at a time, to the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ..ground import terminal
from ..ground.interrupts import Interrupted, asked
from ..pool.display import RunsDisplay
from ..pool.process import INTERRUPTED, LOOK_EVERY, Job, Working, reason

WORKER = "throughtime.compare.worker"


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
                    running.append(Working(waiting.pop(0), WORKER, task, at_once, lock, trust))
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
