"""Layers and maps as C functions: the trace's products, and the loops between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from ...layers.outline import Affine, Array, Layer, Outline, Scan, Tokens
from ...scans.compiled.targets.c99 import loops
from ...scans.compiled.trace import Product, Trace
from ..lowering import Lowered, bias, weight, widths
from .arrays import Arrays, Matrix


@dataclass
class Steps:
    """The functions of a model, and what is known of them: arrays, bytes of the stack, products."""

    model: Lowered
    arrays: Arrays
    texts: list[str] = field(default_factory=list)
    products: int = 0
    """Multiplications and additions of a step."""
    reads: list[bool] = field(default_factory=list)
    """Of each scan, whether its equations read x."""
    stack: int = 0
    """Bytes of numbers that the deepest function holds."""

    def __post_init__(self) -> None:
        self.outline: Outline = self.model.outline
        inputs = self.outline.inputs
        if isinstance(inputs, Tokens):
            if self.outline.tied:
                W = self.outline.outputs[-1].W
                self.table = Matrix(self.arrays.tiles(W), *W.shape)
            elif self.model.folded:
                self.table = self.arrays.table(self.by_slot(inputs.table))
            else:
                self.table = self.arrays.table(inputs.table)
        self.scans = 0
        for k, layer in enumerate(self.outline.layers):
            for d, scan in enumerate(layer.scans):
                folded = self.model.folded and k == 0
                self.scan(f"Layer {k + 1}", scan, self.model.traces[k][d], folded)
        self.maps = 0
        for one in self.outline.outputs:
            self.affine(one)

    def by_slot(self, table: Array) -> Array:
        """The columns of a folded table as the first layer's slots have them."""
        trace, n = self.model.traces[0][0], self.outline.layers[0].scans[0].n
        return np.concatenate([table[:, g * n : (g + 1) * n] for g in gates_of(trace)], 1)

    def add(self, text: str) -> None:
        """A function."""
        self.texts.append(text)

    def multiply(self, y: str, matrix: Matrix, x: str) -> str:
        """A call of `name_product`."""
        self.products += matrix.rows * matrix.columns
        return f"name_product({y}, {matrix.given}, {x}, {matrix.rows}, {matrix.columns});"

    def scan(self, called: str, scan: Scan, trace: Trace, folded: bool = False) -> int:
        """The step of a scan, whose number is given: the state is written where it is read."""
        number, self.scans = self.scans, self.scans + 1
        sizes, names = widths(scan, trace), Names(scan, trace)
        states = [f"s{k}" for k in range(trace.states)]
        made = names.made
        lines = [f"float z[{max(names.slots, 1)}];"]
        lines += [f"float value{k}[{n}];" for k, n in made.items()]
        read = {r for stage in trace.stages if stage for r in stage.reads}
        lines += [
            f"const float *p{k} = {self.arrays.vector(vector)};"
            for k, vector in enumerate(scan.vectors)
            if f"p[{k}]" in read
        ]
        lines += ["int i;", *self.begin(scan, trace, names, folded)]
        for number_, stage in enumerate(trace.stages):
            for p in trace.products:
                if p.stage == number_:
                    rows = trace.gates[p.slot : p.slot + p.count]
                    W = np.concatenate([weight(scan, gate, of_x=False) for gate in rows])
                    operand = states[p.operand] if p.operand < trace.states else f"value{p.operand}"
                    lines.append(
                        self.multiply(at("z", names.places[p.slot]), self.arrays.matrix(W), operand)
                    )
            if stage is not None:
                body = loops(stage, sizes.widest, names.read, names.write)
                lines += ["{", *(f"    {line}" for line in body), "}"]
                kept = sum("float kept" in line and "[i]" not in line for line in body)
                here = names.slots + sum(made.values()) + kept * sizes.widest
                self.stack = max(self.stack, 4 * here)
        self.reads.append(bool(trace.inputs) or trace.direct is not None)
        given = "const float *x, " if trace.inputs or trace.direct is not None else ""
        if folded:
            given = "int token, "
        head = (
            f"static void name_scan{number}({given}{', '.join(f'float *{s}' for s in states)}) {{"
        )
        reads = "a token" if folded else f"{scan.n_x} numbers"
        said = f"{scan.cell!r}, {scan.n} units, reads {reads}; state {', '.join(scan.cell.state)}"
        about = f"/* {called}: {said}. */"
        self.add("\n".join([about, head, *(f"    {line}" for line in lines), "}"]))
        return number

    def begin(self, scan: Scan, trace: Trace, names: Names, folded: bool) -> list[str]:
        """z = W_x x + b for the slots that x feeds, 0 for the others."""
        gates, slots = gates_of(trace), names.slots
        fed = names.places[trace.inputs]
        lines = []
        if trace.inputs:
            b = self.arrays.vector(np.concatenate([bias(scan, g) for g in gates]))
            if folded:
                lines.append(f"name_look_up(z, {self.table.given}, token, {fed});")
                lines.append(f"for (i = 0; i < {fed}; i++) z[i] += {b}[i];")
            else:
                W = np.concatenate([weight(scan, g, of_x=True) for g in gates])
                lines.append(f"for (i = 0; i < {fed}; i++) z[i] = {b}[i];")
                lines.append(self.multiply("z", self.arrays.matrix(W), "x"))
        if slots > fed:
            lines.append(f"for (i = {fed}; i < {slots}; i++) z[i] = 0.0f;")
        return lines

    def affine(self, one: Affine) -> str:
        """The name of a function that has y = then(W x + b)."""
        name, m = f"name_map{self.maps}", len(one.W)
        self.maps += 1
        lines = [
            "int i;",
            f"for (i = 0; i < {m}; i++) y[i] = {self.arrays.vector(one.b)}[i];",
            self.multiply("y", self.arrays.matrix(one.W), "x"),
        ]
        then = {"relu": "y[i] < 0.0f ? 0.0f : y[i]", "tanh": "name_tanh(y[i])"}.get(one.then)
        if then:
            lines.append(f"for (i = 0; i < {m}; i++) y[i] = {then};")
        self.add(function(f"static void {name}(const float *x, float *y)", lines))
        return name

    # ---- what calls them -------------------------------------------------------------------

    def state_fields(self) -> list[str]:
        """Of the state, by layer, direction and part."""
        return [f"float {name}[{n}];" for name, n in self.parts()]

    def parts(self) -> list[tuple[str, int]]:
        """Names and sizes."""
        found = []
        for k, layer in enumerate(self.outline.layers, 1):
            for d, scan in enumerate(layer.scans):
                side = "_backward" if d else ""
                found += [
                    (f"layer{k}{side}_{part}", len(first))
                    for part, first in zip(scan.cell.state, scan.first)
                ]
        return found

    def first(self) -> list[str]:
        """Lines that set the first state."""
        lines, parts = [], iter(self.parts())
        for scan in (scan for layer in self.outline.layers for scan in layer.scans):
            for values in scan.first:
                name, n = next(parts)
                value = f"{self.arrays.vector(values)}[i]" if values.any() else "0.0f"
                lines.append(f"for (i = 0; i < {n}; i++) state->{name}[i] = {value};")
        return lines

    def advance(self) -> str:
        """One step through the layers of one direction; y is what comes out."""
        tokens = isinstance(self.outline.inputs, Tokens) and self.outline.spelling is None
        lines = ["int i;"]
        known = self.outline.condition
        if tokens and not self.model.folded:
            width = self.outline.inputs.size
            joined = len(known.embed.W) if known is not None and known.joins_input else 0
            lines.append(f"float x[{width + joined}];")
            if joined:
                lines.append(
                    f"for (i = 0; i < {joined}; i++) x[{width} + i] = state->condition[i];"
                )
            if self.outline.tied:
                V = self.table.rows
                lines.append(f"name_look_up_tiled(x, {self.table.given}, token, {V}, {width});")
            else:
                lines.append(f"name_look_up(x, {self.table.given}, token, {width});")
            self.stack += 4 * width
        states = [f"state->{name}" for name, _ in self.parts()]
        lines += self.through(self.outline.layers, 0, states, "token" if self.model.folded else "x")
        given = "int token" if tokens else "const float *x"
        return function(f"static void name_advance(name_state *state, {given}, float *y)", lines)

    def through(
        self, layers: Iterable[Layer], number: int, states: Iterable[str], x: str
    ) -> list[str]:
        """Lines of a step through layers of one direction, from scan `number` on, from x to y."""
        parts, n, lines = iter(states), 0, []
        for k, layer in enumerate(layers, number):
            (scan,) = layer.scans
            own = [next(parts) for _ in scan.cell.state]
            lines.append(f"name_scan{k}({', '.join([*[x] * self.reads[k], *own])});")
            n = scan.size
            if layer.adds_input:
                lines.append(f"float added{k}[{n}];")
                lines.append(f"for (i = 0; i < {n}; i++) added{k}[i] = {own[0]}[i] + {x}[i];")
                self.stack += 4 * n
                x = f"added{k}"
            else:
                x = own[0]
        return [*lines, f"for (i = 0; i < {n}; i++) y[i] = {x}[i];"]

    def answer(self, last: str) -> str:
        """The maps after the stack, from y to `last`."""
        lines, x = [], "y"
        for k, one in enumerate(self.outline.outputs):
            end = k == len(self.outline.outputs) - 1
            y = last if end else f"h{k}"
            if not end:
                lines.insert(0, f"float h{k}[{len(one.W)}];")
                self.stack += 4 * len(one.W)
            lines.append(f"name_map{k}({x}, {y});")
            x = y
        head = f"static void name_answer(const float *y, float *{last}) {{"
        return "\n".join([head, *(f"    {line}" for line in lines), "}"])

    def look_up(self, y: str, token: str) -> str:
        """A call that has the row of a token in y."""
        return f"name_look_up({y}, {self.table.given}, {token}, {self.outline.inputs.size});"


class Names:
    """Where the step of a scan has what its stages read and make; unit i of an uneven cell is there
    where its part is so wide.

    `places`: of each slot its first number in z, and of what comes after the last; `made`: the
    widths of the values that the equations made for products.
    """

    def __init__(self, scan: Scan, trace: Trace) -> None:
        self.sizes = widths(scan, trace)
        slots = len(trace.gates) - (trace.direct is not None)
        self.places = list(accumulate(self.sizes.slots[:slots], initial=0))
        self.slots = self.places[-1]
        found: dict[str, tuple[str, int]] = {}
        for k, n in enumerate(self.sizes.states):
            found[f"state[{k}]"] = found[f"out[{k}]"] = f"s{k}[i]", n
        for k, n in enumerate(self.sizes.slots):
            place = "i" if not k else f"{self.places[min(k, slots)]} + i"
            found[f"z[{k}]"] = "x[i]" if k == trace.direct else f"z[{place}]", n
        for k, n in enumerate(self.sizes.vectors):
            found[f"p[{k}]"] = f"p{k}[i]", n
        self.made = {p.operand: taken(scan, trace, p) for p in trace.products}
        self.made = {k: n for k, n in sorted(self.made.items()) if k >= trace.states}
        for k, n in self.made.items():
            found[f"value[{k}]"] = f"value{k}[i]", n
        self.found = found

    def read(self, name: str) -> str:
        """What is read, in C."""
        if name.startswith("q["):
            return f"(i < {self.sizes.masks[int(name[2:-1])]} ? 1.0f : 0.0f)"
        text, n = self.found[name]
        return text if n == self.sizes.widest else f"(i < {n} ? {text} : 0.0f)"

    def write(self, name: str) -> str:
        """What a unit's number goes to: the beginning of an assignment."""
        text, n = self.found[name]
        return text if n == self.sizes.widest else f"if (i < {n}) {text}"


def taken(scan: Scan, trace: Trace, product: Product) -> int:
    """How wide the operand of a product is."""
    return weight(scan, trace.gates[product.slot], of_x=False).shape[1]


def function(head: str, lines: Iterable[str]) -> str:
    """A function of these lines."""
    return "\n".join([f"{head} {{", *(f"    {line}" for line in declared_first(lines)), "}"])


def declared_first(lines: Iterable[str]) -> list[str]:
    """Declarations before statements, as C89 readers like it."""
    lines = list(lines)
    kinds = ("float ", "int ", "const ", "static ", "name_state ")
    declares = [line for line in lines if line.startswith(kinds)]
    return [*declares, *(line for line in lines if line not in declares)]


def gates_of(trace: Trace) -> list[int]:
    """The gates of the slots that x feeds."""
    return list(trace.gates[: trace.inputs])


def at(name: str, offset: int) -> str:
    """A pointer into an array."""
    return f"{name} + {offset}" if offset else name
