"""A `Trace` as C++ with vectors: the struct `Cell` that the time loop of `runtime/` is around."""

from __future__ import annotations

import json
import math

from ..trace import Stage, Trace
from ..walk import Expression, Name, Statement, Value, walk

TABLE = {
    "neg": "-{0}",
    "reciprocal": "1 / {0}",
    "reciprocal_square": "1 / ({0} * {0})",
    "square": "{0} * {0}",
    "cube": "{0} * {0} * {0}",
    "relu": "where({0} < 0, vec{{}}, {0})",
    "rsqrt": "1 / sqrt_({0})",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "add_scaled": "{0} + {2} * {1}",
    "sub_scaled": "{0} - {2} * {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "minimum": "minimum_({0}, {1})",
    "maximum": "maximum_({0}, {1})",
    "pow": "pow_({0}, {1})",
    "atan2": "each({0}, {1}, [](real a, real b) {{ return std::atan2(a, b); }})",
    "where": "where({0}, {1}, {2})",
    "number_of": "where({0}, all(1), all(0))",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "isnan": "is_nan({0})",
    "not": "~{0}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "where_truth": "({0} & {1}) | (~{0} & {2})",
    "truth_of": "({0} != 0)",
}
TABLE |= {
    name: f"{name}_({{0}})"
    for name in ["sigmoid", "tanh", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "erf",
                 "abs", "sign"]
}  # fmt: skip
TABLE |= {
    name: f"each({{0}}, [](real v) {{{{ return std::{name}(v); }}}})"
    for name in ["tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "log2",
                 "log10", "exp2", "erfc", "floor", "ceil", "trunc"]
}  # fmt: skip
"""Of each operation of `walk`; a format takes an argument as often as it asks. A nested expression
needs no brackets: `walk` nests those only whose text here has its own, or is a call."""


def emit(trace: Trace) -> str:
    """The program: a line of JSON for who calls it, and the struct."""
    lines = [f"// {json.dumps(facts(trace))}", "struct Cell {", *_constants(trace)]
    for direction, given, made in (
        ("forward", "", "vec *value, vec *out"),
        (
            "backward",
            "const vec *dvalue, const vec *dout, ",
            "vec *dz, vec *dstate, vec *dp, vec *dq",
        ),
    ):
        lines += [
            "    template <int stage>",
            f"    static inline __attribute__((always_inline)) void {direction}(",
            "        const vec *z, const vec *state, const vec *p, const vec *q,",
            f"        {given}{made}) {{",
        ]
        for number, stage in enumerate(trace.stages):
            if stage:
                lines.append(f"        if constexpr (stage == {number}) {{")
                lines += [f"            {_line(one)}" for one in _body(stage, direction)]
                lines.append("        }")
        lines.append("    }")
    return "\n".join([*lines, "};", ""])


def facts(trace: Trace) -> dict[str, object]:
    """What who calls the program must know of the cell."""
    return {
        "states": trace.states,
        "vectors": trace.vectors,
        "streams": trace.streams,
        "slots": len(trace.gates),
        "operands": trace.operands,
        "taken": sorted({p.operand for p in trace.products if p.operand < trace.states}),
        "reads_x": trace.direct is not None,
    }


def _constants(trace: Trace) -> list[str]:
    last = len(trace.stages) - 1
    products = ", ".join(f"{{{p.stage}, {p.operand}, {p.slot}, {p.count}}}" for p in trace.products)
    touches, streams = [], []
    for stage in trace.stages:
        reads = stage.reads if stage else ()
        touched = [int(read[2:-1]) for read in reads if read.startswith("z[")]
        touched += [len(trace.gates) + int(r[2:-1]) for r in reads if r.startswith("p[")]
        touches.append(f"{sum(1 << column for column in touched)}ul")
        streams.append(f"{sum(1 << int(r[2:-1]) for r in reads if r.startswith('q['))}ul")
    return [
        f"    static constexpr int GATES = {trace.all_gates}, STATES = {trace.states};",
        f"    static constexpr int VECTORS = {trace.vectors}, STREAMS = {trace.streams};",
        f"    static constexpr int SLOTS = {len(trace.gates)}, INPUTS = {trace.inputs};",
        f"    static constexpr int DIRECT = {-1 if trace.direct is None else trace.direct};",
        f"    static constexpr int OPERANDS = {trace.operands}, STAGES = {last};",
        f"    static constexpr int PRODUCTS = {len(trace.products)};",
        f"    static constexpr bool RUNS_0 = {'true' if trace.stages[0] else 'false'};",
        f"    static constexpr int gate[] = {{{', '.join(map(str, trace.gates))}}};",
        f"    static constexpr int made[] = {{{', '.join(map(str, trace.made))}}};",
        f"    static constexpr unsigned long touches[] = {{{', '.join(touches)}}};",
        f"    static constexpr unsigned long stream_touches[] = {{{', '.join(streams)}}};",
        f"    static constexpr Product products[] = {{{products or '{-1, 0, 0, 0}'}}};",
    ]


def _body(stage: Stage, direction: str) -> list[Statement]:
    if direction == "forward":
        return walk(stage.forward, list(stage.reads), list(stage.makes))
    given = [*stage.reads, *(f"d{name}" for name in stage.makes)]
    return walk(stage.backward, given, [f"d{name}" for name in stage.reads])


def _line(one: Statement) -> str:
    kind = "" if one.made else "mask " if one.name.truth else "vec "
    return f"{kind}{one.name.text} = {_text(one.value)};"


def _text(value: Value) -> str:
    if isinstance(value, Name):
        return value.text
    if isinstance(value, Expression):
        return TABLE[value.operation].format(*map(_text, value.args))
    if isinstance(value, bool):
        return "every_lane()" if value else "no_lane()"
    if math.isnan(value):
        return "all(NAN)"
    if math.isinf(value):
        return "all(INFINITY)" if value > 0 else "all(-INFINITY)"
    return f"all(real({value!r}))"
