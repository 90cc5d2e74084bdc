"""What tasks over examples share: reading, holding out, batches, evaluation.

A task over examples says how files are read, what is learned of the training examples (vocabulary,
labels), how they become numbers, what its model is and what is measured; `classification.py` is
one to follow. Everything else is here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import RunFolder
from ..data.batches import Batches, by_length
from ..data.files import find_files
from ..data.left_out import LeftOut, files_said, read_said
from ..data.vocabulary import BOS
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.wording import plural
from ..layers.mode import evaluating
from .endings import Ends
from .origin import Origin, require_language
from .task import Loss, Task


class Encoded(Protocol):
    """N examples as numbers. `data.batches.Ragged` is one; so is what a task makes of several.

    `lengths` [N] are those by which examples are batched. `pad` gives some examples side by side,
    as the model takes them. `fingerprint` is a digest of all.
    """

    @property
    def lengths(self) -> np.ndarray: ...

    def __len__(self) -> int:
        return len(self.lengths)

    def pad(self, some: np.ndarray, /) -> tuple[Any, ...]: ...

    def fingerprint(self) -> str: ...


def shifted(targets: Tensor) -> Tensor:
    """What a decoder reads to say targets [T, B]: x<t> = y<t-1>, <bos> first."""
    return torch.cat([torch.full_like(targets[:1], BOS), targets[:-1]])


class Batch(NamedTuple):
    """What the model is called with, and how many tokens or examples of it count."""

    inputs: tuple[Any, ...]
    size: float


class ExampleTask(Task):
    """A task whose data are examples of different lengths.

    `read` gives examples as they stand in files, in whatever form `split`, `learn` and `encode`
    take; `encode` makes them `Encoded`. The model's `forward` gives the mean loss of a batch.
    """

    from_language: ClassVar[tuple[str, str, str]] = ("none", "", "")
    """What may start from a language model: the vocabulary, and in the model what reads its tokens
    and the stack."""
    train: Any
    valid: Any
    batches: Batches
    evaluation_tokens = 1 << 13
    """Steps looked at together when nothing is learned, padding included: it changes no result."""

    # ---- what a task says ---------------------------------------------------------------------

    @abstractmethod
    def read(self, patterns: list[str]) -> Any:
        """The examples of training files."""

    def read_more(self, patterns: list[str], options: Any = None) -> Any:
        """The examples of other files, read as those of training were, but for what `options` of
        `evaluate` say of that.
        """
        return self.read(patterns)

    @abstractmethod
    def split(self, examples: Any) -> tuple[Any, Any]:
        """Training and validation examples, where no validation files are given."""

    def learn(self, train: Any) -> None:
        """Settle what is made of the training examples: vocabulary, labels, `score`."""

    @abstractmethod
    def encode(self, examples: Any, *, training: bool = False) -> Any:
        """Examples as numbers; those of `training` may be cut or chosen from."""

    def doubt(self, examples: Any) -> None:
        """Say what is odd about all that was read to train on, or refuse it."""

    def counted(self, examples: Any) -> str:
        """How many encoded examples there are, as a person reads it."""
        return plural(len(examples), "example")

    def look_over(self, train: Any, valid: Any) -> None:
        """Say what is odd about both parts, encoded by now as `self.train` and `self.valid`."""

    # ---- what follows from it -----------------------------------------------------------------

    def find_data(self, resumed: RunFolder | None) -> None:
        """What is learned is learned of the training examples alone."""
        config, loop = self.config, self.config.loop
        if before := self.went_before(resumed):
            self.go_on(before)
        train, valid = self.read(config.train), None
        self.doubt(train)
        if not config.valid:
            train, valid = self.split(train)
        self.learn(train)
        if self.origin is not None:
            self.begin_from(self.origin)
        elif resumed and config.init_from:  # what it began with may be gone
            self.restore(resumed)
        if config.valid:
            valid = self.read_more(config.valid)
        if self.left_out:
            terminal.warn(self.left_out.warning())
        self.train, self.valid = self.encode(train, training=True), self.encode(valid)
        self.look_over(train, valid)
        self.batches = Batches(
            self.train.lengths,
            batch_size=None if loop.batch_tokens else loop.batch_size,
            batch_tokens=loop.batch_tokens,
            seed=config.seed,
            rank=self.processes.rank,
            world=self.processes.world,
        )

    def accept(self, origin: Origin) -> None:
        """A run of the same task, or a language model where there are tokens to read."""
        reads_tokens = self.from_language[1] and getattr(self.config, "level", "") != "numbers"
        if origin.is_like(self) or not reads_tokens:
            return super().accept(origin)
        require_language(self.config, origin)

    def begin_from(self, origin: Origin) -> None:
        """What a run of the same task has learned, or a language model's vocabulary; and what the
        examples have besides."""
        if origin.is_like(self):
            return super().begin_from(origin)
        owner, _, name = self.from_language[0].rpartition(".")
        part = getattr(self, owner) if owner else self
        setattr(part, name, origin.extend(getattr(part, name)))

    def take_weights(self, origin: Origin, model: Any) -> None:
        """All, or of a language model the embedding and the stack."""
        if origin.is_like(self):
            return super().take_weights(origin, model)
        vocabulary, tokens, stack = self.from_language
        found = attrgetter(tokens)(model), attrgetter(stack)(model)
        origin.put_reader(*found, attrgetter(vocabulary)(self))

    def go_on(self, folder: RunFolder) -> None:
        """Take what decides how data are read from a run that this one goes on from."""

    def went_before(self, resumed: RunFolder | None) -> RunFolder | None:
        """The run whose columns and scales these data are read with."""
        if resumed is None and self.origin is not None and self.origin.is_like(self):
            return self.origin.forward.folder
        return resumed

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the examples."""
        return len(self.batches)

    @property
    def fingerprint(self) -> str:
        """Of the training and validation data."""
        return f"{self.train.fingerprint()}-{self.valid.fingerprint()}"

    def inputs(self, examples: Any, some: np.ndarray) -> tuple[Any, ...]:
        """Those examples as the model takes them, on the device."""
        return tuple(part.to(self.device) for part in examples.pad(some))

    def size(self, examples: Any, some: np.ndarray) -> float:
        """What those examples weigh in a mean: their steps."""
        return int(examples.lengths[some].sum())

    def batch(self, epoch: int, i: int) -> Batch:
        """This process's part of batch `i` of an epoch."""
        share = self.batches.share(epoch, i)
        size = self.size(self.train, share.examples) if share.counts else 0
        return Batch(self.inputs(self.train, share.examples), size)

    def loss(self, model: Any, batch: Batch, carry: Any) -> Loss:
        """The model's mean loss."""
        return Loss(model(*batch.inputs), batch.size)

    def in_batches(
        self, examples: Any, chosen: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, tuple[Any, ...]]]:
        """All examples once, or those chosen, the shortest first: which, and as the model takes
        them. The batches depend on the lengths alone.
        """
        chosen = np.arange(len(examples)) if chosen is None else chosen
        for some in by_length(examples.lengths[chosen], self.evaluation_tokens):
            yield chosen[some], self.inputs(examples, chosen[some])

    def total_nats(self, model: Any, examples: Any, chosen: np.ndarray | None = None) -> float:
        """The sum of the model's `nats` over all examples, or those chosen."""
        with evaluating(model):
            return sum(
                float(model.nats(*inputs).sum(dtype=torch.float64))
                for _, inputs in self.in_batches(examples, chosen)
            )

    @cached_property
    def left_out(self) -> LeftOut:
        """What readers of this task have left out."""
        return LeftOut()

    def raw_to_measure(self, data: list[str] | None, options: Any = None) -> Any:
        """The examples of files; None: the run's own for validation.

        `options` are those of `evaluate` that say how files are read.
        """
        self.left_out.clear()
        self.refuse_without_data(data, options)
        if data is None and not self.config.valid:
            return self.split(self.read(self.config.train))[1]
        return self.read_more(data or self.config.valid, options)

    def raw_to_learn(self) -> Any:
        """The training examples of the run's own files."""
        self.left_out.clear()
        examples = self.read(self.config.train)
        return examples if self.config.valid else self.split(examples)[0]

    @staticmethod
    def refuse_without_data(data: list[str] | None, options: Any) -> None:
        """Raise `InputError` for options that say how files are read, where there are none."""
        default = vars(type(options)()) if options and data is None else {}
        for name, value in default.items():
            if getattr(options, name) != value:
                raise InputError(f"--{name} is how --data is read: give it too.")

    def to_measure(self, data: list[str] | None, options: Any = None) -> Any:
        """The same as numbers; a line says what was read."""
        examples = self.encode(self.raw_to_measure(data, options))
        self.tell_read(data, examples)
        return examples

    def tell_read(self, data: list[str] | None, examples: Any) -> None:
        """Say what examples were read: from which files, how many, and what was left out."""
        patterns = data or self.config.valid
        source = files_said(find_files(patterns or self.config.train))
        source = source if patterns else f"what is held out of {source}"
        terminal.say(read_said(source, self.counted(examples), self.left_out))

    # ---- what inspect asks --------------------------------------------------------------------

    def to_look_at(self, data: list[str] | None) -> Any:
        """As `to_measure`; while it trains, what is in memory."""
        return self.valid if data is None and hasattr(self, "valid") else self.to_measure(data)

    def ends(self, model: Any, examples: Any, some: np.ndarray) -> Ends:
        """The loss of whole examples, at whatever step it arises."""
        inputs, size = self.inputs(examples, some), self.size(examples, some)

        def whole() -> Tensor:
            return model(*inputs) * size

        lengths = torch.from_numpy(self.steps(examples)[some]).to(self.device)
        return Ends({"last": whole, "first": whole}, {"stack": lengths})


def at(steps: Tensor, values: Tensor) -> Tensor:
    """Of each sequence the value at its own step: steps [B], values [T, B, …] → [B, …]."""
    return values[steps, torch.arange(values.shape[1], device=values.device)]
