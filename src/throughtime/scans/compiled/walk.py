"""A stage's graph of ATen operations as statements over few operations: one walk for all targets.

Here is what ATen means (aliases, conversions, defaults, optional bounds); how an operation is
written in a language is the target's table (`targets/`). There are two kinds of values: numbers and
truths. A statement names an expression; expressions nest where one operation of ATen is several.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import fx

from .decompositions import over_units
from .trace import Untraceable

NUMBERS = {
    **dict.fromkeys(
        ["neg", "reciprocal", "sigmoid", "tanh", "relu", "exp", "expm1", "log", "log1p", "sqrt",
         "rsqrt", "sin", "cos", "erf", "abs", "sign", "tan", "asin", "acos", "atan", "sinh", "cosh",
         "asinh", "acosh", "atanh", "log2", "log10", "exp2", "erfc", "floor", "ceil", "trunc"],
        1,
    ),
    **dict.fromkeys(["add", "sub", "mul", "div", "minimum", "maximum", "pow", "atan2"], 2),
    "add_scaled": 3, "sub_scaled": 3,  # a ± c b
    "square": 1, "cube": 1, "reciprocal_square": 1,
    "where": 3,  # a truth, and what holds where it is one or not
    "number_of": 1,  # of a truth: 1 or 0
}  # fmt: skip
"""Operations that give numbers, and how many values they take."""

TRUTHS = {
    **dict.fromkeys(["eq", "ne", "lt", "le", "gt", "ge"], 2),
    "isnan": 1,
    "not": 1, "and": 2, "or": 2,
    "where_truth": 3,
    "truth_of": 1,  # of a number: whether it is not zero
}  # fmt: skip
"""Operations that give truths."""


REDUCTIONS = {"sum": 1, "amax": 1}
"""Operations over all units of a row, that give one number for it; each has its own statement.
`UNITS` is how many units there are."""


@dataclass(frozen=True)
class Name:
    """A value that has one: what a stage reads, or what a statement made."""

    text: str
    truth: bool = False


@dataclass(frozen=True)
class Expression:
    """An operation of `NUMBERS` or `TRUTHS` on values."""

    operation: str
    args: tuple[Value, ...]

    @property
    def truth(self) -> bool:
        return self.operation in TRUTHS


Value = Name | Expression | float | bool

UNITS = Name("n")
NONE: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class Statement:
    """`name` is `value` from here on; what a stage makes has its own name, else it is v0, v1, …"""

    name: Name
    value: Value
    made: bool = False


def walk(
    graph: fx.Graph, given: list[str], made: list[str], there: Mapping[int, str] = NONE
) -> list[Statement]:
    """The statements of a graph that reads `given` and makes `made`.

    `there`: of widths that are padded, the mask of units that exist, which alone are reduced.
    Raises `Untraceable` for an operation that is neither pointwise nor one of `REDUCTIONS`.
    """
    return _Walk(graph, given, made, there).statements


SAME = {"sgn": "sign", "logical_not": "not", "bitwise_not": "not", "logical_and": "and",
        "bitwise_and": "and", "logical_or": "or", "bitwise_or": "or"}  # fmt: skip
"""ATen's other names of an operation."""

LOGICAL = {"not", "and", "or"}
COMPOSED = {"add_scaled", "sub_scaled", "square", "cube", "reciprocal_square", "where",
            "number_of", "where_truth", "truth_of", "add", "sub"}  # fmt: skip
"""Operations of ours that are not ATen's, or need a look at their arguments."""

COUNTS = (torch.int64, torch.int32)
"""What sums of truths are; here they are numbers as all others."""

IDENTITY = {"clone", "detach", "detach_copy", "alias", "lift_fresh_copy", "expand", "expand_copy",
            "view_of"}  # fmt: skip
CONSTANT = {"scalar_tensor": 0, "full": 1, "full_like": 1, "zeros_like": 0.0, "ones_like": 1.0,
            "zeros": 0.0, "ones": 1.0, "empty_permuted": 0.0, "empty_like": 0.0}  # fmt: skip
"""The argument that holds the value, or the value."""


class _Walk:
    """One statement for each expression, one for each output."""

    def __init__(
        self, graph: fx.Graph, given: list[str], made: list[str], there: Mapping[int, str]
    ) -> None:
        self.there = there
        self.values: dict[fx.Node, Name | float] = {}
        self.names: dict[Expression, Name] = {}
        self.statements: list[Statement] = []
        self.module = graph.owning_module
        names = iter(given)
        for node in graph.nodes:
            if node.op == "placeholder":
                self.values[node] = Name(next(names))
            elif node.op == "output":
                for name, value in zip(made, node.args[0], strict=True):
                    if value is not None:
                        self.statements.append(Statement(Name(name), self.number(value), True))
            elif node.op == "get_attr":
                self.values[node] = self.constant(node)
            else:
                self.values[node] = self.named(self.value(node))

    def named(self, value: Value) -> Name | float:
        """The name of an expression; the same expression is computed once."""
        if not isinstance(value, Expression):
            return value
        if value not in self.names:
            self.names[value] = Name(f"v{len(self.statements)}", value.truth)
            self.statements.append(Statement(self.names[value], value))
        return self.names[value]

    def constant(self, node: fx.Node) -> float:
        value = getattr(self.module, str(node.target))
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            raise Untraceable("its equations read a tensor that is not a parameter of the cell.")
        return real(value.item())

    def value(self, node: fx.Node) -> Value:
        """What a node computes."""
        packet = getattr(node.target, "overloadpacket", node.target)
        called = str(packet).removeprefix("aten.").rstrip("_")
        name = SAME.get(called, called)
        args: list[Any] = list(node.args)
        kwargs: dict[str, Any] = dict(node.kwargs)
        if name == "_to_copy":
            return self.conversion(args[0], kwargs.get("dtype"))
        if name == "copy" and self.is_truth(args[0]) == self.is_truth(args[1]):
            return self.values[args[1]]
        if name in IDENTITY:
            return self.values[args[0]]
        if name in CONSTANT:
            at = CONSTANT[name]
            return real(args[at] if isinstance(at, int) else at)
        if name in REDUCTIONS:
            return self.reduction(name, *args, **kwargs)
        if name in ("add", "mul") and all(self.is_truth(arg) for arg in args):
            return self.apply("or" if name == "add" else "and", args)
        if name in ("add", "sub"):
            return self.sum(name, args, kwargs.pop("alpha", 1))
        if name == "where" and len(args) == 3:
            return self.choice(*args)
        if name in ("clamp", "clamp_min", "clamp_max"):
            return self.clamp(name, args, kwargs)
        if name == "pow" and isinstance(args[1], (int, float)):
            return self.power(self.number(args[0]), args[1])
        if not isinstance(node.meta["val"], torch.Tensor):
            raise Untraceable(f"the operation {called} cannot be compiled: it has several results.")
        takes = None if name in COMPOSED else (NUMBERS | TRUTHS).get(name)
        if takes != len(args) or kwargs:
            raise Untraceable(f"the operation {called} cannot be compiled.")
        return self.apply(name, args)

    def reduction(self, name: str, x: fx.Node, dim: Any = (), keepdim: bool = False) -> Value:
        """Over the units, [B, n] to [B, 1]."""
        width = x.meta["val"].shape[-1]
        if not keepdim or not over_units(x.meta["val"], dim):
            raise Untraceable(f"the operation {name} mixes the sequences; it can mix units alone.")
        value = self.number(x)
        if width == 1:  # each row has one number already
            return value
        if width in self.there:
            exists = Expression("truth_of", (Name(self.there[width]),))
            others = 0.0 if name == "sum" else -math.inf
            value = self.named(Expression("where", (exists, value, others)))
        if isinstance(value, float):  # of a constant
            count = UNITS if value == 1 else Expression("mul", (UNITS, value))
            return count if name == "sum" else value
        return Expression(name, (value,))

    def apply(self, name: str, args: list[Any]) -> Expression:
        read = self.truth if name in LOGICAL else self.number
        return Expression(name, tuple(read(arg) for arg in args))

    def conversion(self, value: Any, to: Any) -> Value:
        """Truth to numbers, numbers to truth; nothing that rounds."""
        given = value.meta["val"].dtype
        if to == torch.bool:
            return self.truth(value)
        if to in (None, given):
            return self.values[value]
        if (self.is_truth(value) or given in COUNTS) and to.is_floating_point:
            return self.number(value)
        raise Untraceable(f"its equations convert numbers from {given} to {to}.")

    def choice(self, condition: Any, left: Any, right: Any) -> Expression:
        if self.is_truth(left) and self.is_truth(right):
            return Expression("where_truth", tuple(map(self.truth, (condition, left, right))))
        return Expression("where", (self.truth(condition), self.number(left), self.number(right)))

    def sum(self, name: str, args: list[Any], alpha: Any) -> Expression:
        left, right = self.number(args[0]), self.number(args[1])
        if alpha != 1:
            return Expression(f"{name}_scaled", (left, right, real(alpha)))
        return Expression(name, (left, right))

    def clamp(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Value:
        x, *bounds = args
        bounds += [None] * (2 - len(bounds))
        low, high = (None, bounds[0]) if name == "clamp_max" else bounds
        low, high = kwargs.get("min", low), kwargs.get("max", high)
        value = self.number(x)
        if low is not None:
            value = Expression("maximum", (value, self.number(low)))
        if high is not None:
            value = Expression("minimum", (value, self.number(high)))
        return value

    def power(self, x: Value, exponent: float) -> Value:
        simple = {2: "square", 3: "cube", 0.5: "sqrt", -1: "reciprocal", -0.5: "rsqrt",
                  -2: "reciprocal_square"}  # fmt: skip
        if exponent in (0, 1):
            return x if exponent else 1.0
        if exponent in simple:
            return Expression(simple[exponent], (x,))
        return Expression("pow", (x, real(exponent)))

    def is_truth(self, value: Any) -> bool:
        if isinstance(value, fx.Node):
            value = self.values[value]
        return value.truth if isinstance(value, (Name, Expression)) else isinstance(value, bool)

    def number(self, value: Any) -> Value:
        """The value as a number, 1 for what is true."""
        if not isinstance(value, fx.Node):
            return real(value)
        known = self.values[value]
        return Expression("number_of", (known,)) if self.is_truth(value) else known

    def truth(self, value: Any) -> Value:
        """The value as a truth: whether a number is not zero."""
        if isinstance(value, bool):
            return value
        if self.is_truth(value):
            return self.values[value]
        return Expression("truth_of", (self.number(value),))


def real(value: Any) -> float:
    """A constant of the equations."""
    if isinstance(value, complex):
        raise Untraceable("its equations use complex numbers.")
    return float(value)
