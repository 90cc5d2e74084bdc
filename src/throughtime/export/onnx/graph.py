"""A graph of ONNX as it grows: nodes, constants, weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ground.errors import InputError
from ...layers.outline import Array
from ...scans.compiled.phases import names_in
from ...scans.compiled.walk import UNITS, Expression, Name, Statement, Value
from ..lowering import integers, scales

TABLE: dict[str, str | tuple[Any, ...]] = {
    "neg": "Neg",
    "reciprocal": "Reciprocal",
    "reciprocal_square": ("Reciprocal", ("Mul", 0, 0)),
    "square": ("Mul", 0, 0),
    "cube": ("Mul", ("Mul", 0, 0), 0),
    "rsqrt": ("Reciprocal", ("Sqrt", 0)),
    "add_scaled": ("Add", 0, ("Mul", 2, 1)),
    "sub_scaled": ("Sub", 0, ("Mul", 2, 1)),
    "minimum": "Min",
    "maximum": "Max",
    "expm1": ("Mul", ("Tanh", ("Mul", 0, 0.5)), ("Add", ("Exp", 0), 1.0)),
    "log1p": ("Mul", ("Atanh", ("Div", 0, ("Add", 0, 2.0))), 2.0),
    "log2": ("Div", ("Log", 0), float(np.log(2.0))),
    "log10": ("Div", ("Log", 0), float(np.log(10.0))),
    "exp2": ("Pow", 2.0, 0),
    "erfc": ("Sub", 1.0, ("Erf", 0)),
    "trunc": ("Mul", ("Sign", 0), ("Floor", ("Abs", 0))),
    "where": "Where",
    "where_truth": ("Or", ("And", 0, 1), ("And", ("Not", 0), 2)),
    "number_of": ("Cast", 0),
    "truth_of": ("Not", ("Equal", 0, 0.0)),
    "eq": "Equal",
    "ne": ("Not", ("Equal", 0, 1)),
    "lt": "Less",
    "le": "LessOrEqual",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "isnan": "IsNaN",
    "sum": ("ReduceSum", 0),
    "amax": ("ReduceMax", 0),
}
TABLE |= {
    name.lower(): name
    for name in ["Sigmoid", "Tanh", "Relu", "Exp", "Log", "Sqrt", "Sin", "Cos", "Erf", "Abs",
                 "Sign", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh",
                 "Floor", "Ceil", "Add", "Sub", "Mul", "Div", "Pow", "Not", "And", "Or"]
}  # fmt: skip
"""Of each operation of `walk`, an operator, or operators around arguments (integers) and numbers.
Without one: atan2."""


class Graph:
    """Nodes in order; what is asked for twice is there once."""

    def __init__(self, onnx: Any, precision: str) -> None:
        self.onnx, self.int8 = onnx, precision == "int8"
        self.nodes: list[Any] = []
        self.weights: dict[tuple[Any, ...], str] = {}
        self.initializers: list[Any] = []

    def add(self, operator: str, *inputs: str, count: int = 1, **attributes: Any) -> Any:
        """The name of what a node gives, or the names of several."""
        made = [
            f"v{len(self.nodes)}_{k}" if count > 1 else f"v{len(self.nodes)}" for k in range(count)
        ]
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, made, **attributes))
        return made if count > 1 else made[0]

    def rename(self, value: str, name: str) -> None:
        """Give what is computed the name of an output."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name]))

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """An initializer."""
        held = np.asarray(values, dtype)
        key = (held.dtype.str, held.shape, held.tobytes())
        if key not in self.weights:
            name = self.weights[key] = f"w{len(self.weights)}"
            self.initializers.append(self.onnx.numpy_helper.from_array(held, name))
        return self.weights[key]

    def matrix(self, W: Array) -> str:
        """A matrix, in int8 with a scale for each row where that is the precision."""
        if not self.int8:
            return self.constant(W)
        key = ("matrix", W.shape, W.tobytes())
        if key not in self.weights:
            q, scale = self.constant(integers(W), np.int8), self.constant(scales(W))
            self.weights[key] = self.add("DequantizeLinear", q, scale, axis=0)
        return self.weights[key]

    def affine(self, x: str, W: Array, b: str | None) -> str:
        """x Wᵀ + b."""
        given = [x, self.matrix(W), *([b] if b else [])]
        return self.add("Gemm", *given, transB=1)

    def split(self, z: str, parts: int, n: int) -> list[str]:
        """Columns, n each."""
        if parts == 1:
            return [z]
        return self.add("Split", z, self.constant([n] * parts, np.int64), count=parts, axis=1)

    def columns(self, z: str, first: int, last: int) -> str:
        """Some of them."""
        bounds = [self.constant([k], np.int64) for k in (first, last, 1)]
        return self.add("Slice", z, *bounds)  # from, to, along axis 1

    def run(self, statements: list[Statement], known: dict[str, str], n: int) -> None:
        """Statements over rows [B, n]; `known` has what they read, and then what they made."""
        names = dict(known)
        if any(UNITS in names_in(one.value) for one in statements):
            names[UNITS.text] = self.constant(float(n))
        for one in statements:
            names[one.name.text] = self.value(one.value, names)
            if one.made:
                known[one.name.text] = names[one.name.text]

    def value(self, value: Value, names: dict[str, str]) -> str:
        """The name of a value."""
        if isinstance(value, Name):
            return names[value.text]
        if isinstance(value, bool):
            return self.constant(value, np.bool_)
        if isinstance(value, Expression):
            if value.operation not in TABLE:
                raise InputError(f"ONNX has no {value.operation}: it cannot say this cell.")
            args = [self.value(arg, names) for arg in value.args]
            spelled = TABLE[value.operation]
            if isinstance(spelled, str):
                return self.add(spelled, *args)
            return self.spelled(spelled, args)
        return self.constant(value)

    def spelled(self, term: Any, args: list[str]) -> str:
        """An operator around others."""
        if isinstance(term, float):
            return self.constant(term)
        if isinstance(term, int):
            return args[term]
        operator, *inputs = term
        given = [self.spelled(one, args) for one in inputs]
        if operator == "Cast":
            return self.add("Cast", *given, to=self.onnx.TensorProto.FLOAT)
        if operator.startswith("Reduce"):
            return self.add(operator, *given, self.constant([1], np.int64), keepdims=1)
        return self.add(operator, *given)
