"""Cells that ONNX has an operator for: RNN, LSTM, GRU over whole sequences.

ONNX's gates stand i, o, f, c and z, r, h; its z keeps the old state, where Γ_u of `GRU` takes the
new one: z = 1 − Γ_u = σ(−…), so those rows change their sign. `linear_before_reset` is 1 where the
reset acts after the product. Peepholes stand i, o, f, and that of o sees c<t>.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...cells import GRU, LSTM, RNN, Cell, GRUResetAfter, PeepholeLSTM
from ...layers.outline import Array, Layer, Scan
from .graph import Graph


@dataclass(frozen=True)
class Operator:
    """An operator of ONNX that is a cell. `gates` in its order, each with the sign of its rows."""

    name: str
    gates: tuple[tuple[str, int], ...]
    activations: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    peepholes: tuple[str, ...] = ()
    recurrent_bias: dict[str, str] = field(default_factory=dict)
    """Of a gate, the vector that is added to its recurrent half."""


OF_LSTM = (("u", 1), ("o", 1), ("f", 1), ("c", 1))
OF_GRU = (("u", -1), ("r", 1), ("c", 1))
SIGMOID_TANH = ("Sigmoid", "Tanh")
AS_IT_IS = {"activation_alpha": 1.0, "activation_beta": 0.0}
"""Affine, by which the LSTM of the notes leaves c<t> as it is."""

OPERATORS: dict[Cell, Operator] = {
    RNN("tanh"): Operator("RNN", (("a", 1),), ("Tanh",)),
    RNN("relu"): Operator("RNN", (("a", 1),), ("Relu",)),
    LSTM("tanh"): Operator("LSTM", OF_LSTM, ("Sigmoid", "Tanh", "Tanh")),
    LSTM("identity"): Operator("LSTM", OF_LSTM, ("Sigmoid", "Tanh", "Affine"), AS_IT_IS),
    PeepholeLSTM("current"): Operator(
        "LSTM", OF_LSTM, ("Sigmoid", "Tanh", "Tanh"), peepholes=("p_u", "p_o", "p_f")
    ),
    GRU(): Operator("GRU", OF_GRU, SIGMOID_TANH, {"linear_before_reset": 0}),
    GRUResetAfter(): Operator(
        "GRU",
        (("z", 1), ("r", 1), ("c", 1)),
        SIGMOID_TANH,
        {"linear_before_reset": 1},
        recurrent_bias={"c": "d_c"},
    ),
}


def operator_of(layer: Layer) -> Operator | None:
    """The operator that is this layer's cell, in one direction or both; None where none is."""
    first = layer.scans[0]
    alike = all(scan.cell == first.cell and scan.n == first.n for scan in layer.scans)
    return OPERATORS.get(first.cell) if alike else None


def run(
    graph: Graph, layer: Layer, operator: Operator, x: str, lengths: str, states: list[list[str]]
) -> tuple[str, list[list[str]]]:
    """y [T, B, D·n] of x [T, B, n_x] and lengths [B], int32; and the state of each direction.

    `states`: of each direction, its parts [B, n]. Zero lengths give the operator's own final state,
    zeros: whoever calls puts the first state there.
    """
    scans, D = layer.scans, len(layer.scans)
    n = scans[0].n
    W = np.concatenate([rows(scan, scan.W_x, operator) for scan in scans])
    R = np.concatenate([rows(scan, scan.W_a, operator) for scan in scans])
    given = [x, stacked(graph, W, D), stacked(graph, R, D)]
    given += [graph.constant(np.stack([biases(scan, operator) for scan in scans])), lengths]
    axis = graph.constant([0], np.int64)
    for parts in zip(*states):  # of every direction, h, then c
        ups = [graph.add("Unsqueeze", one, axis) for one in parts]
        given.append(graph.add("Concat", *ups, axis=0) if D > 1 else ups[0])
    if operator.peepholes:
        at = [scan.cell.vectors.index(name) for scan in scans for name in operator.peepholes]
        p = [scans[k // 3].vectors[one] for k, one in enumerate(at)]
        given.append(graph.constant(np.concatenate(p).reshape(D, 3 * n)))
    attributes = {
        name: [value] * D if isinstance(value, float) else value
        for name, value in operator.attributes.items()
    }
    made = graph.add(
        operator.name,
        *given,
        count=1 + len(states[0]),
        hidden_size=n,
        direction="bidirectional" if D > 1 else "forward",
        activations=[*operator.activations] * D,
        **attributes,
    )
    y = graph.add("Transpose", made[0], perm=[0, 2, 1, 3])
    y = graph.add("Reshape", y, graph.constant([0, 0, D * n], np.int64))
    sides = [graph.apart(part, D) for part in made[1:]]
    return y, [list(parts) for parts in zip(*sides)]


def rows(scan: Scan, W: Array, operator: Operator) -> Array:
    """Rows of gates, [G·n, …], in the operator's order."""
    of = dict(zip(scan.cell.gates, np.split(W, len(scan.cell.gates))))
    return np.concatenate([sign * of[gate] for gate, sign in operator.gates])


def biases(scan: Scan, operator: Operator) -> Array:
    """Those of the input halves, and of the recurrent ones."""
    vectors = dict(zip(scan.cell.vectors, scan.vectors))
    none = np.zeros(scan.n)
    late = [
        vectors[operator.recurrent_bias[g]] if g in operator.recurrent_bias else none
        for g, _ in operator.gates
    ]
    return np.concatenate([rows(scan, scan.b, operator), *late])


def stacked(graph: Graph, W: Array, D: int) -> str:
    """[D·G·n, n_x] as [D, G·n, n_x]."""
    if not graph.int8:
        return graph.constant(W.reshape(D, -1, W.shape[1]))
    shape = graph.constant([D, len(W) // D, W.shape[1]], np.int64)
    return graph.add("Reshape", graph.matrix(W), shape)
