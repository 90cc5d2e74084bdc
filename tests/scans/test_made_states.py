"""What a cell's own `initial_state` and `step` return: honoured and looked at by every backend."""

import copy
import io
import pickle
from dataclasses import replace

import pytest
import torch
from torch import tanh

import throughtime as tt
from cases import ALL_CELLS, NAMED, Problem, assert_close, normal, outcome, problem
from throughtime.ground.errors import InputError, ShapeError
from throughtime.scans import BACKENDS
from throughtime.scans.native import CELLS as NATIVE

every_backend = pytest.mark.parametrize("backend", ["auto", *BACKENDS])


class Learned(tt.Cell):
    """Its first state is a parameter, with a part that differs from row to row."""

    gates = ("m", "h")
    state = ("quick", "slow")
    vectors = ("keep", "start")

    def initial_state(self, batch, hidden_size, *, w=None, **to):
        rows = torch.arange(1, batch + 1, **to)[:, None] / 8
        start = torch.zeros(hidden_size, **to) if w is None else w.start
        return self.State(quick=rows.expand(batch, hidden_size), slow=start.expand(batch, -1))

    def step(self, w, x, s):
        slow = w.keep * s.slow + tanh(w.h.input(x))
        return self.State(quick=tanh(w.m(slow, x)) + w.h.recurrent(s.quick), slow=slow)


class OnesLSTM(tt.LSTM):
    """An override as it was written before weights were handed to it."""

    def initial_state(self, batch, hidden_size, **to):
        return self.State(*(torch.ones(batch, hidden_size, **to) for _ in self.state))


PAIRS = [
    (cell, backend)
    for cell in (Learned(), OnesLSTM())
    for backend in ("auto", *BACKENDS)
    if backend == "auto" or tt.why_not(backend, cell) is None
]
every_pair = pytest.mark.parametrize(("cell", "backend"), PAIRS, ids=repr)


def first(p: Problem):
    own = p.cell.first_state(p.w, p.x.shape[1], dtype=p.x.dtype)
    return p.cell.State(*(s + p.w.first.get(n, 0.0) for n, s in own._asdict().items()))


def by_sequences(p: Problem, state):
    """Each sequence alone, cut at its resets, each piece from the state that it should have."""
    T, B, _ = p.x.shape
    start = first(p)
    lengths = [T] * B if p.lengths is None else p.lengths.tolist()
    ys, finals = [], []
    for b, length in enumerate(lengths):
        marks = [] if p.reset is None else p.reset[:length, b].nonzero()[:, 0].tolist()
        s = p.cell.State(*(part[b : b + 1] for part in state))
        fresh = p.cell.State(*(part[b : b + 1] for part in start))
        y = []
        for t in range(length):
            s = fresh if t in marks else s
            s = p.cell.step(p.cell.bind(p.cell.derived(p.w)), p.x[t, b : b + 1], s)
            y.append(s[0])
        zeros = [torch.zeros_like(s[0])] * (T - length)
        ys.append(torch.cat([*y, *zeros]) if T else p.x.new_zeros(0, s[0].shape[1]))
        finals.append(s)
    return torch.stack(ys, 1), p.cell.State(*(torch.cat(parts) for parts in zip(*finals)))


def gradients(p: Problem, y, final):
    weights = torch.arange(1.0, y.numel() + 1).view_as(y).sin()
    loss = (y * weights).sum() + sum(part.square().sum() for part in final) + 0 * p.x.sum()
    leaves = [p.x, *p.w[:3], *p.w.vectors.values(), *p.w.first.values()]
    found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return {"y": y, **final._asdict(), **{f"d {k}": g for k, g in enumerate(found)}}


@pytest.mark.parametrize("given", [False, True], ids=["", "state given"])
@pytest.mark.parametrize("kind", NAMED)
@every_pair
def test_a_sequence_begins_and_begins_anew_at_the_cells_own_initial_state(
    cell, backend, kind, given
):
    p = problem(cell, **NAMED[kind])
    for leaf in (p.x, *p.w[:3], *p.w.vectors.values()):
        leaf.requires_grad_()
    state = p.state if given else None
    y, final = tt.scan(cell, p.w, p.x, state, lengths=p.lengths, reset=p.reset, backend=backend)
    right = by_sequences(p, first(p) if state is None else state)
    assert_close(gradients(p, y, final), gradients(p, *right))


LEARNED_PAIRS = [
    (cell, backend)
    for cell in [*ALL_CELLS, Learned(), OnesLSTM()]
    for backend in BACKENDS
    if tt.why_not(backend, cell) is None
]


@pytest.mark.parametrize("kind", ["plain", "ragged", "reset", "reset and ragged", "no steps"])
@pytest.mark.parametrize(("cell", "backend"), LEARNED_PAIRS, ids=repr)
def test_what_is_learned_of_the_first_state_is_added_to_the_cells_own(cell, backend, kind):
    p = problem(cell, **NAMED[kind], state=False)
    learned = {
        name: normal(torch.Generator().manual_seed(k), 3) for k, name in enumerate(cell.state)
    }
    p = replace(p, w=p.w._replace(first=learned))
    for leaf in (p.x, *p.w[:3], *p.w.vectors.values(), *learned.values()):
        leaf.requires_grad_()
    y, final = tt.scan(cell, p.w, p.x, lengths=p.lengths, reset=p.reset, backend=backend)
    right = gradients(p, *by_sequences(p, first(p)))
    assert_close(gradients(p, y, final), right)
    of_learned = list(right.values())[-len(learned) :]
    assert all(bool(g.any()) for g in of_learned)


def test_a_learned_first_state_of_other_parts_or_widths_is_refused():
    p = problem(tt.LSTM())
    with pytest.raises(ShapeError, match="has the parts a, c; got a"):
        tt.scan(tt.LSTM, p.w._replace(first={"a": torch.zeros(3).double()}), p.x)
    wide = {name: torch.zeros(4).double() for name in "ac"}
    with pytest.raises(ShapeError, match=r"first a must be \[3\] .* got \[4\]"):
        tt.scan(tt.LSTM, p.w._replace(first=wide), p.x)


def test_a_reset_to_zero_is_noticed():
    cell = Learned()
    p = problem(cell, reset=[(2, 0), (3, 1)])
    y, _ = tt.scan(cell, p.w, p.x, reset=p.reset)
    zero = cell.State(*(torch.zeros(3, 3).double() for _ in cell.state))
    wrong, _ = tt.scan(cell, p.w, p.x[2:], zero)
    assert float((y[2, 0] - wrong[0, 0]).abs().max()) > 1e-3


@pytest.mark.parametrize("bidirectional", [False, True])
@every_pair
def test_a_stack_starts_each_layer_at_its_own_initial_state(cell, backend, bidirectional):
    torch.manual_seed(0)
    stack = tt.Stack(cell, 4, 3, 2, bidirectional=bidirectional, backend=backend).double()
    x, lengths = torch.randn(5, 3, 4).double(), torch.tensor([5, 0, 3])
    reset = torch.zeros(5, 3, dtype=torch.bool)
    reset[2, 0] = reset[1, 2] = True
    y, final = stack(x, lengths=lengths, reset=reset)
    same, _ = stack(x, stack.initial_state(3), lengths=lengths, reset=reset)
    assert torch.equal(y, same)
    start = stack.initial_state(3)
    for k, w in enumerate(stack.weights):
        for part, right in zip(start, cell.first_state(w(), 3, dtype=torch.float64)):
            assert torch.equal(part[k], right)
    for part, right in zip(final, start):
        assert torch.equal(part[:, 1], right[:, 1])  # of length zero
    layer = x
    for k in range(2):
        ys = []
        for d in range(stack.directions):
            w = stack.weights[k * stack.directions + d]()
            turned = layer.flip(0) if d else layer
            p = Problem(cell, w, turned)
            by_hand = by_sequences(p, first(p))[0]
            ys.append(by_hand.flip(0) if d else by_hand)
        layer = torch.cat(ys, -1)
    assert_close({"y": stack(x)[0]}, {"y": layer})
    if isinstance(cell, Learned):
        stack(x, reset=reset)[0].sum().backward()
        assert all(bool(w.vectors["start"].grad.any()) for w in stack.weights)


@every_pair
def test_steps_of_a_stream_begin_at_the_initial_state(cell, backend):
    stack = tt.Stack(cell, 4, 3, 2, backend=backend).double()
    x = torch.randn(5, 3, 4).double()
    whole, final = stack(x)
    state, ys = None, []
    for x_t in x:
        y, state = stack.step(x_t, state)
        ys.append(y)
    assert_close({"y": torch.stack(ys), **state._asdict()}, {"y": whole, **final._asdict()})


@pytest.mark.parametrize("whole", [True, False], ids=["reset", "no reset"])
def test_a_graph_of_torch_compile_starts_there_too(whole):
    torch._dynamo.reset()
    stack = tt.Stack(Learned, 4, 3)
    x, reset = torch.randn(5, 3, 4), torch.zeros(5, 3, dtype=torch.bool)
    reset[2, 0] = True
    given = {"reset": reset} if whole else {}
    graph = torch.compile(stack, fullgraph=True, backend="aot_eager")
    got, right = graph(x, **given), stack(x, **given)
    assert_close({"y": got[0]}, {"y": right[0]}, torch.float32)
    torch._dynamo.reset()


def made(name: str, method) -> type[tt.Cell]:
    return type(name, (tt.Cell,), {"gates": ("h",), "state": ("h", "m"), **method})


def simple(make):
    """A cell whose step returns what `make` makes of itself and z."""
    return {"step": lambda self, w, x, s: make(self, tanh(w.h(s.h, x)))}


WRONG = {
    r"h must be \[2, 7\], \[batch, n\]; it came as \[7\]": lambda c, z: c.State(z.mean(0), z),
    r"state m must be \[2, 7\].*came as \[2, 3\]": lambda c, z: c.State(z, z[:, :3]),
    r"state h must be .*came as \[1, 2, 7\]": lambda c, z: c.State(z[None], z),
    "it returned None": lambda c, z: None,
    "it returned a plain tuple": lambda c, z: (z, z),
    "it returned Tensor": lambda c, z: z,
    "it returned LSTMState": lambda c, z: tt.LSTM.State(z, z),
    "state m must be torch.float32, as x is; it came as torch.float64": lambda c, z: c.State(
        z, z.double()
    ),
    "m is of type float": lambda c, z: c.State(z, 0.0),
}


@every_backend
@pytest.mark.parametrize("said", WRONG)
def test_a_step_that_does_not_return_the_state_is_refused_by_every_backend(said, backend):
    if backend == "native":
        pytest.skip("it has cells of its own only")
    cell = made("Wrong", simple(WRONG[said]))
    with pytest.raises(InputError, match=rf"Wrong.step must return self.State\(h=…, m=…\).*{said}"):
        tt.Stack(cell, 5, 7, backend=backend)(torch.randn(4, 2, 5))
    with pytest.raises(InputError, match=said):
        tt.scan(cell, cell().weights(5, 7), torch.randn(1, 1, 5), backend=backend)


WRONG_STARTS = {
    r"h must be \[2, 7\], \[batch, n\]; it came as \[7\]": lambda c, B, n, **to: c.State(
        torch.zeros(n, **to), torch.zeros(B, n, **to)
    ),
    "it returned Tensor": lambda c, B, n, **to: torch.zeros(B, n, **to),
    "h must be torch.float64, as x is; it came as torch.float32": lambda c, B, n, **to: c.State(
        torch.zeros(B, n), torch.zeros(B, n)
    ),
}


@pytest.mark.parametrize("said", WRONG_STARTS)
def test_an_initial_state_that_is_none_is_refused(said):
    cell = made("Wrong", simple(lambda c, z: c.State(z, z)) | {"initial_state": WRONG_STARTS[said]})
    x = torch.randn(4, 2, 5).double()
    stack = tt.Stack(cell, 5, 7).double()
    for call in (stack, lambda x: tt.scan(cell, stack.weights[0](), x)):
        with pytest.raises(InputError, match=f"Wrong.initial_state must return .*{said}"):
            call(x)


def test_an_initial_state_that_cannot_be_called_is_refused_when_the_class_is_made():
    with pytest.raises(InputError, match=r"Wrong\.initial_state must be callable as initial_state"):
        made("Wrong", {"initial_state": lambda self, batch: None})


def test_gates_and_vectors_that_nothing_reads_are_told_once(capsys):
    cell = type(
        "Wasteful",
        (tt.Cell,),
        {
            "gates": ("h", "u"),
            "state": ("h",),
            "vectors": ("p",),
            "step": lambda self, w, x, s: self.State(tanh(w.h(s.h, x))),
        },
    )
    stack = tt.Stack(cell, 5, 7, 2)
    for _ in range(2):
        stack(torch.randn(4, 2, 5))
    err = capsys.readouterr().err
    assert err.count("Wasteful() names u, p, which its step does not read") == 1
    stack(torch.randn(4, 2, 5))
    assert "Wasteful" not in capsys.readouterr().err


def test_a_vector_that_the_initial_state_reads_is_read(capsys):
    tt.Stack(Learned, 4, 9)(torch.randn(3, 2, 4))
    assert "Learned" not in capsys.readouterr().err.replace("compiled Learned", "")


def test_the_first_look_leaves_the_random_numbers_alone():
    cell = made("Drops", simple(lambda c, z: c.State(torch.dropout(z, 0.5, True), z)))
    w, x = cell().weights(5, 7), torch.randn(4, 2, 5)
    torch.manual_seed(3)
    first_use, _ = tt.scan(cell, w, x, backend="reference")
    torch.manual_seed(3)
    assert torch.equal(tt.scan(cell, w, x, backend="reference")[0], first_use)


def test_what_a_step_raises_is_the_cause():
    cell = made("Fails", simple(lambda c, z: z / 0 if z.undefined else z))
    with pytest.raises(InputError, match="undefined") as caught:
        tt.Stack(cell, 5, 7)(torch.randn(4, 2, 5))
    assert isinstance(caught.value.__cause__, AttributeError)


# States are written down


def test_states_are_pickled_copied_and_loaded_without_running_code():
    class Mine(Learned):
        pass

    for cell in (tt.LSTM, Learned, Mine):
        state = tt.Stack(cell, 4, 3, 2).initial_state(2)
        state = cell.State(*(part.detach() for part in state))
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        for other in (
            *(pickle.loads(pickle.dumps(state, protocol)) for protocol in range(6)),
            copy.copy(state),
            copy.deepcopy(state),
            torch.load(file, weights_only=True),
        ):
            assert type(other) is cell.State
            assert all(torch.equal(one, part) for one, part in zip(other, state))


def test_a_state_of_a_cell_that_is_not_imported_is_read_by_its_names():
    from throughtime.cells.base import read_state

    state = read_state("elsewhere.LSTM.State", ("a", "c"), (torch.ones(1, 2, 3),) * 2)
    assert state._fields == ("a", "c")
    y, _ = tt.Stack(tt.LSTM, 4, 3)(torch.randn(5, 2, 4), state)
    assert y.shape == (5, 2, 3)


# Views that negate


@pytest.mark.parametrize(
    ("cell", "backend"),
    [
        (c, b)
        for c in (tt.LSTM(), tt.PeepholeLSTM())
        for b in BACKENDS
        if b != "native" or c in NATIVE
    ],
    ids=repr,
)
def test_views_that_negate_are_numbers(cell, backend):
    def negated(part):
        return torch._neg_view(-part)

    p = problem(cell)
    w = tt.Weights(*map(negated, p.w[:3]), {k: negated(v) for k, v in p.w.vectors.items()})
    state = cell.State(*map(negated, p.state))
    got = outcome(p, backend)
    y, final = tt.scan(cell, w, negated(p.x), state, backend=backend)
    assert_close(
        {"y": y, **{f"final {k}": v for k, v in final._asdict().items()}},
        {k: v for k, v in got.items() if k == "y" or k.startswith("final")},
    )


def test_the_error_of_a_state_is_a_shape_error_too():
    cell = made("Wrong", simple(lambda c, z: c.State(z[:1], z)))
    with pytest.raises(ShapeError):
        tt.Stack(cell, 5, 7)(torch.randn(4, 2, 5))
