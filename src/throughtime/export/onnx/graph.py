"""A graph of ONNX as it grows: nodes, constants, weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...ground.errors import InputError
from ...layers.outline import Affine, Array
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
    """Nodes in order; what is asked for twice is there once.

    `around`: the graph that this one is the body of. Constants are the outermost graph's, and so is
    what becomes of weights before they are used.
    """

    def __init__(self, onnx: Any, precision: str, around: Graph | None = None) -> None:
        self.onnx, self.precision, self.int8 = onnx, precision, precision == "int8"
        self.root = around.root if around else self
        self.nodes: list[Any] = []
        self.named = 0
        self.weights: dict[tuple[Any, ...], str] = around.root.weights if around else {}
        self.initializers: list[Any] = around.root.initializers if around else []

    def body(self) -> Graph:
        """The graph of what a node of this one does at each step."""
        return Graph(self.onnx, self.precision, self)

    def add(self, operator: str, *inputs: str, count: int = 1, **attributes: Any) -> Any:
        """The name of what a node gives, or the names of several."""
        self.root.named += 1
        name = f"v{self.root.named}"
        made = [f"{name}_{k}" if count > 1 else name for k in range(count)]
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
            self.weights[key] = self.root.add("DequantizeLinear", q, scale, axis=0)
        return self.weights[key]

    def affine(self, x: str, W: Array | str, b: str | None) -> str:
        """x Wᵀ + b of rows x [B, n]; W may be the name of what is there."""
        given = [x, W if isinstance(W, str) else self.matrix(W), *([b] if b else [])]
        return self.add("Gemm", *given, transB=1)

    def linear(self, x: str, W: Array | str, b: str | None) -> str:
        """x Wᵀ + b of x […, n]; W may be the name of what is there."""
        name = W if isinstance(W, str) else self.matrix(W)
        key = ("transposed", name)
        if key not in self.weights:
            self.weights[key] = self.root.add("Transpose", name, perm=[1, 0])
        z = self.add("MatMul", x, self.weights[key])
        return self.add("Add", z, b) if b else z

    def split(self, z: str, parts: int, n: int) -> list[str]:
        """Columns, n each."""
        if parts == 1:
            return [z]
        return self.add("Split", z, self.constant([n] * parts, np.int64), count=parts, axis=-1)

    def columns(self, z: str, first: int, last: int) -> str:
        """Some of the last axis."""
        bounds = [self.constant([k], np.int64) for k in (first, last, -1)]
        return self.add("Slice", z, *bounds)

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

    def apart(self, stacked: str, parts: int) -> list[str]:
        """Of [D, …], each."""
        axis = self.constant([0], np.int64)
        if parts == 1:
            return [self.add("Squeeze", stacked, axis)]
        some = self.add("Split", stacked, count=parts, axis=0, num_outputs=parts)
        return [self.add("Squeeze", one, axis) for one in some]

    def maps(
        self, y: str, maps: Sequence[Affine], *, steps: bool = False, whole: bool = False
    ) -> str:
        """then(W y + b), one map after another; `steps`: of y [T, B, n], not [B, n]; `whole`: in
        float32 whatever the precision."""
        for one in maps:
            given = y, self.constant(one.W) if whole else one.W, self.constant(one.b)
            y = self.linear(*given) if steps else self.affine(*given)
            y = self.add(one.then.capitalize(), y) if one.then else y
        return y

    def info(self, name: str, shape: list[str | int], whole: bool = False) -> Any:
        """An input or an output; `whole`: of integers."""
        kinds = self.onnx.TensorProto
        kind = kinds.INT64 if whole else kinds.FLOAT
        return self.onnx.helper.make_tensor_value_info(name, kind, shape)

    def proto(self, name: str, inputs: list[Any], outputs: list[Any], what: str) -> Any:
        """The graph; of the outermost one, with its constants."""
        own = self.initializers if self.root is self else []
        return self.onnx.helper.make_graph(self.nodes, name, inputs, outputs, own, doc_string=what)
