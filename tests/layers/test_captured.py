"""Steps as graphs, with a stand-in for the graph: what is recorded is done again at a replay."""

import threading

import pytest
import torch

import throughtime as tt
from cases import TwoMemories, assert_same
from stacks import named
from throughtime.ground.errors import ShapeError
from throughtime.layers import captured, frozen


class Again:
    """In place of a CUDA graph: does it again, to the same places."""

    count = 0

    def __init__(self, function, given):
        self.function, self.given = function, given
        self.made = [one.clone() for one in function(given)]
        Again.count += 1

    def replay(self):
        with torch.inference_mode(False), torch.no_grad():
            for place, one in zip(self.made, self.function(self.given)):
                place.copy_(one)


@pytest.fixture
def graphs(monkeypatch):
    """Every frozen stack captures its steps, on the CPU."""
    monkeypatch.setattr(frozen, "capturable", lambda *tensors: True)
    monkeypatch.setattr(frozen, "Graphs", lambda: captured.Graphs(Again))
    monkeypatch.setattr(Again, "count", 0)


def stack_of(*given, **options):
    torch.manual_seed(3)
    return tt.Stack(*given, backend="reference", **options).eval()


def steps(stack, x, state=None):
    ys = []
    for x_t in x:
        y, state = stack.step(x_t, state)
        ys.append(y)
    return named(torch.stack(ys), state)


STACKS = {
    "LSTM": ((tt.LSTM, 3, 5, 2), {}),
    "mixed": (([tt.GRU, TwoMemories], 3, [4, 5]), {}),
    "skips, learned": ((tt.GRU, 4, 4, 2), {"skips": True, "learned_initial_state": True}),
    "zoneout": ((tt.LSTM, 3, 4), {"zoneout": 0.2}),
}


@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("inference", [False, True])
def test_replayed_steps_are_the_steps(graphs, kind, inference):
    given, options = STACKS[kind]
    stack = stack_of(*given, **options)
    x = torch.randn(7, 2, stack.input_size)
    with torch.inference_mode(inference), torch.no_grad():
        right = steps(stack, x)
        with stack.frozen():
            got = steps(stack, x)
    assert_same(got, right)
    assert Again.count == 1


def test_what_was_given_out_stays_as_it_is(graphs):
    stack = stack_of(tt.LSTM, 3, 4)
    x = torch.randn(8, 2, 3)
    with torch.no_grad(), stack.frozen():
        state, kept = None, []
        for x_t in x:
            y, state = stack.step(x_t, state)
            kept.append((y, y.clone(), state, [part.clone() for part in state]))
        for y, was, state, parts in kept:
            assert torch.equal(y, was)
            assert all(map(torch.equal, state, parts))


def test_every_shape_has_a_graph_and_the_oldest_goes(graphs, monkeypatch):
    monkeypatch.setattr(captured, "MOST", 2)
    stack = stack_of(tt.GRU, 3, 4)
    with torch.no_grad(), stack.frozen() as held:
        for B in (1, 2, 3):
            x = torch.randn(captured.EAGER + 2, B, 3)
            got, right = steps(stack, x), stack(x)
            torch.testing.assert_close(got["y"], right[0])
        assert Again.count == 3
        assert len(held.graphs.kept) == 2
        steps(stack, torch.randn(captured.EAGER + 1, 1, 3))  # captured once more
        assert Again.count == 4


def test_a_whole_sequence_and_wrong_shapes_go_the_other_way(graphs):
    stack = stack_of(tt.GRU, 3, 4)
    with torch.no_grad(), stack.frozen():
        for _ in range(4):
            stack(torch.randn(2, 1, 3))
        assert Again.count == 0
        with pytest.raises(ShapeError, match=r"x must be \[B, 3\]"):
            stack.step(torch.randn(1, 4))
        with pytest.raises(ShapeError):
            stack.step(torch.randn(2, 3), tt.GRU.State(torch.zeros(1, 3, 4)))


def test_threads_take_turns(graphs):
    stack = stack_of(tt.LSTM, 3, 4)
    x = torch.randn(4, 20, 1, 3)
    right = [steps(stack, one)["y"].detach() for one in x]
    found = {}

    def run(k):
        with torch.no_grad():
            found[k] = steps(stack, x[k])["y"]

    with stack.frozen():
        threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(torch.equal(found[k], right[k]) for k in range(4))
    assert Again.count == 1


def test_on_the_cpu_nothing_is_captured():
    assert not captured.capturable(torch.zeros(1))
    assert not captured.capturable([1.0])
