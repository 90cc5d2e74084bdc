"""train TASK and compare TASK: a task's whole configuration as options, and --config files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ... import config as configs
from ...config.comparison import Comparison
from ...config.run import BUDGETS
from ...config.tuning import Tuning
from ...config.values import listed
from ...config.verbs import TrainOptions
from ...ground.errors import InputError, SettingError, did_you_mean, one_of
from ...ground.paths import typed_path
from ...tasks import TASKS
from .options import Parser, add_options, as_typed, option, summary

TASK_OPTIONS: dict[str, type] = {"train": TrainOptions, "compare": Comparison, "tune": Tuning}
"""A verb's own options beside the task's settings."""

PRESETS = Path(__file__).resolve().parents[2] / "presets"
"""Settings that come with the package, each a file that --config takes by name."""

ABOUT = {
    "compare": "Train cells side by side; the settings are those of throughtime train.",
    "tune": "Search settings; the others are those of throughtime train.",
}
"""What help says of a verb, where that is not the task's summary."""


@dataclasses.dataclass(frozen=True)
class TaskCommand:
    """What a verb was asked to do with a task: `options` are the verb's own, `notes` are said."""

    task: str
    config: Any
    options: Any
    notes: tuple[str, ...]


def task_command(verb: str, words: Sequence[str]) -> TaskCommand | None:
    """Parse `VERB TASK …`; None where help or the configuration was printed instead."""
    if not words or words[0] in ("-h", "--help"):
        print(f"usage: throughtime {verb} TASK …\n\ntasks: {', '.join(TASKS)}\n")
        print(f"throughtime {verb} TASK --help tells a task's options.")
        return None
    if words[0].startswith("-"):
        raise InputError(f"expected a task first: throughtime {verb} {next(iter(TASKS))} ….")
    task = one_of("task", words[0], TASKS)
    cls, own = TASKS[task].config, TASK_OPTIONS[verb]
    parser = Parser(f"throughtime {verb} {task}")
    add_task_options(parser, verb, task)
    values = parser.read(words[1:])
    files, shows = values.pop("config", []), values.pop("print_config", False)
    names = {field.name for field in dataclasses.fields(own)}
    with as_typed():
        options = configs.from_dict(own, {k: values.pop(k) for k in names & values.keys()})
        configs.check(options)
    config = read_files(files, task)
    if origin := values.get("init_from", config.init_from):
        config = read_files(files, task, settings_of(origin, task))
    if getattr(options, "resume", False):
        saved = saved_settings(values.get("out", config.out), task)
        config = read_files(files, task, saved)
    with as_typed():
        notes = replace_budget(config, values)
        config = configs.from_dict(cls, values, defaults=config)
        if shows:
            said = {"task": task, **configs.to_dict(config)}
            print(yaml.safe_dump(said, sort_keys=False, allow_unicode=True), end="")
            return None
        configs.check(config)  # before torch is imported: mistakes are told at once
        if not options.trust and not getattr(options, "resume", False):
            refuse_cells(config, values, f"--init-from {origin}" if origin else "--config")
        if isinstance(options, Comparison):
            options.settle(config)
        if isinstance(options, Tuning):
            refuse_both(options, config, values)
    return TaskCommand(task, config, options, notes)


def add_task_options(parser: Parser, verb: str, task: str) -> None:
    """The options of `VERB TASK`: its own settings by name, the sections' by dotted name."""
    cls, own = TASKS[task].config, TASK_OPTIONS[verb]
    parser.description = ABOUT.get(verb) or summary(cls)
    parser.add_argument(
        "--config",
        action="append",
        metavar="FILE",
        help="Settings from a YAML file, or by name, as ptb-small, from the package.",
    )
    parser.add_argument(
        "--print_config", "--print-config", action="store_true",
        help="Print the settings as YAML and do nothing else.",
    )  # fmt: skip
    add_options(parser, own, verb)
    add_options(parser, cls, "settings", flags=False)


def read_files(files: Sequence[str | Path], task: str, defaults: Any = None) -> Any:
    """The task's configuration with the settings of files, later ones first; errors name them."""
    config = TASKS[task].config() if defaults is None else defaults
    for file in files:
        path = settings_file(file)
        values = configs.load_yaml(path)
        if (meant := values.pop("task", None) or task) != task:
            raise InputError(f"{path} is for: throughtime train {meant}.")
        try:
            config = configs.from_dict(type(config), values, defaults=config)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    return config


def settings_file(given: str | Path) -> Path:
    """The file of settings at a path, or else the one of that name that comes with the package."""
    path = typed_path(given)
    if path.is_file():
        return path
    presets = {file.stem: file for file in sorted(PRESETS.glob("*.yaml"))}
    if len(path.parts) == 1 and path.name.removesuffix(".yaml") in presets:
        return presets[path.name.removesuffix(".yaml")]
    if len(path.parts) > 1 or path.suffix:
        raise InputError(f"--config {path}: no such file.")
    raise InputError(
        f"--config {path}: no such file, and no such settings in the package."
        f"{did_you_mean(path.name, presets)} There are {', '.join(presets)}."
    )


def refuse_cells(config: Any, values: dict[str, Any], source: str) -> None:
    """Raise `InputError` where settings of files, not options, name a Python file to run; `source`
    is the option that gave them."""
    given = {
        cell
        for text in (values.get("cell"), *values.get("model", {}).values())
        if isinstance(text, str)
        for cell in listed(text)
    }
    for cell in (cell for cells in config.cells().values() for cell in cells):
        if ".py:" in cell and cell not in given:
            raise InputError(
                f"{source} names the cell {cell}, and using it would run that Python file. Look at "
                f"it first; if you trust who wrote it, name it yourself (--cell {cell}) or give "
                "--trust."
            )


def refuse_both(tuning: Tuning, config: Any, values: dict[str, Any]) -> None:
    """Raise `InputError` for a search that cannot be, and for an option that is searched too."""
    for name in tuning.space(config) if not tuning.baseline else ():
        *sections, last = name.split(".")
        part = values
        for section in sections:
            part = part.get(section, {})
        if last in part:
            raise SettingError(
                f"{name} is given and searched: give one, or begin the search with it (baseline).",
                *(name, "baseline"),
            )


def settings_of(origin: str, task: str) -> Any:
    """A task's settings with the architecture of another run."""
    from ...checkpoint import RunFolder

    folder = RunFolder(origin)
    kind, values = folder.load_config()
    other = configs.from_dict(one_task(kind, origin), values)
    return configs.started(TASKS[task].config(), kind, other, folder.path)


def one_task(kind: str, run: str) -> type:
    """The class of a run's settings."""
    if kind not in TASKS:
        raise InputError(f"{run}: no task {kind!r}.")
    return TASKS[kind].config


def saved_settings(out: str | None, task: str) -> Any:
    """A resumed run's settings, to start from."""
    from ...checkpoint import RunFolder

    if not out:
        raise InputError("--resume needs the run folder: --out runs/NAME.")
    folder = RunFolder(out)
    saved_task, values = folder.load_config()
    if saved_task != task:
        raise InputError(f"{out} is a run of task {saved_task!r}, not {task!r}.")
    try:
        saved = configs.from_dict(TASKS[task].config, values)
    except InputError as error:
        raise InputError(f"{folder.config}: {error}") from error
    return configs.followed(saved, folder.path)


def replace_budget(config: Any, values: dict[str, Any]) -> tuple[str, ...]:
    """A budget among the options is the whole of it: those of files do not end the run before.

    Takes them out of `config`; what is said of it.
    """
    given = [f"{option(name)} {values[name]}" for name in BUDGETS if values.get(name) is not None]
    if not given:
        return ()
    replaced = []
    for name in BUDGETS:
        if name not in values and (was := getattr(config, name)) is not None:
            setattr(config, name, None)
            replaced.append(f"{name} {was:g}" if isinstance(was, float) else f"{name} {was}")
    said = f"the budget is {' and '.join(given)}, in place of {' and '.join(replaced)}"
    return (said,) if replaced else ()
