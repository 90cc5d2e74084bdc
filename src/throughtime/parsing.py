"""Command-line options from the configuration dataclasses, with one-line errors."""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
from jsonargparse import ArgumentParser, Namespace

from . import config as configs
from .errors import InputError, did_you_mean, one_of
from .tasks import TASKS, entry, verb_options


class Parser(ArgumentParser):
    """Errors become one-line `InputError`s that name the nearest option."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # type: ignore[override]
        raise InputError(self.one_line(message))

    def one_line(self, message: str) -> str:
        """The message on one line, with the nearest option for one that is unknown."""
        names = [o.removeprefix("--") for a in self._actions for o in a.option_strings]
        text = " ".join(message.split())
        if match := re.search(r"unrecognized arguments: (\S+)", text):
            given = match[1].partition("=")[0]
            near = did_you_mean(given.removeprefix("--"), names).replace("'", "'--", 1)
            return f"unknown option {given}.{near}"
        # jsonargparse speaks of keys, Python types and internal names; we of options
        text = re.sub(r'Parser key "([\w.]+)":', r"\1:", text)
        text = re.sub(r"Expected a typing.Literal\[(.*?)\]\.", r"expected one of \1;", text)
        text = re.sub(r"Expected an? <class '(\w+)'>\.", r"expected \1;", text)
        return text.replace("; Got value:", "; got")


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
    early.add_argument("--out")
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
    from .checkpoint import RunFolder

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


def add_settings(parser: Parser, defaults: Any, section: str = "", about: str = "") -> None:
    """One option for each setting: hyphens at the top, dotted names as in YAML below.

    A class's own settings come before those that it shares with others, sections last.
    """
    cls = type(defaults)
    texts, hints = argument_help(cls), typing.get_type_hints(cls)
    group = parser.add_argument_group(section.rstrip(".") or "settings", about or summary(cls))
    own = set(vars(cls).get("__annotations__", {}))
    fields = sorted(dataclasses.fields(cls), key=lambda field: field.name not in own)
    sections = []
    for field in fields:
        default = getattr(defaults, field.name)
        if dataclasses.is_dataclass(default):
            sections.append((field.name, default))
            continue
        name = f"--{section}{field.name}" if section else f"--{field.name.replace('_', '-')}"
        add_option(group, name, hints[field.name], default, texts[field.name])
    for name, default in sections:
        add_settings(parser, default, f"{section}{name}.", texts[name])


def add_option(group: Any, name: str, kind: Any, default: Any, text: str) -> None:
    """An option of a type; several words for a list of them."""
    if kind == list[str]:
        group.add_argument(name, nargs="+", type=str, default=default, help=text)
    else:
        group.add_argument(name, type=kind, default=default, help=text)


# ---- verbs on a run ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class RunCommand:
    """What a verb was asked to do with a run: `common` is the verb's, `options` its task's."""

    run: str
    common: dict[str, Any]
    options: dict[str, Any]


def evaluate_command(arguments: list[str]) -> RunCommand:
    """throughtime evaluate RUN [--data FILE …] [--json]."""
    parser = plain_parser("evaluate", "Measure a run's model on data.", json=True)
    parser.add_argument("run", type=str, help="Run folder.")
    add_data_option(parser, "default: the run's own validation data.")
    add_model_options(parser, threads=True)
    return run_command(parser, "evaluate", arguments)


def predict_command(arguments: list[str]) -> RunCommand:
    """throughtime predict RUN [--data FILE …] [--output FILE] [--json]."""
    parser = Parser(
        prog="throughtime predict",
        description="Predictions of a run's model, one after the other.",
        exit_on_error=False,
    )
    parser.add_argument("run", type=str, help="Run folder.")
    add_data_option(parser, "default: standard input.")
    parser.add_argument(
        "--output", type=str, default=None, help="A new file to write; default: standard output."
    )
    parser.add_argument(
        "--json", action="store_true", help="One JSON object a line, with all that is known."
    )
    add_model_options(parser, threads=True)
    return run_command(parser, "predict", arguments)


def generate_command(arguments: list[str]) -> RunCommand:
    """throughtime generate RUN …."""
    parser = plain_parser("generate", "Write novel sequences with a run's model.")
    parser.add_argument("run", type=str, help="Run folder.")
    add_model_options(parser)
    return run_command(parser, "generate", arguments)


def between_samples(run: str) -> str:
    """What stands between a run's samples where they are printed."""
    task = task_of([run])
    return entry(task[0]).config.between_samples if task else "\n"


def run_command(parser: Parser, verb: str, arguments: list[str]) -> RunCommand:
    """Parse a verb on a run: its task's options are known once its folder is read."""
    common = [action.dest for action in parser._actions]
    task = task_of(arguments)
    if task is None:  # no run among the arguments: help tells of every task's options
        for name, line in TASKS.items():
            if cls := getattr(line.config, f"{verb}_options"):
                add_verb_options(parser, cls, f"{line.noun} ({name})")
    else:
        if cls := verb_options(task[0], verb, task[1]):
            add_verb_options(parser, cls, f"{entry(task[0]).noun} ({task[0]})")
        refuse_others(parser, arguments, f"{task[1]} is {entry(task[0]).noun}")
    values = vars(parse(parser, arguments))
    if task is None:
        from .checkpoint import RunFolder

        RunFolder(values["run"]).load_config()  # which says what is wrong with it
    return RunCommand(
        values.pop("run"),
        {k: v for k, v in values.items() if k in common},
        {k: v for k, v in values.items() if k not in common},
    )


def refuse_others(parser: Parser, arguments: list[str], run: str) -> None:
    """Raise `InputError` for an option that belongs to another task or verb; it says to which."""
    for argument in arguments:
        option = argument.partition("=")[0]
        if not option.startswith("--") or option in parser._option_string_actions:
            continue
        for line in TASKS.values():
            for verb in ("evaluate", "predict", "generate"):
                cls = getattr(line.config, f"{verb}_options")
                if cls and hasattr(cls, option[2:].replace("-", "_")):
                    raise InputError(f"{option} is for {verb} of {line.noun}; {run}.")


def task_of(arguments: list[str]) -> tuple[str, str] | None:
    """The task of the run that the arguments name first, and that run."""
    for argument in arguments:
        if not argument.startswith("-") and (Path(argument).expanduser() / "config.yaml").exists():
            from .checkpoint import RunFolder

            return RunFolder(argument).load_config()[0], argument
    return None


def add_verb_options(parser: Parser, cls: type, title: str) -> None:
    """A task's own options of a verb; what is false by default becomes a flag."""
    texts, hints, known = (
        argument_help(cls),
        typing.get_type_hints(cls),
        parser._option_string_actions,
    )
    group = parser.add_argument_group(f"options of {title}", summary(cls))
    for field in dataclasses.fields(cls):
        name, text = f"--{field.name.replace('_', '-')}", texts[field.name]
        if name in known:  # two tasks have it: only help shows both
            continue
        default = field.default
        if default is dataclasses.MISSING:
            default = typing.cast(Any, field.default_factory)()
        if hints[field.name] is bool and default is False:
            group.add_argument(name, action="store_true", help=text)
        else:
            add_option(group, name, hints[field.name], default, text)


def add_data_option(parser: Parser, default: str) -> None:
    """What to read."""
    text = f"Files, globs or directories; {default}"
    parser.add_argument("--data", nargs="+", type=str, default=None, help=text)


def add_model_options(parser: Parser, *, threads: bool = False) -> None:
    """Where to run, and which weights."""
    parser.add_argument("--device", type=configs.DEVICES, default="auto", help="Where to run.")
    text = "The weights with the best validation score, the last, or the mean of loop.average."
    parser.add_argument("--checkpoint", type=configs.WEIGHTS, default="best", help=text)
    if threads:
        parser.add_argument("--threads", type=int, default=None, help="CPU threads.")


def plain_parser(verb: str, description: str, *, json: bool = False) -> Parser:
    """A parser without a configuration file."""
    parser = Parser(prog=f"throughtime {verb}", description=description, exit_on_error=False)
    if json:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    return parser


def parse(parser: Parser, arguments: list[str]) -> Namespace:
    """Parse; whatever is wrong becomes a one-line `InputError`."""
    try:
        return parser.parse_args(arguments)
    except (argparse.ArgumentError, jsonargparse.ArgumentError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(parser.one_line(str(error))) from error


def check_config_files(task: str, cls: type, arguments: list[str]) -> None:
    """Read --config files first, for errors that name the file and the nearest setting."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--config":
            path = Path(value if equals else arguments[i + 1] if i + 1 < len(arguments) else "")
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


def summary(cls: type) -> str:
    """The first line of a docstring."""
    return (cls.__doc__ or "").strip().splitlines()[0]


def argument_help(cls: type) -> dict[str, str]:
    """The Args sections of a docstring and of those it inherits from: name → text."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, section = (base.__doc__ or "").partition("Args:")
        entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", section, re.M)
        found.update({name: " ".join(text.split()) for name, text in entries})
    return found
