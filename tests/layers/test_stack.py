"""`Stack`: depth, direction and dropout, against loops of scans over one sequence at a time."""

from itertools import pairwise

import pytest
import torch

import throughtime as tt
from cases import ALL_CELLS, assert_close, assert_same
from stacks import LENGTHS, N_X, RESET, B, N, T, data, make, named, with_gradients
from throughtime.ground.errors import BackendUnavailable, InputError, NonFiniteError, ShapeError

every_cell = pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)


def by_hand(stack, x, state=None, lengths=None, reset=None, *, turn=True, carry=True):
    """The stack without dropout: scans of one whole sequence at a time, in a plain loop.

    `turn=False` and `carry=False` are mistakes on purpose: no reversal, a forgotten state.
    """
    steps, batch, _ = x.shape
    state = stack.initial_state(batch) if state is None or not carry else state
    lengths = [steps] * batch if lengths is None else lengths.tolist()
    y = x.new_zeros(steps, batch, stack.output_size)
    finals = [[part[:, b] for part in state] for b in range(batch)]
    ys = []
    for b, length in enumerate(lengths):
        marks = [] if reset is None else reset[:length, b].nonzero()[:, 0].tolist()
        edges = [0, *(m for m in marks if m > 0), length]
        pieces = list(pairwise(edges)) if length else []
        layer_x = x[:length, b : b + 1]
        ends = []
        for layer in range(stack.num_layers):
            outs = []
            for d in range(stack.directions):
                k = layer * stack.directions + d
                s = stack.cell.State(*(part[k, b : b + 1] for part in state))
                zero = stack.cell.State(*(torch.zeros_like(part) for part in s))
                s = zero if d == 0 and 0 in marks else s
                w = stack.weights[k]()
                backward = d == 1 and turn
                out = {}
                for i, (start, end) in enumerate(reversed(pieces) if backward else pieces):
                    part = layer_x[start:end].flip(0) if backward else layer_x[start:end]
                    if i > 0:
                        s = zero
                    part, s = tt.scan(stack.cell, w, part, s, backend="reference")
                    out[start] = part.flip(0) if backward else part
                outs.append(torch.cat([out[start] for start, _ in pieces]) if pieces else None)
                ends.append([part[0] for part in s])
            if pieces:
                out = torch.cat(outs, -1)
                layer_x = out + layer_x if stack.skips and layer > 0 else out
        if length:
            finals[b] = [torch.stack(parts) for parts in zip(*ends)]
        else:
            layer_x = x.new_zeros(0, 1, stack.output_size)
        ys.append(torch.nn.functional.pad(layer_x[:, 0], (0, 0, 0, steps - length)))
    y = torch.stack(ys, 1)
    return y, stack.cell.State(*(torch.stack(parts, 1) for parts in zip(*finals)))


@pytest.mark.parametrize(
    ("lengths", "reset"),
    [(None, None), (LENGTHS, None), (None, RESET), (LENGTHS, RESET)],
    ids=["plain", "ragged", "reset", "ragged and reset"],
)
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@every_cell
def test_a_stack_is_scans_of_each_sequence_alone(cell, layers, bidirectional, lengths, reset):
    stack = make(cell, layers, bidirectional=bidirectional)
    x, state = data(stack)
    x.requires_grad_()
    state = stack.cell.State(*(part.requires_grad_() for part in state))
    y, final = stack(x, state, lengths=lengths, reset=reset)
    right_y, right_final = by_hand(stack, x, state, lengths, reset)
    assert_close(
        with_gradients(stack, y, final, x, *state),
        with_gradients(stack, right_y, right_final, x, *state),
    )


@pytest.mark.parametrize("mistake", ["turn", "carry"])
@pytest.mark.parametrize(("lengths", "reset"), [(None, None), (LENGTHS, RESET)])
@every_cell
def test_a_dropped_reversal_or_a_forgotten_state_is_noticed(cell, mistake, lengths, reset):
    stack = make(cell, 2, bidirectional=True)
    x, state = data(stack)
    got = named(*stack(x, state, lengths=lengths, reset=reset))
    wrong = named(*by_hand(stack, x, state, lengths, reset, **{mistake: False}))
    with pytest.raises(AssertionError, match="y: off by"):
        assert_close(got, wrong, torch.float32)


def test_a_batch_turned_as_a_whole_does_not_pass_for_each_sequence_turned():
    stack = make(tt.GRU, 1, bidirectional=True)
    x, _ = data(stack)
    right = by_hand(stack, x, None, LENGTHS)[0]
    turned = tt.scan(tt.GRU, stack.weights[1](), x.flip(0))[0].flip(0)
    assert float((turned[:3, 3] - right[:3, 3, N:]).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", [tt.LSTM, tt.GRU])
def test_skips_add_each_layers_input_from_the_second_layer_on(cell, bidirectional):
    stack = make(cell, 3, bidirectional=bidirectional, skips=True)
    x, state = data(stack)
    got = named(*stack(x, state, lengths=LENGTHS, reset=RESET))
    assert_close(got, named(*by_hand(stack, x, state, LENGTHS, RESET)))
    stack.skips = False
    without = stack(x, state, lengths=LENGTHS, reset=RESET)[0]
    assert float((got["y"] - without).detach().abs().max()) > 0.1


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("cell", "face", "d_c"),
    [
        (tt.RNN(), torch.nn.RNN, False),
        (tt.LSTM(), torch.nn.LSTM, False),
        (tt.GRUResetAfter(), torch.nn.GRU, True),
    ],
    ids=["RNN", "LSTM", "GRU"],
)
def test_stacks_of_torchs_cells_equal_torchs_layers(cell, face, d_c, bidirectional):
    stack = make(cell, 2, bidirectional=bidirectional, backend="reference")
    theirs = face(N_X, N, 2, bidirectional=bidirectional).double()
    suffixes = [f"_l{k}{r}" for k in range(2) for r in ("", "_reverse")[: stack.directions]]
    with torch.no_grad():
        for w, suffix in zip(stack.weights, suffixes, strict=True):
            getattr(theirs, "weight_ih" + suffix).copy_(w.W_x)
            getattr(theirs, "weight_hh" + suffix).copy_(w.W_a)
            getattr(theirs, "bias_ih" + suffix).copy_(w.b)
            second = getattr(theirs, "bias_hh" + suffix).zero_()
            if d_c:
                second[2 * N :] = w.vectors["d_c"]
    x, state = data(stack)
    y, final = stack(x, state)
    hx = tuple(state) if len(state) > 1 else state[0]
    right_y, right_final = theirs(x, hx)
    right_final = right_final if isinstance(right_final, tuple) else (right_final,)
    assert_close(named(y, final), named(right_y, stack.cell.State(*right_final)))


# State and time


@every_cell
def test_step_by_step_equals_the_whole(cell):
    stack = make(cell, 3, skips=True)
    x, state = data(stack)
    whole, final = stack(x, state)
    ys = []
    for x_t in x:
        y_t, state = stack.step(x_t, state)
        assert y_t.shape == (B, N)
        ys.append(y_t)
    assert_close(named(torch.stack(ys), state), named(whole, final))


@every_cell
def test_pieces_with_the_state_carried_equal_the_whole(cell):
    stack = make(cell, 2)
    x, start = data(stack)
    whole, final = stack(x, start, reset=RESET)
    for cut in range(T + 1):
        head, state = stack(x[:cut], start, reset=RESET[:cut])
        tail, state = stack(x[cut:], state, reset=RESET[cut:])
        assert_close(named(torch.cat([head, tail]), state), named(whole, final))


def test_pieces_with_the_state_forgotten_do_not_equal_the_whole():
    stack = make(tt.GRU, 2)
    x, start = data(stack)
    whole, final = stack(x, start)
    got = torch.cat([stack(x[:3], start)[0], stack(x[3:])[0]])
    with pytest.raises(AssertionError, match="y: off by"):
        assert_close(named(got, final), named(whole, final), torch.float32)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("fill", [float("nan"), 1e30])
@pytest.mark.parametrize("reset", [None, RESET], ids=["", "reset"])
@every_cell
def test_padding_is_inert_at_every_depth(cell, bidirectional, fill, reset):
    stack = make(cell, 2, bidirectional=bidirectional, skips=True)
    x, state = data(stack)
    padding = torch.arange(T)[:, None] >= LENGTHS
    filled = x.clone()
    filled[padding] = fill
    plain, filled = x.requires_grad_(), filled.requires_grad_()
    right = with_gradients(stack, *stack(plain, state, lengths=LENGTHS, reset=reset), plain)
    got = with_gradients(stack, *stack(filled, state, lengths=LENGTHS, reset=reset), filled)
    assert_same(got, right)
    assert torch.equal(got["y"][padding], torch.zeros_like(got["y"][padding]))
    assert torch.equal(got["d input 0"][padding], torch.zeros(int(padding.sum()), N_X).double())


def test_a_sequence_of_no_steps_keeps_its_initial_state():
    stack = make(tt.LSTM, 2, bidirectional=True)
    x, state = data(stack)
    y, final = stack(x, state, lengths=LENGTHS)
    assert torch.equal(final.a[:, 2], state.a[:, 2])
    assert torch.equal(final.c[:, 2], state.c[:, 2])
    assert not y[:, 2].any()


@pytest.mark.parametrize("bidirectional", [False, True])
@every_cell
def test_the_state_is_ordered_layer_by_layer_forward_before_backward(cell, bidirectional):
    stack = make(cell, 2, bidirectional=bidirectional)
    D = stack.directions
    state = stack.initial_state(B)
    assert state._fields == stack.cell.state
    assert all(torch.equal(part, torch.zeros(2 * D, B, N).double()) for part in state)
    x, _ = data(stack)
    y, final = stack(x)
    assert y.shape == (T, B, D * N)
    assert all(part.shape == (2 * D, B, N) for part in final)
    assert torch.equal(final[0][2 * D - D], y[-1, :, :N])
    if bidirectional:
        assert torch.equal(final[0][3], y[0, :, N:])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_batch_first_exchanges_the_first_two_dimensions_of_x_y_and_reset(bidirectional):
    ours = make(tt.GRU, 2, bidirectional=bidirectional)
    other = make(tt.GRU, 2, bidirectional=bidirectional, batch_first=True)
    x, state = data(ours)
    right = ours(x, state, lengths=LENGTHS, reset=RESET)
    y, final = other(x.transpose(0, 1), state, lengths=LENGTHS, reset=RESET.T)
    assert_same(named(y.transpose(0, 1), final), named(*right))


def test_state_given_or_not_is_the_same_when_it_is_zero():
    stack = make(tt.LSTM, 2, bidirectional=True)
    x, _ = data(stack)
    assert_same(named(*stack(x, stack.initial_state(B))), named(*stack(x)))


# Dropout


def pass_through(layers: int, **options) -> tt.Stack:
    """A stack whose every layer, on positive input, gives its input back."""
    stack = tt.Stack(tt.RNN("relu"), N, N, layers, **options).double()
    with torch.no_grad():
        for w in stack.weights:
            w.W_x.copy_(torch.eye(N))
            w.W_a.zero_()
    return stack


def test_dropout_acts_between_layers_and_is_drawn_at_each_step():
    torch.manual_seed(0)
    x = torch.ones(50, 20, N).double()
    y, _ = pass_through(2, dropout=0.25)(x)
    assert set(y.unique().tolist()) == {0, 1 / 0.75}
    assert abs(float((y == 0).double().mean()) - 0.25) < 0.03
    assert not torch.equal(y[0], y[1])
    assert torch.equal(pass_through(1, dropout=0.25)(x)[0], x)


def test_locked_dropout_has_one_mask_over_time():
    torch.manual_seed(0)
    x = torch.ones(50, 200, N).double()
    stack = pass_through(2, dropout=0.25, locked_dropout=True)
    y, _ = stack(x)
    assert set(y.unique().tolist()) == {0, 1 / 0.75}
    assert torch.equal(y, y[:1].expand_as(y))
    assert abs(float((y[0] == 0).double().mean()) - 0.25) < 0.05
    assert not torch.equal(y[0, 0], y[0].mean(0))  # not one mask for the batch
    assert not torch.equal(stack(x)[0], y)  # drawn anew at each call


def test_locked_dropout_is_drawn_apart_for_each_layer():
    torch.manual_seed(0)
    x = torch.ones(2, 200, N).double()
    y, _ = pass_through(3, dropout=0.5, locked_dropout=True)(x)
    assert set(y.unique().tolist()) == {0, 4}
    assert abs(float((y == 4).double().mean()) - 0.25) < 0.05


def test_no_dropout_acts_in_evaluation():
    options = {"dropout": 0.5, "weight_drop": 0.5}
    stack, plain = make(tt.LSTM, 3, **options).eval(), make(tt.LSTM, 3)
    x, state = data(stack)
    assert_same(named(*stack(x, state)), named(*plain(x, state)))
    stack.train()
    assert not torch.equal(stack(x, state)[0], plain(x, state)[0])


def test_the_same_seed_gives_the_same_weights_and_dropout():
    def once(seed):
        torch.manual_seed(seed)
        stack = tt.Stack(tt.GRU, N_X, N, 3, dropout=0.3, weight_drop=0.2, bidirectional=True)
        return named(*stack(torch.ones(T, B, N_X)))

    assert_same(once(3), once(3))
    assert not torch.equal(once(3)["y"], once(4)["y"])


def test_weight_drop_changes_the_recurrent_weights_only_and_no_parameter():
    stack, plain = make(tt.LSTM, 2, weight_drop=0.5), make(tt.LSTM, 2)
    x, state = data(stack)
    before = {name: value.clone() for name, value in stack.state_dict().items()}
    y, _ = stack(x, state)
    assert not torch.equal(y, plain(x, state)[0])
    assert_same(dict(stack.state_dict()), before)
    used = stack.weights[0](0.5)
    assert torch.equal(used.W_x, plain.weights[0].W_x)
    assert torch.equal(used.b, plain.weights[0].b)
    with torch.no_grad():
        for one in (stack, plain):
            for w in one.weights:
                w.W_a.zero_()
    assert_same(named(*stack(x, state)), named(*plain(x, state)))


def test_weight_drop_is_drawn_once_a_call_and_scaled():
    torch.manual_seed(0)
    stack = pass_through(1, weight_drop=0.5)
    with torch.no_grad():
        stack.weights[0].W_a.copy_(torch.eye(N))
    state = stack.cell.State(torch.ones(1, B, N).double())
    patterns = set()
    for _ in range(20):
        y, _ = stack(torch.zeros(4, B, N).double(), state)
        kept = y[0, 0] != 0
        for t in range(4):  # a dropped entry stays dropped, a kept one doubles at each step
            assert torch.equal(y[t], torch.where(kept, 2.0 ** (t + 1), 0.0).double().expand(B, N))
        patterns.add(tuple(kept.tolist()))
    assert len(patterns) > 5


def test_weight_drop_passes_gradients_to_the_entries_kept():
    torch.manual_seed(0)
    stack = make(tt.RNN, 1, weight_drop=0.5)
    x, state = data(stack)
    stack(x, state)[0].sum().backward()
    gradient = stack.weights[0].W_a.grad
    assert 0 < int((gradient == 0).sum()) < gradient.numel()


# Parameters


@every_cell
def test_a_state_dict_makes_the_same_stack_again(cell):
    ours = make(cell, 2, bidirectional=True)
    other = make(cell, 2, bidirectional=True, seed=9)
    x, state = data(ours)
    right = named(*ours(x, state))
    assert not torch.equal(other(x, state)[0], right["y"])
    other.load_state_dict(ours.state_dict(), strict=True)
    assert_same(named(*other(x, state)), right)


@every_cell
def test_every_parameter_is_registered_with_the_documented_shape(cell):
    stack = make(cell, 2, bidirectional=True)
    G = len(stack.cell.gates)
    for k, w in enumerate(stack.weights):
        assert w.W_x.shape == (G * N, N_X if k < 2 else 2 * N)
        assert w.W_a.shape == (G * N, N)
        assert w.b.shape == (G * N,)
        assert tuple(w.vectors) == stack.cell.vectors
    assert len(list(stack.parameters())) == 4 * (3 + len(stack.cell.vectors))


def test_a_new_stack_has_the_cells_initial_values():
    stack = tt.Stack(tt.LSTM, N_X, N)
    u, f, c, o = stack.weights[0].b.detach().chunk(4)
    assert torch.equal(f, torch.ones(N))
    assert not torch.cat([u, c, o]).any()


def test_printing_a_stack_shows_what_it_is():
    text = repr(make(tt.LSTM("identity"), 2, bidirectional=True))
    assert "LSTM(output='identity'), 3, 5, 2, bidirectional=True, backend='auto'" in text


# What a stack refuses


def test_a_bidirectional_stack_refuses_to_step():
    stack = make(tt.LSTM, 1, bidirectional=True)
    x, state = data(stack)
    with pytest.raises(InputError, match="needs the entire sequence: it cannot step"):
        stack.step(x[0], state)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input_size": 0}, "input_size must be at least 1, got 0"),
        ({"hidden_size": -3}, "hidden_size must be at least 1, got -3"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be a probability below 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be a probability below 1, got -0.1"),
        ({"weight_drop": 2}, "weight_drop must be a probability below 1, got 2"),
        ({"backend": "natve"}, "unknown backend 'natve'. Did you mean 'native'"),
        ({"cell": torch.nn.LSTM}, "cell must be a tt.Cell"),
    ],
)
def test_a_stack_that_cannot_be_built_says_why(options, said):
    arguments = {"cell": tt.LSTM, "input_size": 3, "hidden_size": 4} | options
    with pytest.raises(InputError, match=said):
        tt.Stack(**arguments)


@pytest.mark.parametrize("batch_first", [False, True])
def test_inputs_of_other_shapes_are_refused(batch_first):
    stack = make(tt.LSTM, 2, batch_first=batch_first)
    layout = "B, T" if batch_first else "T, B"
    x, (a, c) = data(stack)
    x = x.transpose(0, 1) if batch_first else x
    for wrong in (x[0], x[..., :2], x[None]):
        with pytest.raises(ShapeError, match=rf"x must be \[{layout}, 3\]; got \["):
            stack(wrong)
    with pytest.raises(ShapeError, match=r"state a must be \[2, 4, 5\]; got \[1, 4, 5\]"):
        stack(x, (a[:1], c))
    with pytest.raises(ShapeError, match="has the parts a, c; got 1 without names"):
        stack(x, a)
    with pytest.raises(ShapeError, match=r"lengths must be integers of shape \[4\]"):
        stack(x, lengths=torch.tensor([1, 2]))
    with pytest.raises(ShapeError, match="between 0 and T = 6; got 0 to 7"):
        stack(x, lengths=torch.tensor([1, 7, 0, 2]))
    right = r"\[4, 6\]" if batch_first else r"\[6, 4\]"
    for wrong in (RESET if batch_first else RESET.T, RESET[0], RESET[None]):
        with pytest.raises(ShapeError, match=f"reset must be boolean {right}"):
            stack(x, reset=wrong)
    with pytest.raises(ShapeError, match=f"reset must be boolean {right}.*torch.int64"):
        stack(x, reset=torch.zeros(x.shape[:2], dtype=torch.int64))


def test_steps_of_other_shapes_are_refused():
    stack = make(tt.LSTM, 2)
    x, state = data(stack)
    for wrong in (x, x[0, :, :2], x[0, 0]):
        with pytest.raises(ShapeError, match=r"x must be \[B, 3\], one step; got \["):
            stack.step(wrong, state)
    with pytest.raises(ShapeError, match=r"state a must be \[2, 3, 5\]; got \[2, 4, 5\]"):
        stack.step(x[0, 1:], state)


def test_data_that_is_not_finite_is_refused_outside_the_padding():
    stack = make(tt.LSTM, 1)
    x, state = data(stack)
    x[4, 0, 1] = float("nan")
    stack(x, state, lengths=LENGTHS)
    with pytest.raises(NonFiniteError, match="t = 4, sequence 0, feature 1: nan"):
        stack(x, state)
    with pytest.raises(NonFiniteError, match="sequence 0, feature 1: nan"):
        stack.step(x[4], state)


def test_a_backend_that_cannot_run_the_cell_raises_its_reason():
    stack = make(tt.GRU, 1, backend="native")
    with pytest.raises(BackendUnavailable, match="torch has no kernel for GRU"):
        stack(data(stack)[0])
