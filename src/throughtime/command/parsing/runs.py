"""Verbs on a run: their options are the verb's own and those of the run's task."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ... import config as configs
from ...config.agreement import AgreementOptions, CorpusOptions
from ...config.verbs import (
    AgreementVerbOptions,
    EvaluateOptions,
    ExportOptions,
    GenerateOptions,
    InspectOptions,
    PredictOptions,
    ScoreOptions,
)
from ...ground.errors import InputError
from ...ground.paths import typed_path
from ...tasks import TASKS, entry, verb_options
from .options import Parser, add_options, as_typed, option, summary

RUN_OPTIONS: dict[str, type] = {
    "evaluate": EvaluateOptions,
    "predict": PredictOptions,
    "generate": GenerateOptions,
    "score": ScoreOptions,
    "inspect": InspectOptions,
    "export": ExportOptions,
}
"""A verb's own options."""
OF_TASKS = ("evaluate", "predict", "generate", "score")
"""The verbs that have options of the run's task besides."""


@dataclasses.dataclass(frozen=True)
class RunCommand:
    """What a verb was asked to do with a run: `common` are the verb's options, `options` those of
    its task that were given."""

    run: str
    common: dict[str, Any]
    options: dict[str, Any]


def run_command(verb: str, words: Sequence[str]) -> RunCommand:
    """Parse `VERB RUN …`: its task's options are known once its folder is read."""
    parser, own = Parser(f"throughtime {verb} RUN"), RUN_OPTIONS[verb]
    found, cls = task_of(words), None
    if found is None:  # no run among the words: help tells of every task's options
        add_run_options(parser, verb)
    else:
        task, run = found
        cls = verb_options(task, verb, run) if verb in OF_TASKS else None
        add_run_options(parser, verb, {task: cls} if cls else {})
        refuse_others(parser, words, f"{run} is {entry(task).noun}")
    values = parser.read(words)
    run = values.pop("run")
    if found is None:
        from ...checkpoint import RunFolder

        RunFolder(run).load_config()  # which says what is wrong with it
    names = {field.name for field in dataclasses.fields(own)}
    if cls is not None:  # music is written into a folder, which is its own option
        names -= {field.name for field in dataclasses.fields(cls)}
    with as_typed():
        common = configs.from_dict(own, {k: values.pop(k) for k in names & values.keys()})
        configs.check(common)
        if cls is not None:
            configs.check(configs.from_dict(cls, values))
    return RunCommand(run, configs.to_dict(common), values)


def add_run_options(parser: Parser, verb: str, of: dict[str, type] | None = None) -> None:
    """A run, the verb's own options, and those of each task in `of`: by default of every one."""
    own = RUN_OPTIONS[verb]
    parser.description = summary(own)
    parser.add_argument("run", metavar="RUN", help="Run folder.")
    add_options(parser, own, verb)
    for task, line in TASKS.items():
        cls = of.get(task) if of is not None else getattr(line.config, f"{verb}_options", None)
        if cls:
            add_options(parser, cls, f"options of {line.noun} ({task})")


def refuse_others(parser: Parser, words: Sequence[str], run: str) -> None:
    """Raise `InputError` for an option that belongs to another task or verb; it says to which."""
    for word in words:
        said = word.partition("=")[0]
        if not said.startswith("--") or said in parser._option_string_actions:
            continue
        for line in TASKS.values():
            for verb in OF_TASKS:
                cls = getattr(line.config, f"{verb}_options")
                if cls and said in map(option, configs.settings.hints_of(cls)):
                    raise InputError(f"{said} is for {verb} of {line.noun}; {run}.")


def task_of(words: Sequence[str]) -> tuple[str, str] | None:
    """The task of the run that the words name first, and that run."""
    for word in words:
        try:
            settings = typed_path(word) / "config.yaml"
        except InputError:  # what is no path is not the run
            continue
        if not word.startswith("-") and settings.exists():
            from ...checkpoint import RunFolder

            return RunFolder(word).load_config()[0], word
    return None


def between_samples(run: str) -> str:
    """What stands between a run's samples where they are printed."""
    task = task_of([run])
    return entry(task[0]).config.between_samples if task else "\n"


@dataclasses.dataclass(frozen=True)
class AgreementCommand:
    """What to do: measure `run`, or write the text `corpus` where that is given."""

    run: str | None
    corpus: str | None
    common: dict[str, Any]
    options: dict[str, Any]


def agreement_command(words: Sequence[str]) -> AgreementCommand:
    """Parse `inspect agreement RUN [--pairs FILE …]`, or `inspect agreement --corpus FILE`."""
    parser = Parser("throughtime inspect agreement RUN")
    add_agreement_options(parser)
    values = parser.read(words)
    run, corpus = values.pop("run", None), values.pop("corpus", None)
    if (run is None) == (corpus is None):
        raise InputError(
            "give a run folder to measure, or --corpus FILE to write sentences: one of them."
        )
    names = {field.name for field in dataclasses.fields(AgreementVerbOptions)}
    own = {k: values.pop(k) for k in names & values.keys()}
    cls = CorpusOptions if corpus is not None else AgreementOptions
    known = set(configs.settings.hints_of(cls))
    for name in [*(own if corpus is not None else ()), *values]:
        if name not in known:
            there = f"the run {run}" if corpus is None else f"--corpus {corpus}"
            raise InputError(f"{option(name)} does not go with {there}.")
    with as_typed():
        common = configs.from_dict(AgreementVerbOptions, own)
        options = configs.from_dict(cls, values)
        for each in (common, options):
            configs.check(each)
    return AgreementCommand(run, corpus, configs.to_dict(common), configs.to_dict(options))


def add_agreement_options(parser: Parser) -> None:
    """A run, or a text to write, and what is measured."""
    parser.description = summary(AgreementVerbOptions)
    parser.add_argument("run", metavar="RUN", nargs="?", help="Run folder.")
    add_options(parser, AgreementVerbOptions, "inspect agreement")
    add_options(parser, AgreementOptions, "the measurement")
    add_options(parser, CorpusOptions, "--corpus")
