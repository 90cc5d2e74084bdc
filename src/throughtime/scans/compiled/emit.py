"""A `Trace` as C++: the struct `Cell` that the time loop of `runtime/` is written around."""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from torch import fx

from .trace import Stage, Trace, Untraceable

UNARY = {
    "neg": "-{}",
    "reciprocal": "1 / {}",
    "sigmoid": "sigmoid_({})",
    "tanh": "tanh_({})",
    "relu": "where({} < 0, vec{{}}, {})",
    "exp": "exp_({})",
    "expm1": "expm1_({})",
    "log": "log_({})",
    "log1p": "log1p_({})",
    "sqrt": "sqrt_({})",
    "rsqrt": "1 / sqrt_({})",
    "sin": "sin_({})",
    "cos": "cos_({})",
    "erf": "erf_({})",
    "abs": "abs_({})",
    "sign": "sign_({})",
    "sgn": "sign_({})",
    "isnan": "is_nan({})",
    "logical_not": "~{}",
    "bitwise_not": "~{}",
} | {
    name: f"each({{}}, [](real v) {{{{ return std::{name}(v); }}}})"
    for name in [
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "asinh",
        "acosh",
        "atanh",
        "log2",
        "log10",
        "exp2",
        "erfc",
        "floor",
        "ceil",
        "trunc",
    ]
}
"""One argument; a format takes it as often as it asks."""

BINARY = {
    "mul": "{} * {}",
    "div": "{} / {}",
    "minimum": "minimum_({}, {})",
    "maximum": "maximum_({}, {})",
    "pow": "pow_({}, {})",
    "atan2": "each({}, {}, [](real a, real b) {{ return std::atan2(a, b); }})",
    "eq": "{} == {}",
    "ne": "{} != {}",
    "lt": "{} < {}",
    "le": "{} <= {}",
    "gt": "{} > {}",
    "ge": "{} >= {}",
    "logical_and": "{} & {}",
    "logical_or": "{} | {}",
    "bitwise_and": "{} & {}",
    "bitwise_or": "{} | {}",
}
LOGICAL = {"logical_not", "bitwise_not", "logical_and", "logical_or", "bitwise_and", "bitwise_or"}
IDENTITY = {"clone", "detach", "detach_copy", "alias", "lift_fresh_copy", "expand", "view_of"}
CONSTANT = {"scalar_tensor": 0, "full": 1, "full_like": 1, "zeros_like": 0.0, "ones_like": 1.0,
            "zeros": 0.0, "ones": 1.0, "empty_permuted": 0.0, "empty_like": 0.0}  # fmt: skip
"""The argument that holds the value, or the value."""


def emit(trace: Trace) -> str:
    """The program: a line of JSON for who calls it, and the struct."""
    facts = {
        "states": trace.states,
        "vectors": trace.vectors,
        "slots": len(trace.gates),
        "operands": trace.operands,
        "taken": sorted({p.operand for p in trace.products if p.operand < trace.states}),
        "reads_x": trace.direct is not None,
    }
    last = len(trace.stages) - 1
    products = ", ".join(f"{{{p.stage}, {p.operand}, {p.slot}, {p.count}}}" for p in trace.products)
    touches = []
    for stage in trace.stages:
        reads = stage.reads if stage else ()
        touched = [int(read[2:-1]) for read in reads if read.startswith("z[")]
        touched += [len(trace.gates) + int(r[2:-1]) for r in reads if r.startswith("p[")]
        touches.append(f"{sum(1 << column for column in touched)}ul")
    lines = [
        f"// {json.dumps(facts)}",
        "struct Cell {",
        f"    static constexpr int GATES = {trace.all_gates}, STATES = {trace.states};",
        f"    static constexpr int VECTORS = {trace.vectors};",
        f"    static constexpr int SLOTS = {len(trace.gates)}, INPUTS = {trace.inputs};",
        f"    static constexpr int DIRECT = {-1 if trace.direct is None else trace.direct};",
        f"    static constexpr int OPERANDS = {trace.operands}, STAGES = {last};",
        f"    static constexpr int PRODUCTS = {len(trace.products)};",
        f"    static constexpr bool RUNS_0 = {'true' if trace.stages[0] else 'false'};",
        f"    static constexpr int gate[] = {{{', '.join(map(str, trace.gates))}}};",
        f"    static constexpr int made[] = {{{', '.join(map(str, trace.made))}}};",
        f"    static constexpr unsigned long touches[] = {{{', '.join(touches)}}};",
        f"    static constexpr Product products[] = {{{products or '{-1, 0, 0, 0}'}}};",
    ]
    for direction in ("forward", "backward"):
        given, made = (
            ("", "vec *value, vec *out")
            if direction == "forward"
            else (
                "const vec *dvalue, const vec *dout, ",
                "vec *dz, vec *dstate, vec *dp",
            )
        )
        lines += [
            "    template <int stage>",
            f"    static inline __attribute__((always_inline)) void {direction}(",
            f"        const vec *z, const vec *state, const vec *p, {given}{made}) {{",
        ]
        for number, stage in enumerate(trace.stages):
            if stage:
                lines.append(f"        if constexpr (stage == {number}) {{")
                lines += [f"            {line}" for line in _body(stage, direction)]
                lines.append("        }")
        lines.append("    }")
    return "\n".join([*lines, "};", ""])


def _body(stage: Stage, direction: str) -> list[str]:
    if direction == "forward":
        return _Body(stage.forward, list(stage.reads), list(stage.makes)).lines
    given = [*stage.reads, *(f"d{name}" for name in stage.makes)]
    return _Body(stage.backward, given, [f"d{name}" for name in stage.reads]).lines


class _Body:
    """The statements of one graph: one for each node, one for each output."""

    def __init__(self, graph: fx.Graph, given: list[str], made: list[str]) -> None:
        self.text: dict[fx.Node, str] = {}
        self.kind: dict[fx.Node, str] = {}
        self.lines: list[str] = []
        self.module = graph.owning_module
        names = iter(given)
        for node in graph.nodes:
            if node.op == "placeholder":
                self.text[node], self.kind[node] = next(names), "vec"
            elif node.op == "output":
                for name, value in zip(made, node.args[0], strict=True):
                    if value is not None:
                        self.lines.append(f"{name} = {self.vector(value)};")
            elif node.op == "get_attr":
                self.constant(node)
            else:
                self.operation(node)

    def constant(self, node: fx.Node) -> None:
        value = getattr(self.module, str(node.target))
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            raise Untraceable("its equations read a tensor that is not a parameter of the cell.")
        self.text[node], self.kind[node] = _number(value.item()), "vec"

    def operation(self, node: fx.Node) -> None:
        kind, text = self.expression(node)
        self.text[node], self.kind[node] = f"v{len(self.lines)}", kind
        self.lines.append(f"{kind} {self.text[node]} = {text};")

    def expression(self, node: fx.Node) -> tuple[str, str]:
        """The type and the text of one operation."""
        packet = getattr(node.target, "overloadpacket", node.target)
        name = str(packet).removeprefix("aten.").rstrip("_")
        args: list[Any] = list(node.args)
        kwargs: dict[str, Any] = dict(node.kwargs)
        if name == "_to_copy":
            return self.conversion(args[0], kwargs.get("dtype"))
        if name == "copy" and self.is_mask(args[0]) == self.is_mask(args[1]):
            return self.kind[args[1]], self.text[args[1]]  # type: ignore[index]
        if name in IDENTITY:
            return self.kind[args[0]], self.text[args[0]]
        if name in CONSTANT:
            at = CONSTANT[name]
            return "vec", _number(args[at] if isinstance(at, int) else at)
        if name == "add" and all(self.is_mask(arg) for arg in args):
            return "mask", f"{self.mask(args[0])} | {self.mask(args[1])}"
        if name in ("add", "sub"):
            return self.sum(name, args, kwargs.pop("alpha", 1))
        if name == "mul" and all(self.is_mask(arg) for arg in args):
            return "mask", f"{self.mask(args[0])} & {self.mask(args[1])}"
        if name == "where" and len(args) == 3:
            if self.is_mask(args[1]) and self.is_mask(args[2]):
                m, a, b = (self.mask(arg) for arg in args)
                return "mask", f"({m} & {a}) | (~{m} & {b})"
            return "vec", (
                f"where({self.mask(args[0])}, {self.vector(args[1])}, {self.vector(args[2])})"
            )
        if name in ("clamp", "clamp_min", "clamp_max"):
            return self.clamp(name, args, kwargs)
        if name == "pow" and isinstance(args[1], (int, float)):
            return "vec", self.power(self.vector(args[0]), args[1])
        if not isinstance(node.meta["val"], torch.Tensor):
            raise Untraceable(f"the operation {name} cannot be compiled: it has several results.")
        boolean = "mask" if node.meta["val"].dtype == torch.bool else "vec"
        read = self.mask if name in LOGICAL else self.vector
        if name in UNARY and len(args) == 1 and not kwargs:
            argument = read(args[0])
            return boolean, UNARY[name].format(argument, argument)
        if name in BINARY and len(args) == 2 and not kwargs:
            return boolean, BINARY[name].format(read(args[0]), read(args[1]))
        raise Untraceable(f"the operation {name} cannot be compiled.")

    def conversion(self, value: Any, to: Any) -> tuple[str, str]:
        """Truth to numbers, numbers to truth; nothing that rounds."""
        kind, text = self.kind[value], self.text[value]
        given = value.meta["val"].dtype
        if to == torch.bool:
            return "mask", self.mask(value)
        if to in (None, given):
            return kind, text
        if kind == "mask" and to.is_floating_point:
            return "vec", self.vector(value)
        raise Untraceable(f"its equations convert numbers from {given} to {to}.")

    def sum(self, name: str, args: list[Any], alpha: Any) -> tuple[str, str]:
        left, right = self.vector(args[0]), self.vector(args[1])
        if alpha != 1:
            right = f"{_number(alpha)} * {right}"
        return "vec", f"{left} {'+' if name == 'add' else '-'} {right}"

    def clamp(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, str]:
        x, *bounds = args
        bounds += [None] * (2 - len(bounds))
        low, high = (None, bounds[0]) if name == "clamp_max" else bounds
        low, high = kwargs.get("min", low), kwargs.get("max", high)
        text = self.vector(x)
        if low is not None:
            text = f"maximum_({text}, {self.vector(low)})"
        if high is not None:
            text = f"minimum_({text}, {self.vector(high)})"
        return "vec", text

    def power(self, x: str, exponent: float) -> str:
        simple = {0: "all(1)", 1: x, 2: f"{x} * {x}", 3: f"{x} * {x} * {x}", 0.5: f"sqrt_({x})",
                  -1: f"1 / {x}", -0.5: f"1 / sqrt_({x})", -2: f"1 / ({x} * {x})"}  # fmt: skip
        return simple.get(exponent, f"pow_({x}, {_number(exponent)})")

    def is_mask(self, value: Any) -> bool:
        return isinstance(value, bool) or (
            isinstance(value, fx.Node) and self.kind[value] == "mask"
        )

    def vector(self, value: Any) -> str:
        if not isinstance(value, fx.Node):
            return _number(value)
        text = self.text[value]
        return f"where({text}, all(1), all(0))" if self.kind[value] == "mask" else text

    def mask(self, value: Any) -> str:
        if isinstance(value, bool):
            return "every_lane()" if value else "no_lane()"
        if not self.is_mask(value):
            return f"({self.vector(value)} != 0)"
        return self.text[value]


def _number(value: Any) -> str:
    if isinstance(value, complex):
        raise Untraceable("its equations use complex numbers.")
    value = float(value)
    if math.isnan(value):
        return "all(NAN)"
    if math.isinf(value):
        return "all(INFINITY)" if value > 0 else "all(-INFINITY)"
    return f"all(real({value!r}))"
