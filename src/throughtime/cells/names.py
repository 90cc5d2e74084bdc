"""Cells by name, for the command line and the run folder: `lstm`, `lstm(output=identity)`, a file.

`FILE.py:Class` loads the user's own cell from a file of theirs.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

from ..ground.errors import InputError, did_you_mean, one_of
from ..ground.paths import typed_path
from .base import Cell
from .built_in import GRU, LSTM, RNN, GRUResetAfter, PeepholeLSTM, SimpleGRU
from .failures import failure, load_failure, told

CELLS: dict[str, type[Cell]] = {
    "rnn": RNN,
    "simple-gru": SimpleGRU,
    "gru": GRU,
    "gru-reset-after": GRUResetAfter,
    "lstm": LSTM,
    "peephole-lstm": PeepholeLSTM,
}


def find_cell(text: str, folder: Path | None = None) -> Cell:
    """The cell that `text` names; a relative file is looked for in `folder` first.

    Errors: `InputError` for an unknown name or option, with the nearest known.
    """
    name, options = split_options(text)
    if ".py:" not in name:
        cls = CELLS[one_of("cell", name, CELLS)]
    else:
        cls = load_class(source_file(name, folder), name.rpartition(":")[2])
    with told():
        try:
            return cls(**options)
        except TypeError as error:
            if failure(error) is not None:  # in the cell's own code, not in the call
                raise
            raise InputError(f"cell {text!r}: {error}.") from error


def source_file(text: str, folder: Path | None = None) -> Path | None:
    """The user's file that a cell's name refers to: `folder`'s own copy if it has one."""
    name, _ = split_options(text)
    if ".py:" not in name:
        return None
    path = typed_path(name.rpartition(":")[0])
    copied = folder and folder / path.name
    return copied if copied and copied.exists() else path


def load_class(path: Path | None, class_name: str) -> type[Cell]:
    """The cell class of that name in a Python file."""
    if path is None or not path.exists():
        raise InputError(f"{path}: no such file; a cell of your own is given as FILE.py:Class.")
    spec = importlib.util.spec_from_file_location(f"throughtime_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: cannot be loaded as Python.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(load_failure(path, error)) from error
    return class_in(path, vars(module), class_name)


def class_in(path: Path, names: dict[str, Any], class_name: str) -> type[Cell]:
    """The cell class among the names of a Python file; `InputError` where it is none."""
    found = names.get(class_name)
    if isinstance(found, type) and issubclass(found, Cell) and found is not Cell:
        if found.step is Cell.step:
            raise InputError(f"{path}: {class_name} does not define step(self, w, x, s).")
        return found
    own = {k for k, v in names.items() if isinstance(v, type) and issubclass(v, Cell)} - {"Cell"}
    if not own:
        raise InputError(f"{path} has no cell: no class that inherits from throughtime.Cell.")
    if found is not None:
        raise InputError(
            f"{path}: {class_name} is no cell: it does not inherit from throughtime.Cell. Cells "
            f"there: {', '.join(sorted(own))}."
        )
    raise InputError(
        f"{path} has no cell {class_name!r}.{did_you_mean(class_name, own)} It has: "
        f"{', '.join(sorted(own))}."
    )


def split_options(text: str) -> tuple[str, dict[str, Any]]:
    """`name(key=value, …)` as name and options; values are numbers, true/false or plain words."""
    name, bracket, rest = text.strip().partition("(")
    if not bracket:
        return name, {}
    if not rest.endswith(")"):
        raise InputError(f"cell {text!r}: expected a closing bracket, as in lstm(output=identity).")
    options = {}
    for item in filter(None, (part.strip() for part in rest[:-1].split(","))):
        key, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"cell {text!r}: expected key=value, got {item!r}.")
        try:
            options[key.strip()] = ast.literal_eval(value.strip().capitalize())
        except (ValueError, SyntaxError):
            options[key.strip()] = value.strip().strip("'\"")
    return name.strip(), options
