"""Cells by name, for the command line and the run folder: `lstm`, `lstm(output=identity)`, a file.

`FILE.py:Class` loads the user's own cell from a file of theirs.
"""

from __future__ import annotations

import ast
import importlib.util
import traceback
from pathlib import Path
from typing import Any

from ..ground.errors import InputError, one_of
from .base import Cell
from .built_in import GRU, LSTM, RNN, GRUResetAfter, PeepholeLSTM, SimpleGRU

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
    try:
        return cls(**options)
    except TypeError as error:
        raise InputError(f"cell {text!r}: {error}.") from error


def source_file(text: str, folder: Path | None = None) -> Path | None:
    """The user's file that a cell's name refers to: `folder`'s own copy if it has one."""
    name, _ = split_options(text)
    if ".py:" not in name:
        return None
    path = Path(name.rpartition(":")[0]).expanduser()
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
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno
        raise InputError(f"{path}:{line}: {type(error).__name__}: {error}") from error
    classes = {
        k: v
        for k, v in vars(module).items()
        if isinstance(v, type) and issubclass(v, Cell) and v.__module__ == module.__name__
    }
    return classes[one_of(f"cell in {path}", class_name, classes)]


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
