"""A `Trace` as JavaScript: functions that compute the stages of a step, unit by unit.

Numbers are those of the language, float64: what is rounded is rounded where it is stored. A stage
is a function of `n` units and of what they read and make: `z` holds the slots, slot k from k·n on;
`s` the parts of the state; `v` the values that later products take, by their operand's number; `p`
the vectors; `q[k]` how many units there are of the size that a mask stands for. Padding is zero.
The text holds names of its own alone, nothing that a cell's author wrote.
"""

from __future__ import annotations

import math
import re

from ..phases import Phase, cut
from ..trace import Stage, Trace
from ..walk import UNITS, Expression, Name, Value, walk
from .infix import INFIX

TABLE = {
    **INFIX,
    "reciprocal": "(1 / {0})",
    "reciprocal_square": "(1 / ({0} * {0}))",
    "sigmoid": "(1 / (1 + Math.exp(-{0})))",
    "relu": "({0} < 0 ? 0 : {0})",
    "sign": "({0} > 0 ? 1 : {0} < 0 ? -1 : 0)",
    "rsqrt": "(1 / Math.sqrt({0}))",
    "erf": "erf({0})",
    "erfc": "(1 - erf({0}))",
    "exp2": "Math.pow(2, {0})",
    "minimum": "Math.min({0}, {1})",
    "maximum": "Math.max({0}, {1})",
    "pow": "Math.pow({0}, {1})",
    "atan2": "Math.atan2({0}, {1})",
    "where": "({0} ? {1} : {2})",
    "number_of": "({0} ? 1 : 0)",
    "eq": "({0} === {1})",
    "ne": "({0} !== {1})",
    "isnan": "({0} !== {0})",
    "not": "(!{0})",
    "and": "({0} && {1})",
    "or": "({0} || {1})",
    "where_truth": "({0} ? {1} : {2})",
    "truth_of": "({0} !== 0)",
}
TABLE |= {
    name: f"Math.{name}({{0}})"
    for name in ["tanh", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "abs", "tan", "asin",
                 "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "log2", "log10",
                 "floor", "ceil", "trunc"]
}  # fmt: skip
"""Of each operation of `walk`; `erf` is a function of the program that the text is put into."""

REDUCED = {
    "sum": ("0", "{0} += {1};"),
    "amax": ("-Infinity", "{0} = Math.max({0}, {1});"),
}
"""Of each reduction: what it begins with, and how a unit joins."""

READ = {"z": "z[{0} * n + i]", "state": "s{0}[i]", "out": "s{0}[i]", "value": "w{0}[i]",
        "p": "p{0}[i]", "q": "(i < q[{0}] ? 1 : 0)"}  # fmt: skip
"""What stands for unit i of what a stage reads or makes."""


def emit(trace: Trace) -> str:
    """The stages as an array of functions, null for one that computes nothing."""
    return "[" + ",\n".join(stage_text(stage) for stage in trace.stages) + "]"


def stage_text(stage: Stage | None) -> str:
    """A function of a stage. What a unit makes is written after all that it reads: it may take its
    place."""
    if stage is None:
        return "null"
    given = [place(read) for read in stage.reads]
    there = {width: place(mask) for width, mask in stage.there.items()}
    phases = cut(walk(stage.forward, given, list(stage.makes), there))
    lines = [f"const {name} = {whole};" for name, whole in arrays([*stage.reads, *stage.makes])]
    lines += [f"let {', '.join(f'r{k}' for k in range(phases.of_row))};"] if phases.of_row else []
    lines += [f"const kept{k} = new Float64Array(n);" for k in range(phases.kept)]
    for phase in phases.phases:
        lines += [f"{row(one.name)} = {text(one.value)};" for one in phase.row]
        lines += [f"{row(one.result)} = {REDUCED[one.operation][0]};" for one in phase.reductions]
        body = units(phase)
        if body:
            lines += ["for (let i = 0; i < n; i++) {", *(f"    {line}" for line in body), "}"]
    return "\n".join(["function (n, z, s, v, p, q) {", *(f"    {line}" for line in lines), "}"])


def arrays(names: list[str]) -> list[tuple[str, str]]:
    """The arrays that a stage reads or makes, and where they are."""
    letters = {"state": "ss", "out": "ss", "value": "wv", "p": "pp"}
    found = {}
    for name in names:
        kind, number = name[:-1].split("[")
        if kind in letters:
            ours, given = letters[kind]
            found[f"{ours}{number}"] = f"{given}[{number}]"
    return sorted(found.items())


def units(phase: Phase) -> list[str]:
    """What a phase does for unit i."""
    lines = [f"const {name.text} = kept{at}[i];" for name, at in phase.loaded]
    made = []
    for one in phase.statements:
        if one.made:
            made.append((place(one.name.text), text(one.value)))
        else:
            lines.append(f"const {one.name.text} = {text(one.value)};")
    lines += [f"kept{at}[i] = {name.text};" for name, at in phase.stored]
    for one in phase.reductions:
        lines.append(REDUCED[one.operation][1].format(row(one.result), text(one.value)))
    lines += [f"const m{k} = {value};" for k, (_, value) in enumerate(made)]
    return lines + [f"{where} = m{k};" for k, (where, _) in enumerate(made)]


def place(name: str) -> str:
    """Unit i of what is called so."""
    kind, number = name[:-1].split("[")
    return READ[kind].format(number)


def row(name: Name) -> str:
    """A number of the whole row: r[2] is r2."""
    return re.sub(r"^r\[(\d+)\]$", r"r\1", name.text)


def text(value: Value) -> str:
    """A value."""
    if value == UNITS:
        return "n"
    if isinstance(value, Name):
        return row(value)
    if isinstance(value, Expression):
        return TABLE[value.operation].format(*map(text, value.args))
    if isinstance(value, bool):
        return "true" if value else "false"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "(-Infinity)"
    return repr(value) if value >= 0 else f"({value!r})"
