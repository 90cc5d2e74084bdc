"""Compiled scans with vectors of every width that some processor has."""

import pytest
import torch

import throughtime as tt
from cases import NAMED, TwoMemories, assert_close, assert_same, outcome, problem
from compiling import forget, rounded
from throughtime.scans import compiled

LARGE = {"T": 30, "B": 11, "n": 35, "n_x": 21, "lengths": [30, 3] * 5 + [0], "reset": [(4, 0)]}
SOME = [LARGE] + [NAMED[name] for name in ("odd widths", "width one", "reset and ragged")]


@pytest.fixture(params=[16, 32, 64])
def width(request, monkeypatch):
    """In bytes; what is wider than the processor's own, the compiler takes apart."""
    monkeypatch.setenv("THROUGHTIME_CXXFLAGS", f"-O1 -DVECTOR_BYTES={request.param}")
    forget()
    yield request.param
    forget()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("cell", [tt.GRU(), TwoMemories()], ids=repr)
def test_every_width_is_near_the_float64_reference(cell, dtype, width, monkeypatch):
    monkeypatch.setattr(compiled.build, "multiplies_halves", lambda: True)
    for arguments in SOME:
        p = problem(cell, **arguments)
        if dtype == torch.bfloat16:
            assert_close(outcome(rounded(p), "compiled", dtype), outcome(rounded(p)), dtype, 3)
        else:
            assert_close(outcome(p, "compiled", dtype), outcome(p), dtype)


def test_every_width_gives_the_same_bits_for_any_number_of_threads(width):
    p = problem(tt.GRU(), **LARGE | {"n": 100})
    one = outcome(p, "compiled", torch.float32)
    torch.set_num_threads(3)
    assert_same(outcome(p, "compiled", torch.float32), one)


@torch.no_grad()
@pytest.mark.parametrize("weights", ["float32", "bf16"])
def test_every_width_steps_as_it_reads_sequences(weights, width):
    stack = tt.Stack([tt.GRU, TwoMemories], 21, [35, 35], skips=True, backend="compiled").eval()
    x = torch.randn(3, 11, 21)
    with stack.frozen(weights) as frozen:
        assert frozen.why_not is None
        right, state = stack(x)[0], None
        for threads, x_t, y_t in zip((1, 3, 3), x, right, strict=True):
            torch.set_num_threads(threads)
            y, state = stack.step(x_t, state)
            assert torch.equal(y, y_t)
