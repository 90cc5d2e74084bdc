"""Noise in the recurrence of a stack: shares, what it depends on, gradients, the expectation."""

import pytest
import torch
from torch import sigmoid, tanh
from torch.utils.checkpoint import checkpoint

import throughtime as tt
from cases import assert_close, assert_same
from stacks import LENGTHS, N_X, RESET, B, N, T, data, make, named, with_gradients
from throughtime.ground.errors import BackendUnavailable, InputError

ALL = {"zoneout": 0.2, "recurrent_dropout": 0.3, "variational_dropout": 0.4}
KINDS = {
    "zoneout": {"zoneout": 0.3},
    "zoneout of one part": {"zoneout": {"c": 0.3}},
    "recurrent dropout": {"recurrent_dropout": 0.3},
    "variational dropout": {"variational_dropout": 0.3},
    "all": ALL,
    "all, both directions": ALL | {"bidirectional": True},
}
every_kind = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)


def masks(stack, draw, layer, direction, reset=None):
    """Of one scan, by name, as the stack draws them."""
    cell, x = stack.noisy_cells[layer], torch.zeros(T, B, 1, dtype=torch.float64)
    streams = stack.noise.streams(stack.cells[layer], draw, (layer, direction), x, N, reset)
    return {
        name: stream.double().expand(T, B, N)
        for name, stream in zip(cell.inputs, streams, strict=True)
    }


def test_gradients_are_those_of_a_plain_loop_over_the_same_masks():
    """An LSTM of two layers written out, each kind of noise where its paper has it."""
    stack = make(tt.LSTM, 2, zoneout={"a": 0.1, "c": 0.4}, recurrent_dropout=0.3,
                 variational_dropout=0.2)  # fmt: skip
    x, state = data(stack)
    draw = stack.draw(11)

    def loop(x, state):
        finals = []
        for layer, w in enumerate(stack.weights):
            m = masks(stack, draw, layer, 0)
            a, c = state.a[layer], state.c[layer]
            ys = []
            for t in range(T):
                operand = a * m["operand.kept"][t] / (1 - 0.2)
                u, f, g, o = (x[t] @ w.W_x.T + operand @ w.W_a.T + w.b).chunk(4, 1)
                c_tilde = tanh(g) * m["candidate.kept"][t] / (1 - 0.3)
                new_c = sigmoid(u) * c_tilde + sigmoid(f) * c
                new_a = sigmoid(o) * tanh(new_c)
                a = torch.where(m["zoneout.a"][t] > 0, a, new_a)
                c = torch.where(m["zoneout.c"][t] > 0, c, new_c)
                ys.append(a)
            x = torch.stack(ys)
            finals.append((a, c))
        return x, stack.cell.State(*(torch.stack(parts) for parts in zip(*finals)))

    also = [leaf.requires_grad_() for leaf in (x, *state)]
    right = with_gradients(stack, *loop(x, state), *also)
    for backend in ("compiled", "reference"):
        stack.backend = backend
        assert_close(with_gradients(stack, *stack(x, state, draw=draw), *also), right)


@every_kind
@pytest.mark.parametrize("cell", [tt.GRU, tt.LSTM])
def test_backends_have_the_same_noise(cell, options):
    results = []
    for backend in ("compiled", "reference"):
        stack = make(cell, 2, backend=backend, **options)
        x, state = data(stack)
        torch.manual_seed(3)
        results.append(with_gradients(stack, *stack(x, state, lengths=LENGTHS, reset=RESET)))
    assert_close(*results)


@pytest.mark.parametrize("backend", ["compiled", "reference"])
def test_gradients_are_the_differences_of_the_outputs(backend):
    stack = make(tt.GRU, 1, backend=backend, **ALL)
    x, state = data(stack)
    draw = stack.draw(2)
    given = [part.requires_grad_() for part in (x[:3], *state)]
    assert torch.autograd.gradcheck(
        lambda x, *state: stack(x, stack.cell.State(*state), draw=draw)[0], given
    )


# What noise depends on


def test_the_seed_comes_from_torchs_generator_once_a_call():
    stack = make(tt.LSTM, 2, **ALL)
    x, state = data(stack)

    def call(seed=None):
        if seed is not None:
            torch.manual_seed(seed)
        return named(*stack(x, state))

    first, second = call(5), call()
    assert_same(call(5), first)
    assert_same(call(), second)
    assert not torch.equal(first["y"], second["y"])
    torch.manual_seed(5)
    draw = stack.draw()
    after = torch.get_rng_state()
    assert_same(named(*stack(x, state, draw=draw)), first)
    call(5)
    assert torch.equal(torch.get_rng_state(), after)


def test_without_noise_and_in_evaluation_nothing_is_drawn():
    plain, noisy = make(tt.LSTM, 2), make(tt.LSTM, 2, **ALL).eval()
    for stack in (plain, noisy):
        x, state = data(stack)
        before = torch.get_rng_state()
        stack(x, state)
        assert stack.draw() is None
        assert torch.equal(torch.get_rng_state(), before)
    assert plain.noisy_cells == plain.evaluated_cells == plain.cells


def test_threads_change_no_bit():
    before = torch.get_num_threads()
    stack = tt.Stack(tt.LSTM, N_X, 200, 2, **ALL)
    x = torch.randn(5, 24, N_X)
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            y, state = stack(x, draw=stack.draw(1))
            results.append(with_gradients(stack.double(), y.double(), state))
            stack.float()
    finally:
        torch.set_num_threads(before)
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])


@every_kind
def test_neighbours_and_the_size_of_a_batch_change_nothing(options):
    stack = make(tt.LSTM, 2, **options)
    x, state = data(stack)
    ids = torch.tensor([70, 3, 2**40, 5])
    whole, end = stack(x, state, lengths=LENGTHS, reset=RESET, draw=stack.draw(1, ids))
    some = [3, 0]
    y, final = stack(
        x[:, some],
        stack.cell.State(*(part[:, some] for part in state)),
        lengths=LENGTHS[some],
        reset=RESET[:, some],
        draw=stack.draw(1, ids[some]),
    )
    right = named(whole[:, some], stack.cell.State(*(part[:, some] for part in end)))
    assert_close(named(y, final), right)  # rows of another batch may go another way


def test_a_sequences_number_is_its_place_where_none_is_given():
    stack = make(tt.LSTM, 2, **ALL)
    x, state = data(stack)
    y, _ = stack(x, state, draw=stack.draw(1))
    assert torch.equal(stack(x, state, draw=stack.draw(1, torch.arange(B)))[0], y)
    other = stack(x, state, draw=stack.draw(1, torch.arange(B) + 1))[0]
    assert not (other == y).all(0).all(-1).any()


@pytest.mark.parametrize("cut", [1, 4])
def test_a_sequence_in_parts_has_the_noise_of_the_whole(cut):
    stack = make(tt.LSTM, 2, **ALL)
    x, state = data(stack)
    draw = stack.draw(1)
    whole = named(*stack(x, state, draw=draw))
    head, middle = stack(x[:cut], state, draw=draw)
    tail, final = stack(x[cut:], middle, draw=draw.after(cut))
    assert_close(named(torch.cat([head, tail]), final), whole)
    wrong, _ = stack(x[cut:], middle, draw=draw)
    assert not torch.equal(wrong, tail)


@every_kind
def test_recomputed_noise_is_the_same(options):
    stack = make(tt.LSTM, 2, **options)
    x, state = data(stack)
    torch.manual_seed(0)
    right = with_gradients(stack, *stack(x, state))
    torch.manual_seed(0)
    y, final = checkpoint(stack, x, state, use_reentrant=False)
    assert_same(with_gradients(stack, y, final), right)


def test_layers_directions_parts_and_places_have_masks_of_their_own():
    stack = make(tt.LSTM, 2, bidirectional=True, **ALL)
    stack.noise.__dict__["recurrent_dropout"] = 0.8  # the same share as zoneout's
    draw = stack.draw(1)
    found = [
        masks(stack, draw, layer, direction)[name]
        for layer in (0, 1)
        for direction in (0, 1)
        for name in ("zoneout.a", "zoneout.c", "candidate.kept")
    ]
    for i, one in enumerate(found):
        assert not any(torch.equal(one, other) for other in found[:i])
        assert not any(torch.equal(one, 1 - other) for other in found[:i])
        assert not any(torch.equal(one[0], step) for step in one[1:])


def test_the_operands_mask_lasts_a_sequence_and_changes_with_it():
    stack = make(tt.GRU, 1, variational_dropout=0.5)
    draw = stack.draw(3)
    whole = masks(stack, draw, 0, 0)["operand.kept"]
    assert torch.equal(whole, whole[:1].expand_as(whole))
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[2, 1] = reset[4, 1] = reset[3, 0] = True
    cut = masks(stack, draw, 0, 0, reset)["operand.kept"]
    assert torch.equal(cut[:, 2:], whole[:, 2:])
    pieces = [cut[0, 1], cut[2, 1], cut[4, 1]]
    assert torch.equal(cut[:, 1], torch.stack([p for p in pieces for _ in range(2)]))
    assert len({tuple(p.tolist()) for p in pieces}) == 3
    assert torch.equal(cut[:3, 0], whole[:3, 0])
    assert not torch.equal(cut[3, 0], whole[3, 0])


def test_masks_have_the_shares_of_their_rates():
    stack = tt.Stack(tt.LSTM, 3, 500, zoneout={"a": 0.05, "c": 0.5}, recurrent_dropout=0.3,
                     variational_dropout=0.2)  # fmt: skip
    x = torch.zeros(100, 8, 3)
    found = stack.noise.streams(stack.cells[0], stack.draw(1), (0, 0), x, 500, None)
    by_name = dict(zip(stack.noisy_cells[0].inputs, found, strict=True))
    expected = {"zoneout.a": 0.05, "zoneout.c": 0.5, "candidate.kept": 0.7, "operand.kept": 0.8}
    for name, share in expected.items():
        mask = by_name[name]
        assert mask.dtype == torch.bool  # a byte each
        assert abs(float(mask.double().mean()) - share) < 4 * (0.25 / mask.numel()) ** 0.5
    assert by_name["operand.kept"].shape == (1, 8, 500)
    assert float(by_name["candidate.scale"]) == pytest.approx(1 / 0.7)
    assert float(by_name["operand.scale"]) == pytest.approx(1 / 0.8)


# Evaluation


def test_evaluation_takes_zoneouts_expectation_and_drops_nothing():
    stack, plain = make(tt.LSTM, 2, **ALL | {"zoneout": 0.0}).eval(), make(tt.LSTM, 2)
    x, state = data(stack)
    assert_same(named(*stack(x, state)), named(*plain(x, state)))
    for cell in (tt.LSTM, tt.GRU):
        stack, plain = make(cell, 1, zoneout=0.3).eval(), make(cell, 1)
        x, state = data(stack)
        for backend in ("compiled", "reference"):
            stack.backend = plain.backend = backend
            _, got = stack(x[:1], state)
            _, new = plain(x[:1], state)
            right = (0.3 * old + 0.7 * part for old, part in zip(state, new))
            assert_close(got._asdict(), stack.cell.State(*right)._asdict())


def test_the_mean_over_many_masks_is_the_expectation():
    """Of one step, which is linear in zoneout's masks."""
    stack = make(tt.LSTM, 1, zoneout={"a": 0.2, "c": 0.6})
    x, state = data(stack)
    many, x = 4000, x[:1, :1]
    first = stack.cell.State(*(part[:, :1].expand(-1, many, -1).contiguous() for part in state))
    _, got = stack(x.expand(-1, many, -1), first, draw=stack.draw(1))
    _, expected = stack.eval()(x, stack.cell.State(*(part[:, :1] for part in state)))
    for mean, right in zip(got, expected):
        assert torch.allclose(mean.mean(1, keepdim=True), right, atol=0.05)


def test_frozen_steps_take_the_expectation():
    stack = tt.Stack(tt.LSTM, N_X, N, 2, zoneout={"c": 0.3}).eval()
    x = torch.randn(4, B, N_X)
    whole, end = stack(x)
    state = None
    with torch.no_grad(), stack.frozen() as frozen:
        assert frozen.why_not is None
        for t in range(4):
            y, state = stack.step(x[t], state)
            assert torch.allclose(y, whole[t], atol=1e-6)
    assert torch.allclose(state.c, end.c, atol=1e-6)


def test_a_graph_of_torch_compile_trains_with_noise():
    stack = make(tt.LSTM, 2, **ALL)
    x, state = data(stack)
    draw = stack.draw(1)
    torch._dynamo.reset()
    graph = torch.compile(stack, fullgraph=True, backend="aot_eager")
    right = with_gradients(stack, *stack(x, state, draw=draw))
    assert_same(with_gradients(stack, *graph(x, state, draw=draw)), right)
    first, second = (graph(x, state)[0] for _ in range(2))
    torch._dynamo.reset()
    assert not torch.equal(first, second)


def test_autocast_and_mixed_stacks_have_noise_too():
    cells = [tt.LSTM, tt.GRU]
    stack = tt.Stack(cells, N_X, [8, 6], zoneout={"a": 0.2, "c": 0.3}, recurrent_dropout=0.2)
    assert repr(stack.evaluated_cells[1]) == "GRU() with zoneout c=0.3"
    x = torch.randn(T, B, N_X)
    y, _ = stack(x, draw=stack.draw(4))
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = stack(x, draw=stack.draw(4))
    assert torch.allclose(half.float(), y, atol=0.05)


# Options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"zoneout": 1.0}, "zoneout must be a probability below 1, got 1.0"),
        ({"zoneout": -0.1}, "zoneout must be a probability below 1, got -0.1"),
        ({"zoneout": {"c": 2}}, "zoneout of c must be a probability below 1, got 2"),
        ({"zoneout": {"h": 0.1}}, r"zoneout names no state of LSTM\(output='tanh'\): 'h'; the sta"),
        ({"recurrent_dropout": 1}, "recurrent_dropout must be a probability below 1, got 1"),
        ({"variational_dropout": float("nan")}, "variational_dropout must be a probability below"),
        ({"cell": tt.RNN, "recurrent_dropout": 0.1}, "RNN.* names none; these do: simple-gru, gru"),
    ],
)
def test_noise_that_cannot_be_is_told(options, said):
    with pytest.raises(InputError, match=said):
        tt.Stack(**{"cell": tt.LSTM, "input_size": 3, "hidden_size": 4} | options)


def test_a_stack_refuses_cells_with_inputs():
    class Timed(tt.GRU):
        inputs = ("time",)

    with pytest.raises(InputError, match=r"Timed\(\) reads time beside x, which a stack does not"):
        tt.Stack(Timed, 3, 4)


def test_auto_takes_compiled_where_torchs_kernels_have_no_noise():
    assert make(tt.LSTM, 1, **ALL).why_slow() is None
    stack = make(tt.LSTM, 1, backend="native", zoneout=0.1)
    x, state = data(stack)
    with pytest.raises(BackendUnavailable, match=r"torch has no kernel for LSTM.* with zoneout"):
        stack(x, state)
