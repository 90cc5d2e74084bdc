"""Verbs on a run: evaluate, predict, generate; their options are the run's task's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from ... import config as configs
from ...ground.errors import InputError
from ...tasks import TASKS, entry, verb_options
from .options import Parser, add_verb_options, parse, plain_parser


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
    text = "What would be printed as JSON, an object for each sample, when all are written."
    parser.add_argument("--json", action="store_true", help=text)
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
        from ...checkpoint import RunFolder

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
            from ...checkpoint import RunFolder

            return RunFolder(argument).load_config()[0], argument
    return None


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
