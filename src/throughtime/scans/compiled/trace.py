"""A cell's `step`, run once on stand-ins, becomes a `Trace`: products, and the pieces between.

Words, as in `runtime/plan.h`. A *slot* is one affine map of a gate that the equations read: its
input half W_gx x + b_g, its recurrent half W_ga v, or the sum of both. A *product* multiplies one
*operand*, a state at t-1 or a value that the equations made, with the weights of neighbouring
slots. *Stage* s is what the equations compute of each row once the products of stage s are there:
the operands of later products and, in the last stage, the new state. An LSTM has one stage; the
GRU that resets before the product has two.

Slots stand in this order: input halves alone, sums, recurrent halves alone; so the slots that x
feeds come first, and those of one product stand together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from ...cells import Cell
from ...ground.errors import ThroughtimeError, passing
from . import stand_ins
from .decompositions import decompositions, over_units
from .even import BEFORE, Even
from .halves import INPUT, MATRIX, RECURRENT, only
from .stand_ins import STAND_INS, StandIn

SUM, AMAX = torch.ops.aten.sum.dim_IntList, torch.ops.aten.amax.default
REDUCTIONS = (SUM, AMAX)
"""What all reductions are made of."""

RESHAPES = tuple(
    getattr(torch.ops.aten, name)
    for name in ("unsqueeze", "squeeze", "view", "unsqueeze_copy", "squeeze_copy", "view_copy")
)

MOST, MOST_SLOTS = 16, 48  # as in `runtime/plan.h`; slots and vectors are bits of 64


class Untraceable(ThroughtimeError):
    """The cell's equations cannot be compiled; the message is the reason.

    `cause`: somebody else's exception that stopped the tracing. What it means is not known for
    certain, so such a reason is not kept on disk.
    """

    def __init__(self, reason: str, cause: BaseException | None = None) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True)
class Product:
    """`operand` times the weights of `count` slots from `slot` on, needed by stage `stage`."""

    stage: int
    operand: int
    slot: int
    count: int


@dataclass(frozen=True)
class Stage:
    """The piece after the products of one stage, and its derivative.

    `forward` maps what is read (`reads`) to what is made; `backward` maps what is read and the
    gradients of what was made to the gradients of what was read. All is pointwise but `sum` and
    `amax` over the units of a row, [B, n] to [B, 1]: `phases.py` cuts there what a target runs.
    `there`: of each width in the graphs that has padding, what is read as the mask of its units.
    """

    reads: tuple[str, ...]
    makes: tuple[str, ...]
    forward: fx.Graph
    backward: fx.Graph
    there: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """A cell's equations in the form that the time loop runs.

    `gates`: the number of the gate behind each slot; `inputs`: how many slots x feeds; `direct`:
    the slot that holds x itself, where the equations read it; `made`: for each operand the stage
    that makes it, -1 for a state at t-1.
    """

    all_gates: int
    gates: tuple[int, ...]
    inputs: int
    direct: int | None
    products: tuple[Product, ...]
    operands: int
    made: tuple[int, ...]
    stages: tuple[Stage | None, ...]
    states: int
    vectors: int
    streams: int


def trace(cell: Cell, stand_in: StandIn = STAND_INS[0]) -> Trace:
    """Trace `cell.step`; raise `Untraceable` with the reason where it cannot be compiled."""
    return _Tracing(cell, stand_in).trace()


def _graph_of(function: Callable[..., Any], *inputs: Any) -> fx.Graph:
    module = traced = make_fx(function, decomposition_table=decompositions())(*inputs)
    schemas = (getattr(node.target, "_schema", None) for node in module.graph.nodes)
    if any(schema is not None and schema.is_mutable for schema in schemas):
        # Some of torch's decompositions work in place.

        def plainly(*given: Any) -> Any:  # a module called as one would run its hooks
            return traced.forward(*given)

        functional = torch.func.functionalize(plainly, remove="mutations_and_views")
        module = make_fx(functional)(*inputs)
    graph = module.graph
    graph.eliminate_dead_code()
    return graph


class _Tracing:
    """The way from `step` to a `Trace`."""

    def __init__(self, cell: Cell, stand_in: StandIn) -> None:
        self.cell, self.stand_in = cell, stand_in
        self.sizes = stand_in.sizes(cell)
        self.graph = self.record()
        places = [node for node in self.graph.nodes if node.op == "placeholder"]
        self.x = places[0]
        self.states = places[1 : 1 + len(cell.state)]
        streams = 1 + len(cell.state) + len(cell.vectors)
        self.vectors, self.streams = places[1 + len(cell.state) : streams], places[streams:]
        masked = dict(zip(cell.inputs, self.streams))
        self.masks = {
            self.sizes[name]: masked[BEFORE + name]
            for name in (cell.masked if isinstance(cell, Even) else ())
        }
        self.new_states = list(self.graph.output_node().args[0])  # type: ignore[arg-type]
        for number, node in enumerate(self.new_states):
            if not isinstance(node, fx.Node):
                raise Untraceable(f"the new state {cell.state[number]} is a constant: {node!r}.")

    def record(self) -> fx.Graph:
        """`step` on stand-ins, as a graph of ATen operations and gate halves."""
        cell, stand_in = self.cell, self.stand_in
        halves = {"input": INPUT, "recurrent": RECURRENT, "matrix": MATRIX}
        inputs = stand_ins.given(cell, stand_in)
        expected = [part.shape for part in inputs.states]

        def half(which: str, v: Tensor, gate: str, size: int) -> Tensor:
            return halves[which](v, gate, size)

        def step(x: Tensor, *more: list[Tensor]) -> list[Tensor]:
            after = stand_ins.step(cell, stand_in, half, x, *more)
            if [part.shape for part in after] != expected:
                raise Untraceable("its equations change the shape of the state.")
            return after

        with torch.no_grad():
            try:
                functional = torch.func.functionalize(step, remove="mutations_and_views")
                return _graph_of(functional, *inputs)
            except Untraceable:
                raise
            except Exception as error:  # the user's own equations: any error may come
                if passing(error):
                    raise
                first = str(error).strip().split("\n")[0]
                raise Untraceable(
                    f"its equations cannot be traced: {type(error).__name__}: {first}", error
                ) from error

    def trace(self) -> Trace:
        self.look_at_reductions()
        self.find_halves()
        self.order_slots()
        operands = len(self.states) + len(self.values)
        counts = operands, len(self.vectors), len(self.streams)
        if max(counts) > MOST or len(self.slots) > MOST_SLOTS:
            raise Untraceable(
                "it is too large: {} states and values that products take, {} vectors, {} inputs "
                "beside x, {} affine maps; the most are {MOST} of each, {MOST_SLOTS} of the "
                "last.".format(*counts, len(self.slots), MOST=MOST, MOST_SLOTS=MOST_SLOTS)
            )
        names = self.names()
        last = max([0, *(product.stage for product in self.products)])
        stages = []
        for number in range(last + 1):
            made = [node for node in self.values if self.level[node] == number]
            makes = {f"value[{self.operand_number(node)}]": node for node in made}
            if number == last:
                makes |= {f"out[{k}]": node for k, node in enumerate(self.new_states)}
            stages.append(self.stage(makes, names) if makes else None)
        return Trace(
            all_gates=len(self.cell.gates),
            gates=tuple(self.cell.gates.index(gate) for _, gate in self.slots),
            inputs=self.inputs,
            direct=self.direct,
            products=tuple(self.products),
            operands=operands,
            made=(-1,) * len(self.states) + tuple(self.level[node] for node in self.values),
            stages=tuple(stages),
            states=len(self.states),
            vectors=len(self.vectors),
            streams=len(self.streams),
        )

    def look_at_reductions(self) -> None:
        """All are over the units, and keep the dimension: what they give is [B, 1] everywhere."""
        for node in list(self.graph.nodes):
            if node.target in REDUCTIONS:
                x, *more = node.args
                dim = node.kwargs.get("dim", more[0] if more else ())
                if node.kwargs.get("dtype") is not None or not over_units(x.meta["val"], dim):
                    raise Untraceable(
                        f"{node.target} reduces something else than the last dimension, or to "
                        "another dtype; what is compiled reduces over the units: dim=-1."
                    )
                node.args, node.kwargs = (x, [-1], True), {}
            elif getattr(node.target, "overloadpacket", None) in RESHAPES and self.is_kept(node):
                node.replace_all_uses_with(node.args[0])
                self.graph.erase_node(node)

    def is_kept(self, node: fx.Node) -> bool:
        """Whether the node only gives a reduced value the dimension back, or takes it away."""
        batch = self.stand_in.batch
        before, after = (tuple(n.meta["val"].shape) for n in (node.args[0], node))  # type: ignore
        rows = [[(batch,), (batch, 1)], [(), (1,)]]
        rows += [[(width,), (1, width)] for width in self.sizes.values()]
        return any({before, after} <= set(shapes) for shapes in rows)

    def taken(self, gate: str) -> int:
        """How wide what a gate's recurrent half takes is."""
        cell = self.cell
        if not isinstance(cell, Even):
            return self.sizes["n"]
        matrices = cell.cell.matrices
        return self.sizes[matrices[gate][1] if gate in matrices else cell.taken]

    def find_halves(self) -> None:
        """Gate halves by (gate, operand); those that are only ever added become one slot."""
        first: dict[tuple[Any, ...], fx.Node] = {}
        for node in list(self.graph.nodes):
            if node.target not in (INPUT, RECURRENT, MATRIX):
                continue
            v, gate, _ = node.args
            by_x = v is self.x
            if node.target is MATRIX:
                node.target = INPUT if by_x else RECURRENT
            elif node.target is INPUT and not by_x:
                raise Untraceable(f"w.{gate}.input is given something else than x.")
            if v in self.vectors:
                raise Untraceable(f"w.{gate}.recurrent is given a vector.")
            batch, width = self.stand_in.batch, self.taken(str(gate))
            if node.target is INPUT:
                width = self.x.meta["val"].shape[-1]
            if tuple(v.meta["val"].shape) != (batch, width):  # type: ignore[union-attr]
                raise Untraceable(f"what w.{gate} is given is no number for each unit.")
            same = first.setdefault((node.target, v, gate), node)
            if same is not node:
                node.replace_all_uses_with(same)
                self.graph.erase_node(node)
        self.sums: dict[fx.Node, tuple[fx.Node, fx.Node]] = {}
        for node in self.graph.nodes:
            if node.target is torch.ops.aten.add.Tensor and not node.kwargs:
                halves = sorted(
                    (half for half in node.args if isinstance(half, fx.Node)),
                    key=lambda half: half.target is not RECURRENT,
                )
                if (
                    [half.target for half in halves] == [RECURRENT, INPUT]
                    and halves[0].args[1] == halves[1].args[1]  # the same gate
                    and all(len(half.users) == 1 for half in halves)
                ):
                    self.sums[node] = (halves[0], halves[1])

    def order_slots(self) -> None:
        """Slots as in the module's docstring; a slot is known by the node whose value it is."""
        summed = {half for halves in self.sums.values() for half in halves}
        alone = [n for n in self.graph.nodes if n.target in (INPUT, RECURRENT) and n not in summed]
        self.level: dict[fx.Node, int] = {}
        for node in self.graph.nodes:
            below = max([0, *(self.level[source] for source in node.all_input_nodes)])
            self.level[node] = below + (node.target is RECURRENT)
        recurrent: dict[fx.Node, Any] = {node: halves[0] for node, halves in self.sums.items()}
        recurrent |= {node: node for node in alone if node.target is RECURRENT}
        self.values: list[fx.Node] = []
        for node in self.graph.nodes:
            operands = {half.args[0] for half in recurrent.values()}
            if node in operands and node not in self.states:
                self.values.append(node)

        def group(node: fx.Node) -> tuple[int, int]:
            half = recurrent[node]
            return self.level[half], self.operand_number(half.args[0])

        inputs = [node for node in alone if node.target is INPUT]
        sums = sorted(self.sums, key=group)
        rest = sorted((node for node in alone if node.target is RECURRENT), key=group)
        ordered = inputs + sums + rest
        self.inputs = len(inputs) + len(sums)
        self.slots = [(node, str((recurrent.get(node) or node).args[1])) for node in ordered]
        self.products: list[Product] = []
        for run in (sums, rest):
            for node in run:
                stage, operand = group(node)
                latest = self.products[-1] if self.products else None
                slot = ordered.index(node)
                if (
                    latest
                    and (stage, operand) == (latest.stage, latest.operand)
                    and (run is sums or latest.slot >= self.inputs)
                ):
                    self.products[-1] = Product(stage, operand, latest.slot, latest.count + 1)
                else:
                    self.products.append(Product(stage, operand, slot, 1))
        reads_x = [user for user in self.x.users if user.target is not INPUT]
        self.direct = None
        if reads_x or self.x in self.values or self.x in self.new_states:
            self.direct = len(self.slots)
            self.slots.append((self.x, self.cell.gates[0]))

    def operand_number(self, node: Any) -> int:
        if node in self.states:
            return self.states.index(node)
        return len(self.states) + self.values.index(node)

    def names(self) -> dict[fx.Node, str]:
        """What the pieces read: slots, states at t-1, vectors, inputs beside x."""
        names = {node: f"z[{i}]" for i, (node, _) in enumerate(self.slots)}
        names |= {node: f"state[{k}]" for k, node in enumerate(self.states)}
        names |= {node: f"p[{i}]" for i, node in enumerate(self.vectors)}
        return names | {node: f"q[{i}]" for i, node in enumerate(self.streams)}

    def stage(self, makes: dict[str, fx.Node], names: dict[fx.Node, str]) -> Stage:
        """The part of the graph between what is read and `makes`, and its derivative."""
        part = fx.Graph()
        copied: dict[fx.Node, fx.Node] = {}
        needed = self.needed([*makes.values(), *self.masks.values()], names)
        reads = [node for node in names if node in needed]
        for node in reads:
            copied[node] = part.placeholder(node.name)
        masks = {width: copied[node] for width, node in self.masks.items()}

        def there(node: fx.Node) -> fx.Node:
            mask = masks.get(node.meta["val"].shape[-1])
            if mask is None or node in self.masks.values():
                return copied[node]
            return part.call_function(only, (mask, copied[node]))

        copied |= {node: there(node) for node in reads}
        for node in self.graph.nodes:
            if node in needed and node not in copied:
                copied[node] = part.node_copy(node, lambda n: copied[n])
        part.output([there(node) for node in makes.values()])
        owner = self.graph.owning_module
        module = fx.GraphModule(owner if owner is not None else {}, part)

        def zeros(node: fx.Node) -> Tensor:
            return self.stand_in.zeros(node.meta["val"].shape[-1])

        inputs = list(map(zeros, reads))

        def gradients(*given: Tensor) -> list[Tensor]:
            read, cotangents = given[: len(reads)], given[len(reads) :]
            found: Any = torch.func.vjp(lambda *r: list(module.forward(*r)), *read)
            return list(found[1](list(cotangents)))

        outputs = list(map(zeros, makes.values()))
        try:
            forward = _graph_of(lambda *given: list(module.forward(*given)), *inputs)
            backward = _graph_of(gradients, *inputs, *outputs)
        except RuntimeError as error:  # an operation without one; detach
            if passing(error):
                raise
            raise Untraceable(f"its equations have no derivative: {error}", error) from error
        read = tuple(names[node] for node in reads)
        widths = {width: names[node] for width, node in self.masks.items()}
        return Stage(read, tuple(makes), forward, backward, widths)

    def needed(self, made: Any, names: dict[fx.Node, str]) -> set[fx.Node]:
        needed: set[fx.Node] = set()
        waiting = list(made)
        while waiting:
            node = waiting.pop()
            if node not in needed:
                needed.add(node)
                if node not in names:
                    waiting += node.all_input_nodes
        return needed
