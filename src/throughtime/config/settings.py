"""What settings have in common: limits, checks, plain data, YAML."""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import yaml

from ..ground.errors import InputError, SettingError, did_you_mean
from .values import Limits, fit, shown, wrong

MANY = 10**12
"""The most of anything that is counted: steps, tokens, sequences."""
WIDEST = 2**20
"""The widest layer, the largest batch."""
DEEPEST = 1000
"""The most layers."""
SEEDS = 2**63 - 1
"""The largest seed that every generator of random numbers takes."""
LARGEST_FILE = 2**20
"""Bytes of a file of settings."""


def limited(
    default: Any, low: float, high: float = MANY, *, above: bool = False, items: int | None = None
) -> Any:
    """A dataclass field with the `Limits` of what `check` lets through."""
    metadata = {"limits": Limits(low, high, above, items)}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


PATH = "path"
"""The mark of settings that are paths, in their fields' metadata: how a run keeps them, and what
completes them, asks for it and for no name."""


def data_files() -> Any:
    """A dataclass field of files, globs and folders that a run learns from; none by default."""
    return dataclasses.field(default_factory=list, metadata={PATH: "data"})


def one_path(kind: Literal["read", "written", "start"]) -> Any:
    """A dataclass field of a file or folder that is read or written; none by default."""
    return dataclasses.field(default=None, metadata={PATH: kind})


def each_said(default: Any = None) -> Any:
    """A dataclass field of texts: its option takes one, and may stand several times."""
    metadata = {"each": True, "most": MANY}
    if default is None:
        return dataclasses.field(default_factory=list, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def spelled(default: str | None, read: Callable[[str], object]) -> Any:
    """A dataclass field of a text that `read` understands, or raises an `InputError`."""
    return dataclasses.field(default=default, metadata={"read": read})


def check(config: Any, where: str = "") -> None:
    """Raise a `SettingError` for a setting of another kind than its hint's or out of its bounds.

    Hints tell kinds (`Literal` the choices), `limited` fields have limits, `spelled` ones a reader,
    and a class's own method `check` says what else must hold among its settings. A value that means
    the same is put into the hint's kind: a path becomes a text, NumPy's numbers plain ones.
    """
    hints = hints_of(type(config))
    for setting in dataclasses.fields(config):
        name, value, hint = where + setting.name, getattr(config, setting.name), hints[setting.name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if not isinstance(value, hint):
                raise wrong(name, f"a {hint.__name__}", value)
            check(value, f"{name}.")
        else:
            setattr(config, setting.name, fit(name, value, hint, setting.metadata))
    if own := getattr(config, "check", None):
        own()


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """The hints of a class's settings."""
    return typing.get_type_hints(cls)


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as nested plain data."""
    return dataclasses.asdict(config)


class Loader(yaml.SafeLoader):
    """YAML whose numbers may be written 1e-3, as in YAML 1.2 and everywhere else."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; `InputError` names the file and the line where it is not one."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise InputError(f"{path}: more than {LARGEST_FILE} bytes: not a file of settings.")
        values = yaml.load(data.decode("utf-8"), Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", error)).split())
        raise InputError(f"{path}{line}: not valid YAML: {problem}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}.") from error
    except (ValueError, RecursionError, TypeError) as error:  # 2024-99-99, [[[[…
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not settings: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping of settings, got {type(values).__name__}.")
    return values


def from_dict(cls: type, values: dict[str, Any], where: str = "", defaults: Any = None) -> Any:
    """Build a configuration from plain data; `SettingError` for what it cannot be.

    What `values` leaves out stays as in `defaults`, by default the class's own. Unknown settings
    are told with the nearest; those that a class once had (`retired`) are passed over where they
    say what is always so now.
    """
    defaults = cls() if defaults is None else defaults
    known = {f.name: f for f in dataclasses.fields(cls)}
    retired, hints = getattr(cls, "retired", {}), hints_of(cls)
    arguments = {}
    for key, value in values.items():
        name = f"{where}{key}"
        if key in retired and value == retired[key]:
            continue
        if key not in known:
            named = name if len(name) < 80 and name.isprintable() else shown(name)
            raise SettingError(f"unknown setting {named}.{did_you_mean(str(key), known)}")
        if dataclasses.is_dataclass(before := getattr(defaults, key)):
            if not isinstance(value, dict):
                raise wrong(name, "a mapping of settings", value)
            arguments[key] = from_dict(type(before), value, f"{name}.", before)
        else:
            arguments[key] = fit(name, value, hints[key], known[key].metadata)
    return dataclasses.replace(defaults, **arguments)
