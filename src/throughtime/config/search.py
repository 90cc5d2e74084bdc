"""What settings are drawn from in a search: optim.lr=log(1e-4,1e-2), cell=choice(gru,lstm)."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ..ground.errors import InputError, SettingError, did_you_mean, printable
from .settings import PATH, Loader, check, from_dict, hints_of
from .values import fit, split

KINDS = ("uniform", "log", "int", "log-int", "choice")
"""How a range is written: KIND(LOW,HIGH), KIND(LOW,HIGH,STEP) of uniform and int, choice(A,B,…)."""

EXAMPLE = (
    "Write optim.lr=log(1e-4,1e-2) or cell=choice(gru,lstm); ranges are " + ", ".join(KINDS) + "."
)
MOST_CHOICES = 1000
NOT_SEARCHED = {
    "out": "every trial has a folder of its own",
    "seed": "what a seed brings is luck",
    "device": "it is the machine's, not the model's",
    "threads": "it is the machine's, not the model's",
    "max_time": "every trial has the same budget",
    "epochs": "every trial has the same budget",
    "max_steps": "every trial has the same budget",
    "length": "it is the problem, not the model",
    "level": "a loss over other tokens is another measure (throughtime compare has --levels)",
    "score": "it is what trials are compared by",
    "loop.eval_every": "trials are compared from evaluation to evaluation",
}
"""Settings that no search chooses, and why."""


@dataclass(frozen=True)
class Range:
    """What one setting, by its dotted name, is drawn from.

    Numbers are between `low` and `high`, both included, in steps of `step` where that is given;
    of a choice there are `choices` alone.
    """

    name: str
    kind: str
    low: float = math.nan
    high: float = math.nan
    step: float | None = None
    choices: tuple[Any, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the numbers are whole."""
        return self.kind in ("int", "log-int")

    @property
    def log(self) -> bool:
        """Whether numbers are drawn evenly on a logarithmic scale."""
        return self.kind.startswith("log")

    def ends(self) -> tuple[Any, ...]:
        """The values that must be possible for all to be."""
        return self.choices or (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value could be drawn."""
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        steps = (value - self.low) / (self.step or (1 if self.whole else math.inf))
        return self.low <= value <= self.high and math.isclose(steps, round(steps), abs_tol=1e-9)

    def __str__(self) -> str:
        numbers = (self.low, self.high, *([self.step] if self.step is not None else []))
        said = [said_of(choice) for choice in self.choices] or [f"{n:.15g}" for n in numbers]
        return f"{self.kind}({','.join(said)})"


def said_of(value: Any) -> str:
    """A value of a setting as it is written in a choice."""
    if isinstance(value, list):
        return f"[{','.join(map(said_of, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def search_space(texts: Sequence[str], config: Any) -> dict[str, Range]:
    """The ranges by the dotted names of their settings; `config` has all other settings.

    Errors: `SettingError` for what cannot be read, for a setting that is not there or that no
    search chooses, and for a range of which a setting could not have every value.
    """
    found: dict[str, Range] = {}
    for text in texts:
        name, range_ = read(text, config)
        if name in found:
            raise wrong(text, "this setting has a range already.")
        found[name] = range_
    if not found:
        raise SettingError(f"nothing to try: give search a range or several. {EXAMPLE}", "search")
    return found


def read(text: str, config: Any) -> tuple[str, Range]:
    """One NAME=RANGE."""
    given, equals, said = text.partition("=")
    name = given.strip().removeprefix("--")
    name = name if "." in name else name.replace("-", "_")
    shape = re.fullmatch(r"\s*([a-z-]+)\s*\((.*)\)\s*", said, re.S)
    if not equals or not name or shape is None:
        raise wrong(text, f"not a range. {EXAMPLE}")
    kind, parts = shape[1], split(shape[2])
    if kind not in KINDS:
        raise wrong(text, f"unknown range {kind}.{did_you_mean(kind, KINDS)} {EXAMPLE}")
    hint, metadata = setting(text, name, config)
    if name in NOT_SEARCHED or PATH in metadata:
        why = NOT_SEARCHED.get(name, "it names files")
        raise wrong(text, f"{name} is not searched: {why}.")
    make = choice if kind == "choice" else numbers
    try:
        return name, make(name, kind, parts, hint, metadata, config)
    except InputError as error:
        raise wrong(text, str(error)) from error


def setting(text: str, name: str, config: Any) -> tuple[Any, Any]:
    """The hint and the metadata of a setting; the nearest is told where there is none."""
    *sections, last = name.split(".")
    part = config
    for section in sections:
        part = getattr(part, section, None)
    fields = {f.name: f for f in dataclasses.fields(part)} if dataclasses.is_dataclass(part) else {}
    if last not in fields or dataclasses.is_dataclass(getattr(part, last)):
        known = list(names(config))
        same = [one for one in known if one.rpartition(".")[2] == last]
        near = f" Did you mean {same[0]!r}?" if same else did_you_mean(name, known)
        raise wrong(text, f"unknown setting {printable(name)}.{near}")
    return hints_of(type(part))[last], fields[last].metadata


def names(config: Any, section: str = "") -> Iterator[str]:
    """The dotted names of all settings."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from names(value, f"{section}{field.name}.")
        else:
            yield section + field.name


def choice(name: str, kind: str, parts: list[str], hint: Any, metadata: Any, config: Any) -> Range:
    """A choice of values, each written as in a file of settings."""
    values = [fit(name, plain(part), hint, metadata) for part in parts]
    if not 2 <= len(values) <= MOST_CHOICES:
        raise InputError(f"a choice is of 2 to {MOST_CHOICES} values, got {len(values)}.")
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise InputError(f"{said_of(twice[0])} is there twice.")
    return tried(Range(name, kind, choices=tuple(values)), config)


def plain(part: str) -> Any:
    """A value as YAML has it; what is no YAML is text."""
    try:
        return yaml.load(part, Loader)
    except (yaml.YAMLError, ValueError):
        return part


def numbers(name: str, kind: str, parts: list[str], hint: Any, metadata: Any, config: Any) -> Range:
    """A range of numbers, of the setting's kind and within its limits."""
    kinds = kinds_of(hint)
    if not kinds & {int, float} and "read" not in metadata:
        raise InputError(f"{name} is no number: give it a choice(…).")
    if int in kinds and kind in ("uniform", "log"):
        whole = "int" if kind == "uniform" else "log-int"
        raise InputError(f"{name} is a whole number: {whole}(…).")
    range_ = Range(name, kind, *bounds(kind, parts))
    for end in range_.ends():
        fit(name, end, hint, metadata)
    return tried(range_, config)


def bounds(kind: str, parts: list[str]) -> tuple[float, float, float | None]:
    """The least number, the greatest, and the step between them where there is one."""
    log = kind.startswith("log")
    try:
        found = [int(part) if kind.endswith("int") else float(part) for part in parts]
    except ValueError:
        found = []
    if not 2 <= len(found) <= (2 if log else 3):
        of = "whole numbers" if kind.endswith("int") else "numbers"
        raise InputError(f"{kind} takes two {of}{'' if log else ', a third where it has steps'}.")
    low, high = found[:2]
    step = found[2] if len(found) > 2 else None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"the first number must be below the second, got {low:g} and {high:g}.")
    if log and low <= 0:
        raise InputError(f"{kind} begins above zero, got {low:g}.")
    if step is not None and not 0 < step <= high - low:
        raise InputError(f"steps must be above zero and within the range, got {step:g}.")
    return low, high, step


def kinds_of(hint: Any) -> set[Any]:
    """The kinds that a single value of a setting may be of."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return {kind for part in typing.get_args(hint) for kind in kinds_of(part)}
    return {hint}


def tried(range_: Range, config: Any) -> Range:
    """The range, once the configuration has been looked at with the values at its ends."""
    for end in range_.ends():
        check(drawn(config, {range_.name: end}))
    return range_


def drawn(config: Any, values: dict[str, Any]) -> Any:
    """The configuration with some settings, by dotted name, as they were drawn."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        part = nested
        for section in sections:
            part = part.setdefault(section, {})
        part[last] = value
    return from_dict(type(config), nested, defaults=config)


def value_of(config: Any, name: str) -> Any:
    """A setting by its dotted name."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def wrong(text: str, why: str) -> SettingError:
    """What is said of a NAME=RANGE that cannot be."""
    shown = text if len(text) <= 120 else f"{text[:120]}…"
    return SettingError(f"search {shown!r}: {why}", "search")
