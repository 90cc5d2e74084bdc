"""The table of tasks, one line each.

It names configurations and classes without importing what needs torch, so that the command line
answers at once. What a task is: `task.py`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from .. import config as configs
from ..ground.errors import InputError, one_of


@dataclass(frozen=True)
class Entry:
    """A line of the table: what its model is called, its configuration, where it lives."""

    noun: str
    config: type[configs.RunConfig]
    home: str


TASKS: dict[str, Entry] = {
    "lm": Entry("a language model", configs.LanguageConfig, ".language:Language"),
    "classify": Entry("a classifier", configs.ClassifierConfig, ".classification:Classification"),
    "tag": Entry("a tagger", configs.TaggerConfig, ".tagged_data:TaggingTask"),
    "forecast": Entry("a forecaster", configs.ForecastConfig, ".forecast:Forecast"),
    "regress": Entry("a regression", configs.RegressionConfig, ".regression:Regression"),
    "conditional": Entry(
        "a conditional model", configs.ConditionalConfig, ".conditional:Conditional"
    ),
    "music": Entry("a model of music", configs.MusicConfig, ".music:MusicTask"),
    "translate": Entry("a translator", configs.TranslatorConfig, ".translation:Translation"),
    "adding": Entry("a model of the adding problem", configs.AddingConfig, ".synthetic:AddingTask"),
    "copy": Entry("a model of copy memory", configs.CopyingConfig, ".synthetic:CopyingTask"),
    "temporal-order": Entry(
        "a model of temporal order", configs.TemporalOrderConfig, ".synthetic:TemporalOrderTask"
    ),
}
"""Task name → its line; `home` is module:Class, from this folder where it begins with a dot."""


def entry(name: str) -> Entry:
    """The line of a task; `InputError` names the nearest where there is none."""
    return TASKS[one_of("task", name, TASKS)]


def name_of(config: configs.RunConfig) -> str:
    """The task that a configuration is of."""
    return next(name for name, line in TASKS.items() if type(config) is line.config)


def verb_options(name: str, verb: str, run: Any) -> type | None:
    """The dataclass of a verb's options for the task of `run`, None where it has none.

    `InputError` where the task has no such verb: it tells which one it has.
    """
    line = entry(name)
    found = getattr(line.config, f"{verb}_options")
    if found is None and verb != "evaluate":
        others = [v for v in ("predict", "generate") if getattr(line.config, f"{v}_options")]
        others = others or ["evaluate"]
        raise InputError(
            f"{run} is {line.noun}: "
            + " or ".join(f"throughtime {other} {run}" for other in others)
            + f", not {verb}."
        )
    return found


def task_class(name: str) -> Any:
    """The class of a task."""
    module, _, cls = entry(name).home.partition(":")
    return getattr(importlib.import_module(module, __name__), cls)
