"""What the compiled backend makes of equations: every operation, random cells, accuracy."""

import ctypes
import os
import subprocess

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import sigmoid, tanh

import throughtime as tt
from cases import assert_close, outcome, problem
from compiling import OPERATIONS, Arithmetic, Hard, Still, Through
from throughtime.cells.noisy import Noisy
from throughtime.scans.compiled import build

both_precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


@both_precisions
@pytest.mark.parametrize("cell", OPERATIONS, ids=repr)
def test_every_operation_agrees_with_the_float64_reference(cell, dtype):
    for kind in ({"n": 21, "n_x": 5}, {"B": 4, "lengths": [3, 0, 5, 2], "reset": [(1, 0)]}):
        p = problem(cell, **kind)
        assert tt.why_not("compiled", cell, p.x, p.w) is None
        assert_close(outcome(p, "compiled", dtype), outcome(p), dtype, roundings=200)


def test_hard_activations_agree_with_the_reference_in_float32():
    p = problem(Hard())
    assert_close(outcome(p, "compiled", torch.float32), outcome(p), torch.float32)


def test_an_attribute_of_the_cell_is_part_of_its_equations():
    for cell in (Arithmetic(), Arithmetic(scale=-0.4), Arithmetic(bounds=(0.1, 0.2))):
        p = problem(cell)
        assert_close(outcome(p, "compiled"), outcome(p), roundings=200)


class Listed(tt.Cell):
    """Attributes that may change: a list, a tensor."""

    gates = ("h",)
    state = ("a",)

    def __init__(self):
        self.factors, self.offset = [0.5, 0.7], torch.tensor(0.1)

    def step(self, w, x, s):
        return self.State(tanh(self.factors[0] * w.h(s.a, x)) * self.factors[1] + self.offset)


def test_attributes_may_change_between_scans():
    cell = Listed()
    p = problem(cell)
    before = outcome(p, "compiled")
    assert_close(before, outcome(p))
    cell.factors[1] = 0.9
    cell.offset.fill_(-0.2)
    after = outcome(p, "compiled")
    assert_close(after, outcome(p))
    assert not torch.equal(after["y"], before["y"])


@both_precisions
@pytest.mark.parametrize("cell", [Through(), Still()], ids=repr)
def test_cells_that_leave_weights_unread(cell, dtype):
    for n in (4, 19):
        p = problem(cell, n=n, n_x=n, lengths=[5, 2, 4], reset=[(2, 0)])
        assert_close(outcome(p, "compiled", dtype), outcome(p), dtype)


class Both(tt.Cell):
    """A minimum, whose derivative torch writes in place, beside a mean, whose is a broadcast."""

    gates = ("h",)
    state = ("a", "c")

    def step(self, w, x, s):
        h = w.h(s.a, x)
        low = torch.minimum(h, 0.5 * s.c)
        return self.State(a=tanh(low - h.mean(-1, keepdim=True)), c=tanh(h))


def test_a_broadcast_in_a_graph_without_views():
    p = problem(Both())
    assert tt.why_not("compiled", p.cell) is None
    assert_close(outcome(p, "compiled"), outcome(p))


# Random cells

CELLS = int(os.environ.get("THROUGHTIME_CELLS", "0"))
UNARY = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "sin": torch.sin,
    "relu": torch.relu,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "elu": F.elu,
    "abs": torch.abs,
    "neg": torch.neg,
    "half": lambda v: 0.5 * v,
    "clamp": lambda v: v.clamp(-0.7, 0.9),
    "square": lambda v: tanh(v) ** 2,
    "centre": lambda v: v - v.mean(-1, keepdim=True),
    "normal": lambda v: F.layer_norm(v, v.shape[-1:], eps=0.1),
    "softmax": lambda v: torch.softmax(v, -1),
    "highest": lambda v: v - 0.5 * v.amax(-1, keepdim=True),
}
BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": lambda a, b: tanh(a) * b,
    "div": lambda a, b: a / (1.5 + tanh(b)),
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "where": lambda a, b: torch.where(a > 0.1, a, b),
    "mix": lambda a, b: sigmoid(a) * a + (1 - sigmoid(a)) * b,
}


def value_of(tree, w, x, s, made):
    """The number that a tree stands for."""
    kind, *rest = tree
    if kind == "x":
        return x
    if kind == "state":
        return s[rest[0]]
    if kind == "made":
        return made[rest[0]]
    if kind == "vector":
        return getattr(w, f"p{rest[0]}")
    if kind == "older":
        return s.s0_2
    if kind in ("few", "before"):
        return w.E(s.few) if kind == "few" else w.V(s.x_1)
    if kind in ("matrix", "low"):
        v = value_of(rest[0], w, x, s, made)
        return w.M(v) if kind == "matrix" else w.U(torch.sin(w.L(v)))
    if kind in ("both", "input", "recurrent"):
        gate = getattr(w, f"g{rest[0]}")
        if kind == "input":
            return gate.input(x)
        v = value_of(rest[1], w, x, s, made)
        return gate(v, x) if kind == "both" else gate.recurrent(v)
    parts = [value_of(part, w, x, s, made) for part in rest]
    return (UNARY if len(parts) == 1 else BINARY)[kind](*parts)


SIZED = {
    "sizes": {"few": "few"},
    "matrices": {
        "M": ("n", "n"), "L": ("rank", "n"), "U": ("n", "rank"), "V": ("n", "x"),
        "E": ("n", "few"), "D": ("few", "n"),
    },
    "lags": {"x": 1, "s0": 2},
    "few": 2,
    "rank": 7,
}  # fmt: skip
"""Of cells with other sizes than n: a state of few units, gates of higher rank than n, lags."""


def cell_of(gates, states, vectors, made, after, sized) -> tt.Cell:
    """A cell whose made values and new states are these trees."""

    def step(self, w, x, s):
        values = []
        for tree in made:
            values.append(value_of(tree, w, x, s, values))
        new = [tanh(value_of(tree, w, x, s, values)) for tree in after]
        if sized:
            few = tanh(w.D(values[-1] if values else s[0]) - s.few.mean(-1, keepdim=True))
            new.append(0.5 * s.few + few)
        return self.State(*new)

    names = {
        "gates": tuple(f"g{i}" for i in range(gates)),
        "state": tuple(f"s{i}" for i in range(states)),
        "vectors": tuple(f"p{i}" for i in range(vectors)),
    }
    if sized:
        names |= SIZED | {"state": (*names["state"], "few")}
    return type("Random", (tt.Cell,), {**names, "step": step})()


@st.composite
def drawn_cells(draw: st.DrawFn):
    """The arguments of `cell_of`: trees over halves of gates, products of made values too."""
    gates, states, vectors = (draw(st.integers(*ends)) for ends in ((1, 4), (1, 3), (0, 2)))
    sized = draw(st.booleans())
    reads_x = not sized and draw(st.booleans())  # x has a size of its own where there are any

    def operands(made: int):
        kinds = [("state", k) for k in range(states)] + [("made", i) for i in range(made)]
        return st.sampled_from(kinds)

    def trees(made: int):
        gate = st.integers(0, gates - 1)
        halves = st.tuples(st.sampled_from(["both", "recurrent"]), gate, operands(made))
        leaves = halves | st.tuples(st.just("input"), gate) | operands(made)
        if vectors:
            leaves |= st.tuples(st.just("vector"), st.integers(0, vectors - 1))
        if reads_x:
            leaves |= st.just(("x",))
        if sized:
            leaves |= st.sampled_from([("older",), ("few",), ("before",)])
            leaves |= st.tuples(st.sampled_from(["matrix", "low"]), operands(made))

        def grown(depth: int):
            if not depth:
                return leaves
            below = grown(depth - 1)
            one = st.tuples(st.sampled_from(sorted(UNARY)), below)
            two = st.tuples(st.sampled_from(sorted(BINARY)), below, below)
            return leaves | one | two | two

        # A vector alone would be no [B, n]; something of the batch is added to each tree.
        anchor = halves | st.tuples(st.just("input"), gate) | operands(made)
        return st.tuples(st.just("add"), anchor, grown(3))

    made = [draw(trees(i)) for i in range(draw(st.integers(0, 3)))]
    after = [draw(trees(len(made))) for _ in range(states)]
    return (gates, states, vectors, made, after, sized), reads_x


@given(drawn_cells(), st.integers(0, 3), st.booleans())
@settings(
    max_examples=CELLS or 6,
    derandomize=not CELLS,  # the same cells each time, compiled once
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.slow
def test_random_cells_agree_with_the_reference(drawn, zoned, masks):
    arguments, reads_x = drawn
    cell = cell_of(*arguments)
    parts = [part for part in cell.state if part not in (*cell.lagged, "few")]
    cell = Noisy(cell, tuple(parts[:zoned]), False, masks) if zoned or masks else cell
    n_x = 5 if reads_x else 3
    p = problem(cell, n=5, n_x=n_x, T=4, B=4, lengths=[4, 0, 2, 3], reset=[(2, 0), (1, 3)])
    assert tt.why_not("compiled", cell, p.x.double(), p.w) is None
    assert_close(outcome(p, "compiled"), outcome(p), roundings=2000)


# Accuracy of the functions in float32

PROBE = """
#define PROBE(name) \\
    extern "C" __attribute__((visibility("default"))) void probe_##name( \\
        const float *x, float *y, long n) { \\
        for (long i = 0; i < n; i += W) store(y + i, name##_(load(x + i))); \\
    }
PROBE(sigmoid) PROBE(tanh) PROBE(exp) PROBE(expm1) PROBE(log) PROBE(log1p)
"""
EXACT = {
    "sigmoid": lambda v: np.where(v < 0, np.exp(v), 1) / (1 + np.exp(-np.abs(v))),
    "tanh": np.tanh,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
}
UNITS = {"sigmoid": 3, "tanh": 3, "exp": 2, "expm1": 2, "log": 1.5, "log1p": 2}
"""Units in the last place; measured with AVX-512: 2.3, 2.5, 1.1, 1.6, 0.8, 1.5."""


@pytest.fixture(scope="module")
def functions(tmp_path_factory):
    """The runtime's vector functions as functions of arrays."""
    folder = tmp_path_factory.mktemp("functions")
    text = build.head("float32") + PROBE
    (folder / "probe.cpp").write_text(text)
    command = [*build.compiler(), *build.flags(), f"-I{build.RUNTIME}"]
    subprocess.run([*command, folder / "probe.cpp", "-o", folder / "probe.so"], check=True)
    library = ctypes.CDLL(str(folder / "probe.so"))

    def call(name: str, x: np.ndarray) -> np.ndarray:
        padded = np.zeros(-(-len(x) // 16) * 16, np.float32)
        padded[: len(x)] = x
        y = np.empty_like(padded)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (padded, y)]
        getattr(library, f"probe_{name}")(*pointers, ctypes.c_long(len(padded)))
        return y[: len(x)]

    return call


@pytest.mark.parametrize("name", EXACT)
def test_functions_in_float32_are_accurate_over_their_whole_range(functions, name):
    x = np.arange(0, 2**32, 1999, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate([x[np.isfinite(x)], np.linspace(-20, 20, 200_001, dtype=np.float32)])
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.float64))
        rounded = exact.astype(np.float32)
        y = functions(name, x)
        assert np.array_equal(np.isnan(y), np.isnan(rounded))
        finite = np.isfinite(rounded) & np.isfinite(y)
        # One rounding at the edge of the range may make an infinity of the greatest number.
        edge = np.abs(exact) > np.finfo(np.float32).max * (1 - 1e-6)
        assert np.array_equal(y[~finite & ~edge], rounded[~finite & ~edge], equal_nan=True)
        unit = np.spacing(np.abs(rounded[finite])).astype(np.float64)
        if name == "sigmoid":  # where it is no normal number, zero is right enough
            unit = np.where(exact[finite] < 2.0**-126, 2.0**-126, unit)
        error = np.abs(y[finite] - exact[finite]) / unit
    worst = int(error.argmax())
    assert error[worst] <= UNITS[name], (x[finite][worst], error[worst])


@pytest.mark.parametrize("name", EXACT)
def test_functions_in_float32_at_the_special_numbers(functions, name):
    tiny = np.float32(1e-45)
    x = np.array([0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, 1e-39, -1, 1], np.float32)
    with np.errstate(all="ignore"):
        right = EXACT[name](x.astype(np.float64))
    right[3] = {"sigmoid": 0, "exp": 0, "expm1": -1, "tanh": -1}.get(name, np.nan)
    right[2] = {"sigmoid": 1, "tanh": 1}.get(name, np.inf)
    got = functions(name, x)
    assert np.array_equal(np.isnan(got), np.isnan(right))
    np.testing.assert_allclose(got, right, rtol=4e-7, atol=1.5e-45)
