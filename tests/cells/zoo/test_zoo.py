"""Each cell of the zoo against the package torchrecurrent, or NumPy where that has none."""

import inspect
import re

import numpy as np
import pytest
import torch

import oracles
import throughtime as tt
from cases import ROOT, assert_close, in_numpy, outcome, problem, random_weights
from throughtime import findings
from throughtime.cells import declared
from throughtime.cells.names import find_cell
from throughtime.cells.zoo import ZOO
from throughtime.ground.errors import InputError, ShapeError
from throughtime.scans.compiled import even, programs
from zoo_oracles import CELLS, IN_NUMPY, PEERS, unroll_peer

TYPED = (tt.zoo.TGRU, tt.zoo.TLSTM)


def zoo_problem(cell, **more):
    """A problem whose x is as wide as the state where the cell reads x itself."""
    width = {"n": 4, "n_x": 4} if isinstance(cell, tt.zoo.IntersectionRNN) else {}
    return problem(cell, **{"T": 7, **width, **more})


@pytest.fixture
def package():
    return pytest.importorskip("torchrecurrent", reason="the package torchrecurrent is not here")


@pytest.mark.parametrize("cell", PEERS, ids=repr)
def test_a_cell_is_that_of_the_package(cell, package):
    p = zoo_problem(cell)
    for gate in PEERS[cell].free:
        p.w.b.view(len(cell.gates), -1)[cell.gates.index(gate)] = 0
    state, x = p.state, p.x
    if isinstance(cell, TYPED):  # what our state holds of x<0>
        w = cell.bind(p.w)
        seen = {f"v_{g}": getattr(w, f"V_{g}").input(x[0]) for g in ("z", "f", "o")}
        state, x = state._replace(**seen), x[1:]
    y, final = tt.scan(cell, p.w, x, state, backend="reference")
    right_y, right = unroll_peer(package, cell, p.w, p.x, p.state)
    assert len(right) >= 1
    torch.testing.assert_close(y[-1], right_y, rtol=0, atol=1e-12)
    for name, part in right.items():
        torch.testing.assert_close(getattr(final, name), part, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", IN_NUMPY, ids=repr)
def test_a_cell_is_its_papers_equations(cell):
    p = zoo_problem(cell)
    state = {name: part.numpy() for name, part in p.state._asdict().items()}
    y, final = tt.scan(cell, p.w, p.x, p.state, backend="reference")
    weights = in_numpy(cell, p.w)
    right_y, right = oracles.unroll(IN_NUMPY[cell], weights, p.x.numpy(), state)
    np.testing.assert_allclose(y.numpy(), right_y, rtol=0, atol=1e-12)
    for name, part in right.items():
        np.testing.assert_allclose(getattr(final, name).numpy(), part, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_gradients_are_those_of_finite_differences(cell):
    p = zoo_problem(cell, T=3, B=2, lengths=[3, 2], reset=[(1, 0)])
    names, matrices = list(p.w.vectors), list(p.w.matrices)
    leaves = [p.x, *p.w[:3], *p.w.vectors.values(), *p.w.matrices.values(), *p.state]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]

    def scan(x, W_x, W_a, b, *rest):
        given = iter(rest)
        vectors, of = ({name: next(given) for name in which} for which in (names, matrices))
        w, state = tt.Weights(W_x, W_a, b, vectors, matrices=of), cell.State(*given)
        more = {"lengths": p.lengths, "reset": p.reset, "backend": "reference"}
        y, final = tt.scan(cell, w, x, state, **more)
        return y, *final

    assert torch.autograd.gradcheck(scan, leaves)


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_every_cell_is_traced_into_a_program(cell):
    assert not programs.find(evened_or(cell)).startswith(programs.CANNOT)


def evened_or(cell):
    """The cell as the compiler takes it."""
    if not even.uneven(cell):
        return cell
    return even.evened(cell, {name: 1 + (name == "n") for name in declared.names(cell)})


def agrees(cell):
    for dtype in (torch.float64, torch.float32):
        for kind in ({"B": 5, "lengths": [7, 0, 3, 7, 1], "reset": [(2, 0), (4, 3)]}, {"n": 19}):
            if "n" in kind and isinstance(cell, tt.zoo.IntersectionRNN):
                kind = {"n": 19, "n_x": 19}
            p = zoo_problem(cell, **kind)
            assert_close(outcome(p, "compiled", dtype), outcome(p), dtype, roundings=200)


SOME = [tt.zoo.AntisymmetricRNN(0.3, 0.1), tt.zoo.FastRNN()]
"""What the suite compiles each time: a derived matrix, scalars."""


@pytest.mark.parametrize("cell", SOME, ids=repr)
def test_some_compiled_cells_agree_with_the_float64_reference(cell):
    agrees(cell)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [c for c in CELLS if c not in SOME], ids=repr)
def test_compiled_cells_agree_with_the_float64_reference(cell):
    agrees(cell)


# What the zoo is


def test_each_cell_has_an_oracle_and_a_name():
    assert len(ZOO) == 42
    assert {type(cell) for cell in CELLS} - {tt.PeepholeLSTM} == set(ZOO.values())
    public = {name for name in vars(tt.zoo) if isinstance(getattr(tt.zoo, name), type)}
    assert public == {cls.__name__ for cls in ZOO.values()}


def test_every_cell_of_the_package_is_here(package):
    theirs = {name for name in package.__all__ if name.endswith("Cell")}
    assert theirs - {f"{peer.name}Cell" for peer in PEERS.values()} == {"LEMCell", "SCRNCell"}


@pytest.mark.parametrize("name", ZOO)
def test_a_docstring_has_equations_source_and_oracle(name):
    text = inspect.getdoc(ZOO[name])
    assert re.search(r"^    .*<t>\s+= ", text, re.M)
    said = " ".join(text.split())
    assert re.search(r"Source: .*(\b(19|20)\d\d\b|doi:)", said)
    assert re.search(r"Oracle: (torchrecurrent|NumPy float64 equations)\.$", said)
    in_numpy = any(type(cell) is ZOO[name] for cell in IN_NUMPY)
    assert ("Oracle: NumPy" in said) == in_numpy


@pytest.mark.parametrize("name", ZOO)
def test_a_cell_is_found_by_name_and_runs_with_its_own_weights(name):
    cell = find_cell(f"zoo:{name}")
    assert type(cell) is ZOO[name]
    stack = tt.Stack(f"zoo:{name}", 4, 4, 2, backend="reference")
    assert stack.cell == cell
    y, state = stack(torch.randn(5, 3, 4))
    assert y.shape == (5, 3, stack.output_size)
    assert y.isfinite().all()
    assert state._fields == cell.state


def test_names_take_options_and_errors_name_the_nearest():
    assert find_cell("zoo:janet(beta=0.5)") == tt.zoo.JANET(0.5)
    with pytest.raises(InputError, match=r"unknown cell 'zoo:jannet'. Did you mean 'zoo:janet'\?"):
        tt.Stack("zoo:jannet", 4, 3)


def test_each_cell_has_its_row_in_the_docs():
    page = (ROOT / "docs/zoo.md").read_text("utf-8")
    for name, cls in ZOO.items():
        vectors = f"; {', '.join(cls.vectors)}" if cls.vectors else ""
        matrices = f"; {', '.join(cls.matrices)}" if cls.matrices else ""
        row = f"| `{name}` | {', '.join(cls.state)} | {', '.join(cls.gates)}{vectors}{matrices} | "
        assert row in page


def test_doctor_lists_the_zoo(monkeypatch):
    monkeypatch.setattr(findings.scans, "BACKENDS", {})
    monkeypatch.setattr(findings.scans, "why_slow", lambda cell: None)
    assert dict(findings.doctor())["zoo"].startswith("42 cells: zoo:antisymmetric-rnn, zoo:atr, ")


def test_nothing_of_the_source_imports_the_package():
    imports = re.compile(r"^\s*(from|import) torchrecurrent", re.M)
    files = [*(ROOT / "src").rglob("*.py")]
    assert len(files) > 100
    assert [path for path in files if imports.search(path.read_text("utf-8"))] == []


# Scalars and derived weights


def test_a_scalar_is_one_number_and_a_wrong_shape_is_refused():
    cell = tt.zoo.FastRNN()
    w = cell.weights(3, 4)
    assert w.vectors["alpha"].tolist() == [-3.0]
    wrong = w._replace(vectors={**w.vectors, "alpha": torch.zeros(4)})
    with pytest.raises(ShapeError, match=r"alpha must be \[1\].*got \[4\]"):
        tt.scan(cell, wrong, torch.zeros(2, 1, 3))


def test_scalars_must_be_among_the_vectors():
    with pytest.raises(InputError, match=r"Broken.scalars names no vector: \['q'\]"):
        type("Broken", (tt.Cell,), {"gates": ("a",), "state": ("a",), "scalars": ("q",)})


class Wrong(tt.Cell):
    """Derives a matrix of another shape."""

    gates = ("a",)
    state = ("a",)

    def derived(self, w):
        return w._replace(W_a=w.W_a[:, :1])

    def step(self, w, x, s):
        return self.State(w.a(s.a, x))


def test_derived_weights_of_another_shape_are_refused():
    said = r"Wrong.derived must give W_a \[4, 4\]; it came as \[4, 1\]"
    with pytest.raises(ShapeError, match=said):
        tt.scan(Wrong(), Wrong().weights(3, 4), torch.zeros(2, 1, 3))


def test_an_antisymmetric_matrix_turns_and_does_not_grow():
    cell = tt.zoo.AntisymmetricRNN(gamma=0.2)
    w = random_weights(cell, 3, 5, torch.Generator().manual_seed(0))
    A = cell.derived(w).W_a
    torch.testing.assert_close(A + A.T, -0.4 * torch.eye(5, dtype=A.dtype))
