"""throughtime inspect agreement: a run measured, or a training text written."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from ... import config as configs
from ...config.agreement import AgreementOptions, CorpusOptions
from ...ground.errors import InputError
from .options import Parser, add_verb_options, parse
from .running import add_model_options

FORMAT = re.compile("^--format(?==|$)")
"""The option's other name, as verbs that read files call theirs."""


@dataclass(frozen=True)
class AgreementCommand:
    """What to do: measure `run`, or write the text `corpus` where that is given."""

    run: str | None
    corpus: str | None
    common: dict[str, Any]
    options: Any


def agreement_command(arguments: list[str]) -> AgreementCommand:
    """throughtime inspect agreement RUN [--pairs FILE …], or --corpus FILE."""
    parser = Parser(
        prog="throughtime inspect agreement",
        description="Does a language model know which noun its verb belongs to? The share of "
        "minimal pairs whose good version it finds the more probable one.",
        exit_on_error=False,
    )
    parser.add_argument("run", type=str, nargs="?", default=None, help="Run folder.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    text = "A folder for agreement.json, agreement.tsv (every item) and agreement.svg."
    parser.add_argument("--out", type=str, default=None, help=text)
    text = "Instead of measuring: a new file to write training sentences into."
    parser.add_argument("--corpus", type=str, default=None, help=text)
    add_model_options(parser, threads=True)
    common = [action.dest for action in parser._actions]
    add_verb_options(parser, AgreementOptions, "the measurement")
    add_verb_options(parser, CorpusOptions, "--corpus")
    arguments = [FORMAT.sub("--form", argument) for argument in arguments]
    values = parse(parser, arguments).as_dict()  # vars would have "items" under a name of its own
    run, corpus = values.pop("run"), values.pop("corpus")
    if (run is None) == (corpus is None):
        raise InputError(
            "give a run folder to measure, or --corpus FILE to write sentences: one of them."
        )
    cls = CorpusOptions if corpus else AgreementOptions
    known = {field.name for field in dataclasses.fields(cls)}
    default = parser.get_defaults().as_dict()
    for name, value in values.items():
        if name not in (known if corpus else {*known, *common}) and value != default.get(name):
            there = f"--corpus {corpus}" if corpus else f"the run {run}"
            raise InputError(f"--{name.replace('_', '-')} does not go with {there}.")
    options = configs.from_dict(cls, {k: v for k, v in values.items() if k in known})
    configs.check(options)
    return AgreementCommand(
        run, corpus, {k: v for k, v in values.items() if k in common and k != "help"}, options
    )
