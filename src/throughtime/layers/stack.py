"""`Stack`: cells in depth and in both directions, with the dropouts that recurrent networks use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import scans
from ..cells import Cell, Weights
from ..cells import initial as initial_weights
from ..cells.failures import told
from ..ground import chance
from ..ground import lengths as ragged
from ..ground.errors import InputError, ShapeError, one_of
from .depth import scan_layers
from .frozen import Freezable
from .noise import Draw, Noise
from .outline import Layer
from .outline import layers_of as outlined
from .states import Layout, layers_of


class CellWeights(nn.Module):
    """The parameters of one cell of a stack: W_x [G·n, n_x], W_a [G·n, n], b [G·n], vectors [n].

    `matrices`, where the cell names any. `first` [n] for each part of the state, where the first
    state is learned; zeros at first.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        learned_initial_state: bool = False,
        initial: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        said: dict[str, Any] = {"initial": initial} if initial else {}  # a cell may not know of it
        with told():
            w = cell.weights(input_size, hidden_size, **said)
        self.W_x, self.W_a, self.b = (nn.Parameter(part.detach()) for part in w[:3])
        vectors = [(name, nn.Parameter(v.detach())) for name, v in w.vectors.items()]
        self.vectors = CellVectors(vectors)  # made from a dict it would sort the names
        matrices = [(name, nn.Parameter(W.detach())) for name, W in w.matrices.items()]
        self.matrices = CellVectors(matrices)
        learned = cell.state if learned_initial_state else ()
        sizes = cell.state_sizes(hidden_size, input_size)
        zeros = [(k, nn.Parameter(self.W_a.new_zeros(size))) for k, size in zip(learned, sizes)]
        self.first = CellVectors(zeros)

    def forward(self, weight_drop: float = 0.0) -> Weights:
        """The weights; with DropConnect on W_a, drawn anew at each call, where asked for.

        Called as a module, so that hooks run: pruning, normalised weights.
        """
        W_a = F.dropout(self.W_a, weight_drop) if weight_drop else self.W_a
        # a step is short: no call for nothing
        first, matrices = (part() if len(part) else {} for part in (self.first, self.matrices))
        return Weights(self.W_x, W_a, self.b, self.vectors(), first, matrices)


class CellVectors(nn.ParameterDict):
    """The vectors or matrices of one cell by name; called, they are as its hooks make them."""

    # torch's dictionaries refuse to be called
    __call__: Callable[[], dict[str, Tensor]] = nn.Module.__call__  # pyright: ignore

    def forward(self) -> dict[str, Tensor]:
        """Every one by its name."""
        return dict(self.items())


class Stack(Freezable):
    """Any cell, any depth, one direction or both.

        x[0] = x;  y[l] = scan(cell, w[l], x[l]);  x[l+1] = dropout(y[l])  (+ x[l] with skips)
        bidirectional: y[l]<t> = [forward y<t>, backward y<t>], the backward scan reading each
        sequence from its own last step to its first

    Arguments: `cell`, a class, an instance or a name (`tt.LSTM`, `tt.LSTM(output="identity")`, your
    own, "zoo:janet"), and `hidden_size`, or a list of either with one for each layer: `num_layers`
    is then theirs, else 1 where it is not given; `dropout` acts between layers, not after the last;
    `locked_dropout` draws that mask once for all time steps (variational dropout); `weight_drop`
    drops entries of the recurrent weights W_a (DropConnect), drawn once a call; `zoneout` keeps
    units of the state as they were, at one rate or at one for each part of it ({"a": 0.05, "c":
    0.5}), and takes the expectation in evaluation; `recurrent_dropout` drops units of the
    candidate; `variational_dropout` units of what recurrent products take, the same at every step
    of a sequence; `skips` adds a
    layer's input to its output from the second layer on, where the two are as wide;
    `learned_initial_state` makes the first state of each layer, direction and part a parameter [n],
    `stack.weights[k].first`; `initial` says how weights begin where not as the cell has it:
    "orthogonal" (recurrent matrices), "chrono:T" (biases, for memory of up to T steps),
    {"f": {"bias": 2.0}} as in a cell, or several; `batch_first` changes x, y and reset to [B, T,
    …]; `backend` as in `tt.scan`.

    Shapes: x [T, B, input_size] → y [T, B, D·n], n the last layer's size (of a cell whose first
    state has a size of its own, that), D = 2 if bidirectional else 1; the state is one `cell.State`
    whose parts are [num_layers·D, B, hidden_size], or as wide as the cell says, ordered layer by
    layer, forward before backward, as in torch. Where layers differ in cell or size it is a tuple
    with one state for each layer, its parts [D, B, n of the layer]. lengths [B], reset [T, B] as in
    `tt.scan`.
    Initial values: state zero, or what the cell's `initial_state` gives, plus what is learned, zero
    at first, all of it where no state is given and at each `reset`; weights as in `tt.Cell`.
    Hooks on `stack.weights[k]` run at each call: pruning, weight and spectral normalisation.
    Errors: `InputError` for lists of different lengths; `ShapeError`, `NonFiniteError` as in
    `tt.scan`; a bidirectional stack has no `step`.
    Noise in the recurrence (zoneout and the two after it) is drawn from one seed a call, which
    comes from torch's generator; `stack(x, draw=stack.draw(7))` gives it, and names sequences.
    Source: Graves et al. 2013 (depth, both directions); Gal & Ghahramani 2016 (locked and
    variational dropout); Merity et al. 2018 (weight drop); Krueger et al. 2017 (zoneout); Semeniuta
    et al. 2016 (recurrent dropout). Oracle: torch.nn for its cells; the float64 reference.
    """

    def __init__(
        self,
        cell: Cell | type[Cell] | str | Sequence[Cell | type[Cell] | str],
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int | None = None,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        locked_dropout: bool = False,
        weight_drop: float = 0.0,
        zoneout: float | Mapping[str, float] = 0.0,
        recurrent_dropout: float = 0.0,
        variational_dropout: float = 0.0,
        skips: bool = False,
        learned_initial_state: bool = False,
        initial: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
        batch_first: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.cells, self.hidden_sizes = layers_of(cell, hidden_size, num_layers)
        self.input_size, self.num_layers = input_size, len(self.cells)
        self.bidirectional = bidirectional
        self.directions = 2 if bidirectional else 1
        if input_size < 1:
            raise InputError(f"input_size must be at least 1, got {input_size}.")
        self.layout = Layout(self.cells, self.hidden_sizes, input_size, self.directions)
        self.output_size = self.layout.outputs[-1] * self.directions
        self.dropout, self.locked_dropout = dropout, locked_dropout
        self.weight_drop, self.skips = weight_drop, skips
        self._check_options()
        self.noise = Noise(self.cells, zoneout, recurrent_dropout, variational_dropout)
        self.noisy_cells = tuple(map(self.noise.noisy, self.cells))
        self.evaluated_cells = tuple(map(self.noise.expected, self.cells))
        self.batch_first = batch_first
        self.backend = one_of("backend", backend, ("auto", *scans.BACKENDS))
        begins = initial_weights.for_cells(initial, self.cells)
        self.weights: Sequence[CellWeights] = nn.ModuleList(  # type: ignore[assignment]
            CellWeights(one, n_x, n, learned_initial_state, begin)
            for one, n_x, n, begin in zip(self.cells, self.layout.inputs, self.hidden_sizes, begins)
            for _ in range(self.directions)
        )
        self.starts_at_zero = (
            all(one.starts_at_zero for one in self.cells) and not learned_initial_state
        )

    def _check_options(self) -> None:
        """Raise `InputError` for numbers out of bounds, and for skips that would add nothing."""
        sizes = self.layout.outputs
        for cell in self.cells:
            if cell.inputs:
                raise InputError(
                    f"{cell!r} reads {', '.join(cell.inputs)} beside x, which a stack does not "
                    "give: tt.scan takes inputs."
                )
        for name in ("dropout", "weight_drop"):
            if not 0 <= (p := getattr(self, name)) < 1:
                raise InputError(f"{name} must be a probability below 1, got {p}.")
        if self.skips and len(sizes) > 1 and not any(a == b for a, b in pairwise(sizes)):
            raise InputError(
                f"skips add a layer's input to its output where both are as wide: no neighbours of "
                f"{'hidden_size' if sizes == self.hidden_sizes else 'the outputs'} {list(sizes)} "
                "are."
            )

    @property
    def cell(self) -> Cell:
        """The cell of all layers; `InputError` where they differ: `cells` has that of each."""
        if any(cell != self.cells[0] for cell in self.cells):
            raise InputError("the layers of this stack have different cells: look at stack.cells.")
        return self.cells[0]

    @property
    def hidden_size(self) -> int | tuple[int, ...]:
        """The size of all layers, or where they differ that of each."""
        return self.hidden_sizes[0] if len(set(self.hidden_sizes)) == 1 else self.hidden_sizes

    def initial_state(self, batch: int) -> Any:
        """The state before the first step, laid out as that of `forward`.

        Zeros, or what the cell's own `initial_state` gives for each layer and direction, and what
        is learned.
        """
        # weights as they are: their hooks run once a call
        weights = [CellWeights.forward(w) for w in self.weights]
        return self.layout.together(self.first_states(weights, batch))

    def first_states(self, weights: list[Weights], batch: int) -> list[Any]:
        """Before the first step, the state [batch, n] of each scan."""
        found = []
        for k, w in enumerate(weights):
            layer = k // self.directions
            cell, like = self.cells[layer], w.W_a
            if self.starts_at_zero:
                sizes = self.layout.widths[layer]
                found.append(cell.State(*(like.new_zeros((batch, size)) for size in sizes)))
            else:
                found.append(scans.first_state(cell, w, batch, like.dtype, like.device))
        return found

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        *,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
        draw: Draw | None = None,
    ) -> tuple[Tensor, Any]:
        """y and the final state of a whole batch of sequences."""
        weights = self.current()
        scans.check_kind(x, weights[0].W_x.dtype)
        if x.dim() != 3 or x.shape[-1] != self.input_size:
            layout = "[B, T, " if self.batch_first else "[T, B, "
            raise ShapeError(f"x must be {layout}{self.input_size}]; got {list(x.shape)}.")
        reset = scans.check_reset(reset, x.shape[0], x.shape[1], x.device)
        if self.batch_first:
            x = x.transpose(0, 1)
            reset = None if reset is None else reset.transpose(0, 1)
        T, B, _ = x.shape
        if lengths is not None:
            lengths = ragged.check(lengths, T, B, x.device)
        scans.check_finite(x, lengths)
        if state is not None:
            state = self.layout.check(state, B)
        y, state = self._scan(weights, x, state, lengths, reset, draw)
        return (y.transpose(0, 1) if self.batch_first else y), state

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One time step, for streaming: x [B, input_size] → y [B, hidden_size] and the new state.

        Step by step equals the whole sequence at once; a state of None starts a sequence. Dropout
        acts if the stack is in training.
        """
        if self.bidirectional:
            raise InputError(
                "a bidirectional stack needs the entire sequence: it cannot step through a stream "
                "or generate. Build the stack with bidirectional=False."
            )
        if made := self.frozen_step(x, state, True):
            return made
        weights = self.current()
        scans.check_kind(x, weights[0].W_x.dtype)
        if x.dim() != 2 or x.shape[-1] != self.input_size:
            raise ShapeError(f"x must be [B, {self.input_size}], one step; got {list(x.shape)}.")
        scans.check_finite(x[None], None)
        if state is not None:
            state = self.layout.check(state, x.shape[0])
        y, state = self._scan(weights, x[None], state, None, None)
        return y[0], state

    def run(
        self,
        x: Tensor,
        state: Any,
        lengths: Tensor | None,
        reset: Tensor | None,
        draw: Draw | None = None,
    ) -> tuple[Tensor, Any]:
        """`forward` without its checks; time-major."""
        alone = x.shape[0] == 1 and lengths is None and reset is None
        if alone and (made := self.frozen_step(x, state, False)):
            return made
        return self._scan(self.current(), x, state, lengths, reset, draw)

    def scan_over(self, weights: list[Weights], x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """y and the state of x [T, B, n_x] over weights, without checks."""
        return self._scan(weights, x, state, None, None)

    def draw(self, seed: int | None = None, sequences: Tensor | None = None) -> Draw | None:
        """What the noise of a call is drawn from; None where there is none, or in evaluation.

        `seed` None: drawn now from torch's generator of the CPU. `sequences` [B], integers: the
        noise of a sequence goes with its number, and not with its place in the batch.
        """
        if not self.training or self.noisy_cells == self.cells:
            return None
        words = chance.new_seed() if seed is None else chance.seed_of(seed)
        return Draw(words, 0, sequences)

    def current(self) -> list[Weights]:
        """The weights of one call, after their hooks, dropped where asked for."""
        if constants := self.frozen_weights():
            return constants
        weight_drop = self.weight_drop if self.training else 0.0
        return [w(weight_drop) for w in self.weights]

    def _scan(
        self,
        weights: list[Weights],
        x: Tensor,
        state: Any,
        lengths: Tensor | None,
        reset: Tensor | None,
        draw: Draw | None = None,
    ) -> tuple[Tensor, Any]:
        draw = (draw or self.draw()) if self.training else None
        cells = self.evaluated_cells if draw is None else self.noisy_cells

        def streams(scan: int, x: Tensor, reset: Tensor | None) -> Sequence[Tensor]:
            if draw is None:
                return ()
            layer, direction = divmod(scan, self.directions)
            cell, n = self.cells[layer], self.hidden_sizes[layer]
            return self.noise.streams(cell, draw, (layer, direction), x, n, reset)

        if state is None:
            states = self.first_states(weights, x.shape[1])
        else:
            states = self.layout.apart(state)

        def between(layer: int, y: Tensor, x: Tensor) -> Tensor:
            if self.skips and layer > 0 and x.shape[-1] == y.shape[-1]:
                y = y + x
            if self.training and layer < self.num_layers - 1:
                y = drop(y, self.dropout, self.locked_dropout)
            return y

        y, finals = scan_layers(
            *(cells, weights, x, states, lengths, reset),
            *(self.backend, self.directions, between, streams),
        )
        return y, self.layout.together(finals)

    def outline(self) -> tuple[Layer, ...]:
        """What a step computes in evaluation, layer by layer: for exporters."""
        weights, sizes = [w() for w in self.weights], self.layout.outputs
        adds = [self.skips and k > 0 and sizes[k - 1] == n for k, n in enumerate(sizes)]
        with torch.no_grad():
            first = self.first_states(weights, 1)
        return outlined(self.evaluated_cells, weights, first, adds)

    def why_slow(self) -> str | None:
        """Why this stack's scans are loops in Python, where nobody asked for that; else None."""
        if self.backend != "auto":
            return None
        for cells in (self.noisy_cells, self.evaluated_cells):
            for cell, w in zip(cells, self.weights[:: self.directions]):
                one = CellWeights.forward(w)
                x = one.W_x.new_empty(2, 1, one.W_x.shape[-1])
                if reason := scans.why_slow(cell, x, one):
                    return reason
        return None

    def extra_repr(self) -> str:
        """What `print(stack)` shows."""
        if self.layout.uniform:
            said = f"{self.cell!r}, {self.input_size}, {self.hidden_size}, {self.num_layers}"
        else:
            said = f"{list(self.cells)!r}, {self.input_size}, {list(self.hidden_sizes)}"
        said += ", bidirectional=True" if self.bidirectional else ""
        return said + f", backend={self.backend!r}"


def drop(x: Tensor, p: float, locked: bool) -> Tensor:
    """Dropout on x [T, B, n]; locked: one mask for all time steps."""
    if not p:
        return x
    return x * F.dropout(torch.ones_like(x[:1]), p) if locked else F.dropout(x, p)
