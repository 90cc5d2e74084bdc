"""Options of the command line from dataclasses, with one-line errors."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import types
import typing
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal, NoReturn

from ...config.settings import check, from_dict, hints_of
from ...ground.errors import InputError, SettingError, did_you_mean

SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""How true and false are written."""


class Parser(argparse.ArgumentParser):
    """Takes words apart into options; what they mean is their dataclasses' to say.

    Errors are one-line `InputError`s that name the nearest option; none is abbreviated. `hints`
    holds the hint of each setting, by its dotted name.
    """

    def __init__(self, prog: str, **settings: Any) -> None:
        usage = f"{prog} [options]"  # which are listed below it, in sections
        none = argparse.SUPPRESS
        super().__init__(prog, usage, allow_abbrev=False, argument_default=none, **settings)
        self.hints: dict[str, Any] = {}

    def error(self, message: str) -> NoReturn:
        """What argparse says of words that do not go together."""
        raise InputError(message.removeprefix("argument ") + ".")

    def read(self, words: Sequence[str]) -> dict[str, Any]:
        """The settings that the words give, nested by section; what they leave out is not there."""
        known = self._option_string_actions
        for word in words:
            option = word.partition("=")[0]
            if option.startswith("--") and len(option) > 2 and option not in known:
                names = [name.removeprefix("--") for name in known]
                raise InputError(f"unknown option {option}.{nearest(option[2:], names)}")
        given, more = self.parse_known_args(words)
        if more:
            takes = where_to(more[0], known, lines=" predict " in self.prog)
            raise InputError(
                f"unexpected {more[0]!r}.{takes} {self.prog} --help tells the options."
            )
        values: dict[str, Any] = {}
        for name, said in vars(given).items():
            *sections, last = name.split(".")
            part = values
            for section in sections:
                part = part.setdefault(section, {})
            part[last] = meant(self.hints.get(name, str), said)
        return values


def options_of(cls: type, verb: str, about: str, words: Sequence[str]) -> Any:
    """The options of a verb that has no others."""
    parser = Parser(f"throughtime {verb}", description=about)
    add_options(parser, cls, verb)
    with as_typed():
        options = from_dict(cls, parser.read(words))
        check(options)
    return options


def where_to(word: str, known: Collection[str], *, lines: bool) -> str:
    """How a verb with these options takes what a word that stands by itself may be.

    `lines`: it reads lines on standard input.
    """
    takers = (("--data", "files"), ("--train", "files"), ("--pairs", "files"), ("--prime", "text"))
    found = next((f"{kind}: {name} {word}" for name, kind in takers if name in known), None)
    found = f"{found}, or lines on standard input" if found and lines else found
    return "" if word.startswith("-") or not found else f" It takes {found}."


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


def meant(hint: Any, said: Any) -> Any:
    """What the words of an option stand for; as they are where they stand for nothing of its kind,
    which `config.check` then tells."""
    if isinstance(said, bool):
        return said
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        if said in ("null", ["null"]):
            return None
        if typing.get_origin(parts[-1]) is not list:  # X | None
            return meant(parts[0], said)
        found = meant(parts[-1], said)
        return found[0] if len(found) == 1 else found
    if kind is list:
        if said == ["[]"]:
            return []
        if parts[0] is not str:  # 0.9 0.99 and [0.9, 0.99] are the same
            said = [word for word in re.split(r"[\s,]+", " ".join(said).strip(" []")) if word]
        return [meant(parts[0], word) for word in said]
    if kind is Literal:
        return next((choice for choice in parts if str(choice) == said), said)
    if hint is bool:
        return SWITCH.get(said.lower(), said)
    for number in (int, float) if hint is int else (float,) if hint is float else ():
        with contextlib.suppress(ValueError):
            return number(said)
    return said


def option(name: str) -> str:
    """A setting as it is typed: hyphens at the top, dotted names as in YAML below."""
    return "--" + (name if "." in name else name.replace("_", "-"))


@contextlib.contextmanager
def as_typed() -> Iterator[None]:
    """Inside, errors name settings as options."""
    try:
        yield
    except SettingError as error:
        raise error.spelled(option) from error


def add_options(
    parser: Parser, cls: type, title: str, *, about: str = "", section: str = "",
    defaults: Any = None, flags: bool = True,
) -> None:  # fmt: skip
    """One option for each setting of a dataclass; sections have their own headings.

    A class's own settings come before those that it shares with others. With `flags`, what is false
    by default needs no word after it; without, it may have one.
    """
    defaults = cls() if defaults is None else defaults
    about, texts, hints = about or summary(cls), argument_help(cls), hints_of(cls)
    own, found, sections = set(vars(cls).get("__annotations__", {})), [], []
    for field in sorted(dataclasses.fields(cls), key=lambda field: field.name not in own):
        name, default = section + field.name, getattr(defaults, field.name)
        if dataclasses.is_dataclass(default):
            sections.append((name, default, texts[field.name]))
            continue
        text = texts[field.name] + shown_default(default, texts[field.name])
        if (known := parser._option_string_actions.get(option(name))) is None:
            parser.hints[name] = hints[field.name]
            found.append((field, name, text))
        elif known.help != text.replace("%", "%%"):  # two tasks have it: only help shows both
            about += f" {option(name)}: {text}"
    if found or about != summary(cls):
        group = parser.add_argument_group(title, about.replace("%", "%%"))
        for field, name, text in found:
            spelled = [option(name), *map(option, field.metadata.get("also", ()))]
            settings = words_of(parser.hints[name], flags)
            if "repeated" in field.metadata:
                settings["action"] = "extend"
            if field.metadata.get("each"):
                settings = {"action": "append", "metavar": settings["metavar"]}
            group.add_argument(*spelled, dest=name, help=text.replace("%", "%%"), **settings)
    for name, default, text in sections:
        add_options(
            parser, type(default), name, about=text, section=f"{name}.", defaults=default,
            flags=flags,
        )  # fmt: skip


def words_of(hint: Any, flags: bool) -> dict[str, Any]:
    """How many words an option of this kind takes, and what stands for them in its help."""
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        return words_of(parts[-1] if typing.get_origin(parts[-1]) is list else parts[0], flags)
    if kind is list:
        return {"nargs": "+", "metavar": words_of(parts[0], flags)["metavar"]}
    if kind is Literal:
        return {"metavar": "{" + ",".join(map(str, parts)) + "}"}
    if hint is bool:
        if flags:
            return {"action": "store_true"}
        return {"nargs": "?", "const": True, "metavar": "{true,false}"}
    return {"metavar": {int: "N", float: "X", str: "TEXT"}[hint]}


def shown_default(default: Any, text: str) -> str:
    """The default as help tells it, where the text does not."""
    if default in (None, "", []) or default is False or "default" in text:
        return ""
    said = " ".join(map(str, default)) if isinstance(default, list) else str(default)
    return f" (default: {said.lower() if default is True else said})"


def summary(cls: type) -> str:
    """What a docstring says before its Args, on one line."""
    return " ".join((cls.__doc__ or "").partition("Args:")[0].split("\n\n")[0].split())


def argument_help(cls: type) -> dict[str, str]:
    """The Args sections of a docstring and of those it inherits from: name → text."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, section = (base.__doc__ or "").partition("Args:")
        entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", section, re.M)
        found.update({name: " ".join(text.split()) for name, text in entries})
    return found
