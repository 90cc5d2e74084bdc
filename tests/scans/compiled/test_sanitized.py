"""Some laws of compiled scans, built with $THROUGHTIME_SANITIZE: `make sanitize`."""

from dataclasses import replace

import pytest
import torch

import throughtime as tt
from cases import NAMED, ROUNDINGS, TwoMemories, assert_close, assert_same, outcome, problem
from compiling import Still, Through, rounded, sanitized, sanitizers_only  # noqa: F401
from throughtime.scans import compiled

pytestmark = [sanitizers_only, pytest.mark.usefixtures("sanitized")]
CELLS = [
    tt.GRU(),
    tt.LayerNormLSTM(0.1),
    tt.PeepholeLSTM("current"),
    TwoMemories(),
    Through(),
    Still(),
]
KINDS = [(cell, torch.float32, "none") for cell in CELLS] + [
    (TwoMemories(), torch.float64, "none"),
    (TwoMemories(), torch.bfloat16, "none"),
    (TwoMemories(), torch.bfloat16, "portable"),
    (tt.GRU(), torch.bfloat16, "portable"),
]
SIZES = dict(NAMED) | {
    "no inputs": {"n_x": 0},
    "empty batch": {"B": 0},
    "several chunks of time": {"T": 60, "B": 11, "n": 19, "n_x": 19, "lengths": [60, 3] * 5 + [0]},
    "whole tiles": {"T": 3, "B": 32, "n": 64, "n_x": 64},
    "more than whole tiles": {"T": 3, "B": 33, "n": 65, "n_x": 65},
}


@pytest.mark.parametrize(("cell", "dtype", "tiles"), KINDS, ids=str)
def test_named_problems(cell, dtype, tiles, monkeypatch):
    half = dtype == torch.bfloat16
    monkeypatch.setattr(compiled.build, "tiles", lambda: tiles)
    monkeypatch.setattr(compiled.build, "multiplies_halves", lambda: True)
    for arguments in SIZES.values():
        if isinstance(cell, Through):
            arguments = arguments | {"n_x": arguments.get("n", 3)}
        p = problem(cell, **arguments)
        p = rounded(p) if half else p
        assert_close(outcome(p, "compiled", dtype), outcome(p), dtype, 3 if half else ROUNDINGS)


@torch.no_grad()
@pytest.mark.parametrize("weights", ["float32", "bf16"])
@pytest.mark.parametrize("cells", [[cell] for cell in CELLS] + [CELLS], ids=str)
def test_steps_of_frozen_stacks(cells, weights):
    for n, B in ((1, 1), (19, 1), (19, 40), (48, 3)):
        stack = tt.Stack(cells, n, [n] * len(cells), skips=len(cells) > 1, backend="compiled")
        x = torch.randn(3, B, n)
        for threads in (1, 3):
            torch.set_num_threads(threads)
            with stack.eval().frozen(weights) as frozen:
                assert frozen.why_not is None
                right, state = stack(x)[0], None
                for t in range(3):
                    y, state = stack.step(x[t], state)
                    assert torch.equal(y, right[t])


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_a_scan_without_gradients_equals_one_with(cell):
    for threads in (1, 3):
        torch.set_num_threads(threads)
        for lengths in (None, [40, 7, 0, 25] * 4):
            p = problem(cell, T=40, B=16, n=50, n_x=50, lengths=lengths, reset=[(9, 0), (20, 3)])
            right = outcome(p, "compiled", torch.float32)
            w = tt.Weights(
                *(part.float() for part in p.w[:3]),
                {name: v.float() for name, v in p.w.vectors.items()},
            )
            p = replace(p, w=w, state=cell.State(*(part.float() for part in p.state)))
            y, final = tt.scan(
                cell,
                p.w,
                p.x.float(),
                p.state,
                lengths=p.lengths,
                reset=p.reset,
                backend="compiled",
            )
            finals = {f"final {name}": part for name, part in final._asdict().items()}
            assert_same({"y": y} | finals, {k: v for k, v in right.items() if k[:2] != "d "})
