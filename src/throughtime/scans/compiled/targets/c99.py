"""A `Trace` as C99: the loops over the units that stand between a step's products.

The text is C and C++ alike, without extensions and without the freedoms of -ffast-math. Functions
are named `name_…`; who writes the file gives them the model's name, and writes those that are used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from ..phases import Phase, cut
from ..trace import Stage
from ..walk import UNITS, Expression, Name, Statement, Value, walk
from .infix import INFIX

TABLE = {
    **INFIX,
    "reciprocal": "(1.0f / {0})",
    "reciprocal_square": "(1.0f / ({0} * {0}))",
    "relu": "({0} < 0.0f ? 0.0f : {0})",
    "abs": "({0} < 0.0f ? -{0} : {0})",
    "sign": "({0} > 0.0f ? 1.0f : {0} < 0.0f ? -1.0f : 0.0f)",
    "rsqrt": "(1.0f / sqrtf({0}))",
    "minimum": "name_minimum({0}, {1})",
    "maximum": "name_maximum({0}, {1})",
    "pow": "powf({0}, {1})",
    "atan2": "atan2f({0}, {1})",
    "where": "({0} ? {1} : {2})",
    "number_of": "({0} ? 1.0f : 0.0f)",
    "not": "(!{0})",
    "and": "({0} && {1})",
    "or": "({0} || {1})",
    "where_truth": "({0} ? {1} : {2})",
    "truth_of": "({0} != 0.0f)",
}
TABLE |= {name: f"name_{name}({{0}})" for name in ["sigmoid", "tanh", "exp", "expm1"]}
TABLE |= {
    name: f"{name}f({{0}})"
    for name in ["log", "log1p", "sqrt", "sin", "cos", "erf", "tan", "asin", "acos", "atan", "sinh",
                 "cosh", "asinh", "acosh", "atanh", "log2", "log10", "exp2", "erfc", "floor",
                 "ceil", "trunc"]
}  # fmt: skip
"""Of each operation of `walk`, on numbers of type float and truths of type int."""

REDUCED = {
    "sum": ("0.0f", "{0} += {1};"),
    "amax": ("-name_infinity()", "{0} = name_maximum({0}, {1});"),
}
"""Of each reduction: what it begins with, and how a unit joins."""


def loops(
    stage: Stage, n: int, named: Callable[[str], str], put: Callable[[str], str]
) -> list[str]:
    """The lines of a stage over n units, `i` the unit at hand.

    `named` gives the C of what is read ("z[3]", "state[0]", "p[1]"), `put` the beginning of an
    assignment to what is made ("value[2]", "out[0]"). What a unit makes is written after all that
    it reads: it may take its place.
    """
    given = [named(read) for read in stage.reads]
    there = {width: named(mask) for width, mask in stage.there.items()}
    phases = cut(walk(stage.forward, given, list(stage.makes), there))
    lines = [f"float r[{phases.of_row}];"] if phases.of_row else []
    lines += [f"float kept{k}[{n}];" for k in range(phases.kept)]
    for phase in phases.phases:
        lines += [f"{one.name.text} = {text(one.value, n)};" for one in phase.row]
        for one in phase.reductions:
            lines.append(f"{one.result.text} = {REDUCED[one.operation][0]};")
        body = _units(phase, n, put)
        if body:
            head = f"for (i = 0; i < {n}; i++) {{"
            lines += [head, *(f"    {line}" for line in body), "}"]
    return lines


def _units(phase: Phase, n: int, put: Callable[[str], str]) -> list[str]:
    """What a phase does for a unit."""
    lines = [f"const float {name.text} = kept{at}[i];" for name, at in phase.loaded]
    made = []
    for one in phase.statements:
        if one.made:
            made.append(f"{put(one.name.text)} = {text(one.value, n)};")
        else:
            lines.append(_line(one, n))
    lines += [f"kept{at}[i] = {name.text};" for name, at in phase.stored]
    for one in phase.reductions:
        lines.append(REDUCED[one.operation][1].format(one.result.text, text(one.value, n)))
    if len(made) > 1 and not all(re.search(r"\S = v\d+;$", line) for line in made):
        # all is read before the first is written
        lines += [f"const float m{k} = {line.split(' = ', 1)[1]}" for k, line in enumerate(made)]
        made = [f"{line.split(' = ', 1)[0]} = m{k};" for k, line in enumerate(made)]
    return lines + made


def _line(one: Statement, n: int) -> str:
    return f"const {'int' if one.name.truth else 'float'} {one.name.text} = {text(one.value, n)};"


def text(value: Value, n: int) -> str:
    """A value in C, over n units."""
    if value == UNITS:
        return f"{n}.0f"
    if isinstance(value, Name):
        return value.text
    if isinstance(value, Expression):
        return TABLE[value.operation].format(*(text(arg, n) for arg in value.args))
    if isinstance(value, bool):
        return str(int(value))
    return number(value)


def number(value: float) -> str:
    """A constant."""
    if math.isnan(value):
        return "(name_infinity() - name_infinity())"
    if math.isinf(value):
        return "name_infinity()" if value > 0 else "(-name_infinity())"
    return f"{value!r}f" if value >= 0 else f"({value!r}f)"
