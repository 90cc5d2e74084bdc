"""`Engine`: a frozen model's weights in the order of the native loops, and its steps over them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..ground.tracing import followed
from ..layers.frozen import Freezable, Frozen, readable
from . import layers as of_layers
from . import program
from .packing import Packing
from .parts import Map, Parts
from .structs import Layer, Model, pointer
from .structs import Map as MapStruct

THEN = {"": 0, "relu": 1, "tanh": 2}


def engine_of(model: nn.Module) -> Engine | str:
    """The engine of a model whose stack is frozen, made at the first question; or why not.

    It reads all weights as they are then: those outside of the stack must not change either for as
    long as the stack is frozen.
    """
    stack = getattr(model, "stack", None)
    parts: Any = getattr(model, "written", None)
    if parts is None or not isinstance(stack, nn.Module):
        return f"{type(model).__name__} has no native step."
    if not isinstance(stack, Freezable):
        return f"a {type(stack).__name__.lower()} has no state that steps carry."
    frozen = stack._frozen
    if frozen is None:
        return "its weights are not frozen."
    if "engine" not in frozen.beside:
        made = parts()
        frozen.beside["engine"] = made if isinstance(made, str) else built(made, frozen)
    return frozen.beside["engine"]


def why_not(model: nn.Module) -> str | None:
    """Why a model whose stack is frozen steps through torch, or None."""
    engine = engine_of(model)
    return engine if isinstance(engine, str) else None


def built(parts: Parts, frozen: Frozen) -> Engine | str:
    """An engine, its program compiled if need be; or why not."""
    reason = of_layers.why_not(frozen)
    if reason:
        return reason
    dtype = frozen.dtype
    others = [parts.table, *(part for one in parts.maps for part in one[:2])]
    if any(part.dtype is not dtype or not part.is_cpu for part in others):
        return f"not all of its weights are {dtype} on the CPU."
    with torch.no_grad():
        cells = zip(frozen.layout.cells, frozen.weights, frozen.layout.widths)
        evens = [of_layers.Even.of(cell, w, sizes) for cell, w, sizes in cells]
        programs = sorted({even.program for even in evens})
        name = f"a step of {', '.join(dict.fromkeys(map(repr, frozen.layout.cells)))}"
        if reason := program.why_not(programs, dtype, name):
            return reason
        return Engine(parts, frozen, evens, program.Library(programs, dtype, name))


class Engine:
    """A frozen model's steps. Any thread may take them at any time.

    `tokens` V; `slot` the numbers of a slot; `dtype` of states and logits.
    """

    def __init__(
        self,
        parts: Parts,
        frozen: Frozen,
        evens: Sequence[of_layers.Even],
        library: program.Library,
    ) -> None:
        self.library, self.frozen, self.extra = library, frozen, parts.extra
        self.dtype, self.tokens = frozen.dtype, len(parts.maps[-1].b)
        packing = self.packing = Packing(library)
        self.table = table = parts.table.detach()
        self.layers = (Layer * len(evens))()
        at, self.parts = 0, list[tuple[int, int]]()  # where each part stands in a slot; its numbers
        n_x = table.shape[1] + parts.extra
        for k, even in enumerate(evens):
            layer = of_layers.packed(
                *(even, library.cells.index(even.program), n_x, frozen.adds_input[k]),
                *(frozen.stored, packing),
            )
            if k == 0 and not parts.extra and of_layers.looks_up(even, frozen.adds_input[0], table):
                table = library.looked_up(layer, table, len(even.told["gates"]))
                layer.looked_up = 1
            self.layers[k], n_x = layer, even.sizes[0]
            layer = self.layers[k]
            layer.state_count = len(even.sizes)
            for j, size in enumerate(even.sizes):
                layer.parts[j], layer.sizes[j] = at, size
                self.parts.append((at, size))
                at += packing.padded(layer.n)
        if parts.extra:
            self.parts.append((at, parts.extra))
        self.slot = at + packing.padded(parts.extra)
        table = F.pad(table, (0, packing.padded(table.shape[1]) - table.shape[1]))
        self.maps = (MapStruct * len(parts.maps))(*(self._map(one) for one in parts.maps))
        self.out = frozen.layout.outputs[-1]
        self.model = Model(
            self.tokens, len(evens), len(parts.maps), self.slot, ctypes.addressof(self.layers),
            ctypes.addressof(self.maps), packing.at(table), table.shape[1], self.table.shape[1],
            parts.extra, at,
        )  # fmt: skip
        self.head = ctypes.addressof(self.model)
        self.pointers = pointer * len(self.parts)

    def _map(self, one: Map) -> MapStruct:
        W, b = one.W.detach(), one.b.detach()
        whole = self.packing.lanes * self.packing.chunk
        matrix = self.packing.matrix(W, "float32")
        bias = self.packing.at(F.pad(b, (0, -len(b) % whole)))
        return MapStruct(matrix, bias, len(W), THEN[one.then])

    # ---- states ---------------------------------------------------------------------------------

    def slots(self, count: int) -> Tensor:
        """Room for the states of so many texts [count, slot]: to be set, none of them begins."""
        return torch.zeros(count, self.slot, dtype=self.dtype)

    def put(self, slots: Tensor, places: Tensor, parts: Sequence[Tensor]) -> None:
        """States into slots: `parts` as `Engine.apart` gives them, [count, size] each."""
        for (at, size), part in zip(self.parts, parts, strict=True):
            slots[places, at : at + size] = part.to(self.dtype)

    def take(self, slots: Tensor, places: Tensor) -> list[Tensor]:
        """The parts of the states in slots."""
        return [slots[places, at : at + size] for at, size in self.parts]

    def apart(self, state: Any, extra: Tensor | None = None) -> list[Tensor]:
        """The parts of a stack's state [B, size], layer by layer, then what joins x [B, extra]."""
        scans = self.frozen.layout.apart(state)
        return [*(part for one in scans for part in one), *([] if extra is None else [extra])]

    def together(self, parts: Sequence[Tensor]) -> Any:
        """The stack's state, from its parts."""
        given = iter(parts)
        cells = self.frozen.layout.cells
        scans = [cell.State(*(next(given) for _ in cell.state)) for cell in cells]
        return self.frozen.layout.together(scans)

    # ---- steps ----------------------------------------------------------------------------------

    def write(
        self, rows: np.ndarray, slots: Tensor, *, steps: int, seconds: float, threads: int
    ) -> int:
        """Steps of all rows that have not ended, until they have, at most `steps`, for so long; how
        many go on. `rows` are of `structs.ROW`, their slots in `slots`."""
        return self.library.write(
            self.head, rows.ctypes.data, len(rows), slots.data_ptr(), steps, threads,
            round(seconds * 1e9),
        )  # fmt: skip

    def step(self, tokens: Tensor, parts: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]] | None:
        """Logits [B, V] after tokens [B], and the parts of the state; None where it must go another
        way: what is given is not plain numbers."""
        B = len(tokens)
        plain = not followed() and tokens.dtype is torch.int64 and tokens.is_cpu
        given = [part.contiguous() for part in parts]
        if not plain or not all(readable(part, self.dtype) for part in given):
            return None
        shapes = [tuple(part.shape) for part in given]
        if shapes != [(B, size) for _, size in self.parts]:
            return None
        if B and not 0 <= int(tokens.min()) <= int(tokens.max()) < len(self.table):
            return None
        made = [torch.empty_like(part) for part in given]
        logits = torch.empty(B, self.tokens, dtype=self.dtype)
        before = self.pointers(*(part.data_ptr() for part in given))
        after = self.pointers(*(part.data_ptr() for part in made))
        self.library.step(
            self.head, B, before, after, tokens.contiguous().data_ptr(), None, None, 0,
            logits.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return logits, made
