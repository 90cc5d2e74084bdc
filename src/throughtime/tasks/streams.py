"""Step by step: numbers that come in one step at a time, each answered at once, in constant memory.

A stream carries the state of the stack and what stands for the sequence so far, and nothing of the
steps themselves; a forecaster carries its window. What it carries is saved as JSON and restored.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.limits import LARGEST, parse_json
from ..data.lines import csv_fields, given_line
from ..data.stamps import seconds, stamp
from ..data.tables import NO_VALUE
from ..ground.errors import InputError, did_you_mean
from ..ground.whole import atomically, read_text
from ..layers.mode import evaluating
from ..layers.states import like, tensors
from .numeric import NumberSource
from .task import Prediction

FORMAT = "throughtime stream 1"
"""Begins a file of a stream's state."""
Step = Mapping[str, Any] | Sequence[Any]
"""The numbers of a step: by name, or in the order of training's columns."""


class Stream(ABC):
    """`push` takes a step and gives what is said of it; `reset` begins a new sequence."""

    columns: tuple[str, ...]
    """The names of what a step holds, where training had them from a table."""
    steps = 0
    """How many came."""

    @abstractmethod
    def push(self, x: Step) -> Prediction:
        """The answer to a step. `InputError` for one that is not as in training."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what came."""

    @abstractmethod
    def carried(self) -> dict[str, Any]:
        """What is carried, as plain data."""

    @abstractmethod
    def take_up(self, values: dict[str, Any]) -> None:
        """Go on from what was carried; `ValueError` or the like for what cannot be."""

    def save(self, path: str | Path) -> None:
        """Write what is carried; a state that was there is replaced, and no other file."""
        path = Path(path)
        if path.exists():
            self.values_of(path)
        with atomically(path) as temporary:
            said = {"format": FORMAT, "columns": self.columns, "steps": self.steps}
            temporary.write_text(json.dumps(said | self.carried()))

    def load(self, path: str | Path) -> None:
        """Go on from a state that `save` wrote; `InputError` for another's, or damage."""
        values = self.values_of(Path(path))
        try:
            self.take_up(values)
            self.steps = int(values["steps"])
        except (ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
            raise InputError(f"{path}: not a state of this run: {error}.") from error

    def values_of(self, path: Path) -> dict[str, Any]:
        """What a file of a state holds."""
        try:
            values = parse_json(read_text(path))
        except ValueError as error:
            raise InputError(f"{path}: not a state of a stream: {error}.") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise InputError(f"{path}: not a state of a stream; it is not touched.")
        if tuple(values.get("columns", ())) != tuple(self.columns):
            raise InputError(f"{path}: a state of a run with other columns.")
        return values


class Lines:
    """Steps from lines: JSON, or CSV, with a header or in the order of training's columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns, self.names = tuple(columns), tuple(columns)

    def step(self, text: str, where: str) -> Step | None:
        """The step on a line; None for a header, and for a blank line."""
        if not text.strip():
            return None
        if text.lstrip().startswith("{"):
            try:
                return parse_json(text)
            except ValueError as error:
                raise InputError(f"{where}: not JSON: {error}.") from error
        cells = [cell.strip() for cell in csv_fields(text, given_line(text, 1))]
        if self.columns and set(self.columns) <= set(cells):
            self.names = tuple(cells)
            return None
        if self.names and len(cells) != len(self.names):
            raise InputError(
                f"{where}: expected {', '.join(self.names)[:200]}, got {len(cells)} cells."
            )
        return dict(zip(self.names, cells)) if self.names else cells


class NumberReader:
    """Steps of numbers as the model takes them, one by one: what `NumberSource.fill` makes."""

    def __init__(self, source: NumberSource) -> None:
        self.source, data = source, source.config.data
        self.missing, self.time = data.missing, data.time
        self.features = source.columns or tuple(str(k) for k in range(source.size))
        self.columns: tuple[str, ...] = ()
        if source.columns or data.categories or data.time:
            own = source.columns[: source.size - bool(data.time)]
            self.columns = (*own, *([data.time] if data.time else []), *data.categories)
        self.reset()

    def reset(self) -> None:
        """Forget the step before."""
        self.latest = np.zeros(self.source.size)
        self.stamp = math.nan

    def read(self, x: Step) -> Tensor:
        """[1, 1, width]."""
        source, size = self.source, self.source.size
        cells = self.cells(x)
        timed = bool(self.time)
        numbers = [self.number(cell, k) for k, cell in enumerate(cells[: size - timed])]
        if timed:
            at = float(seconds(np.array([stamp(str(cells[size - 1]))]))[0])
            since = 0.0 if math.isnan(self.stamp) else at - self.stamp
            if since < 0:
                raise InputError(f"step: time goes back to {cells[size - 1]}.")
            numbers.append(since)
            self.stamp = at
        row = np.array([numbers], np.float64)
        scaled = row if source.scale is None else source.scale(row, "step")
        gone = np.isnan(scaled[0])
        if gone.any() and self.missing == "error":
            k = int(gone.argmax())
            raise InputError(f"step: no value of {self.features[k]!r}, and training had all.")
        instead = 0.0 if self.missing == "mean" else self.latest
        filled = np.where(gone, instead, scaled[0])
        self.latest = filled
        parts = [filled, *([~gone] if self.missing == "mask" else [])]
        names = [
            1 + known.index(str(cell)) if str(cell) in known else 0
            for known, cell in zip(source.categories.values(), cells[size:])
        ]
        found = np.concatenate([*parts, names]).astype(np.float32)
        return torch.from_numpy(found)[None, None]

    def cells(self, x: Step) -> list[Any]:
        """What a step holds, in the order of the columns."""
        count = len(self.columns) or self.source.size
        if isinstance(x, Mapping):
            for name in self.columns:
                if name not in x:
                    raise InputError(f"step: no {name!r}.{did_you_mean(name, x)}")
            if not self.columns:
                raise InputError("step: this run's numbers have no names: give them in order.")
            return [x[name] for name in self.columns]
        if len(x) != count:
            raise InputError(f"step: expected {count} numbers, as in training, got {len(x)}.")
        return list(x)

    def number(self, cell: Any, k: int) -> float:
        """A number, NaN where there is no value."""
        if cell is None or (isinstance(cell, str) and cell.strip().lower() in NO_VALUE):
            return math.nan
        try:
            value = float(cell)
        except (TypeError, ValueError):
            value = math.inf
        if abs(value) > LARGEST:
            raise InputError(
                f"step: {self.features[k]}: expected a number, got {str(cell)[:40]!r}."
            )
        return value


class PooledSoFar:
    """What stands for the outputs so far: `layers.pooling.Pooling`, one step at a time."""

    def __init__(self, pooling: Any, size: int) -> None:
        self.pooling, self.size = pooling, size
        self.reset()

    def reset(self) -> None:
        """Before the first step."""
        self.count, self.top = 0, -math.inf
        self.total, self.weight = torch.zeros(1, self.size), 0.0

    def add(self, y: Tensor, final: Tensor) -> Tensor:
        """y [1, n] and the last layer's state [1, 1, n] → what is pooled [1, n]."""
        self.count += 1
        kind = self.pooling.kind
        if kind == "last":
            self.total = final.transpose(0, 1).flatten(1)
            return self.total
        if kind == "max":
            self.total = y.clone() if self.count == 1 else torch.maximum(self.total, y)
            return self.total
        if kind == "mean":
            self.total = self.total + y
            return self.total / self.count
        score = self.pooling.query(torch.tanh(self.pooling.keys(y))).detach().item()
        top = max(self.top, score)
        before, now = math.exp(self.top - top), math.exp(score - top)
        self.total, self.weight = self.total * before + now * y, self.weight * before + now
        self.top = top
        return self.total / self.weight

    def carried(self) -> list[Any]:
        """As plain data."""
        top = None if math.isinf(self.top) else self.top
        return [self.count, top, self.weight, self.total[0].tolist()]

    def take_up(self, values: list[Any]) -> None:
        """From what was carried."""
        self.count, top, self.weight, total = values
        self.top = -math.inf if top is None else float(top)
        self.total = torch.tensor([total], dtype=torch.float32)
        if self.total.shape != (1, self.size):
            raise ValueError("another width")


class NumberStream(Stream):
    """A stack that reads on: `said(pooled or None, y)` makes the answer of a task."""

    def __init__(self, source: NumberSource, model: Any, said: Any, *, pools: bool) -> None:
        if model.stack.bidirectional:
            raise InputError(
                "this run reads in both directions, and needs the whole sequence: train with "
                "--model.bidirectional false to answer step by step."
            )
        self.reader, self.model, self.said = NumberReader(source), model, said
        self.columns = self.reader.columns
        self.pooled = PooledSoFar(model.pooling, model.stack.output_size) if pools else None
        self.state: Any = None

    def push(self, x: Step) -> Prediction:
        """The answer to a step."""
        with evaluating(self.model):
            numbers = self.reader.read(x)
            device = next(self.model.parameters()).device
            y, self.state = self.model.stack.step(
                self.model.inputs(numbers.to(device))[0], self.state
            )
            self.steps += 1
            if self.pooled is None:
                return self.said(y)
            final = self.model.stack.layout.by_layer(self.state)[-1][0]
            return self.said(self.pooled.add(y, final))

    def reset(self) -> None:
        """Begin a new sequence."""
        self.state, self.steps = None, 0
        self.reader.reset()
        if self.pooled:
            self.pooled.reset()

    def carried(self) -> dict[str, Any]:
        """State, pooling, the step before."""
        state = [] if self.state is None else [part.tolist() for part in tensors(self.state)]
        at = None if math.isnan(self.reader.stamp) else self.reader.stamp
        said = {"state": state, "latest": self.reader.latest.tolist(), "stamp": at}
        return said | ({"pooled": self.pooled.carried()} if self.pooled else {})

    def take_up(self, values: dict[str, Any]) -> None:
        """From what was carried."""
        latest = np.array(values["latest"], np.float64)
        if latest.shape != self.reader.latest.shape:
            raise ValueError("numbers of another width")
        if values["state"]:
            empty = self.model.stack.initial_state(1)
            parts = [torch.tensor(part, dtype=torch.float32) for part in values["state"]]
            for part, zeros in zip(parts, tensors(empty)):
                if part.shape != zeros.shape:
                    raise ValueError("a state of another model")
            self.state = like(empty, [p.to(z) for p, z in zip(parts, tensors(empty))])
        if self.pooled:
            self.pooled.take_up(values["pooled"])
        self.reader.latest = latest
        self.reader.stamp = math.nan if values["stamp"] is None else float(values["stamp"])
