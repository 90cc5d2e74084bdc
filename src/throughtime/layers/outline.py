"""What a model computes, piece by piece: for whoever writes it in another language.

A model tells its `Outline`, a task what the model is for (`tasks.exported`). Numbers are float64
arrays that hold the weights as they are, after their hooks; what acts in training alone is not
there. Letters are those of `cells.base`: W [m, n], b [m].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..cells import Cell, Weights, declared
from ..ground.errors import InputError
from ..scans import derived

Array = np.ndarray


@dataclass(frozen=True)
class Tokens:
    """x<t> = table[token<t>], the table [V, n_x]."""

    table: Array

    @property
    def size(self) -> int:
        """Of x."""
        return self.table.shape[1]


@dataclass(frozen=True)
class Affine:
    """y = then(W x + b); `then` is "", "relu" or "tanh"."""

    W: Array
    b: Array
    then: str = ""


@dataclass(frozen=True)
class Numbers:
    """x<t> = (number<t> − mean) / deviation, of `size` numbers; as they are where mean is None.
    Then embed(x<t>), where there is one."""

    size: int
    mean: Array | None = None
    deviation: Array | None = None
    embed: Affine | None = None

    @property
    def width(self) -> int:
        """Of what the first layer reads."""
        return self.size if self.embed is None else len(self.embed.W)


@dataclass(frozen=True)
class Scan:
    """A cell through time. `W_x` [G·n, n_x], `W_a` [G·n, n], `b` [G·n] as `step` reads them;
    `vectors` [n] in the order of the cell's; `first` [n] for each part of the state. Of a cell with
    sizes of its own W_a, vectors and parts are as wide as it says, and `matrices` are by name."""

    cell: Cell
    W_x: Array
    W_a: Array
    b: Array
    vectors: tuple[Array, ...]
    first: tuple[Array, ...]
    matrices: Mapping[str, Array] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Units of a gate."""
        return len(self.b) // len(self.cell.gates)

    @property
    def size(self) -> int:
        """Of y, the first part of the state."""
        return len(self.first[0])

    @property
    def sizes(self) -> dict[str, int]:
        """Every size that the cell has, by its name."""
        return {name: self.cell.size(name, self.n, self.n_x) for name in declared.names(self.cell)}

    @property
    def uneven(self) -> bool:
        """Whether the cell has matrices, or sizes of its own."""
        return bool(self.cell.sizes or self.cell.matrices or self.cell.takes)

    @property
    def n_x(self) -> int:
        """What goes in."""
        return self.W_x.shape[1]


@dataclass(frozen=True)
class Layer:
    """One scan, or one forward and one backward; `adds_input`: y<t> + x<t> is what goes on."""

    scans: tuple[Scan, ...]
    adds_input: bool = False

    @property
    def size(self) -> int:
        """Of y."""
        return sum(scan.size for scan in self.scans)


@dataclass(frozen=True)
class Pool:
    """What stands for a whole sequence: `kind` as in `Pooling`; attention has α<t> ∝ exp(query ·
    keys(y<t>))."""

    kind: str
    keys: Affine | None = None
    query: Array | None = None


@dataclass(frozen=True)
class Condition:
    """e = embed(v), once a sequence, of v [n_v]. It joins x<t> (`joins_input`), the first state
    (`first`: all parts, layer by layer, in the order of each cell's state), or both."""

    embed: Affine
    joins_input: bool
    first: Affine | None


@dataclass(frozen=True)
class Chain:
    """Legal tags in a row: scores of the first, of neighbours [from, to], of the last; −∞ for what
    may not be."""

    start: Array
    transitions: Array
    end: Array


@dataclass(frozen=True)
class Spelling:
    """What the characters of a word add to x<t>: [x<t>, spelled]. `table` [C, n_x] of characters;
    then a layer of two directions, whose final outputs are taken, or `convolution`, a map of the
    `around` = (before, after) neighbours of a character side by side, of which the maximum over a
    word is taken. A word without characters gives zeros."""

    table: Array
    layer: Layer | None = None
    convolution: Affine | None = None
    around: tuple[int, int] = (0, 0)

    @property
    def size(self) -> int:
        """Of what stands for a word."""
        if self.layer is not None:
            return self.layer.size
        assert self.convolution is not None
        return len(self.convolution.W)


@dataclass(frozen=True)
class Window:
    """A forecast of the next `horizon` steps from `length` past ones, of which the layers read the
    last `reads`. Of the k `targets` of a step `anchor` ("last", "mean", "none") is taken off, and
    with `scaled` they are divided by their own deviation, √(variance + `least`). x<t> is the
    targets, then `observed` numbers, then `known` ones of the step after.

    `direct`: the maps read [a, known of every step of the horizon] at once, and `linear` of each
    target's window is added. Else they read a at each step, whose own forecast is the next input.
    `quantiles` of each target, or none."""

    length: int
    reads: int
    horizon: int
    targets: int
    observed: int
    known: int
    anchor: str
    scaled: bool
    least: float
    direct: bool
    linear: Affine | None = None
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class Bridge:
    """A part of a writer's first state: map(v), v the final `parts` of the reader's layer `below`,
    of each the directions side by side."""

    map: Affine
    below: int
    parts: tuple[int, ...]


@dataclass(frozen=True)
class Scores:
    """Attention's: e<t>_j = s<t> · keys(h_j), or where there is `v`, v · tanh(queries s<t> +
    keys(h_j))."""

    keys: Affine
    queries: Array | None = None
    v: Array | None = None


@dataclass(frozen=True)
class Writer:
    """What writes a sequence for another that was read: `table` [V, n_x] of its tokens, layers, of
    every part of their state its bridge, `combine` of [s<t>, context<t>] to h̃<t>, which with
    `feeds` joins the next x, and `output` to logits."""

    table: Array
    layers: tuple[Layer, ...]
    bridges: tuple[Bridge, ...]
    attention: Scores | None
    combine: Affine
    output: Affine
    feeds: bool


@dataclass(frozen=True)
class Outline:
    """Inputs, layers of a stack, what a sequence comes to, and the maps after it, in this order."""

    inputs: Tokens | Numbers
    layers: tuple[Layer, ...]
    outputs: tuple[Affine, ...]
    pooling: Pool | None = None
    condition: Condition | None = None
    chain: Chain | None = None
    spelling: Spelling | None = None
    window: Window | None = None
    writer: Writer | None = None
    tied: bool = field(default=False)
    """Whether the last map's W is the table."""

    @property
    def bidirectional(self) -> bool:
        """Whether the whole sequence must be there before anything is said."""
        return any(len(layer.scans) > 1 for layer in self.layers)

    @property
    def every_layer(self) -> tuple[Layer, ...]:
        """Those of the stack, of words' characters, of the writer."""
        spelling = self.spelling and self.spelling.layer
        characters = () if spelling is None else (spelling,)
        return (*self.layers, *characters, *(self.writer.layers if self.writer else ()))

    def cells_in_words(self) -> str:
        """The cell of each scan, and of how many units it is."""
        scans = (scan for layer in self.every_layer for scan in layer.scans)
        return ", ".join(f"{scan.cell!r} of {scan.n} units" for scan in scans)


def array(tensor: Tensor) -> Array:
    """As float64."""
    return tensor.detach().to("cpu", torch.float64).numpy()


def affine(linear: Any, then: str = "") -> Affine:
    """Of anything with `weight` and `bias`, None for no bias."""
    W = array(linear.weight)
    b = np.zeros(len(W)) if linear.bias is None else array(linear.bias)
    return Affine(W, b, then)


def affines(layers: nn.Module) -> tuple[Affine, ...]:
    """Of maps in a row, each with what comes between: relu, dropout, nothing."""
    found: list[Affine] = []
    for layer in layers.children() if isinstance(layers, nn.Sequential) else [layers]:
        if isinstance(layer, nn.Linear):
            found.append(affine(layer))
        elif isinstance(layer, nn.ReLU):
            found[-1] = Affine(found[-1].W, found[-1].b, "relu")
        elif not isinstance(layer, (nn.Dropout, nn.Identity)):
            raise InputError(f"{type(layer).__name__} cannot be exported.")
    return tuple(found)


def layers_of(
    cells: Sequence[Cell], weights: Sequence[Weights], first: Sequence[Any], adds: Sequence[bool]
) -> tuple[Layer, ...]:
    """The layers of a stack: cells and `adds` one for each layer, the others one for each scan."""
    directions = len(weights) // len(cells)
    scans = []
    for k, (w, state) in enumerate(zip(weights, first)):
        cell = cells[k // directions]
        with torch.no_grad():
            # derived in float64, as the reference does
            W_x, W_a, b = (part.detach().double() for part in (w.W_x, w.W_a, w.b))
            given = {name: part.detach().double() for name, part in w.vectors.items()}
            matrices = {name: part.detach().double() for name, part in w.matrices.items()}
            read = derived(cell, Weights(W_x, W_a, b, given, matrices=matrices))
        vectors = tuple(array(read.vectors[name]) for name in cell.vectors)
        begins = tuple(array(part)[0] for part in state)
        W_x, W_a, b = map(array, (read.W_x, read.W_a, read.b))
        named = {name: array(read.matrices[name]) for name in cell.matrices}
        scans.append(Scan(cell, W_x, W_a, b, vectors, begins, named))
    return tuple(
        Layer(tuple(scans[k * directions : (k + 1) * directions]), adds[k])
        for k in range(len(cells))
    )
