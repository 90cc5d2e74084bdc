"""A setting's value: of the kind that its hint tells, and within its limits."""

from __future__ import annotations

import dataclasses
import numbers
import os
import re
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ..ground.errors import InputError, SettingError, did_you_mean

SHOWN = reprlib.Repr()
SHOWN.maxstring = SHOWN.maxother = 80
"""How a value is shown that cannot be: not too long."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """The least and the greatest value of a number, or of each in a list of `items`.

    `above`: the least value itself is outside. None `items`: a list of any length.
    """

    low: float
    high: float
    above: bool = False
    items: int | None = None

    def broken_by(self, value: float) -> str:
        """What a number must be where it is not; "" for one within the limits."""
        if value > self.high:
            return f"at most {self.high:.15g}"
        if value > self.low or (value == self.low and not self.above):
            return ""
        return f"{'more than' if self.above else 'at least'} {self.low:.15g}"  # not a number, too


MOST_VALUES = 1000
"""The most where one value or several may stand: a stack has no more layers."""

ANY = Limits(-1e12, 1e12)
"""Those of a number whose setting tells none."""


def fit(name: str, value: Any, hint: Any, metadata: Mapping[str, Any]) -> Any:
    """The value as the hint's kind; `SettingError` where it is none or outside the limits."""
    args = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):  # X | None, or X | list[X]
        several = args[-1] if typing.get_origin(args[-1]) is list else None
        if several is not None and isinstance(value, (list, tuple)):
            return one_or_several(name, value, several, metadata)
        optional = type(None) in args
        return None if value is None and optional else fit(name, value, args[0], metadata)
    if typing.get_origin(hint) is Literal:
        return choose(name, value, args)
    if typing.get_origin(hint) is list:
        if not isinstance(value, (list, tuple)):
            raise wrong(name, "a list", value)
        items = metadata["limits"].items if "limits" in metadata else None
        if items not in (None, len(value)):
            raise wrong(name, f"{items} values", value)
        return [fit(name, item, args[0], metadata) for item in value]
    if hint is bool:
        if not isinstance(value, bool):
            raise wrong(name, "true or false", value)
        return value
    if hint is str:
        return text(name, value, metadata.get("read"))
    return number(name, value, hint, metadata.get("limits", ANY))


def one_or_several(name: str, value: Any, hint: Any, metadata: Mapping[str, Any]) -> Any:
    """A list of at least one; of one, that one."""
    found = fit(name, value, hint, metadata)
    most = metadata.get("most", MOST_VALUES)
    if not 0 < len(found) <= most:
        raise wrong(name, f"one value or several, at most {most}", value)
    return found if len(found) > 1 else found[0]


def listed(text: str) -> list[str]:
    """What is joined by commas, with or without square brackets around: [gru,lstm]."""
    text = text.strip()
    whole = text.startswith("[") and text.endswith("]")
    return split(text[1:-1] if whole else text) or [text]


def split(text: str) -> list[str]:
    """The parts between commas, but for commas in brackets: lstm(output=identity),[gru,lstm]."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def choose(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    """The value if it is one of the choices, and of their kind."""
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    known = [str(choice) for choice in choices]
    near = did_you_mean(value, known) if isinstance(value, str) else ""
    raise wrong(name, f"one of {', '.join(known)}", value, near)


def number(name: str, value: Any, kind: type, limits: Limits) -> Any:
    """The value as an int or a float within its limits; 1e6 is a whole number too."""
    what = f"a {'whole ' * (kind is int)}number"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise wrong(name, what, value)
    real = typing.cast(float, value)
    if expected := limits.broken_by(real):
        raise wrong(name, expected, value)
    if kind is int and real != int(real):
        raise wrong(name, what, value)
    return kind(real)


def text(name: str, value: Any, read: Callable[[str], object] | None) -> str:
    """The value as text that a file can hold; YAML's numbers are taken as they are written."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = shown(value)
    if not isinstance(value, str):
        raise wrong(name, "text", value)
    if re.search("[\0\ud800-\udfff]", value):
        raise wrong(name, "text in UTF-8 without NUL", value)
    if read is not None:
        try:
            read(value)
        except InputError as error:
            raise SettingError(f"{name}: {error}", name) from error
    return value


def wrong(name: str, expected: str, value: Any, more: str = "") -> SettingError:
    """What is said of a value that cannot be."""
    return SettingError(f"{name} must be {expected}, got {shown(value)}.{more}", name)


def shown(value: Any) -> str:
    """A value as it is written, not too long."""
    if isinstance(value, int) and value.bit_length() > 1000:
        return f"a number of {value.bit_length()} bits"
    return SHOWN.repr(value)
