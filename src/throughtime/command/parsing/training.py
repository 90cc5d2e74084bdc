"""throughtime train TASK: a task's whole configuration as options, and --config files."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from ... import config as configs
from ...ground.errors import InputError, one_of
from ...tasks import TASKS
from .options import Parser, add_settings, parse, summary


@dataclasses.dataclass(frozen=True)
class TrainCommand:
    """What `throughtime train` was asked to do."""

    task: str
    config: Any
    resume: bool
    overwrite: bool


def train_command(arguments: list[str]) -> TrainCommand | None:
    """Parse `train TASK …`; None where help or the configuration was printed instead."""
    usage = f"throughtime train TASK …\n\ntasks: {', '.join(TASKS)}\n"
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: {usage}\nthroughtime train TASK --help tells a task's options.")
        return None
    if arguments[0].startswith("-"):
        raise InputError(f"expected a task first: throughtime train {next(iter(TASKS))} ….")
    task = one_of("task", arguments[0], TASKS)
    cls = TASKS[task].config
    parser = train_parser(task, cls)
    rest = arguments[1:]
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--out", nargs="?")
    early.add_argument("--resume", action="store_true")
    known, _ = early.parse_known_args(rest)
    if known.resume:
        rest = ["--config", str(saved_settings(known.out, task)), *rest]
    check_config_files(task, cls, rest)
    options = parse(parser, rest)
    values = plain(options)
    resume, overwrite = values.pop("resume"), values.pop("overwrite")
    values.pop("config", None)
    if resume and overwrite:
        raise InputError("--resume goes on with a run, --overwrite replaces it: give one of them.")
    config = configs.from_dict(cls, values)
    configs.check(config)  # before torch is imported: mistakes are told at once
    return TrainCommand(task, config, resume, overwrite)


def saved_settings(out: str | None, task: str) -> Path:
    """A resumed run's settings without the task's name, as a file to start parsing from."""
    from ...checkpoint import RunFolder

    if not out:
        raise InputError("--resume needs the run folder: --out runs/NAME.")
    folder = RunFolder(out)
    saved_task, _ = folder.load_config()
    if saved_task != task:
        raise InputError(f"{out} is a run of task {saved_task!r}, not {task!r}.")
    return folder.config


def train_parser(task: str, cls: type) -> Parser:
    """The options of a task: its own settings by name, the sections' by dotted name."""
    parser = Parser(prog=f"throughtime train {task}", description=summary(cls), exit_on_error=False)
    parser.add_argument("--config", action="config", help="Settings from a YAML file.")
    parser.add_argument("--resume", action="store_true", help="Go on with the run in --out.")
    parser.add_argument("--overwrite", action="store_true", help="Replace the run in --out.")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    add_settings(parser, cls())
    return parser


def check_config_files(task: str, cls: type, arguments: list[str]) -> None:
    """Read --config files first, for errors that name the file and the nearest setting."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--config":
            file = value if equals else arguments[i + 1] if i + 1 < len(arguments) else ""
            if not file:
                raise InputError("--config needs a file: --config FILE.yaml.")
            path = Path(file)
            if not path.is_file():
                raise InputError(f"--config {path}: no such file.")
            values = configs.load_yaml(path)
            if (meant := values.pop("task", None) or task) != task:
                raise InputError(f"{path} is for: throughtime train {meant}.")
            for name in ("resume", "overwrite"):  # what --print_config prints besides
                values.pop(name, None)
            try:
                configs.from_dict(cls, values)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error


def plain(options: Namespace) -> dict[str, Any]:
    """A namespace as nested plain data."""
    return {k: v for k, v in options.as_dict().items() if k != "task"}
