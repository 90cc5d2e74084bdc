"""Settings as a run keeps them, and compared with those of a run.

Paths, told by their fields' mark (`settings.PATH`), are kept absolute: they lead to the same files
from any folder. Why so, and what holds for runs that were moved: docs/decisions/paths-of-a-run.md.
"""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from ..ground.paths import absolute, is_text, leads
from .run import RunConfig
from .settings import PATH, from_dict, hints_of, to_dict


def located(config: Any) -> Any:
    """A copy whose paths are absolute; relative ones begin at the current folder."""
    return with_paths(config, absolute)


def followed(config: Any, folder: Path) -> Any:
    """A copy of the settings of the run in `folder`, whose paths lead to where its data are now.

    A path that leads nowhere any more is looked for where it would be if the run was moved together
    with its data, below a folder of both. What is found nowhere stays as it is; so does what is
    relative, in runs of release 0.1, which do not tell from where.
    """
    old, new = config.out or "", absolute(folder)

    def follow(path: str) -> str:
        if not os.path.isabs(path) or not os.path.isabs(old) or leads(path):
            return path
        if os.path.commonpath([path, old]) == os.sep:
            return path
        way = os.path.relpath(path, old)
        start = glob.escape(new) if glob.has_magic(way) else new
        beside = os.path.normpath(os.path.join(start, way))
        return beside if is_text(beside) and leads(beside) else path

    return with_paths(config, follow)


def with_paths(config: Any, change: Callable[[str], str]) -> Any:
    """A copy with `change` made to every path, in sections too."""
    found: dict[str, Any] = {}
    for setting in dataclasses.fields(config):
        value = getattr(config, setting.name)
        if dataclasses.is_dataclass(value):
            found[setting.name] = with_paths(value, change)
        elif PATH in setting.metadata and isinstance(value, list):
            found[setting.name] = [change(path) for path in value]
        elif PATH in setting.metadata and value is not None:
            found[setting.name] = change(value)
    return dataclasses.replace(config, **found)


def paths(config: Any, *kinds: str, section: str = "") -> dict[str, list[str]]:
    """The paths of some kinds (`data`, `read`, `written`), by the settings' dotted names."""
    found: dict[str, list[str]] = {}
    for setting in dataclasses.fields(config):
        name, value = section + setting.name, getattr(config, setting.name)
        if dataclasses.is_dataclass(value):
            found |= paths(value, *kinds, section=f"{name}.")
        elif setting.metadata.get(PATH) in kinds and value:
            found[name] = value if isinstance(value, list) else [value]
    return found


def piped(some: list[str]) -> str:
    """What is to be said of the first path that is there, and neither a file nor a folder."""
    for path in some:
        if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            return f"{path} is a pipe or a device, read as it came when the run was trained"
    return ""


def lost(some: list[str]) -> str:
    """What is to be said of the first path of a run that leads nowhere; "" where all lead."""
    for path in some:
        if not leads(path):
            if os.path.isabs(path):
                return f"no such file, directory or match: {path}"
            return f"{path} is relative to where the run was trained: found from there, not here"
    return ""


def changes(before: dict[str, Any], config: Any) -> dict[str, str]:
    """How a configuration differs from settings of before, as a person reads it, by dotted name.

    Settings that `before` knows nothing of were as by default; auto fits whatever it came to; paths
    are the same that lead to the same.
    """
    old, now = to_dict(located(from_dict(type(config), before))), to_dict(located(config))
    return {
        name: f"{name} ({was!r} → {is_now!r})" for name, was, is_now in differences("", old, now)
    }


def differences(name: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """The settings that differ, with dotted names."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for key in new
            for found in differences(f"{name}.{key}".lstrip("."), old.get(key), new[key])
        ]
    return [] if new in (old, "auto") else [(name, old, new)]


OF_TRAINING = {"train", "valid", "loop", "score", "class_weights"}
"""Settings of a run that are not of its architecture."""
OF_FILES = (
    *("column", "holdout", "test", "valid_from", "test_from", "format", "text", "label", "header"),
    *("encoding", "split", "split_seed", "group", "equal_together", "vectors", "vectors_limit"),
    *("columns", "word", "tag"),
)
"""How files are read and what is held out: other files are read otherwise."""


def started(config: Any, kind: str, other: Any, folder: Path) -> Any:
    """Settings of a new run whose architecture is that of another, of task `kind` in `folder`.

    A run of the same task takes all of it; what reads a sequence takes the cell, the stack,
    the embedding's width, and how text becomes tokens.
    """
    cells = ",".join(cell_of(cell, folder) for cell in other.cells()["cell"])
    if type(other) is type(config):
        own = {setting.name for setting in dataclasses.fields(RunConfig)} | OF_TRAINING
        names = {setting.name for setting in dataclasses.fields(config)} - own
        found = {name: getattr(other, name) for name in names}
        if hasattr(config, "data"):
            found["data"] = data = dataclasses.replace(other.data)
            for name in OF_FILES:
                if hasattr(data, name):
                    setattr(data, name, getattr(config.data, name))
        return dataclasses.replace(config, **found | {"cell": cells})
    levels = get_args(hints_of(type(config)).get("level"))
    if kind != "lm" or not hasattr(config.model, "embedding_size") or not levels:
        return config  # which says that it cannot start from there
    m = other.model
    said = {"hidden_size": m.hidden_size, "num_layers": m.num_layers, "affixes": m.affixes}
    said |= {"affixes_of_unknown": m.affixes_of_unknown}
    said |= {"embedding_size": m.embedding_size or m.widths[0], "skips": m.skips}
    said |= {"learned_initial_state": m.learned_initial_state}
    model = {name: value for name, value in said.items() if hasattr(config.model, name)}
    said = {name: getattr(other.data, name) for name in ("lowercase", "words")}
    data = {name: value for name, value in said.items() if hasattr(config.data, name)}
    found = {
        "cell": cells,
        "model": dataclasses.replace(config.model, **model),
        "data": dataclasses.replace(config.data, **data),
    }
    found |= {"level": other.level} if other.level in levels else {}  # a tagger has words
    return dataclasses.replace(config, **found)


def cell_of(cell: str, folder: Path) -> str:
    """A cell as another run's folder has it: of a file, the copy that lies there."""
    file, _, name = cell.rpartition(":")
    return f"{absolute(folder / Path(file).name)}:{name}" if file.endswith(".py") else cell
