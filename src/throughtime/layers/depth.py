"""A stack's scans: layer after layer, one for each direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import scans
from ..cells import Cell, Weights
from ..ground import lengths as ragged

Streams = Callable[[int, Tensor, Tensor | None], Sequence[Tensor]]
"""What a scan's cell reads beside x, from the scan's number, x and the resets in its own order."""


def no_streams(scan: int, x: Tensor, reset: Tensor | None) -> Sequence[Tensor]:
    """Of cells that read x alone."""
    return ()


def scan_layers(
    cells: Sequence[Cell],
    weights: Sequence[Weights],
    x: Tensor,
    states: Sequence[Any],
    lengths: Tensor | None,
    reset: Tensor | None,
    backend: str,
    directions: int,
    between: Callable[[int, Tensor, Tensor], Tensor],
    streams: Streams = no_streams,
) -> tuple[Tensor, list[Any]]:
    """Layer after layer, one scan for each direction: y, and the final state of each scan.

    `cells` has one for each layer, `weights` and `states` [B, n] one for each scan, forward before
    backward. `between(layer, y, x)` is what the next layer sees, from a layer's output and input.
    """
    finals = []
    for layer, cell in enumerate(cells):
        ys = []
        for direction in range(directions):
            k = layer * directions + direction
            given = (cell, weights[k], x, states[k], lengths, reset, backend)
            if direction:
                y, final = scan_backward(*given, lambda x, reset, k=k: streams(k, x, reset))
            else:
                y, final = scans.run(*given, streams(k, x, reset))
            ys.append(y)
            finals.append(final)
        x = between(layer, torch.cat(ys, -1) if directions > 1 else ys[0], x)
    return x, finals


def scan_backward(
    cell: Cell,
    w: Weights,
    x: Tensor,
    state: Any,
    lengths: Tensor | None,
    reset: Tensor | None,
    backend: str,
    streams: Callable[[Tensor, Tensor | None], Sequence[Tensor]],
) -> tuple[Tensor, Any]:
    """One scan, each sequence read from its own last step to its first."""
    if reset is not None:
        # Read backwards, a sequence that starts at t is left after step t: t-1 begins anew.
        starts_next = torch.cat([reset[1:], torch.zeros_like(reset[:1])])
        if lengths is not None:
            starts_next &= ragged.mask(lengths - 1, reset.shape[0])
        reset = ragged.reverse(starts_next, lengths)
    x = ragged.reverse(x, lengths)
    y, final = scans.run(cell, w, x, state, lengths, reset, backend, streams(x, reset))
    return ragged.reverse(y, lengths), final
