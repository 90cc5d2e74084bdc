"""Conditions of a sequence: labels, sets of labels and numbers, as one vector.

A condition is a mapping of names to values, such as {"rhythm": "jig", "key": "D"}. A value is a
label, a list of labels, a number, or a list of numbers. What the training data hold settles each
name's kind: one entry of the vector for each label seen, or for each number, brought to mean 0 and
variance 1. A name that is left out, or a value of None, is zeros: unspecified. The labels that
occurred together are remembered, so that names left out can be drawn as the data have them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..ground.errors import InputError, did_you_mean
from ..ground.whole import read_text
from .limits import LARGEST, parse_json

Condition = Mapping[str, Any]

ALONE = "condition"
"""The name of a condition that has none: {"condition": "Italian", …}."""


@dataclass(frozen=True)
class Choice:
    """One or several of the labels seen in training."""

    values: tuple[str, ...]

    @property
    def size(self) -> int:
        """Entries in the vector."""
        return len(self.values)

    def encode(self, name: str, value: Any) -> np.ndarray:
        """Ones where a label is given; `InputError` names the nearest for one never seen."""
        vector = np.zeros(self.size, np.float32)
        for label in value if isinstance(value, (list, tuple)) else [value]:
            if label not in self.values:
                raise UnknownLabel(f"unknown {name} {label!r}.{nearest(str(label), self.values)}")
            vector[self.values.index(label)] = 1
        return vector

    def parse(self, name: str, text: str) -> Any:
        """A label of the command line; labels with commas between, where none has a comma."""
        return text if text in self.values or "," not in text else text.split(",")


@dataclass(frozen=True)
class Numbers:
    """A vector of numbers, with the mean and the scale that it had in training."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def size(self) -> int:
        """Entries in the vector."""
        return len(self.mean)

    def encode(self, name: str, value: Any) -> np.ndarray:
        """(value - mean) / scale."""
        try:
            numbers = np.atleast_1d(np.asarray(value, np.float64))
        except OverflowError:  # an integer of many digits
            numbers = np.array([np.inf])
        if numbers.shape != (self.size,) or not np.isfinite(numbers).all():
            raise InputError(f"{name} must be {self.size} finite numbers, got {str(value)[:60]}.")
        standard = (numbers - self.mean) / self.scale
        if not (np.abs(standard) <= LARGEST).all():
            raise InputError(f"{name} is too far from what training had: {str(value)[:60]}.")
        return standard.astype(np.float32)

    def parse(self, name: str, text: str) -> Any:
        """Numbers with commas between."""
        try:
            return [float(part) for part in text.split(",")]
        except ValueError:
            raise InputError(f"{name} must be numbers, as in 0.5,1; got {text!r}.") from None


class UnknownLabel(InputError):
    """A label never seen in training."""


class Conditions:
    """The kinds of a run's conditions, by name, and the vector that they make."""

    def __init__(
        self, kinds: Mapping[str, Choice | Numbers], seen: Mapping[tuple[Any, ...], int]
    ) -> None:
        """`seen`: how often each combination of labels occurred, in the order of `choices`."""
        self.kinds, self.seen = dict(kinds), dict(seen)
        self.choices = [name for name, kind in self.kinds.items() if isinstance(kind, Choice)]

    def said(self) -> list[str]:
        """What each number of the vector says."""
        found = []
        for name, kind in self.kinds.items():
            if isinstance(kind, Choice):
                found += [f"{name}: {value}" for value in kind.values]
            else:
                both = zip(kind.mean, kind.scale)
                found += [f"{name}: (number - {mean:.9g}) / {scale:.9g}" for mean, scale in both]
        return found

    @classmethod
    def of(cls, given: Iterable[tuple[Condition, str]]) -> Conditions:
        """Settle the kinds from the training data: each condition with the place where it stands.

        Errors: mixed kinds, vectors of two widths; they name the places.
        """
        given = list(given)
        values: dict[str, list[tuple[Any, str]]] = {}
        for condition, where in given:
            for name, value in condition.items():
                if value is not None:
                    values.setdefault(name, []).append((value, where))
        found = cls({name: kind_of(name, placed) for name, placed in values.items()}, {})
        for condition, _ in given:
            labels = tuple(hashable(condition.get(name)) for name in found.choices)
            found.seen[labels] = found.seen.get(labels, 0) + 1
        return found

    @property
    def size(self) -> int:
        """Width of the vector."""
        return sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """Width of each name's part."""
        return [kind.size for kind in self.kinds.values()]

    def encode(self, condition: Condition) -> np.ndarray:
        """The vector [size]. Errors: `UnknownLabel`, `InputError` for an unknown name or shape."""
        for name in condition:
            if name not in self.kinds:
                raise InputError(
                    f"unknown condition {name!r}.{did_you_mean(name, self.kinds)} "
                    f"Known: {', '.join(self.kinds) or 'none'}."
                )
        parts = [
            np.zeros(kind.size, np.float32)
            if condition.get(name) is None
            else kind.encode(name, condition[name])
            for name, kind in self.kinds.items()
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def known(self, condition: Condition) -> tuple[dict[str, Any], int]:
        """The condition without labels never seen, and how many names had one."""
        known, unseen = dict(condition), 0
        for name, value in condition.items():
            kind = self.kinds.get(name)
            if isinstance(kind, Choice) and value is not None:
                labels = value if isinstance(value, (list, tuple)) else [value]
                kept = [label for label in labels if label in kind.values]
                if len(kept) < len(labels):
                    unseen += 1
                    known[name] = kept or None
        return {name: value for name, value in known.items() if value is not None}, unseen

    def complete(self, condition: Condition, random: np.random.Generator) -> dict[str, Any]:
        """The condition with labels drawn for names left out, as often as the data have them.

        Names stay unspecified where the data never have the labels given together.
        """
        given = {name: hashable(v) for name, v in condition.items() if name in self.choices}
        fitting = {
            labels: count
            for labels, count in self.seen.items()
            if all(given.get(name, label) == label for name, label in zip(self.choices, labels))
        }
        if not fitting:
            return dict(condition)
        counts = np.array(list(fitting.values()), np.float64)
        labels = list(fitting)[random.choice(len(fitting), p=counts / counts.sum())]
        drawn = {name: label for name, label in zip(self.choices, labels) if label is not None}
        return {**drawn, **condition}

    def parse(self, words: Sequence[str]) -> dict[str, Any]:
        """A condition from the command line: NAME=VALUE …, or VALUE where there is one name."""
        condition: dict[str, Any] = {}
        for word in words:
            name, equals, text = word.partition("=")
            if not equals or (name not in self.kinds and len(self.kinds) == 1):
                if len(self.kinds) != 1:
                    raise InputError(
                        f"--condition {word}: expected NAME=VALUE with a name of "
                        f"{', '.join(self.kinds)}."
                    )
                (name,), text = self.kinds, word
            if name not in self.kinds:
                raise InputError(
                    f"unknown condition {name!r}.{did_you_mean(name, self.kinds)} "
                    f"Known: {', '.join(self.kinds)}."
                )
            if name in condition:
                raise InputError(f"--condition: {name} is given twice.")
            condition[name] = self.kinds[name].parse(name, text)
        return condition

    def to_json(self) -> str:
        """The text of conditions.json."""
        kinds = {
            name: {"labels": list(kind.values)}
            if isinstance(kind, Choice)
            else {"mean": list(kind.mean), "scale": list(kind.scale)}
            for name, kind in self.kinds.items()
        }
        seen = [[list(labels), count] for labels, count in self.seen.items()]
        return json.dumps({"kinds": kinds, "seen": seen}, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, path: Path) -> Conditions:
        """Read conditions.json; `InputError` names the file where it cannot be read."""
        text = read_text(path)
        try:
            said = parse_json(text)
            kinds = {
                name: Choice(tuple(kind["labels"]))
                if "labels" in kind
                else Numbers(tuple(kind["mean"]), tuple(kind["scale"]))
                for name, kind in said["kinds"].items()
            }
            if empty := [name for name, kind in kinds.items() if not kind.size]:
                raise ValueError(f"nothing that {empty[0]!r} can be")
            seen = {tuple(map(hashable, labels)): count for labels, count in said["seen"]}
            if wrong := [n for n in seen.values() if type(n) is not int or n < 1]:
                raise ValueError(f"labels seen {str(wrong[0])[:40]} times")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: damaged: {error!r}.") from error
        return cls(kinds, seen)


def hashable(value: Any) -> Any:
    """A list of labels as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def kind_of(name: str, placed: Sequence[tuple[Any, str]]) -> Choice | Numbers:
    """The kind of one name, from all its values, each with the place where it stands."""
    values = [value for value, _ in placed]
    numeric = [is_numeric(value) for value in values]
    if not any(numeric):
        labels = {label for v in values for label in (v if isinstance(v, (list, tuple)) else [v])}
        return Choice(tuple(sorted(labels)))
    if not all(numeric):
        first = placed[numeric.index(not numeric[0])]
        raise InputError(
            f"{first[1]}: condition {name!r} is {first[0]!r} here and {values[0]!r} at "
            f"{placed[0][1]}: expected numbers everywhere, or labels everywhere."
        )
    rows = [np.atleast_1d(np.asarray(value, np.float64)) for value in values]
    for row, (_, where) in zip(rows, placed):
        if len(row) != len(rows[0]):
            raise InputError(
                f"{where}: condition {name!r} has {len(row)} numbers here and {len(rows[0])} at "
                f"{placed[0][1]}."
            )
    table = np.stack(rows)
    scale = table.std(0)
    return Numbers(tuple(table.mean(0).tolist()), tuple(np.where(scale > 0, scale, 1.0).tolist()))


def is_numeric(value: Any) -> bool:
    """Whether a value is a number or a list of them, rather than a label or labels."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(
            is_numeric(v) and not isinstance(v, (list, tuple)) for v in value
        )
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def nearest(given: str, known: Sequence[str]) -> str:
    """The nearest labels, or all of them where they are few."""
    near = difflib.get_close_matches(given, known, n=3, cutoff=0.4)
    if len(known) <= 20:
        near += [label for label in known if label not in near]
        return f" Known, the nearest first: {', '.join(near)}."
    return f" The nearest of {len(known)}: {', '.join(near or known[:10])}."


def check_value(value: Any) -> str | None:
    """What is wrong with a value of a condition; None for nothing."""
    if value is None or isinstance(value, str):
        return None
    if is_numeric(value):
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if all(abs(n) <= LARGEST for n in numbers):  # NaN is not
            return None
        return f"not finite, or beyond ±{LARGEST:.2g}: {str(value)[:60]}"
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        return None
    return f"expected a label, labels, a number or numbers; got {value!r}"
