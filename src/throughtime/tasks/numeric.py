"""Sequences of numbers as tasks read them: from tables to standardised steps, what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from ..checkpoint import RunFolder
from ..config.settings import WIDEST
from ..data.batches import Ragged
from ..data.columns import Columns
from ..data.labelled import Record
from ..data.left_out import LeftOut
from ..data.lines import Inputs
from ..data.numbers import Scale, read_numbers
from ..data.rooms import room
from ..data.splits import hold_out, hold_out_groups, hold_out_latest
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.whole import read_text
from ..ground.wording import plural
from ..layers.inputs import NumberInput
from ..layers.outline import Numbers, Outline


class NumberSource:
    """Sequences of numbers, standardised by the mean and deviation of the training examples.

        (number − mean) / deviation, in float64, before it becomes float32

    so that a column at 1.7e9, as times in seconds are, keeps what it tells. Of a value that is
    missing the mean is 0; with data.missing mask a number for each column tells where there is one
    (1) and where not (0). `config` has `data` with what `config.numbers.StepsConfig` has, and
    `model`. What is said of a sequence: its label, or the numbers `targets`, or `each_step`.
    """

    size = 0
    """Numbers of a step, categories aside."""
    columns: tuple[str, ...] = ()
    """The names of the numbers, where training had them from a table."""
    scale: Scale | None = None
    """Mean and deviation; None in a run of release 0.1, whose model has its own in float32."""
    standardises = True

    def __init__(
        self,
        config: Any,
        left_out: LeftOut,
        *,
        targets: Sequence[str] = (),
        label: str | None = None,
        each_step: bool = False,
    ) -> None:
        self.config, self.left_out = config, left_out
        self.label = getattr(config.data, "label", "") if label is None else label
        self.targets, self.each_step = tuple(targets), each_step
        self.numbered: dict[str, dict[str, int]] = {}
        self.categories: dict[str, list[str]] = {}

    def go_on(self, folder: RunFolder) -> None:
        """Take a run's columns, and leave standardising to its model where that does it."""
        self.restore(folder)
        self.standardises = self.scale is not None

    def learn(self, train: list[Record]) -> None:
        """The columns of the training examples, or how wide they are; names; mean, deviation."""
        self.columns = next((record.columns for record in train if record.columns), ())
        named = len(self.config.data.categories) + self.each_step
        self.size = train[0].content.shape[1] - named
        for k, name in enumerate(self.config.data.categories, self.size):
            seen = np.unique(np.concatenate([np.unique(r.content[:, k]) for r in train]))
            names = {number: text for text, number in self.numbered.get(name, {}).items()}
            self.categories[name] = sorted(names[int(i)] for i in seen if i)
        if self.standardises:
            self.scale = Scale.of([record.content for record in train], self.size)

    def restore(self, folder: RunFolder) -> None:
        """Read the columns of a run, mean and deviation."""
        path = folder.file("features.json")
        text = read_text(path)
        try:
            said = json.loads(text)
            self.size, self.columns = said["size"], tuple(said.get("columns", ()))
            if type(self.size) is not int or not 0 <= self.size <= WIDEST:
                raise ValueError(f"size {self.size!r}")
            if not all(isinstance(name, str) for name in self.columns):
                raise ValueError(f"columns {self.columns!r}")
            if "mean" in said:
                self.scale = Scale.from_lists(said["mean"], said["deviation"], self.size)
            self.categories = {k: list(v) for k, v in said.get("categories", {}).items()}
            names = [name for own in self.categories.values() for name in own]
            if not all(isinstance(name, str) for name in names):
                raise ValueError("categories that are no names")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: damaged: {error}.") from error

    def save(self, folder: RunFolder) -> None:
        """Write how wide a step is, what its numbers are called, and their mean and deviation."""
        said: dict[str, Any] = {"size": self.size, "columns": self.columns}
        if self.scale:
            said |= {name: value.tolist() for name, value in vars(self.scale).items()}
        if self.categories:
            said["categories"] = self.categories
        folder.save_text(folder.file("features.json"), json.dumps(said, ensure_ascii=False))

    def read(
        self, patterns: list[str], labels: Iterable[str] = (), options: Any = None
    ) -> list[Record]:
        """Sequences with what is said of them, and the columns of training once those are known."""
        self.refuse(options.changes() if options else {})
        return read_numbers(patterns, self.table())

    def table(self, *, labelled: bool = True) -> Columns:
        """A reader of tables with the columns of training."""
        data = self.config.data
        return Columns(
            data.sequence, self.label, data.features, self.columns, labelled,
            data.max_bytes, self.left_out, data.time, data.categories, data.group, self.targets,
            self.each_step, data.missing, self.numbered,
        )  # fmt: skip

    def split(self, examples: list[Record]) -> tuple[list[Record], list[Record]]:
        """By group, by time, or at random, of each label as many."""
        data = self.config.data
        if data.group:
            if none := [record for record in examples if record.group is None]:
                raise InputError(f"{none[0].where}: no group in the column {data.group!r}.")
            return hold_out_groups(examples, data.holdout, data.split_seed)
        if data.split == "time":
            train, valid, between = hold_out_latest(examples, data.holdout)
            if between:
                terminal.warn(
                    f"{plural(between, 'example')} left out: they go on while those held out begin."
                )
            return train, valid
        together = getattr(data, "equal_together", False)
        return hold_out(examples, data.holdout, data.split_seed, equal_together=together)

    def encode(self, records: Sequence[Record]) -> Ragged:
        """The sequences end to end, as many steps as the configuration lets through."""
        kept = cut([record.content for record in records], self.config)
        lengths = np.array([len(content) for content in kept], np.int64)
        values = room((int(lengths.sum()), self.width), np.float32)
        ends = lengths.cumsum().tolist()
        for record, content, end in zip(records, kept, ends):
            labelled = self.each_step and self.says_steps(content)
            if (found := content.shape[1] - len(self.categories) - labelled) != self.size:
                raise InputError(
                    f"{record.where}: expected {self.size} numbers a step, as in training, got "
                    f"{found}."
                )
            self.fill(values[end - len(content) : end], content, record.where)
        return Ragged(values, lengths)

    def says_steps(self, content: np.ndarray) -> bool:
        """Whether there is a label's number at the end of each step."""
        return content.shape[1] > self.size + len(self.categories)

    @property
    def width(self) -> int:
        """Numbers of a step as the model takes them."""
        masks = self.size if self.config.data.missing == "mask" else 0
        return self.size + masks + len(self.categories)

    def fill(self, values: np.ndarray, content: np.ndarray, where: str) -> None:
        """Write a sequence as the model takes it: numbers, marks, numbers of categories."""
        numbers = content[:, : self.size]
        x = numbers if self.scale is None else self.scale(numbers, where)
        gone = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)
        if gone.any():
            x = np.where(gone, 0.0, x) if self.config.data.missing == "mean" else before(x, gone)
        values[:, : self.size] = x
        at = self.size
        if self.config.data.missing == "mask":
            values[:, at : 2 * at] = ~gone
            at *= 2
        for k, (name, names) in enumerate(self.categories.items()):
            values[:, at + k] = self.learned(name, names)[content[:, self.size + k].astype(int)]

    def learned(self, name: str, names: list[str]) -> np.ndarray:
        """For each number that a name was read as, its number among those of training, or 0."""
        numbered = self.numbered.get(name, {})
        found = np.zeros(1 + len(numbered))
        known = {text: i for i, text in enumerate(names, 1)}
        for text, number in numbered.items():
            found[number] = known.get(text, 0)
        return found

    def step_labels(self, record: Record) -> list[str]:
        """Each step's label."""
        names = {i: name for name, i in self.numbered.get(self.label, {}).items()}
        longest = getattr(self.config.data, "max_length", None)
        return [names[int(i)] for i in record.content[:longest, -1].tolist()]

    def build_input(self) -> NumberInput:
        """What embeds categories, and drops some of the numbers."""
        c = self.config.model
        return NumberInput(
            self.width - len(self.categories),
            standardises=self.scale is None,
            dropout=c.dropout_of("input"),
            locked=c.locked_dropout,
            categories=[len(names) for names in self.categories.values()],
        )

    def exported(self, outline: Outline) -> Outline:
        """The outline of a model with what becomes of numbers before it reads them."""
        data = self.config.data
        for name in ("time", "categories"):
            if getattr(data, name, None):
                raise InputError(f"a run with data.{name} is not exported yet.")
        if data.missing == "mask":
            raise InputError("a run with data.missing mask is not exported yet.")
        if self.scale is None:
            return outline
        inputs = Numbers(self.size, self.scale.mean, self.scale.deviation)
        return replace(outline, inputs=inputs)

    def begin(self, inputs: Any) -> None:
        """There is nothing to put in place."""

    def describe(self, steps: Ragged) -> str:
        """How much there is, and what is missing."""
        said = f"{len(steps.values):,} steps of {plural(self.size, 'number')}"
        if self.categories:
            said += f" and {plural(len(self.categories), 'name')}"
        if self.config.data.missing == "mask" and len(steps.values):
            gone = 1 - float(steps.values[:, self.size : 2 * self.size].mean(dtype=np.float64))
            said += f", {gone:.1%} missing"
        return said

    def refuse(self, changes: Mapping[str, Any]) -> None:
        """`InputError` for what says how texts are read."""
        if changes:
            raise InputError(
                f"--{next(iter(changes))} is how texts are read; sequences of numbers are read as "
                "in training."
            )

    def arriving(self, inputs: Inputs, options: Any, labels: Any = ()) -> Iterator[list[Record]]:
        """Sequences to judge: of files, or of CSV that comes in, each as soon as it has ended."""
        self.refuse(options.changes() if hasattr(options, "changes") else {})
        columns = self.table(labelled=False)
        self.left_out.clear()
        if inputs.paths is None:
            chunks = inputs.read_as(inputs.encoding, self.config.data.max_bytes).chunks
            found = columns.arriving(chunks(options.batch_size), "standard input")
            yield from filter(None, found)
        else:
            records = iter(read_numbers([str(path) for path in inputs.paths], columns))
            while some := list(islice(records, options.batch_size)):
                yield some
        if self.left_out:
            terminal.warn(self.left_out.warning())


def before(x: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """What is missing takes the value before it, 0 where there is none: x [T, n]."""
    latest = np.where(gone, -1, np.arange(len(x))[:, None])
    np.maximum.accumulate(latest, 0, out=latest)
    found = np.take_along_axis(x, latest.clip(0), 0)
    return np.where(latest < 0, 0.0, found)


def cut(sequences: Iterable[Any], config: Any) -> list[Any]:
    """The sequences, none beyond `data.max_length`; how many were cut is said."""
    limit, count, kept = getattr(config.data, "max_length", None), 0, []
    for sequence in sequences:
        count += limit is not None and len(sequence) > limit
        kept.append(sequence[:limit])
    if count:
        terminal.warn(f"{count:,} of {len(kept):,} sequences cut off after {limit:,}.")
    return kept
