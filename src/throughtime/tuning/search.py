"""The search itself: trials are claimed, drawn, watched and told of, until there are enough.

Whoever works on a trial holds its lock, which the kernel lets go of when all processes that have it
are gone, however they end. So a trial that is running in the storage and whose lock is free is one
whose process was killed: the first to see it goes on with it. Processes that search in one folder
at a time need nothing else to share the work.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from ..config.search import drawn
from ..config.tuning import Tuning
from ..ground import terminal
from ..ground.errors import ThroughtimeError
from ..ground.interrupts import asked
from ..ground.wording import plural
from ..pool.display import RunsDisplay
from ..pool.process import LOOK_EVERY, Job
from ..tasks.task import Score
from ..training.monitor import clock
from .engine import Ended, Engine, Execution
from .folder import SearchFolder
from .study import Study, Trial

KILLS = 2
"""A trial that is killed so often while its search lives has failed, for want of memory perhaps."""
ALL_FAIL = 3
"""Where so many trials have failed and no other has ended, the rest would fail too."""


@dataclass
class AtWork:
    """A trial that this process works on; `lock` is the open file of the trial's lock."""

    trial: Trial
    lock: int
    execution: Execution
    pruned: bool = False


class Search:
    """One process that works on a search; there may be others."""

    def __init__(
        self,
        config: Any,
        tuning: Tuning,
        score: Score,
        folder: SearchFolder,
        study: Study,
        engine: Engine,
    ) -> None:
        self.config, self.tuning, self.score = config, tuning, score
        self.folder, self.study, self.engine = folder, study, engine
        self.running: list[AtWork] = []
        self.stopping = threading.Event()
        self.told_to_wait = False

    def run(self) -> bool:
        """Go on until there are as many trials as asked for; False after Ctrl-C.

        After Ctrl-C trials at work save and stop; a second one ends them at once, which costs what
        they did since their last save.
        """
        with asked(self.ask, say_stopping), RunsDisplay(self.tuning.trials) as self.display:
            self.display.done = sum(t.state != "running" for t in self.study.trials())
            try:
                while self.begin_some() or self.running or self.others_at_work():
                    time.sleep(LOOK_EVERY)
                    for work in list(self.running):
                        self.watch(work)
                    self.display.show([work.execution.job for work in self.running])
            finally:
                for work in self.running:  # only after an error: each saves and stops
                    work.execution.ask_to_stop()
                    os.close(work.lock)
        return not self.stopping.is_set()

    def ask(self) -> bool:
        """Asked to stop: let all save, or the second time, end them."""
        again = self.stopping.is_set()
        self.stopping.set()
        if again:
            terminal.say("stopping every trial at once")
        for work in self.running:
            work.execution.ask_to_stop(at_once=again)
        return True

    # ---- beginning ------------------------------------------------------------------------------

    def begin_some(self) -> bool:
        """Fill the places that are free; whether there was anything to do."""
        begun = False
        while len(self.running) < self.engine.places and not self.stopping.is_set():
            if (claimed := self.claim()) is None:
                break
            begun = True
            self.begin(*claimed)
        if self.stopping.is_set():  # one that was being started did not hear of it
            for work in self.running:
                work.execution.ask_to_stop()
        return begun

    def claim(self) -> tuple[Trial, int] | None:
        """A trial to work on, and its lock: one that nobody works on any more, else a new one."""
        mine = {work.trial.number for work in self.running}
        with self.folder.deciding():
            trials = self.study.trials()
            for trial in trials:
                if trial.state != "running" or trial.number in mine:
                    continue
                if (lock := self.folder.claim(trial.number)) is None:
                    continue
                if self.study.is_running(trial.number):
                    return self.study.take_up(trial.number), lock
                os.close(lock)  # its end was told just now
            if len(trials) >= self.tuning.trials:
                return None
            trial = self.study.ask()
            lock = self.folder.claim(trial.number)
            assert lock is not None, "nobody else has drawn this trial"
            return trial, lock

    def begin(self, trial: Trial, lock: int) -> None:
        """Start a trial, or tell of one that was killed between its end and the telling."""
        job = self.folder.job(trial, drawn(self.config, trial.values))
        try:
            if job.result.exists():
                found = json.loads(job.result.read_text("utf-8"))
                self.conclude(trial, job, Ended(found))
            else:
                self.running.append(AtWork(trial, lock, self.engine.start(job, lock)))
                return
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)

    def others_at_work(self) -> bool:
        """Whether other processes work on trials, which may be left to this one; said once."""
        if self.stopping.is_set():
            return False
        trials = [trial for trial in self.study.trials() if trial.state == "running"]
        if trials and not self.told_to_wait:
            self.told_to_wait = True
            terminal.say(f"waiting for {plural(len(trials), 'trial')} of other processes")
        return bool(trials)

    # ---- watching -------------------------------------------------------------------------------

    def watch(self, work: AtWork) -> None:
        """Report what a trial has come to; end one that is behind; tell of one that has ended."""
        ended = work.execution.ended()  # first: evaluations of before are all there then
        number = work.trial.number
        for evaluation, metrics, last in work.execution.evaluations():
            if work.pruned:
                break
            behind = self.study.report(number, evaluation, metrics[self.score.metric])
            if behind and not last and ended is None and not self.stopping.is_set():
                work.pruned = True
                # told before it stops: the storage knows, whoever is killed in between
                self.study.tell(number, "pruned", why=f"behind at evaluation {evaluation}")
                work.execution.ask_to_stop()
        if ended is None:
            return
        self.running.remove(work)
        try:
            if work.pruned:
                scores = self.study.trial(number).evaluations
                last = f"{self.score.metric} {self.score.shown(scores[max(scores)])}"
                self.display.over(work.execution.job.run.name, f"{last}, ended: behind")
                self.tidy()
            elif not (ended.stopped and self.stopping.is_set()):
                self.after(work, ended)
        finally:
            os.close(work.lock)

    def after(self, work: AtWork, ended: Ended) -> None:
        """A trial has ended by itself, or by somebody's hand: tell of it, or let it go on."""
        trial, job = self.study.trial(work.trial.number), work.execution.job
        if ended.found is None and (ended.killed or ended.stopped) and trial.kills + 1 < KILLS:
            self.study.note(trial.number, kills=trial.kills + 1)
            terminal.warn(f"{job.run.name} was ended from outside; it is gone on with")
            return  # its lock is let go of, and it is claimed again
        self.conclude(trial, job, ended)

    def conclude(self, trial: Trial, job: Job, ended: Ended) -> None:
        """Tell how a trial ended."""
        found, name = ended.found, job.run.name
        if found is None:
            self.study.tell(trial.number, "failed", why=ended.why)
            self.display.over(name, f"failed: {ended.why}", job.log)
            self.refuse_to_fail_on(ended.why)
        elif "diverged" in found:  # which is bad, and worth knowing when the next are drawn
            self.study.tell(trial.number, "pruned", why="diverged")
            self.display.over(name, "diverged")
        else:
            score = found["metrics"][self.score.metric]
            self.study.tell(trial.number, "complete", score)
            best = self.study.best()
            mark = " (best)" if best is not None and best.number == trial.number else ""
            said = f"{found['score']} {self.score.shown(score)}, {clock(found['seconds'])}"
            self.display.over(name, said + mark)
        self.tidy()

    def refuse_to_fail_on(self, why: str) -> None:
        """Raise where all that has ended has failed."""
        ended = [trial for trial in self.study.trials() if trial.state != "running"]
        if len(ended) >= ALL_FAIL and all(trial.state == "failed" for trial in ended):
            raise ThroughtimeError(f"all of the first {len(ended)} trials failed, the last: {why}")

    def tidy(self) -> None:
        """Let `best` lead to the best trial, and remove weights that are not to be kept."""
        with self.folder.deciding():
            trials = self.study.trials()
            ended = [trial for trial in trials if trial.state != "running"]
            self.folder.keep(self.study.ranked(trials), ended, self.tuning.keep)


def say_stopping() -> None:
    """What the first Ctrl-C does."""
    terminal.say("stopping: every trial saves (Ctrl-C again: at once, back to its last save)")
