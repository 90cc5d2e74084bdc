"""What settings have in common: limits, checks, plain data, YAML."""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path
from typing import Any, Literal

import yaml

from ..ground.errors import InputError, did_you_mean, one_of


def limited(default: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """A dataclass field with the least and the greatest value that `check` lets through."""
    return dataclasses.field(default=default, metadata={"limits": (low, high)})


def check(config: Any, where: str = "") -> None:
    """Raise `InputError` for a setting outside its choices or limits, or of the wrong kind.

    `Literal` hints list the choices, `limited` fields have limits, and a class's own method `check`
    says what else must hold among its settings.
    """
    if own := getattr(config, "check", None):
        own()
    hints = typing.get_type_hints(type(config))
    for setting in dataclasses.fields(config):
        name, value, hint = where + setting.name, getattr(config, setting.name), hints[setting.name]
        if dataclasses.is_dataclass(value):
            check(value, f"{name}.")
        elif typing.get_origin(hint) is Literal:
            one_of(name, value, typing.get_args(hint))
        elif typing.get_origin(hint) is list and not isinstance(value, (list, tuple)):
            raise InputError(f"{name} must be a list, got {value!r}.")
        elif value is not None and "limits" in setting.metadata:
            low, high = setting.metadata["limits"]
            if not low <= typing.cast(float, value) <= high:
                limit = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
                raise InputError(f"{name} must be {limit}, got {value}.")


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as nested plain data."""
    return dataclasses.asdict(config)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; `InputError` names the file and the line where it is not one."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(
            f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping of settings, got {type(values).__name__}.")
    return values


def from_dict(cls: type, values: dict[str, Any], where: str = "", defaults: Any = None) -> Any:
    """Build a configuration from plain data; unknown keys raise `InputError` with the nearest.

    What `values` leaves out stays as in `defaults`, by default the class's own.
    """
    defaults = cls() if defaults is None else defaults
    known = {f.name for f in dataclasses.fields(cls)}
    arguments = {}
    for key, value in values.items():
        if key not in known:
            raise InputError(f"unknown setting {where}{key}.{did_you_mean(key, known)}")
        before = getattr(defaults, key)
        if dataclasses.is_dataclass(before):
            if not isinstance(value, dict):
                raise InputError(f"{where}{key} must be a mapping of settings, got {value!r}.")
            value = from_dict(type(before), value, f"{where}{key}.", before)
        arguments[key] = value
    return dataclasses.replace(defaults, **arguments)
