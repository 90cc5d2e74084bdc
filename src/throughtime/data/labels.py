"""Labels: a closed set of names, in a file labels.json of the run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..ground.errors import InputError
from ..ground.whole import read_text
from .limits import parse_json

UNSEEN = -1
"""The id of a label that the training data do not have."""


class Labels:
    """Names ↔ ids 0 … K-1. A name that is not among them has the id UNSEEN."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.ids = {name: i for i, name in enumerate(self.names)}

    @classmethod
    def of(cls, given: Iterable[str]) -> Labels:
        """The different names, in alphabetical order; numbers by value."""
        return cls(sorted(set(given), key=by_value))

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, given: Iterable[str]) -> np.ndarray:
        """Ids [N]."""
        return np.array([self.ids.get(name, UNSEEN) for name in given], np.int64)

    def to_json(self) -> str:
        """The text of labels.json."""
        return json.dumps(self.names, ensure_ascii=False, indent=1)

    @classmethod
    def load(cls, path: Path) -> Labels:
        """Read labels.json; `InputError` names the file where it cannot be read."""
        text = read_text(path)
        try:
            names = parse_json(text)
        except ValueError as error:
            raise InputError(f"{path}: not a list of labels: {error}.") from error
        right = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not right or not names:
            raise InputError(f"{path}: expected a list of labels.")
        return cls(names)


def by_value(name: str) -> tuple[float, str]:
    """Sorts 2 before 10, and both before words."""
    try:
        number = float(name)
    except ValueError:
        number = math.inf
    return (number if math.isfinite(number) else math.inf), name
