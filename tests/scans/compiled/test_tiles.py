"""Compiled scans in bfloat16 on tiles: the processor's where it has them, and their stand-in."""

import pytest
import torch

import throughtime as tt
from cases import NAMED, TwoMemories, assert_close, assert_same, outcome, problem
from compiling import HALF, LARGE, forget, rounded
from throughtime.ground import machine
from throughtime.scans.compiled import build

CELLS = [tt.LSTM(), tt.GRU(), TwoMemories()]
some_cells = pytest.mark.parametrize("cell", CELLS, ids=repr)
WIDTHS = [1, 7, 16, 31, 33, 64, 100]
BATCHES = [1, 3, 16, 17, 40]


def multiply_by(kind: str, monkeypatch) -> None:
    """From here on the library for bfloat16 uses these tiles."""
    if kind == "amx" and (reason := machine.why_no_tiles()):
        pytest.skip(f"no tiles here: {reason}")
    monkeypatch.setattr(build, "multiplies_halves", lambda: True)
    monkeypatch.setattr(build, "tiles", lambda: kind)
    forget()


@pytest.fixture(params=["amx", "portable"])
def tiles(request, monkeypatch):
    monkeypatch.setenv("THROUGHTIME_CXXFLAGS", "-O1")
    multiply_by(request.param, monkeypatch)
    yield request.param
    forget()


@some_cells
@pytest.mark.parametrize("name", NAMED)
def test_they_stay_near_the_float64_reference(cell, name, tiles):
    p = rounded(problem(cell, **NAMED[name]))
    assert_close(outcome(p, "compiled", HALF), outcome(p), HALF, roundings=3)


@some_cells
@pytest.mark.parametrize("n", WIDTHS)
def test_any_width_and_batch_is_near_the_float64_reference(cell, n, tiles):
    for B, n_x in zip(BATCHES, reversed(WIDTHS)):
        p = rounded(problem(cell, T=5, B=B, n=n, n_x=n_x))
        assert_close(outcome(p, "compiled", HALF), outcome(p), HALF, roundings=3)


@some_cells
def test_several_chunks_of_time_and_ragged_ends_are_near_the_float64_reference(cell, tiles):
    for more in ({}, {"lengths": None, "reset": None}):
        p = rounded(problem(cell, **LARGE | more))
        assert_close(outcome(p, "compiled", HALF), outcome(p), HALF, roundings=3)


@some_cells
@pytest.mark.parametrize("n", [40, 100, 160])
def test_any_number_of_threads_gives_the_same_bits(cell, n, tiles):
    for more in (LARGE, {"T": 20, "B": 96}, {"T": 40, "B": 37, "lengths": [40] * 20 + [9] * 17}):
        p = rounded(problem(cell, **{**more, "n": n, "n_x": 40}))
        one = outcome(p, "compiled", HALF)
        try:
            for threads in (2, 3):
                torch.set_num_threads(threads)
                assert_same(outcome(p, "compiled", HALF), one)
        finally:
            torch.set_num_threads(1)


@some_cells
def test_the_stand_in_gives_the_bits_of_the_processor(cell, monkeypatch):
    monkeypatch.setenv("THROUGHTIME_CXXFLAGS", "-O1")
    p = rounded(problem(cell, **LARGE))
    found = []
    for kind in ("amx", "portable"):
        multiply_by(kind, monkeypatch)
        found.append(outcome(p, "compiled", HALF))
    forget()
    assert_same(*found)


def test_numbers_beyond_a_row_are_not_read(tiles):
    """A NaN that follows the 33 numbers of x must not come through a tile's zeros."""
    p = rounded(problem(tt.LSTM(), T=4, B=16, n=33, n_x=33))
    right = outcome(p, "compiled", HALF)
    wide = torch.full((4, 16, 64), torch.nan, dtype=HALF)
    wide[..., :33] = p.x
    w = tt.Weights(*(v.to(HALF) for v in p.w[:3]), {})
    state = tt.LSTM.State(*(part.to(HALF) for part in p.state))
    y, _ = tt.scan(tt.LSTM, w, wide[..., :33], state, backend="compiled")
    assert torch.equal(y, right["y"])
