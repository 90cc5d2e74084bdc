"""A cell as a key of what is known about it: equal cells have one, and it is found in no time.

Hashing a cell looks at all its attributes; a scan asks several times a call.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any

from torch import Tensor

from ..cells import Cell

FIXED = (str, int, float, bool, NoneType, FunctionType, BuiltinFunctionType, type)
"""Kinds of attributes that cannot change under our feet: the same object means the same."""

MOST = 256
"""Cells remembered as objects."""


class Key:
    """Stands for a cell and all that equal it."""


_keys: dict[Cell, Key] = {}
_seen: dict[int, tuple[Cell, tuple[str, ...], tuple[Any, ...], Key]] = {}


def key_of(cell: Cell) -> Key | None:
    """The key of a cell; None where an attribute may change, as a tensor or a list does."""
    attributes = vars(cell)
    seen = _seen.get(id(cell))
    if seen is not None:
        same, names, values, key = seen
        if (
            same is cell
            and tuple(attributes) == names
            and all(map(operator.is_, attributes.values(), values))
        ):
            return key
    values = tuple(attributes.values())
    held = cell.holds()
    if any(isinstance(value, Tensor) or not isinstance(value, Hashable) for value in held):
        return None
    key = _keys.setdefault(cell, Key())
    if all(type(value) in FIXED for value in values):
        if len(_seen) >= MOST:
            _seen.clear()
        _seen[id(cell)] = cell, tuple(attributes), values, key
    return key
