"""Steps as CUDA graphs, with a stand-in for them: what is recorded is done again at a replay."""

import threading

import pytest
import torch

import throughtime as tt
from cases import TwoMemories, assert_same, outcome, problem
from compiling import Timed
from throughtime.scans.compiled.gpu import graphed, launching, ways

pytest.importorskip("triton")
if torch.cuda.is_available():
    pytest.skip("the kernels run on the GPU here: test_on_device.py", allow_module_level=True)
import interpreting  # noqa: F401  it mends the interpreter

pytestmark = pytest.mark.filterwarnings(
    "ignore:overflow encountered", "ignore:invalid value encountered"
)  # of what stands in padding, which nobody reads


class Again:
    """In place of a CUDA graph."""

    made = ()
    lengths: list[int]

    def __init__(self, function, given, warm):
        assert not warm  # it would be done twice
        assert all(one.device.type == "cpu" for one in given)
        self.function, self.given = function, given
        Again.count += 1

    def replay(self):
        Again.replays += 1
        self.function(self.given)


@pytest.fixture
def graphs(monkeypatch):
    """By `graph`, steps are pieces of up to two; switched on by calling it."""
    monkeypatch.setenv(ways.VARIABLE, "graph")
    monkeypatch.setattr(graphed, "STEPS", 2)
    monkeypatch.setattr(graphed, "_kept", type(graphed._kept)())
    Again.count = Again.replays = 0
    run = graphed.run

    def on():
        monkeypatch.setattr(launching.graphed, "usable", lambda T, x: True)
        monkeypatch.setattr(graphed, "run", lambda *given: run(*given, Again))

    return on


def test_pieces_are_powers_of_two_and_cover_the_time():
    for T in range(200):
        found = graphed.pieces(T, 64)
        assert [first for first, _ in found] == [
            sum(n for _, n in found[:k]) for k in range(len(found))
        ]
        assert sum(length for _, length in found) == T
        assert all(length in (1, 2, 4, 8, 16, 32, 64) for _, length in found)


CELLS = [tt.GRU(), TwoMemories(), Timed(), tt.PeepholeLSTM("current")]
RAGGED = {"T": 5, "B": 3, "lengths": [5, 0, 3], "reset": [(3, 0), (4, 0), (1, 2)]}


@pytest.mark.parametrize("kind", ["whole", "ragged"])
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_pieces_give_the_bits_of_launches_one_by_one(graphs, cell, kind):
    shape = {"n": 3, "n_x": 2} | (RAGGED if kind == "ragged" else {"T": 5, "B": 2})
    p = problem(cell, **shape)
    right = outcome(p, "compiled", torch.float32)
    graphs()
    assert_same(outcome(p, "compiled", torch.float32), right)
    assert Again.count == Again.replays == 2  # the second two steps, forward and back
    assert_same(outcome(p, "compiled", torch.float32), right)  # over what was left behind
    assert (Again.count, Again.replays) == (4, 8)  # and those of one step


def scan_of(cell, w, T, B=2):
    x = torch.randn(T, B, w.W_x.shape[-1])
    with torch.no_grad():
        got = tt.scan(cell, w, x, backend="compiled")[0]
        return got, tt.scan(cell, w, x, backend="reference")[0]


def test_another_length_of_time_captures_nothing_new(graphs):
    graphs()
    cell = tt.GRU()
    w = cell.weights(3, 4)
    for T in (3, 3):
        scan_of(cell, w, T)
    assert Again.count == 2  # of two steps and of one
    for T in (2, 9):
        torch.testing.assert_close(*scan_of(cell, w, T))
    assert Again.count == 2


def test_new_weights_are_read_and_each_shape_has_places(graphs, monkeypatch):
    graphs()
    monkeypatch.setattr(graphed, "MOST", 2)
    cell = tt.GRU()
    for n in (3, 4, 3, 5, 3, 4):
        torch.testing.assert_close(*scan_of(cell, cell.weights(3, n), 5))
        assert len(graphed._kept) <= 2


def test_places_that_would_be_large_have_fewer_steps(graphs, monkeypatch):
    graphs()
    monkeypatch.setattr(graphed, "ROOM", 1)
    cell = tt.GRU()
    torch.testing.assert_close(*scan_of(cell, cell.weights(3, 4), 5))
    (places,) = graphed._kept.values()
    assert places.long == 1


def test_places_outlive_a_block_of_inference_mode(graphs):
    graphs()
    cell = tt.LSTM()
    w = cell.weights(3, 4)
    with torch.inference_mode():
        scan_of(cell, w, 5)
    torch.testing.assert_close(*scan_of(cell, w, 5))


def test_threads_take_turns(graphs):
    graphs()
    cell = tt.GRU()
    w = cell.weights(3, 4)
    found = {}

    def run(k):
        found[k] = scan_of(cell, w, 5)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(3):
        torch.testing.assert_close(*found[k])


def test_on_the_cpu_and_over_few_steps_launches_go_one_by_one():
    assert not graphed.usable(100, torch.zeros(1))

    class OnCuda:
        is_cuda = True

    assert not graphed.usable(graphed.FEWEST - 1, OnCuda())


def test_a_piece_under_an_outer_capture_is_not_captured(monkeypatch):
    class OnCuda:
        is_cuda = True

    for capturing in (False, True):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda c=capturing: c)
        assert graphed.usable(100, OnCuda()) != capturing
