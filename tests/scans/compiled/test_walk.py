"""The walk over a stage's graph: what it says is what the graph computes, in any language."""

import pytest
import torch

import throughtime as tt
from compiling import Activations, Arithmetic, Comparisons, Functions, Hard, Powers
from throughtime.scans.compiled.stand_ins import StandIn
from throughtime.scans.compiled.targets.cpp import TABLE
from throughtime.scans.compiled.trace import trace
from throughtime.scans.compiled.walk import NUMBERS, TRUTHS, Expression, Name, walk

PYTHON = {
    "add_scaled": lambda a, b, c: a + c * b,
    "sub_scaled": lambda a, b, c: a - c * b,
    "cube": lambda a: a**3,
    "reciprocal_square": lambda a: 1 / a**2,
    "number_of": lambda a: 1.0 * a,
    "where_truth": torch.where,
    "truth_of": lambda a: a != 0,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": torch.logical_not,
}
"""Another target: numbers themselves. What is not here is torch's by the same name."""


def computed(value, names):
    if isinstance(value, Name):
        return names[value.text]
    if isinstance(value, Expression):
        given = [computed(arg, names) for arg in value.args]
        assert len(given) == (NUMBERS | TRUTHS)[value.operation]
        result = PYTHON.get(value.operation) or getattr(torch, value.operation)
        result = result(*given)
        assert (result.dtype == torch.bool) == value.truth
        return result
    return torch.tensor(value, dtype=None if isinstance(value, bool) else torch.float64)


def checked(graph, given, made):
    """The statements on random numbers, against the graph itself."""
    names = {name: torch.randn(2, 3, dtype=torch.float64) for name in given}
    module = torch.fx.GraphModule(graph.owning_module or {}, graph)
    right = module(*names.values())
    for one in walk(graph, given, made):
        names[one.name.text] = computed(one.value, names)
    for name, value in zip(made, right, strict=True):
        if value is not None:
            torch.testing.assert_close(names[name].expand(value.shape), value, equal_nan=True)


CELLS = [tt.LSTM, tt.GRU, Activations, Arithmetic, Comparisons, Functions, Hard, Powers]


@pytest.mark.parametrize("cell", CELLS)
def test_statements_compute_what_the_graph_does(cell):
    for stage in trace(cell(), StandIn(2, 3, torch.float64)).stages:
        if stage is not None:
            reads, makes = list(stage.reads), list(stage.makes)
            checked(stage.forward, reads, makes)
            checked(stage.backward, [*reads, *(f"d{m}" for m in makes)], [f"d{r}" for r in reads])


def test_the_table_of_cpp_has_every_operation_and_no_other():
    assert set(TABLE) == NUMBERS.keys() | TRUTHS.keys()
