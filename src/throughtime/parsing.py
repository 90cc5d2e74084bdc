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
from .tasks import TASKS


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
    cls = TASKS[task][0]
    parser = train_parser(task, cls)
    rest = arguments[1:]
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--out")
    early.add_argument("--resume", action="store_true")
    known, _ = early.parse_known_args(rest)
    if known.resume:
        rest = ["--config", str(saved_settings(known.out, task)), *rest]
    check_config_files(cls, rest)
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
    add_settings(parser, cls)
    return parser


def add_settings(parser: Parser, cls: type, section: str = "") -> None:
    """One option for each setting: hyphens at the top, dotted names as in YAML below."""
    texts, hints = argument_help(cls), typing.get_type_hints(cls)
    group = parser.add_argument_group(section.rstrip(".") or "settings", summary(cls))
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(field.default_factory):
            add_settings(parser, typing.cast(type, field.default_factory), f"{field.name}.")
            continue
        kind = hints[field.name]
        default = field.default
        if default is dataclasses.MISSING:
            default = typing.cast(Any, field.default_factory)()
        name = f"--{section}{field.name}" if section else f"--{field.name.replace('_', '-')}"
        if kind == list[str]:
            group.add_argument(name, nargs="+", type=str, default=default, help=texts[field.name])
        else:
            group.add_argument(name, type=kind, default=default, help=texts[field.name])


def evaluate_parser() -> Parser:
    """throughtime evaluate RUN [--data FILE …] [--json]."""
    parser = plain_parser("evaluate", "Exact likelihood of text under a run's model.", json=True)
    parser.add_argument("run", type=str, help="Run folder.")
    parser.add_argument(
        "--data",
        nargs="+",
        type=str,
        default=None,
        help="Files, globs or directories; default: the run's own validation text.",
    )
    add_model_options(parser)
    parser.add_argument("--threads", type=int, default=None, help="CPU threads.")
    return parser


def generate_parser() -> Parser:
    """throughtime generate RUN …."""
    parser = plain_parser("generate", "Write novel text with a run's language model.")
    parser.add_argument("run", type=str, help="Run folder.")
    parser.add_argument(
        "--prime", type=str, default="", help="Text to go on from; - reads it from standard input."
    )
    parser.add_argument("--max-new-tokens", type=int, default=500, help="Longest continuation.")
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="Below 1 safer, above 1 bolder; 0: always the most probable token.",
    )
    parser.add_argument(
        "--top-k", type=int, default=0, help="Draw from the k most probable tokens; 0: from all."
    )
    parser.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        help="Draw from the fewest tokens with this share of the probability.",
    )
    parser.add_argument(
        "--num-beams", type=int, default=1, help="Beam search of this width instead of sampling."
    )
    parser.add_argument("--num-samples", type=int, default=1, help="How many texts.")
    parser.add_argument("--seed", type=int, default=None, help="The same seed gives the same text.")
    parser.add_argument("--forbid-unk", action="store_true", help="Never write <unk>.")
    parser.add_argument("--ignore-eos", action="store_true", help="Write on past <eos>.")
    add_model_options(parser)
    return parser


def add_model_options(parser: Parser) -> None:
    """Where to run, and which weights."""
    devices = typing.get_type_hints(configs.LanguageConfig)["device"]
    parser.add_argument("--device", type=devices, default="auto", help="Where to run.")
    parser.add_argument(
        "--checkpoint",
        type=typing.Literal["best", "last"],
        default="best",
        help="The weights with the best validation loss, or the last.",
    )


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


def check_config_files(cls: type, arguments: list[str]) -> None:
    """Read --config files first, for errors that name the file and the nearest setting."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--config":
            path = Path(value if equals else arguments[i + 1] if i + 1 < len(arguments) else "")
            if not path.is_file():
                raise InputError(f"--config {path}: no such file.")
            values = configs.load_yaml(path)
            for name in ("task", "resume", "overwrite"):  # what --print_config prints besides
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
    """The Args section of a docstring: name → text."""
    _, _, section = (cls.__doc__ or "").partition("Args:")
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", section, re.M)
    return {name: " ".join(text.split()) for name, text in entries}
