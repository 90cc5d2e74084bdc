"""Weights that do not change for a while: packed once, a step of all layers in one native call.

On a GPU a step is one graph, captured at the third of its shape (`captured.py`).
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from .. import scans
from ..cells import Cell, Weights
from ..ground.errors import InputError, one_of
from ..ground.tracing import followed
from .captured import Graphs, capturable
from .rounding import STORED, rounded
from .states import Layout

FREEZING = threading.Lock()
"""Held by who freezes a stack, or leaves it."""


class Frozen:
    """The weights of a stack as they were when it was frozen, and its steps over them.

    `stored`: how the matrices are, and so to what they are rounded. `beside`: what others make of
    these weights, for as long as they are constants. A copy of this is None: the copy of a frozen
    stack is not frozen.
    """

    def __init__(
        self, layout: Layout, weights: Sequence[Weights], skips: bool, backend: str, stored: str
    ) -> None:
        self.layout, self.skips, self.backend, self.stored = layout, skips, backend, stored
        self.weights = [constant(w, stored) for w in weights]
        self.beside: dict[str, Any] = {}
        self.input_size, self.dtype = weights[0].W_x.shape[-1], weights[0].W_x.dtype
        self.users = 0
        # of each part of the state, how many layers it holds and their width
        self.parts = [(1, size) for sizes in layout.widths for size in sizes]
        if layout.uniform:
            self.parts = [(len(layout.cells), size) for size in layout.widths[0]]
        self.State = layout.cells[0].State if layout.uniform else None
        self.graphs = Graphs()

    def __reduce__(self) -> Any:
        return type(None), ()

    @property
    def why_not(self) -> str | None:
        """Why steps go layer by layer, as they do elsewhere; None where they need not."""
        if self.weights[0].W_x.is_cuda and self.layout.directions == 1:
            return None  # a step is a graph
        return self.packed if isinstance(self.packed, str) else None

    @functools.cached_property
    def packed(self) -> scans.Packed | str:
        """The weights in the order of the loops, or why not."""
        layout, sizes = self.layout, self.layout.outputs
        if layout.directions > 1:
            return "a bidirectional stack has no steps."
        firsts = accumulate((len(cell.state) for cell in layout.cells), initial=0)
        places = [(0, k) if layout.uniform else (first, 0) for k, first in enumerate(firsts)]
        return scans.pack(
            layout.cells,
            self.weights,
            places[: len(sizes)],
            self.adds_input,
            self.stored == "bf16",
            self.backend,
        )

    @property
    def adds_input(self) -> list[bool]:
        """Of each layer, whether its input is added to its output."""
        sizes = self.layout.outputs
        return [self.skips and k > 0 and sizes[k - 1] == n for k, n in enumerate(sizes)]

    def step(
        self, x: Tensor, state: Any, first: Callable[[int], Any], checked: bool
    ) -> tuple[Tensor, Any] | None:
        """One step: `checked`, x [B, n_x] → y [B, n], else x [1, B, n_x] → y [1, B, n]; and the
        state, which begins with `first(B)` where it is None.

        None where it must go another way: nothing was computed, and that way says what is wrong
        with x or with the state. `checked`: an x that is not finite goes there too.
        """
        if followed() or not readable(x, self.dtype) or x.dim() != (2 if checked else 3):
            return None
        packed, B = self.packed, x.shape[-2]
        if isinstance(packed, str) or x.shape[-1] != self.input_size:
            return None
        if state is None:
            state = first(B)
        if self.State is None or type(state) is not self.State:
            state = self.layout.check(state, B)
        before = []
        for part, (layers, n) in zip(self.apart(state), self.parts):
            if not readable(part, self.dtype) or part.shape != (layers, B, n):
                return None
            before.append(part.contiguous())
        after = [x.new_empty(layers, B, n) for layers, n in self.parts]
        y = x.new_empty(*x.shape[:-1], self.layout.outputs[-1])
        if not packed.step(x.contiguous(), before, after, y, checked):
            return None
        return y, self.together(after)

    def replayed(
        self, scan: Scan, x: Tensor, state: Any, first: Callable[[int], Any], checked: bool
    ) -> tuple[Tensor, Any] | None:
        """The same on a GPU, where `scan(x, state)` over these weights is one graph.

        None where it must go another way, and at the first steps of a shape.
        """
        if x.dim() != (2 if checked else 3) or x.shape[-1] != self.input_size:
            return None
        if followed() or x.dtype is not self.dtype:
            return None
        B = x.shape[-2]
        state = first(B) if state is None else self.layout.check(state, B)
        parts = self.apart(state)
        if not capturable(x, *parts):
            return None

        def function(given: Sequence[Tensor]) -> Sequence[Tensor]:
            y, after = scan(given[0], self.together(given[1:]))
            return [y, *self.apart(after)]

        made = self.graphs(function, [x[None] if checked else x, *parts])
        if made is None:
            return None
        y, *after = made
        return (y[0] if checked else y), self.together(after)

    def apart(self, state: Any) -> list[Tensor]:
        """The parts of a state, of all layers or layer by layer."""
        return list(state) if self.State else [part for one in state for part in one]

    def together(self, parts: Sequence[Tensor]) -> Any:
        """The state of these parts."""
        if self.State:
            return self.State(*parts)
        made = iter(parts)
        return tuple(cell.State(*(next(made) for _ in cell.state)) for cell in self.layout.cells)


Scan = Callable[[Tensor, Any], tuple[Tensor, Any]]


def constant(w: Weights, stored: str) -> Weights:
    """Without gradients; the matrices hold only what is stored of them."""
    W_x, W_a, b = (part.detach() for part in w[:3])
    vectors, first, matrices = ({k: v.detach() for k, v in parts.items()} for parts in w[3:])
    W_x, W_a = rounded(W_x, stored), rounded(W_a, stored)
    matrices = {k: rounded(v, stored) for k, v in matrices.items()}
    return Weights(W_x, W_a, b, vectors, first, matrices)


def readable(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether a library can read the numbers where they lie, and no gradient is asked for."""
    return (
        type(tensor) is Tensor
        and tensor.dtype is dtype
        and tensor.is_cpu
        and not tensor.is_neg()
        and not (tensor.requires_grad and torch.is_grad_enabled())
    )


class Freezable(nn.Module):
    """What a `Stack` is for the time in which its weights do not change."""

    layout: Layout
    evaluated_cells: Sequence[Cell]
    skips: bool
    backend: str
    _frozen: Frozen | None = None

    def current(self) -> list[Weights]:
        """The weights of one call."""
        raise NotImplementedError

    def scan_over(self, weights: list[Weights], x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """y and the state of x [T, B, n_x] over weights, without checks."""
        raise NotImplementedError

    def first_states(self, weights: list[Weights], batch: int) -> list[Any]:
        """Before the first step, the state [batch, n] of each scan."""
        raise NotImplementedError

    @contextlib.contextmanager
    def frozen(self, weights: str = "float32") -> Iterator[Frozen]:
        """While the block runs the weights are constants, packed once, and a step of all layers is
        one native call: y<t> and the state are the same bits whatever the batch.

        `weights`: how they are stored: "float32", as they are; "bf16": matrices are rounded to
        bfloat16, half the memory and traffic; "int8": to integers of a byte with a scale for each
        row, a quarter. Sums stay in float32. Whole sequences read the same constants; hooks run
        once; there are gradients by x and the state, none by weights. A step of a stack alone reads
        int8 as float32; the quarter is for whole models (`engine`).
        What is given has `why_not`: why steps go layer by layer all the same, or None. Blocks may
        stand inside one another, in any thread.
        Errors: `InputError` for a stack in training mode, here and at each call inside; for
        "bf16" and "int8" where weights are not float32; and at the end where a parameter has
        changed, which no step has seen. Changes that torch does not count (through `.data`) show
        after the block.
        """
        frozen = self._freeze(one_of("weights", weights, STORED))
        versions = [(p, p._version) for p in self.parameters() if not p.is_inference()]
        try:
            yield frozen
        finally:
            with FREEZING:
                frozen.users -= 1
                if not frozen.users:
                    self._frozen = None
        if any(p._version != version for p, version in versions):
            raise InputError(
                "a parameter of the stack was changed inside frozen(), which no step has seen: "
                "change it outside, and freeze the stack again."
            )

    def _freeze(self, stored: str) -> Frozen:
        self._check_mode()
        with FREEZING:
            if self._frozen is None:
                with torch.no_grad():
                    weights = self.current()
                dtype = weights[0].W_x.dtype
                if stored != "float32" and dtype != torch.float32:
                    raise InputError(
                        f'weights="{stored}" is for a stack in float32; this one is in {dtype}.'
                    )
                of = self.layout
                layout = Layout(self.evaluated_cells, of.sizes, of.inputs[0], of.directions)
                self._frozen = Frozen(layout, weights, self.skips, self.backend, stored)
            if self._frozen.stored != stored:
                raise InputError("the stack is frozen already, its weights stored otherwise.")
            self._frozen.users += 1
            return self._frozen

    def _check_mode(self) -> None:
        if self.training:
            raise InputError("a stack in training mode cannot be frozen: call stack.eval() first.")

    def frozen_weights(self) -> list[Weights] | None:
        """The constants, or None outside of `frozen`."""
        if self._frozen is None:
            return None
        self._check_mode()
        return self._frozen.weights

    def frozen_step(self, x: Tensor, state: Any, checked: bool) -> tuple[Tensor, Any] | None:
        """A step over them, or None where it goes layer by layer."""
        frozen = self._frozen
        if frozen is None:
            return None
        self._check_mode()

        def first(B: int) -> Any:
            return self.layout.together(self.first_states(frozen.weights, B))

        if capturable(x):

            def scan(x: Tensor, state: Any) -> tuple[Tensor, Any]:
                return self.scan_over(frozen.weights, x, state)

            return frozen.replayed(scan, x, state, first, checked)
        return frozen.step(x, state, first, checked)
