"""Shell completion: all verbs, tasks and options as one tree, which shtab makes a script of."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from ...ground.errors import one_of
from ...ground.extras import need
from ...tasks import TASKS
from . import runs, tasks
from .options import Parser


def completion_script(shell: str, verbs: Mapping[str, str]) -> str:
    """A script for a shell that shtab knows: bash, zsh, tcsh."""
    shtab = need("shtab", "completion")
    one_of("shell", shell, shtab.SUPPORTED_SHELLS)
    tree = whole_tree(verbs)
    for parser in all_parsers(tree):
        for action in parser._actions:
            if action.metavar == "RUN":
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif action.metavar in ("TEXT", "FILE"):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif str(action.metavar).startswith("{"):
                action.choices = str(action.metavar).strip("{}").split(",")
    return shtab.complete(tree, shell)


def whole_tree(verbs: Mapping[str, str]) -> Parser:
    """A parser of every verb, as the command line has them one by one."""
    tree = Parser("throughtime")
    added = tree.add_subparsers()
    for verb, about in verbs.items():
        parser = added.add_parser(verb, help=about)
        if verb in tasks.TASK_OPTIONS:
            of = parser.add_subparsers()
            for task, line in TASKS.items():
                tasks.add_task_options(of.add_parser(task, help=line.noun), verb, task)
        elif verb in runs.RUN_OPTIONS:
            runs.add_run_options(parser, verb)
    return tree


def all_parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and those below it."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found += all_parsers(below)
    return found
