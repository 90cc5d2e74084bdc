"""float32 as NAME.c has it, operation by operation: what its integers are held against.

Every operation rounds once, as in C without contraction; functions are those of `kit`. What kit
takes from math.h is asked of this machine's C library.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...layers.outline import Array
from ...scans.compiled.trace import Stage
from ...scans.compiled.walk import UNITS, Expression, Name, Statement, Value, walk

f32 = np.float32
SHIFT = f32(12582912.0 + 127.0)
ROUND = f32(12582912.0)


def power(x: Array) -> tuple[Array, Array]:
    """p and k of e^x = 2^k (1 + p)."""
    k = (x * f32(1.44269504) + SHIFT) - SHIFT
    r = x - k * f32(0.693359375)
    r = r + k * f32(2.12194440e-4)
    p = f32(0.0083666472) + r * f32(0.0013882496)
    for c in (0.041667204, 0.16666542, 0.49999997):
        p = f32(c) + r * p
    return r + r * r * p, k


def two_to(k: Array) -> Array:
    """2^k of integers."""
    bits = np.asarray(k + SHIFT, f32).view(np.uint32) << np.uint32(23)
    return bits.view(f32)


def between(x: Array, low: float, high: float) -> Array:
    """Within bounds; NaN stays."""
    x = np.where(x < f32(low), f32(low), x)
    return np.where(x > f32(high), f32(high), x)


def exp(x: Array) -> Array:
    """e^x."""
    p, k = power(between(x, -104, 89))
    half = (k * f32(0.5) + ROUND) - ROUND
    return (f32(1) + p) * two_to(half) * two_to(k - half)


def expm1(x: Array) -> Array:
    """e^x − 1."""
    p, k = power(between(x, -20, 89))
    half = two_to(k - f32(1))
    return f32(2) * (half * p + (half - f32(0.5)))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^−x)."""
    p, k = power(-between(x, -87, 87))
    two = two_to(k)
    return f32(1) / (f32(1) + two + two * p)


def tanh(x: Array) -> Array:
    """Tangens hyperbolicus."""
    p, k = power(f32(2) * between(x, -10, 10))
    two = two_to(k)
    less = two * p + (two - f32(1))
    return less / (less + f32(2))


def total(x: Array) -> Array:
    """The sum over the first axis, term after term."""
    return np.add.accumulate(x, 0, dtype=f32)[-1] if len(x) else np.zeros(x.shape[1:], f32)


@functools.cache
def of_library(name: str, takes: int) -> Callable[..., Array]:
    """A function of math.h, number by number."""
    found = getattr(ctypes.CDLL(ctypes.util.find_library("m")), f"{name}f")
    found.argtypes, found.restype = [ctypes.c_float] * takes, ctypes.c_float

    def called(*args: Any) -> Array:
        numbers = np.broadcast_arrays(*args)
        flat = (found(*map(float, row)) for row in zip(*(n.ravel() for n in numbers)))
        return np.fromiter(flat, f32, numbers[0].size).reshape(numbers[0].shape)

    return called


ONE = f32(1)
OPERATIONS: dict[str, Callable[..., Any]] = {
    "neg": lambda x: -x,
    "reciprocal": lambda x: ONE / x,
    "reciprocal_square": lambda x: ONE / (x * x),
    "square": lambda x: x * x,
    "cube": lambda x: x * x * x,
    "relu": lambda x: np.where(x < 0, f32(0), x),
    "abs": lambda x: np.where(x < 0, -x, x),
    "sign": lambda x: np.where(x > 0, ONE, np.where(x < 0, -ONE, f32(0))),
    "sqrt": np.sqrt,
    "rsqrt": lambda x: ONE / np.sqrt(x),
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "add_scaled": lambda a, b, c: a + c * b,
    "sub_scaled": lambda a, b, c: a - c * b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "where": np.where,
    "where_truth": np.where,
    "number_of": lambda x: np.where(x, ONE, f32(0)),
    "truth_of": lambda x: x != 0,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "isnan": np.isnan,
    "not": np.logical_not,
    "and": np.logical_and,
    "or": np.logical_or,
    "exp": exp,
    "expm1": expm1,
    "sigmoid": sigmoid,
    "tanh": tanh,
}
"""Of each operation of `walk`, as `targets.c99.TABLE` prints it."""


def statements(stage: Stage) -> list[Statement]:
    """What a stage does."""
    return walk(stage.forward, list(stage.reads), list(stage.makes), stage.there)


def run(
    stage: Stage, does: list[Statement], n: int, read: Callable[[str], Array]
) -> dict[str, Array]:
    """What a stage makes over n units, by name."""
    with np.errstate(all="ignore"):
        values: dict[Name, Any] = {name: read(name.text) for name in map(Name, stage.reads)}
        values |= {Name(mask): read(mask) for mask in stage.there.values()}
        made: dict[str, Array] = {}
        for one in does:
            found = value(one.value, n, values)
            values[one.name] = found
            if one.made:
                made[one.name.text] = np.broadcast_to(np.asarray(found, f32), (n,)).copy()
        return made


def value(one: Value, n: int, values: Mapping[Name, Any]) -> Any:
    """A value of a walk."""
    if one == UNITS:
        return f32(n)
    if isinstance(one, Name):
        return values[one]
    if not isinstance(one, Expression):
        return one if isinstance(one, bool) else f32(one)
    args = [value(arg, n, values) for arg in one.args]
    if one.operation == "sum":
        return total(np.broadcast_to(args[0], (n,)))
    if one.operation == "amax":
        return np.maximum.reduce(np.broadcast_to(args[0], (n,)))
    if one.operation in OPERATIONS:
        return OPERATIONS[one.operation](*args)
    return of_library(one.operation, len(args))(*args)
