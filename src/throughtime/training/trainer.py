"""The training loop: any task, within a budget, able to stop at any moment and go on.

Resuming is exact. Everything the next step depends on is in the checkpoint: weights, optimizer,
schedule, random state, counters, carried state; and a task's batches are functions of the step.
What depends on the clock (a time budget, intervals in seconds) cannot repeat itself exactly; with
a budget of epochs or steps a resumed run gives bit for bit the weights of one left alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import torch

from ..checkpoint import RunFolder
from ..ground import terminal
from ..ground.errors import TrainingDiverged
from ..ground.interrupts import Interrupted, asked
from ..ground.machine import Processes
from ..layers.mode import evaluating
from ..layers.stack import Stack
from ..tasks.task import Task
from . import resuming, tracking
from .advice import Advisor
from .budget import LOOKING_SHARE, Budget
from .counters import Counters
from .glance import Glancer
from .monitor import Display, Metrics, clock
from .optimization import Freezing, Schedule, clip, make_optimizer
from .running_mean import RunningMean
from .stopping import Stopping

T = TypeVar("T")


class Trainer:
    """Trains a task's model into a run folder."""

    def __init__(self, task: Task, folder: RunFolder, processes: Processes) -> None:
        config = task.config
        self.task, self.config, self.folder, self.processes = task, config, folder, processes
        self.budget = Budget(config, task.steps_per_epoch)
        tracking.require(config.loop)
        torch.manual_seed(config.seed)
        self.model = task.build_model()
        self.freezing = Freezing(self.model, config.optim)
        self.mean = RunningMean(self.model, config.loop.ema)
        self.optimizer = make_optimizer(self.model, config.optim)
        self.schedule = Schedule(config.optim)
        self.counters = Counters(best=task.score.worst)
        self.carry: Any = None
        self.metrics_bytes: int | None = None
        self.device = next(self.model.parameters()).device
        self.sampler = torch.Generator(self.device)
        self.metrics: Metrics | None = None
        self.display = Display(quiet=processes.rank > 0)
        self.advisor = Advisor(config.optim, task.cell_options)
        looks = self.budget.is_set("inspect") and processes.rank == 0
        self.glancer = Glancer(task, self.model) if looks else None
        self.last_evaluation = 0.0  # seconds; those of the next are expected to be as many
        self.stopping = Stopping(alone=processes.world == 1)
        self.saved = ""  # where
        torch.manual_seed(config.seed + processes.rank)  # each process has its own dropout

    # ---- the loop -----------------------------------------------------------------------------

    def run(self) -> dict[str, float]:
        """Train until the budget is spent; return the metrics of the best weights (rank 0 only).

        Raises `Interrupted` after SIGINT, `TrainingDiverged` after too many bad steps in a row.
        """
        self.model.train()
        unused = self.task.unused_parameters
        self.wrapped = self.processes.wrap(self.model, unused_parameters=unused)
        with contextlib.ExitStack() as stack:
            if self.processes.rank == 0:
                kept = self.metrics_bytes
                self.metrics = Metrics(self.folder.metrics, self.config, keep=kept)
                stack.enter_context(self.metrics)
                self._tell_what_is_slow()
            # from here on, so that a tracker's beginning is not of the training's time
            self.began = time.monotonic() - self.counters.elapsed
            self.speed_from = (time.monotonic(), self.counters.tokens)
            stack.enter_context(self.display)
            stack.enter_context(asked(self.stopping.ask, self.stopping.say))
            if self.metrics_bytes is None:
                self.save()
            if self.spent():
                self.display.say(
                    "this run's budget is spent already; a larger --max-time, --epochs or "
                    "--max-steps trains on."
                )
            self._loop()
            c = self.counters
            if by := self.budget.spent_by(c.step, c.elapsed):
                self.display.say(f"the budget is spent: {by}")
                self._write("ended", {"text": by})
            self._log()
            if self.counters.evaluated_step != self.counters.step:
                self._evaluate()
            self.save()
        metrics = {}
        if self.processes.rank == 0:  # the figures at the end are those of the weights kept
            self.folder.load_weights(self.model)
            if self.task.finish(self.model):
                self.folder.save_weights(self.model)
            metrics = self.task.validate(self.model, quick=False)
        self.processes.wait()
        if not math.isfinite(metrics.get("loss", 0.0)):
            raise TrainingDiverged(
                f"{self.folder.path}: the validation loss of its best weights is "
                f"{metrics['loss']}. Look for values in the data that are no numbers or far too "
                f"large, or try a lower --optim.lr (now {self.config.optim.lr:g})."
            )
        return metrics

    def warm_up(self) -> None:
        """Compile and allocate before the clock starts: the next batch there and back, for nothing.

        Weights, optimizer, random state, carried state and batches stay as they were. Where the
        budget is spent there is nothing to warm up for.
        """
        if self.spent():
            return
        self.model.train()
        cuda = [self.device] if self.device.type == "cuda" else []
        batch = self.task.batch(*divmod(self.counters.step, self.task.steps_per_epoch))
        with torch.random.fork_rng(devices=cuda), self._precision():
            loss, _, _ = self.task.loss(self.model, batch, self.carry)
        loss.backward()
        self.optimizer.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.synchronize(self.device)

    def _tell_what_is_slow(self) -> None:
        """Say which cells run as loops in Python, and why."""
        stacks = (module for module in self.model.modules() if isinstance(module, Stack))
        with self._precision():
            reasons = dict.fromkeys(stack.why_slow() for stack in stacks)
        for reason in filter(None, reasons):
            terminal.warn(reason)
            self._write("slow", {"text": reason})

    def _loop(self) -> None:
        while True:
            self._do_what_is_due()  # first: of a resumed run, what was broken off
            if self.stopping.agreed:
                self.save()
                raise Interrupted(self.saved)
            if self.spent() or self._gave_up():
                return
            self._one_step()

    def _do_what_is_due(self) -> None:
        c = self.counters
        if self._due("log"):
            self._log()
        if self._due("sample") and self.processes.rank == 0:
            self._show_sample()
        if self._due("eval") and self.budget.affords(
            c.evaluating + self.last_evaluation, c.elapsed
        ):
            self._evaluate()
            self.save()
        elif self._due("save"):
            self.save()
        if self._due("inspect") and self.budget.affords(c.looking, c.elapsed, LOOKING_SHARE):
            self._look_inside()

    def _one_step(self) -> None:
        c, task = self.counters, self.task
        epoch, i = divmod(c.step, task.steps_per_epoch)
        lr = self.schedule.lr(c.step, epoch, self._progress())
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        random = resuming.random_state(self)
        with self.stopping.broken_off(lambda: self._save_before(random)):
            with self._precision():
                loss, size, carry = task.loss(self.wrapped, task.batch(epoch, i), self.carry)
            # gradients are averaged over processes as if each had as much: weights mend that
            (total,) = self.processes.sum(size)
            weight = self.processes.world * size / total if total else 0.0
            (loss if weight == 1 else loss * weight).backward()
            self.freezing.hold(self._progress())
            norm, clipped = clip(self.model, self.config.optim)
            value = self.processes.sum(float(loss.detach()) * weight)[0] / self.processes.world
        c.step += 1
        c.tokens += round(total)
        c.norm, c.lr = norm, lr
        if math.isfinite(norm) and math.isfinite(value):
            self.optimizer.step()
            self.mean.after_step(c.step)
            self.carry = carry
            c.learned(value, clipped)
        else:
            self._skip(value, norm)
        self._advise(self.advisor.after_step(c.step, norm, value))
        self._clock()
        if c.step % 5 == 0 or c.step < 5:
            self._show()

    def _skip(self, loss: float, norm: float) -> None:
        """A non-finite loss or gradient: leave the weights alone, forget the carried state."""
        c = self.counters
        self.carry = None
        c.skip()
        cause = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient norm is {norm}"
        if c.skipped_in_a_row == 1:
            self.display.say(f"warning: step {c.step} skipped: {cause}.")
        self._write("skipped", {"loss": str(loss), "norm": str(norm)})
        if c.skipped_in_a_row >= self.config.loop.max_bad_steps:
            limit = self.config.optim.clip_norm
            raise TrainingDiverged(
                f"stopped at step {c.step}: {c.skipped_in_a_row} steps in a row were not finite "
                f"({cause}). {self.folder.path} holds the last good checkpoint. Try a lower "
                f"--optim.lr (now {self.config.optim.lr:g}) or "
                + (
                    f"a smaller --optim.clip_norm (now {limit:g})."
                    if limit
                    else "clipping: --optim.clip_norm 1."
                )
            )

    # ---- measuring ----------------------------------------------------------------------------

    def _evaluate(self) -> None:
        """The same measurement each time: it decides which weights are the best."""
        c = self.counters
        score = self.task.score
        metrics = self._measure(self._validated)
        value, loss = map(self.processes.mean, self.task.judged(metrics))
        improved = score.better((value, loss), (c.best, c.best_loss))
        c.evaluated(value, loss, improved)
        if improved and self.processes.rank == 0:
            with self.mean.in_place():
                self.folder.save_weights(self.model)
        if kept := self.config.loop.average:
            c.averaged = [*c.averaged, c.step][-kept:]
            if self.processes.rank == 0:
                self.folder.save_weights(self.model, self.folder.averaged(c.step))
        self.schedule.evaluated(improved)
        self.last_evaluation = self._took()
        c.evaluating += self.last_evaluation
        self._write("valid", {"loss": None, **metrics, "elapsed": c.elapsed})
        mark = " (best)" if improved else f" (best {score.shown(c.best)} at step {c.best_step})"
        epoch = c.step / self.task.steps_per_epoch
        self.display.say(
            f"{clock(c.elapsed):>7}  epoch {epoch:.2f}  validation "
            f"{self.task.describe(metrics)}{mark}"
        )
        self._advise(self.advisor.after_evaluation(c.step, c.running, loss))

    def _validated(self) -> dict[str, float]:
        """The metrics of the weights that may be kept: their running mean where there is one."""
        with self.mean.in_place():
            return self.task.validate(self.model, quick=True)

    def _look_inside(self) -> None:
        """Measure how far back gradients reach and which gates are stuck; it changes nothing."""
        c = self.counters
        if (glancer := self.glancer) is not None:
            seen = self._measure(lambda: glancer(self.model))
            several = len(seen) > 1
            said = [f"{name}: " * several + look.describe() for name, look in seen.items()]
            self.display.say(f"{clock(c.elapsed):>7}  inside  {'; '.join(said)}")
            self._write("inside", {name: asdict(look) for name, look in seen.items()})
            for line in self.advisor.after_look(c.step, seen):
                self._advise(line)
        c.looking += self._took()

    def _advise(self, line: str | None) -> None:
        """Say what is wrong, and keep it in metrics.jsonl."""
        if line is not None:
            self.display.say(line)
            self._write("advice", {"text": line})

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        """A line of metrics.jsonl, by the first process alone."""
        if self.metrics:
            self.metrics.write(kind, self.counters.step, values)

    def _log(self) -> None:
        if values := self.counters.log(self.task.steps_per_epoch):
            speed = {f"{self.task.unit}_per_second": self._speed()}
            self._write("train", values | speed | {"elapsed": self.counters.elapsed})

    def _show(self) -> None:
        c = self.counters
        progress = self._progress()
        left = c.elapsed / progress - c.elapsed if progress > 0 else 0.0
        text = (
            f"{self.task.describe_loss(c.running)}  {self._speed():,.0f} {self.task.unit}/s  "
            f"clipped {c.clipped / c.step:.0%}  epoch {c.step / self.task.steps_per_epoch:.2f}  "
            f"{clock(left)} left"
        )
        if c.skipped:
            text += f"  skipped {c.skipped}"
        self.display.update(progress, text)

    def _show_sample(self) -> None:
        self.sampler.manual_seed(self.config.seed + self.counters.step)
        with evaluating(self.model, inference=False):
            text = self._measure(lambda: self.task.sample(self.model, self.sampler))
        self.display.sample(text)

    def _speed(self) -> float:
        since, tokens = self.speed_from
        return (self.counters.tokens - tokens) / max(time.monotonic() - since, 1e-9)

    # ---- when ---------------------------------------------------------------------------------

    def _clock(self) -> None:
        """Read the clock; with several processes, agree on the time and on whether to stop."""
        now = time.monotonic() - self.began
        self.counters.elapsed, stop = self.processes.largest(now, float(self.stopping.asked))
        self.stopping.agreed = bool(stop)

    def _progress(self) -> float:
        """The share of the budget spent."""
        return self.budget.progress(self.counters.step, self.counters.elapsed)

    def spent(self) -> bool:
        """Whether the budget is spent."""
        return self._progress() >= 1

    def _gave_up(self) -> bool:
        patience = self.config.loop.early_stopping
        if not patience or self.counters.without_improvement < patience:
            return False
        self.display.say(f"no improvement in {patience} evaluations: stopping early.")
        return True

    def _took(self) -> float:
        """Seconds since the clock was read last."""
        began = self.counters.elapsed
        self._clock()
        return self.counters.elapsed - began

    def _due(self, name: str) -> bool:
        """Whether an interval has passed since this last said so."""
        c = self.counters
        self.fired_before = dict(c.fired)
        return self.budget.due(name, c.step, c.elapsed, c.fired)

    def _measure(self, measure: Callable[[], T]) -> T:
        """What changes nothing in the run; asked to stop, it is broken off, and due again."""
        with self.stopping.broken_off(self._save_as_due):
            return measure()

    # ---- saving and going on ------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint; the best weights too if there are none yet."""
        everyone = self.processes.gather(resuming.of_process(self))
        if self.processes.rank or self.counters.skipped_in_a_row:
            return  # the last good checkpoint stays while steps are being skipped
        # trainer.pt first: weights without it mean that it was lost
        self.folder.keep_config()
        self.folder.save_trainer({**resuming.of_run(self), "processes": everyone})
        # only now: until here the checkpoint before this one could still be what is resumed
        self.folder.keep_averaged(self.counters.averaged)
        if not self.folder.model.exists():
            self.folder.save_weights(self.model)
        self.saved = f"step {self.counters.step}"

    def _save_before(self, random: dict[str, Any]) -> str:
        """Save a run whose step was broken off, with the random state from before it; say where."""
        resuming.restore_random(self, random)
        self.save()
        return self.saved

    def _save_as_due(self) -> str:
        """Save a run whose measurement was broken off, so that it is due again; say where."""
        self.counters.fired = self.fired_before
        self.save()
        return self.saved

    def resume(self) -> None:
        """Take up the folder's checkpoint."""
        resuming.take_up(self, self.folder.load_trainer())
        self.saved = f"step {self.counters.step}"

    # ---- surroundings -------------------------------------------------------------------------

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        bf16 = self.config.loop.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)
