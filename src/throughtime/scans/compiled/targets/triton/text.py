"""Triton's words: how operations are written, and the functions that every program begins with."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...walk import Expression, Name, Statement, Value
from ..infix import INFIX

TABLE = {
    **INFIX,
    "reciprocal": "(1.0 / {0})",
    "reciprocal_square": "(1.0 / ({0} * {0}))",
    "relu": "tl.where({0} < 0, zero, {0})",
    "sign": "tl.where({0} > 0, zero + 1.0, tl.where({0} < 0, zero - 1.0, {0}))",
    "sigmoid": "sigmoid({0})",
    "tanh": "tanh({0})",
    "rsqrt": "(1.0 / tl.sqrt({0}))",
    "minimum": "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "maximum": "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "where": "tl.where({0}, {1}, {2})",
    "number_of": "tl.where({0}, zero + 1.0, zero)",
    "not": "(~{0})",
    "and": "({0} & {1})",
    "or": "({0} | {1})",
    "where_truth": "(({0} & {1}) | (~{0} & {2}))",
    "truth_of": "({0} != 0)",
}
TABLE |= {
    name: f"tl.{name}({{0}})"
    for name in ["exp", "exp2", "log", "log2", "sqrt", "sin", "cos", "erf", "abs", "floor", "ceil"]
}
TABLE |= {
    name: f"libdevice.{name}({{0}})"
    for name in ["expm1", "log1p", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh",
                 "atanh", "log10", "erfc", "trunc"]
}  # fmt: skip
TABLE |= {name: f"libdevice.{name}({{0}}, {{1}})" for name in ["pow", "atan2"]}
"""Of each operation of `walk`, on tensors [BM, BU], or [BM, 1] for a number of each row."""

REDUCED = {"sum": ("tl.sum", "0.0"), "amax": ("tl.max", "-float('inf')")}
"""Of each reduction: the function, and what changes nothing in it."""

PLAIN = {"add", "sub", "mul", "div", "add_scaled", "sub_scaled", "eq", "ne", "lt", "le", "gt", "ge",
         "where", "minimum", "maximum"}  # fmt: skip
"""Operations that take a constant as it is, beside a tensor: numbers of a row stay so."""

PREAMBLE = '''
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def sigmoid(v):
    return libdevice.fast_dividef(1.0, 1.0 + libdevice.fast_expf(-v))


@triton.jit
def tanh(v):
    size = tl.abs(v)
    e = libdevice.fast_expf(-2.0 * size)
    far = libdevice.fast_dividef(1.0 - e, 1.0 + e)
    q = v * v
    near = size * (1.0 + q * (-1.0 / 3 + q * (2.0 / 15 + q * (-17.0 / 315 + q * 62.0 / 2835))))
    far = tl.where(size < 0.25, near, far)
    return tl.where(v < 0, -far, far)


@triton.jit
def arrive(arrived):
    """At a barrier of the programs that own the same rows: what was stored can be read."""
    tl.debug_barrier()
    tl.atomic_add(arrived, 1, sem="release")


@triton.jit
def wait(arrived, goal):
    """Until `goal` arrivals were counted."""
    seen = tl.atomic_add(arrived, 0, sem="acquire")
    while seen < goal:
        seen = tl.atomic_add(arrived, 0, sem="acquire")
    tl.debug_barrier()
'''


def adder(count: int) -> list[str]:
    """A function that adds `count` pairs of numbers: sums of several tensors in one go."""
    left, right = ([f"{side}{i}" for i in range(count)] for side in "ab")
    sums = ", ".join(f"{a} + {b}" for a, b in zip(left, right))
    return ["@triton.jit", f"def add_{count}({', '.join(left + right)}):", f"    return {sums}"]


def name_of(text: str) -> str:
    """`z[3]` as z_3; a state as what it was before, b_0."""
    kind, _, number = text.rstrip("]").partition("[")
    return {"state": "b", "value": "v", "out": "o"}.get(kind, kind) + f"_{number}"


def line(one: Statement) -> str:
    """A statement; what a stage makes is a whole tile [BM, BU]."""
    if one.made:
        return f"{one.name.text} = zero + {written(one.value)}"
    return f"_{one.name.text} = {written(one.value)}"


def reduced(one: Statement) -> str:
    """A reduction over the own units, [BM]."""
    assert isinstance(one.value, Expression)
    function, nothing = REDUCED[one.value.operation]
    return f"{function}(tl.where(mine, {written(one.value.args[0])}, {nothing}), 1)"


def unchanged(one: Statement, name: str) -> str:
    """What, told a second time beside `name`, changes nothing in a reduction."""
    assert isinstance(one.value, Expression)
    return f"tl.zeros_like({name})" if one.value.operation == "sum" else name


def combined(one: Statement, parts: str) -> str:
    """The same over the `parts` [BM, COLS] of all programs of the rows, [BM, 1]."""
    assert isinstance(one.value, Expression)
    function, _ = REDUCED[one.value.operation]
    return f'{function}(tl.load({parts}, cache_modifier=".cg"), 1)[:, None]'


def written(value: Value) -> str:
    """A value as Triton writes it."""
    if isinstance(value, Name):
        temporary = value.text[0] == "v" and value.text[1:].isdigit()
        return f"_{value.text}" if temporary else value.text
    if isinstance(value, Expression):
        plain = value.operation in PLAIN and not all(map(_constant, value.args))
        args = (repr(a) if plain and _constant(a) else written(a) for a in value.args)
        return TABLE[value.operation].format(*args)
    if isinstance(value, bool):
        return f"(zero {'==' if value else '!='} 0)"
    if math.isnan(value) or math.isinf(value):
        return f'(zero + float("{value}"))'
    return f"(zero + {value!r})"


def _constant(value: Value) -> bool:
    """Whether it is a number that can stand in the text as it is."""
    return type(value) is float and math.isfinite(value)


def indented(lines: Iterable[str], by: int = 1) -> list[str]:
    """The lines of a block; one that does nothing where there is none."""
    return [f"{'    ' * by}{text}" for text in lines] or [f"{'    ' * by}pass"]
