"""throughtime compare TASK: what varies, and every setting of train TASK."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ... import config as configs
from ...config.comparison import Comparison
from ...ground.errors import InputError, one_of
from ...tasks import TASKS
from .options import Parser, add_settings, add_verb_options, parse
from .training import check_config_files, plain


@dataclasses.dataclass(frozen=True)
class CompareCommand:
    """What `throughtime compare` was asked to do."""

    task: str
    config: Any
    comparison: Comparison


def compare_command(arguments: list[str]) -> CompareCommand | None:
    """Parse `compare TASK …`; None where help was printed instead."""
    usage = f"throughtime compare TASK …\n\ntasks: {', '.join(TASKS)}\n"
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: {usage}\nthroughtime compare TASK --help tells a task's options.")
        return None
    if arguments[0].startswith("-"):
        raise InputError(f"expected a task first: throughtime compare {next(iter(TASKS))} ….")
    task = one_of("task", arguments[0], TASKS)
    cls = TASKS[task].config
    parser = Parser(
        prog=f"throughtime compare {task}",
        description="Train cells side by side; the settings are those of throughtime train.",
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="Settings from a YAML file.")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    add_verb_options(parser, Comparison, "compare")
    add_settings(parser, cls())
    check_config_files(task, cls, arguments[1:])
    values = plain(parse(parser, arguments[1:]))
    values.pop("config", None)
    varies = {f.name: values.pop(f.name) for f in dataclasses.fields(Comparison)}
    comparison = configs.from_dict(Comparison, varies)
    config = configs.from_dict(cls, values)
    configs.check(config)  # before torch is imported: mistakes are told at once
    configs.check(comparison)
    comparison.settle(config)
    return CompareCommand(task, config, comparison)
