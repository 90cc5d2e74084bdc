"""A stage's statements cut at its reductions: *phases*, each goes through a row's units once.

A reduction is there only when all units of a row have been seen. So phase 0 computes what the
first reductions take, phase 1 what needs those and is taken by others, and the last phase makes
what the stage makes. What follows from reductions alone is one number for each row, computed once
between two phases. A later phase computes anew what an earlier one had, since that is mostly
cheap; what is dear (a function such as tanh) is kept for it, n numbers for the row at hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from .walk import REDUCTIONS, UNITS, Expression, Name, Statement, Value

CHEAP = {"neg", "relu", "add", "sub", "add_scaled", "sub_scaled", "mul", "minimum", "maximum",
         "square", "cube", "where", "number_of", "abs"}  # fmt: skip
"""Operations on numbers that are computed anew rather than kept."""


@dataclass(frozen=True)
class Reduction:
    """`result`, r[…], is the `operation`, sum or amax, of `value` over the units."""

    result: Name
    operation: str
    value: Value


@dataclass
class Phase:
    """What a phase does.

    Once: the statements of `row`, about the row, after the reductions of the phase before. Then for
    each unit: what is `loaded` of what was kept, the `statements`, what is `stored`, and the terms
    of the `reductions`.
    """

    row: list[Statement] = field(default_factory=list)
    loaded: list[tuple[Name, int]] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    stored: list[tuple[Name, int]] = field(default_factory=list)
    reductions: list[Reduction] = field(default_factory=list)


@dataclass(frozen=True)
class Phases:
    """The phases of a stage, how many numbers they have for a row, and keep for a unit of it."""

    phases: tuple[Phase, ...]
    of_row: int
    kept: int


def cut(statements: list[Statement]) -> Phases:
    """The phases of a stage; one where nothing is reduced."""
    return _Cut(statements).cut()


@dataclass
class Round:
    """What follows from the `reductions` of the rounds before and of this one: its `statements`."""

    reductions: list[Statement] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)


def rounds(statements: list[Statement]) -> list[Round]:
    """The same cut for a target that keeps every value: reductions that can wait for each other.

    Each statement is in the first round that has all it reads; what the stage makes in the last.
    """
    statements = joined(statements)
    level: dict[Name, int] = {}
    for one in statements:
        reads = names_in(one.value)
        level[one.name] = max([0, *(level.get(read, 0) for read in reads)]) + reduces(one.value)
    found = [Round() for _ in range(max([0, *level.values()]) + 1)]
    for one in statements:
        if reduces(one.value):
            found[level[one.name]].reductions.append(one)
        else:
            found[-1 if one.made else level[one.name]].statements.append(one)
    return found


def joined(statements: list[Statement]) -> list[Statement]:
    """With one sum where two were only added to each other."""
    values = {one.name: one.value for one in statements}
    uses = Counter(read for one in statements for read in names_in(one.value))
    gone: set[Name] = set()
    for one in statements:
        value = one.value
        if not isinstance(value, Expression) or value.operation != "add":
            continue
        names = [arg for arg in value.args if isinstance(arg, Name) and uses[arg] == 1]
        parts = [values.get(name) for name in names]
        terms = [part.args[0] for part in parts if reduces(part) and part.operation == "sum"]
        if len(terms) == 2:
            gone.update(names)
            values[one.name] = Expression("sum", (Expression("add", tuple(terms)),))
    return [
        Statement(one.name, values[one.name], one.made)
        for one in statements
        if one.name not in gone
    ]


class _Cut:
    """`level`: the first phase that has a value; `of_row`: its name, where a row has but one."""

    def __init__(self, statements: list[Statement]) -> None:
        self.statements = statements
        self.values = {one.name: one.value for one in statements}
        self.level: dict[Name, int] = {}
        self.of_row: dict[Name, Name] = {}
        if not any(map(reduces, self.values.values())):
            return
        for name, value in self.values.items():
            reads = set(names_in(value))
            self.level[name] = max([0, *(self.level.get(read, 0) for read in reads)])
            self.level[name] += reduces(value)
            alike = reads and all(read in self.of_row or read == UNITS for read in reads)
            made = any(one.made for one in statements if one.name == name)
            if reduces(value) or (alike and not made and not name.truth):
                self.of_row[name] = Name(f"r[{len(self.of_row)}]")

    def cut(self) -> Phases:
        last = max([0, *(self.level[name] for name in self.of_row)])
        phases = [Phase() for _ in range(last + 1)]
        for name, place in self.of_row.items():
            value, level = self.values[name], self.level[name]
            if reduces(value):
                taken = self.renamed(value.args[0])
                phases[level - 1].reductions.append(Reduction(place, value.operation, taken))
            else:
                phases[level].row.append(Statement(place, self.renamed(value)))
        stored_in: dict[Name, Phase] = {}
        kept: dict[Name, int] = {}
        for number, phase in enumerate(phases):
            for one in self.needed(number, number == last, stored_in):
                if one.name in stored_in:
                    if one.name not in kept:
                        kept[one.name] = len(kept)
                        stored_in[one.name].stored.append((one.name, kept[one.name]))
                    phase.loaded.append((one.name, kept[one.name]))
                else:
                    value = self.renamed(one.value)
                    phase.statements.append(Statement(one.name, value, one.made))
            for one in phase.statements:
                if not one.made and dear(one.value):
                    stored_in[one.name] = phase
        return Phases(tuple(phases), len(self.of_row), len(kept))

    def needed(self, number: int, last: bool, there: Container[Name]) -> list[Statement]:
        """What a phase has for each unit, in order; not what a value that is `there` came of."""
        taken = [
            self.values[name]
            for name in self.of_row
            if reduces(self.values[name]) and self.level[name] == number + 1
        ]
        waiting = [name for value in taken for name in names_in(value)]
        if last:
            waiting += [one.name for one in self.statements if one.made]
        found: set[Name] = set()
        while waiting:
            name = waiting.pop()
            if name in found or name in self.of_row or name not in self.values:
                continue
            found.add(name)
            if name not in there:
                waiting += names_in(self.values[name])
        return [one for one in self.statements if one.name in found]

    def renamed(self, value: Value) -> Value:
        """With the row's names of what a row has but one of."""
        if isinstance(value, Name):
            return self.of_row.get(value, value)
        if isinstance(value, Expression):
            return Expression(value.operation, tuple(map(self.renamed, value.args)))
        return value


def reduces(value: Value | None) -> TypeGuard[Expression]:
    """Whether a statement's value is a reduction."""
    return isinstance(value, Expression) and value.operation in REDUCTIONS


def dear(value: Value) -> bool:
    """Whether a number takes longer to compute than to store and load."""
    if not isinstance(value, Expression) or value.truth:
        return False
    return value.operation not in CHEAP or any(map(dear, value.args))


def names_in(value: Value) -> Iterator[Name]:
    """The names that a value reads."""
    if isinstance(value, Name):
        yield value
    elif isinstance(value, Expression):
        for arg in value.args:
            yield from names_in(arg)
