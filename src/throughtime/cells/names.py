"""Cells by name, for the command line and the run folder: `lstm`, `lstm(output=identity)`, a file.

`zoo:janet` is one of the zoo. `FILE.py:Class` loads the user's own cell from a file of theirs. A
run folder has a copy of it, which may be anybody's: it is run only for who trusts it.
"""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from ..ground import terminal
from ..ground.errors import InputError, did_you_mean, one_of
from ..ground.paths import typed_path
from .base import Cell
from .built_in import (
    GRU,
    LSTM,
    RNN,
    GRUResetAfter,
    LayerNormGRU,
    LayerNormLSTM,
    PeepholeLSTM,
    SimpleGRU,
)
from .failures import failure, load_failure, told
from .zoo import ZOO

CELLS: dict[str, type[Cell]] = {
    "rnn": RNN,
    "simple-gru": SimpleGRU,
    "gru": GRU,
    "gru-reset-after": GRUResetAfter,
    "lstm": LSTM,
    "peephole-lstm": PeepholeLSTM,
    "layer-norm-lstm": LayerNormLSTM,
    "layer-norm-gru": LayerNormGRU,
}
"""The built-in cells."""
SOURCES: WeakKeyDictionary[type[Cell], bytes] = WeakKeyDictionary()
"""What stands in the file that a class of the user's own is from."""

OF_ZOO: dict[str, type[Cell]] = {f"zoo:{name}": cls for name, cls in ZOO.items()}


def find_cell(text: str, folder: Path | None = None, *, trust: bool = False) -> Cell:
    """The cell that `text` names: built in, of the zoo, or a class of the user's own in a file.

    Of a run in `folder` that file is the folder's own copy, wherever the name points, and loading
    it runs it: `InputError`, unless `trust`. Without `folder` the name is the user's, and so is the
    file. Errors: `InputError` for an unknown name or option, with the nearest known.
    """
    name, options = split_options(text)
    if not is_own(name):
        known = OF_ZOO if name.startswith("zoo:") else CELLS
        cls = known[one_of("cell", name, known)]
    else:
        path = source_file(name, folder)
        if folder is not None:
            refuse_untrusted(path, folder, trust)
        cls = load_class(path, name.rpartition(":")[2])
    with told():
        try:
            return cls(**options)
        except TypeError as error:
            if failure(error) is not None:  # in the cell's own code, not in the call
                raise
            raise InputError(f"cell {text!r}: {error}.") from error


def source_file(text: str, folder: Path | None = None) -> Path:
    """The file of the user's own that a cell's name refers to; of a run, the copy in `folder`."""
    path = typed_path(split_options(text)[0].rpartition(":")[0])
    return path if folder is None else folder / path.name


def is_copied(text: str, folder: Path) -> bool:
    """Whether the file of a cell's name is, byte for byte, the copy that the run in `folder` has.

    Errors: `InputError` where the named file cannot be read.
    """
    source, copy = source_file(text), source_file(text, folder)
    try:
        return copy.is_file() and copy.read_bytes() == source.read_bytes()
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}).") from error


def same_cell(was: str, now: str, folder: Path) -> bool:
    """Whether `now` names the cell that the run in `folder` was given as `was`: in the same words,
    or the user's own by another way to the same file."""
    if was == now or not (is_own(was) and is_own(now)):
        return was == now
    names = [(Path(name).name, options) for name, options in map(split_options, (was, now))]
    return names[0] == names[1] and is_copied(now, folder)


def alike(a: Cell, b: Cell) -> bool:
    """Whether two cells have the same equations: they are equal, or of the user's own, from files
    of the same text."""
    if a == b:
        return True
    sources = [(type(cell).__name__, SOURCES.get(type(cell)), vars(cell)) for cell in (a, b)]
    return sources[0][1] is not None and sources[0] == sources[1]


def is_own(text: str) -> bool:
    """Whether a cell's name refers to a file of the user's own."""
    return ".py:" in split_options(text)[0]


def refuse_untrusted(path: Path, folder: Path, trust: bool) -> None:
    """Raise `InputError` before the file of a run's cell is run, unless it is trusted."""
    if path.is_symlink() or not path.is_file():
        raise InputError(f"{folder} has no file {path.name}, which its cell is in.")
    if not trust:
        raise InputError(
            f"{folder} has a cell of its own, and loading it would run the Python code in {path}. "
            f"Look at it first (less {shlex.quote(str(path))}); if you trust who wrote it, give "
            "--trust (in Python: trust=True)."
        )
    terminal.say(f"running the cell's file {path}, trusted")


def load_class(path: Path, class_name: str) -> type[Cell]:
    """The cell class of that name in a Python file.

    The file itself is compiled, never what `__pycache__` beside it may hold.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); a cell of your own is given as "
            "FILE.py:Class."
        ) from error
    module = ModuleType(f"throughtime_user_{path.stem}")
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        raise InputError(load_failure(path, error)) from error
    found = class_in(path, vars(module), class_name)
    if found.__module__ == module.__name__:
        SOURCES[found] = source
    return found


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
