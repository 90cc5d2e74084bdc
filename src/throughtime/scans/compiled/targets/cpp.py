"""A `Trace` as C++ with vectors: the struct `Cell` that the time loop of `runtime/` is around."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import cast

from ..phases import Phase, Phases, cut
from ..trace import Stage, Trace
from ..walk import Expression, Name, Statement, Value, walk
from .facts import facts

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


REDUCED = {
    "sum": ("vec{}", "summed", "total"),
    "amax": ("all(-INFINITY)", "highest", "highest_of"),
}
"""Of each reduction: what it begins with, how a vector of units joins, and the lanes at the end."""

INLINE = "static inline __attribute__((always_inline)) void"


def emit(trace: Trace) -> str:
    """The program: a line of JSON for who calls it, and the struct."""
    lines = [f"// {json.dumps(facts(trace, 'cpp'))}", "struct Cell {", *_constants(trace)]
    for direction, made in (
        ("forward", "vec *value, vec *out"),
        (
            "backward",
            "const vec *dvalue, const vec *dout, vec *dz, vec *dstate, vec *dp, vec *dq",
        ),
    ):
        stages = [stage and cut(_body(stage, direction)) for stage in trace.stages]
        counts = [len(stage.phases) if stage else 1 for stage in stages]
        widest = max(stage.of_row for stage in stages if stage)
        kept = max(stage.kept for stage in stages if stage)
        lines += [
            f"    static constexpr int {direction}_phases[] = {{{', '.join(map(str, counts))}}};",
            f"    static constexpr int {direction}_row = {widest}, {direction}_kept = {kept};",
            "    template <int stage, int phase>",
            f"    {INLINE} {direction}(",
            "        const vec *z, const vec *state, const vec *p, const vec *q, vec n, int lanes,",
            f"        vec *r, real *kept, {made}) {{",
            *_by_phase(stages, lambda stage, number: _units(stage.phases[number])),
            "    }",
            "    template <int stage, int phase>",
            f"    {INLINE} {direction}_row_of(vec n, vec *r) {{",
            *_by_phase(stages, _row),
            "    }",
        ]
    return "\n".join([*lines, "};", ""])


def _by_phase(
    stages: list[Phases | None], text: Callable[[Phases, int], list[str]]
) -> Iterator[str]:
    """The text of each phase that has any."""
    for s, stage in enumerate(stages):
        for number in range(len(stage.phases) if stage else 0):
            body = text(cast(Phases, stage), number)
            if body:
                yield f"        if constexpr (stage == {s} && phase == {number}) {{"
                yield from (f"            {line}" for line in body)
                yield "        }"


def _units(phase: Phase) -> list[str]:
    """What a phase does for a vector of units."""
    lines = [f"vec {name.text} = load(kept + {at} * W);" for name, at in phase.loaded]
    lines += map(_line, phase.statements)
    lines += [f"store(kept + {at} * W, {name.text});" for name, at in phase.stored]
    for one in phase.reductions:
        r, joined = one.result.text, REDUCED[one.operation][1]
        lines.append(f"{r} = {joined}({r}, {_text(one.value)}, lanes);")
    return lines


def _row(stage: Phases, number: int) -> list[str]:
    """What a phase does for a row before its units."""
    phase, before = stage.phases[number], stage.phases[number - 1] if number else Phase()
    done = [(one.result.text, REDUCED[one.operation][2]) for one in before.reductions]
    lines = [f"{r} = {whole}({r});" for r, whole in done]
    lines += [f"{one.name.text} = {_text(one.value)};" for one in phase.row]
    return lines + [f"{r.result.text} = {REDUCED[r.operation][0]};" for r in phase.reductions]


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
        return walk(stage.forward, list(stage.reads), list(stage.makes), stage.there)
    given = [*stage.reads, *(f"d{name}" for name in stage.makes)]
    return walk(stage.backward, given, [f"d{name}" for name in stage.reads], stage.there)


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
