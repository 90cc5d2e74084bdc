"""The long-range problems as tasks: adding, copy memory, temporal order.

Sequences are drawn as they are needed: batch i of an epoch is a function of (seed, epoch, i), and
validation sequences are the same for every seed, so that runs compare.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import RunFolder
from ..config.synthetic import SyntheticEvaluationOptions
from ..data import problems
from ..ground.errors import InputError
from ..layers.mode import evaluating
from ..models.reader import SequenceReader
from .endings import Ends
from .example_task import Batch
from .task import Evaluation, Loss, Score, Task

DRAWN_FORMAT = 1  # raise it when the same settings would draw other sequences
VALIDATION, TEST = 0, 1
DRAWN = 256
"""Sequences to look inside with."""


class Synthetic(Task):
    """What the problems share. `Task` says what each part is for.

    A problem says when an answer is `right`, and which metrics mean that it is `solved`.
    """

    unit = "sequences"
    at_each_step: ClassVar[bool] = False
    evaluated_together = 250
    """Sequences looked at together when nothing is learned: it changes no result."""
    loss_at_end = "the loss of the last answer"

    def settle(self) -> None:
        """The problem."""
        self.problem = self.problem_of(self.config.length)

    @abstractmethod
    def problem_of(self, length: int) -> Any:
        """The problem at a length."""

    @abstractmethod
    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Which answers count as correct."""

    @abstractmethod
    def solved(self, metrics: dict[str, float]) -> bool:
        """Whether these metrics mean that the problem is solved, as published."""

    # ---- training -----------------------------------------------------------------------------

    def find_data(self, resumed: RunFolder | None) -> None:
        """There is nothing to read."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return -(-self.config.sequences // self.config.loop.batch_size)

    @property
    def fingerprint(self) -> str:
        """Of what is drawn."""
        c = self.config
        return f"{type(self.problem).__name__}-{DRAWN_FORMAT}-{c.length}-{c.held_out}-{c.seed}"

    def summary(self) -> str:
        """The problem in one line."""
        c = self.config
        return (
            f"T = {c.length}, sequences drawn as they are needed, {c.held_out:,} for validation; "
            f"{self.score.metric} without memory {c.chance():.4f}"
        )

    def build_model(self) -> SequenceReader:
        """The untrained network, on the device."""
        p = self.problem
        return SequenceReader(
            self.cell, p.inputs, p.outputs, self.config.model, at_each_step=self.at_each_step
        ).to(self.device)

    def batch(self, epoch: int, i: int) -> Batch:
        """This process's part of batch `i` of an epoch: every world-th sequence."""
        count = self.config.loop.batch_size
        drawn = self.problem.draw(np.random.default_rng([self.config.seed, epoch, i]), count)
        rank, world = self.processes.rank, self.processes.world
        inputs = self.inputs(drawn, slice(rank, None, world) if rank < count else slice(0, 1))
        return Batch(inputs, inputs[0].shape[1] if rank < count else 0)

    def inputs(self, drawn: problems.DrawnSequences, part: slice | np.ndarray) -> Any:
        """Some of the sequences as the model takes them: x, lengths if they differ, targets."""
        lengths = None if drawn.lengths is None else torch.from_numpy(drawn.lengths[part])
        T = len(drawn.x) if lengths is None else int(lengths.max())
        x = torch.from_numpy(drawn.x[:T, part]).to(self.device)
        targets = torch.from_numpy(drawn.targets[..., part]).to(self.device)
        return x, None if lengths is None else lengths.to(self.device), targets

    def loss(self, model: Any, batch: Batch, carry: Any) -> Loss:
        """The mean over the sequences."""
        return Loss(model(*batch.inputs), batch.size)

    def validate(self, model: SequenceReader, *, quick: bool) -> dict[str, float]:
        """Loss, share of correct answers, and whether that counts as solved (1) or not (0)."""
        return self.measure(model, self.problem, self.config.held_out, VALIDATION)

    def measure(
        self, model: SequenceReader, problem: Any, count: int, which: int
    ) -> dict[str, float]:
        """The metrics over so many sequences, the same at every call."""
        entropy = np.random.SeedSequence(1997, spawn_key=(problem.length, which))
        drawn = problem.draw(np.random.default_rng(entropy), count)
        losses, right = [], []
        with evaluating(model):
            for start in range(0, count, self.evaluated_together):
                part = slice(start, start + self.evaluated_together)
                x, lengths, targets = self.inputs(drawn, part)
                outputs = model.outputs(x, lengths)
                # [T, B] or [B]: a sequence's own mean, then over sequences
                losses.append(model.losses(outputs, targets).double().view(-1, x.shape[1]))
                right.append(self.right(outputs, targets).double().view(-1, x.shape[1]))
        metrics = {
            "loss": float(torch.cat([part.mean(0) for part in losses]).mean()),
            "correct": float(torch.cat([part.mean(0) for part in right]).mean()),
        }
        return {**metrics, "solved": float(self.solved(metrics))}

    def describe(self, metrics: dict[str, float]) -> str:
        """Loss and share correct."""
        return (
            f"loss {metrics['loss']:.4f}, {metrics['correct']:.2%} correct"
            f"{', solved' if metrics['solved'] else ''}"
        )

    def describe_loss(self, loss: float) -> str:
        """The training loss on the live line."""
        return f"loss {loss:.4f}"

    def chance(self) -> dict[str, float]:
        """The score of the best model without memory."""
        return {self.score.metric: self.config.chance()}

    def to_look_at(self, data: list[str] | None) -> problems.DrawnSequences:
        """The same sequences for every run of a problem and length."""
        refuse_files(data)
        return self.problem.draw(np.random.default_rng(DRAWN), DRAWN)

    def steps(self, examples: problems.DrawnSequences) -> np.ndarray:
        """Of each sequence."""
        x, lengths = examples.x, examples.lengths
        return np.full(x.shape[1], len(x)) if lengths is None else lengths

    def ends(self, model: Any, examples: problems.DrawnSequences, some: np.ndarray) -> Ends:
        """At the last step."""
        x, x_lengths, targets = self.inputs(examples, some)

        def loss() -> Tensor:
            found = model.losses(model.outputs(x, x_lengths), targets)
            return (found[-1] if self.at_each_step else found).sum()

        lengths = torch.from_numpy(self.steps(examples)[some]).to(self.device)
        return Ends({"last": loss}, {"stack": lengths})

    # ---- a finished run -----------------------------------------------------------------------

    def evaluate(
        self, model: SequenceReader, data: list[str] | None, options: SyntheticEvaluationOptions
    ) -> SyntheticEvaluation:
        """Metrics over fresh sequences, of another length where asked for."""
        refuse_files(data)
        length = options.length or self.config.length
        self.config.check_length(length)
        found = self.measure(model, self.problem_of(length), options.sequences, TEST)
        return SyntheticEvaluation(
            found["loss"], found["correct"], bool(found["solved"]), options.sequences, length
        )


def refuse_files(data: list[str] | None) -> None:
    """Raise `InputError` for files."""
    if data is not None:
        raise InputError("this problem makes its own sequences: leave out --data.")


@dataclass(frozen=True)
class SyntheticEvaluation(Evaluation):
    """What `evaluate` found over sequences that neither training nor validation has seen."""

    loss: float
    correct: float
    solved: bool
    sequences: int
    length: int


class AddingTask(Synthetic):
    """The adding problem. The loss is the mean squared error.

    Correct: off by less than 0.08, which is the 0.04 of Hochreiter & Schmidhuber 1997 on their
    scale, half as wide. Solved: a mean squared error below 0.01.
    """

    score = Score(name="squared error", log=True)
    solved_means = "solved: a mean squared error below 0.01; no memory: predicting 1 always, 1/6"

    def problem_of(self, length: int) -> problems.Adding:
        """The problem at a length."""
        return problems.Adding(length)

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Off by less than 0.08."""
        return (outputs.squeeze(-1) - targets).abs() < 0.08

    def solved(self, metrics: dict[str, float]) -> bool:
        """A mean squared error below 0.01."""
        return metrics["loss"] < 0.01


class CopyingTask(Synthetic):
    """Copy memory. The loss is the mean over all steps, as published.

    Correct: symbols said again rightly, of the ten. Solved: 99% of them.
    """

    at_each_step = True
    score = Score(name="nats/step", log=True)
    solved_means = (
        "solved: 99% of the ten symbols said again rightly; no memory: 10 ln 8 / (T + 20)"
    )

    def problem_of(self, length: int) -> problems.Copying:
        """The problem at a length."""
        return problems.Copying(length)

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of the last ten steps, the blanks before them being no feat."""
        return (outputs.argmax(-1) == targets)[-problems.RECALLED :]

    def solved(self, metrics: dict[str, float]) -> bool:
        """Of the symbols, 99% are said again rightly."""
        return metrics["correct"] >= 0.99


class TemporalOrderTask(Synthetic):
    """Temporal order. Correct: the right class. Solved: below 1% wrong (Pascanu et al. 2013)."""

    score = Score("correct", higher_is_better=True, percent=True)
    solved_means = "solved: below 1% of errors on the validation sequences; no memory: guessing"

    def problem_of(self, length: int) -> problems.TemporalOrder:
        """The problem at a length."""
        return problems.TemporalOrder(length, self.config.relevant)

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The most probable class."""
        return outputs.argmax(-1) == targets

    def solved(self, metrics: dict[str, float]) -> bool:
        """Below 1% of errors."""
        return metrics["correct"] > 0.99
