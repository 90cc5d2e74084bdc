"""The walk over a stage's graph: what it says is what the graph computes, in any language."""

import pytest
import torch

import throughtime as tt
from compiling import (
    REDUCING,
    Activations,
    Arithmetic,
    Comparisons,
    Functions,
    Hard,
    Maxima,
    Powers,
    Sums,
)
from throughtime.scans.compiled.phases import cut, dear, joined, reduces, rounds
from throughtime.scans.compiled.stand_ins import StandIn
from throughtime.scans.compiled.targets.cpp import REDUCED, TABLE
from throughtime.scans.compiled.trace import trace
from throughtime.scans.compiled.walk import (
    NUMBERS,
    REDUCTIONS,
    TRUTHS,
    Expression,
    Name,
    Statement,
    walk,
)

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
    "sum": lambda a: a.sum(-1, keepdim=True),
    "amax": lambda a: a.amax(-1, keepdim=True),
}
"""Another target: numbers themselves. What is not here is torch's by the same name."""


def computed(value, names):
    if isinstance(value, Name):
        return names[value.text]
    if isinstance(value, Expression):
        given = [computed(arg, names) for arg in value.args]
        assert len(given) == (NUMBERS | TRUTHS | REDUCTIONS)[value.operation]
        result = PYTHON.get(value.operation) or getattr(torch, value.operation)
        result = result(*given)
        assert (result.dtype == torch.bool) == value.truth
        return result
    return torch.tensor(value, dtype=None if isinstance(value, bool) else torch.float64)


def checked(graph, given, made):
    """The statements on random numbers, against the graph itself."""
    names = {name: torch.randn(2, 3, dtype=torch.float64) for name in given}
    inputs, names["n"] = list(names.values()), torch.tensor(3.0, dtype=torch.float64)
    module = torch.fx.GraphModule(graph.owning_module or {}, graph)
    right = module(*inputs)
    by_phase(cut(walk(graph, given, made)), names)
    for name, value in zip(made, right, strict=True):
        if value is not None:
            torch.testing.assert_close(names[name].expand(value.shape), value, equal_nan=True)


def by_phase(phases, names):
    """The statements as a target runs them; what is not kept does not reach the next phase."""
    given, kept, of_row = dict(names), {}, {}
    reductions, summed = [], {}
    for phase in phases.phases:
        for one in reductions:
            of_row[one.result.text] = PYTHON[one.operation](summed[one.result.text])
        for one in phase.row:
            of_row[one.name.text] = computed(one.value, given | of_row)
        here = given | of_row | {name.text: kept[at] for name, at in phase.loaded}
        for one in phase.statements:
            here[one.name.text] = computed(one.value, here)
            if one.made:
                names[one.name.text] = here[one.name.text]
        kept |= {at: here[name.text] for name, at in phase.stored}
        reductions = phase.reductions
        like = next(iter(given.values()))
        summed = {one.result.text: computed(one.value, here).expand_as(like) for one in reductions}
    assert not reductions
    assert len(kept) == phases.kept
    assert len(of_row) == phases.of_row


CELLS = [
    tt.LSTM,
    tt.GRU,
    Activations,
    Arithmetic,
    Comparisons,
    Functions,
    Hard,
    Powers,
    Sums,
    Maxima,
]


@pytest.mark.parametrize("cell", CELLS)
def test_statements_compute_what_the_graph_does(cell):
    for stage in trace(cell(), StandIn(2, 3, torch.float64)).stages:
        if stage is not None:
            reads, makes = list(stage.reads), list(stage.makes)
            checked(stage.forward, reads, makes)
            checked(stage.backward, [*reads, *(f"d{m}" for m in makes)], [f"d{r}" for r in reads])


def test_the_table_of_cpp_has_every_operation_and_no_other():
    assert set(TABLE) == NUMBERS.keys() | TRUTHS.keys()
    assert set(REDUCED) == REDUCTIONS.keys()


@pytest.mark.parametrize("cell", REDUCING, ids=repr)
def test_a_number_for_a_row_is_computed_once_and_a_function_too(cell):
    for stage in trace(cell).stages:
        if stage is None:
            continue
        reads, makes = list(stage.reads), list(stage.makes)
        phases = cut(walk(stage.forward, reads, makes)).phases
        assert len(phases) > 1
        named = [one.name for phase in phases for one in phase.statements if dear(one.value)]
        assert len(named) == len(set(named))


@pytest.mark.parametrize("cell", REDUCING, ids=repr)
def test_rounds_compute_what_the_graph_does_with_fewer_sums(cell):
    for stage in trace(cell).stages:
        if stage is None:
            continue
        reads, makes = list(stage.reads), list(stage.makes)
        given = [*reads, *(f"d{make}" for make in makes)]
        statements = walk(stage.backward, given, [f"d{read}" for read in reads])
        found = rounds(statements)
        ordered = [one for part in found for one in (*part.reductions, *part.statements)]
        names = {name: torch.randn(2, 3, dtype=torch.float64) for name in given}
        names["n"] = torch.tensor(3.0, dtype=torch.float64)
        again = dict(names)
        for one in statements:
            names[one.name.text] = computed(one.value, names)
        for one in ordered:
            again[one.name.text] = computed(one.value, again)
        for one in statements:
            if one.made:
                torch.testing.assert_close(again[one.name.text], names[one.name.text])
        counts = [sum(reduces(one.value) for one in each) for each in (statements, ordered)]
        assert counts[1] <= counts[0]
        assert all(not reduces(one.value) for part in found for one in part.statements)


def test_sums_that_are_only_added_are_one():
    a, b, sums = Name("a"), Name("b"), [Name("v0"), Name("v1")]
    statements = [Statement(s, Expression("sum", (v,))) for s, v in zip(sums, (a, b))]
    total = Statement(Name("v2"), Expression("add", tuple(sums)))
    found = joined([*statements, total])
    assert found == [Statement(Name("v2"), Expression("sum", (Expression("add", (a, b)),)))]
    twice = [*statements, total, Statement(Name("v3"), Expression("neg", (sums[0],)))]
    assert joined(twice) == twice
