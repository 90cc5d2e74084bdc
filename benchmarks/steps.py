"""One time step at batch 1: a frozen stack against a loop of torch.nn.LSTMCell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import throughtime as tt
from layer import Options
from timing import Bar, Section, take_turns

SHAPES = ((1, 128), (1, 512), (2, 512))
"""Layers, and units of each."""

RATIOS = {(1, 128): 1.0, (1, 512): 1.1, (2, 512): 1.1}
MICROSECONDS, HALVES = 30.0, 1.5


def step(o: Options) -> Section:
    """Weights stored as they are and in bfloat16; every side carries its state."""
    section = Section("step", "One step at batch 1, frozen weights, against torch.nn.LSTMCell")
    if o.device != "cpu":
        section.note("left out: CPU only")
        return section
    for layers, n in SHAPES:
        stack = tt.Stack(tt.LSTM, n, n, layers).eval()
        for stored in ("float32", "bf16"):
            with torch.inference_mode(), stack.frozen(stored) as frozen:
                if frozen.why_not:
                    section.note(f"left out: {frozen.why_not}")
                    return section
                row(section, o, stack, stored)
    first = section.where(layers=1, n=128, weights="float32")[0]
    section.bars.append(Bar("µs of 1 × 128", first["ours µs"], MICROSECONDS, at_most=True))
    for (layers, n), bound in RATIOS.items():
        found = section.where(layers=layers, n=n, weights="float32")[0]["ratio"]
        section.bars.append(Bar(f"{layers} × {n} against LSTMCell", found, bound))
    found = section.where(layers=1, n=512, weights="bf16")[0]["ratio"]
    section.bars.append(Bar("1 × 512 with weights in bfloat16", found, HALVES))
    return section


def row(section: Section, o: Options, stack: tt.Stack, stored: str) -> None:
    """Add one."""
    cells = torchs_cells(stack)
    x = torch.randn(1, stack.input_size)

    def ours() -> Callable[[], Any]:
        state = stack.initial_state(1)

        def run() -> torch.Tensor:
            nonlocal state
            y, state = stack.step(x, state)
            return y

        return run

    def peer() -> Callable[[], Any]:
        states: list[Any] = [None] * len(cells)

        def run() -> torch.Tensor:
            y = x
            for k, cell in enumerate(cells):
                states[k] = cell(y, states[k])
                y = states[k][0]
            return y

        return run

    tolerance = 1e-5 if stored == "float32" else 2e-2
    sides = {"ours": ours(), "peer": peer()}
    for _ in range(3):
        torch.testing.assert_close(sides["ours"](), sides["peer"](), rtol=0, atol=tolerance)
    times = take_turns(sides, o.seconds)
    section.add(
        layers=stack.num_layers,
        n=stack.hidden_size,
        weights=stored,
        ratio=times.ratio("peer", "ours"),
        **{f"{side} µs": 1e6 * times.median(side) for side in sides},
        rounds=times.rounds,
    )


def torchs_cells(stack: tt.Stack) -> list[nn.LSTMCell]:
    """With the stack's weights; torch's gates stand in another order."""
    cells = []
    for w in stack.weights:
        cell = nn.LSTMCell(w.W_x.shape[1], w.W_a.shape[1])
        with torch.no_grad():
            cell.weight_ih.copy_(w.W_x)
            cell.weight_hh.copy_(w.W_a)
            cell.bias_ih.copy_(w.b)
            cell.bias_hh.zero_()
        cells.append(cell)
    return cells
