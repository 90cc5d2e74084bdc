"""Options of the command line from dataclasses, with one-line errors."""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from typing import Any, NoReturn

import jsonargparse
from jsonargparse import ArgumentParser, Namespace

from ...ground.errors import InputError, did_you_mean


class Parser(ArgumentParser):
    """Errors become one-line `InputError`s that name the nearest option; none is abbreviated."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # type: ignore[override]
        raise InputError(self.one_line(message))

    def one_line(self, message: str) -> str:
        """The message on one line, with the nearest option for one that is unknown."""
        names = [o.removeprefix("--") for a in self._actions for o in a.option_strings]
        text = " ".join(message.split())
        if match := re.search(r"unrecognized arguments: (\S+)", text):
            given = match[1].partition("=")[0]
            return f"unknown option {given}.{nearest(given.removeprefix('--'), names)}"
        # jsonargparse speaks of keys, Python types and internal names; we of options
        text = re.sub(r'Parser key "([\w.]+)":', r"\1:", text)
        text = re.sub(r"Does not validate against .*? Errors: - (.*?) - .*Given value: ", r"\1. "
                      "Got value: ", text)  # fmt: skip
        text = re.sub(r"Expected a typing.Literal\[(.*?)\]\.", r"expected one of \1;", text)
        text = re.sub(r"Expected an? <class '(\w+)'>\.", r"expected \1;", text)
        return text.replace("; Got value:", "; got")


def nearest(given: str, names: list[str]) -> str:
    """Which option may be meant: of the same last name in a section first (lr: optim.lr)."""
    same = [name for name in names if name.rpartition(".")[2] == given]
    if same:
        return f" Did you mean '--{same[0]}'?"
    section, dot, last = given.rpartition(".")  # a shared section alone is no likeness
    if section in names:
        return f" Did you mean '--{section}'?"
    inside = [name.removeprefix(section + dot) for name in names if name.startswith(section + dot)]
    return did_you_mean(last, inside).replace("'", f"'--{section}{dot}", 1)


def plain_parser(verb: str, description: str, *, json: bool = False) -> Parser:
    """A parser without a configuration file."""
    parser = Parser(prog=f"throughtime {verb}", description=description, exit_on_error=False)
    if json:
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    return parser


def parse(parser: Parser, arguments: list[str]) -> Namespace:
    """Parse; whatever is wrong becomes a one-line `InputError`."""
    known = {name for action in parser._actions for name in action.option_strings}
    for argument in arguments:
        name = argument.partition("=")[0]
        # jsonargparse takes --data.label for a part of --data, whatever --data is
        if "." in name and name not in known and name.partition(".")[0] in known:
            parser.error(f"unrecognized arguments: {name}")
    try:
        return parser.parse_args(arguments)
    except (argparse.ArgumentError, jsonargparse.ArgumentError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(parser.one_line(str(error))) from error


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


def add_verb_options(parser: Parser, cls: type, title: str) -> None:
    """A task's own options of a verb; what is false by default becomes a flag."""
    texts, hints, known = (
        argument_help(cls),
        typing.get_type_hints(cls),
        parser._option_string_actions,
    )
    group = parser.add_argument_group(f"options of {title}")
    about = summary(cls)
    for field in dataclasses.fields(cls):
        name, text = f"--{field.name.replace('_', '-')}", texts[field.name]
        default = field.default
        if default is dataclasses.MISSING:
            default = typing.cast(Any, field.default_factory)()
        if name in known:  # two tasks have it: only help shows both
            if (known[name].help, known[name].default) != (text, default):
                about += f" {name}, default {default}: {text}"
            continue
        if hints[field.name] is bool and default is False:
            group.add_argument(name, action="store_true", help=text)
        else:
            add_option(group, name, hints[field.name], default, text)
    group.description = about


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
