"""A cell's key: the same for equal cells, another once an attribute is another."""

import pytest
import torch

import throughtime as tt
from throughtime.scans.identity import MOST, _seen, key_of


class Scaled(tt.Cell):
    """h = scale · tanh(z)."""

    gates = ("h",)
    state = ("a",)

    def __init__(self, scale):
        self.scale = scale

    def step(self, w, x, s):
        return self.State(self.scale * torch.tanh(w.h(s.a, x)))


class Counter:
    """Hashable, and equal to others by what it holds, which may change."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Counter) and self.value == other.value

    def __hash__(self):
        return hash(self.value)


def test_equal_cells_have_one_key_and_others_another():
    assert key_of(tt.LSTM()) is key_of(tt.LSTM()) is not key_of(tt.GRU())
    assert key_of(tt.LSTM("identity")) is not key_of(tt.LSTM())
    assert key_of(Scaled(2.0)) is key_of(Scaled(2.0)) is not key_of(Scaled(3.0))


@pytest.mark.parametrize("make", [float, Counter])
def test_a_cell_that_changes_has_another_key(make):
    cell = Scaled(make(2))
    first = key_of(cell)
    assert key_of(cell) is first
    cell.scale = make(3)
    assert key_of(cell) not in (first, None)
    if make is Counter:
        cell.scale.value = 2
    else:
        cell.scale = make(2)
    assert key_of(cell) is first
    cell.more = 1
    assert key_of(cell) is not first


@pytest.mark.parametrize("value", [torch.tensor(1.0), [1.0], {"a": 1}])
def test_what_may_change_under_our_feet_has_none(value):
    cell = Scaled(1.0)
    assert key_of(cell) is not None
    cell.scale = value
    assert key_of(cell) is None


def test_a_scan_sees_what_a_cell_has_become():
    cell = Scaled(0.5)
    w, x = cell.weights(3, 4), torch.randn(2, 2, 3)
    for scale in (0.5, 0.25, 0.5):
        cell.scale = scale
        for backend in ("compiled", "auto"):
            ours = tt.scan(cell, w, x, backend=backend)[0]
            right = tt.scan(cell, w, x, backend="reference")[0]
            torch.testing.assert_close(ours, right)


def test_cells_without_end_are_not_kept_without_end():
    for k in range(3 * MOST):
        key_of(Scaled(k))
    assert len(_seen) <= MOST
