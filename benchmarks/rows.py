"""Rows of ours against a peer, and the bars that are held against them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from layer import CELLS, MODES, Layer, Options, Shape, versus
from peers import LOOPS, torch_layer
from timing import Bar, Section, geometric_mean, take_turns


def against(
    section: Section,
    o: Options,
    cells: Sequence[str],
    peer: Callable[[Layer, str], Any],
    dtype: torch.dtype = torch.float32,
    shapes: Sequence[Shape] = (),
) -> None:
    """Add a row for each cell, shape and mode; shapes are the command line's but where said."""
    for cell in cells:
        for shape in shapes or o.shapes:
            layer = Layer(CELLS[cell], shape, o, dtype)
            if unable(section, layer):
                continue
            for mode in MODES:
                sides = {"ours": layer.ours(mode), "peer": peer(layer, mode)}
                layer.check(sides["ours"], sides["peer"], mode)
                section.add(**versus(layer, mode, take_turns(sides, o.seconds)))


def unable(section: Section, layer: Layer) -> bool:
    """Whether the backend cannot run the layer; the section says so."""
    reason = layer.why_not()
    if reason:
        section.note(f"{layer.name} left out: {layer.backend} cannot run it: {reason}")
    return reason is not None


def bars(
    section: Section,
    mode: str,
    *,
    geometric: float | None = None,
    lowest: float | None = None,
    only: Callable[[int], bool] = lambda n: True,
    where: str = "",
    column: str = "ratio",
) -> None:
    """The geometric mean and the lowest of a mode's rows, against what is asked of them."""
    rows = [r for r in section.where(mode=mode) if only(int(r["T, B, n"].split(", ")[2]))]
    values = [row[column] for row in rows]
    named = f"{mode}, {where}" if where else mode
    if not values:
        section.note(f"{named}: no row")
        return
    if geometric is not None:
        section.bars.append(Bar(f"{named}: geometric mean", geometric_mean(values), geometric))
    if lowest is not None:
        section.bars.append(Bar(f"{named}: lowest", min(values), lowest))


def torch_peer(layer: Layer, mode: str) -> Callable[[], Any]:
    """A call of torch's layer."""
    peer = torch_layer(layer.cell, layer.w)
    return layer.call(lambda x: peer(x)[0], list(peer.parameters()), mode)


def loop_peer(layer: Layer, mode: str) -> Callable[[], Any]:
    """A call of the plain loop."""
    peer = LOOPS[layer.cell]
    return layer.call(lambda x: peer(layer.w, x), layer.parameters, mode)
