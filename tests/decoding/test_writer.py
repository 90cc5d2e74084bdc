import math

import pytest
import torch

import throughtime as tt
from throughtime.config import ModelConfig
from throughtime.config.language import WritingOptions
from throughtime.data.vocabulary import Vocabulary
from throughtime.decoding import Sampling, Start, Writer, sample
from throughtime.decoding.sampling import Before
from throughtime.ground.chance import shares
from throughtime.layers.mode import frozen
from throughtime.layers.rows import in_blocks, steps_row_by_row
from throughtime.models.language import LanguageModel
from throughtime.tasks.writing import Growing
from writing import left_one_by_one

V = 30


class Mixing(tt.Cell):
    """No compiled program takes a cumulative sum: this cell steps as the reference does."""

    gates = ("a",)
    state = ("a",)

    def step(self, w, x, s):
        return self.State(a=torch.tanh(w.a(s.a, x).cumsum(-1)))


def made(cell, **settings):
    torch.manual_seed(5)
    config = ModelConfig(hidden_size=24, num_layers=2, init_range=0.8, **settings)
    return LanguageModel(cell, V, config).eval()


MODELS = {
    "native": lambda: made(tt.LSTM, output_layers=[40]),
    "different layers": lambda: made((tt.GRU, tt.LSTM), tied=True),
    "reference": lambda: made(Mixing()),
    "window": lambda: made(tt.LSTM, context=3),
}


def texts(model, starts, length=40, seed=7, **sampling):
    """The tokens after each start, all written side by side."""
    with frozen(model):
        writer = Writer(model, starts, Sampling(**sampling), seed)
        return [list(row) for row in zip(*(writer.step() for _ in range(length)))]


@pytest.mark.parametrize("kind", MODELS)
def test_a_text_does_not_depend_on_those_beside_it(kind):
    model = MODELS[kind]()
    primes = [[2], [2, 5, 6, 7], [2] + [4, 5, 6] * 100, [2, 9], [2, *range(4, 20)]]
    starts = [Start(ids, k) for k in range(7) for ids in primes]
    options = {"temperature": 1.3, "min_p": 0.01, "repetition_penalty": 1.1}
    beside = texts(model, starts, **options)
    assert len(set(map(tuple, beside))) == len(starts)
    for k in (0, 1, 2, 13, 34):
        assert texts(model, [starts[k]], **options) == [beside[k]]
    assert texts(model, starts[3:20], **options) == beside[3:20]


def test_the_native_model_steps_row_by_row_and_the_others_in_blocks():
    found = {}
    for kind, make in MODELS.items():
        model = make()
        assert not steps_row_by_row(model)
        with frozen(model):
            found[kind] = steps_row_by_row(model)
    assert found == {
        "native": True, "different layers": True, "reference": False, "window": False,
    }  # fmt: skip


@pytest.mark.parametrize("kind", MODELS)
def test_who_goes_on_writes_what_it_would_have(kind):
    model, starts = MODELS[kind](), [Start([2], k) for k in range(20)]
    expected = texts(model, starts, 30)
    with frozen(model):
        found = left_one_by_one(Writer(model, starts, Sampling(), 7))
    assert found == [one[: 4 * (k + 1)] for k, one in enumerate(expected)]


@pytest.mark.parametrize(("n", "size"), [(24, 65), (512, 65), (512, 3000), (100, 7)])
def test_every_row_of_a_block_is_summed_alike(n, size):
    """What `in_blocks` relies on: the same row gives the same bits at any place of a block."""
    linear = torch.nn.Linear(n, size)
    rows = torch.randn(37, n)
    with torch.inference_mode():
        whole = in_blocks(linear, rows)
        torch.testing.assert_close(whole, linear(rows))
        for k in range(37):
            assert torch.equal(in_blocks(linear, rows[k : k + 1])[0], whole[k])


def test_greedy_texts_are_those_of_one_at_a_time():
    model = made(tt.GRU)
    primes = [[2, 4, 8], [2], [2, 11, 12, 13, 14]]
    found = texts(model, [Start(ids) for ids in primes], 12, temperature=0)
    assert found == [list(sample(model, ids, 12, Sampling(temperature=0))) for ids in primes]


def test_chances_are_even_and_depend_on_all_three():
    found = shares(3, torch.arange(200), torch.arange(100))
    assert found.min() >= 0
    assert found.max() < 1
    assert len(found.unique()) == 20_000
    counts = torch.histc(found.flatten().float(), 50, 0, 1)
    assert ((counts - 400).abs() < 5 * math.sqrt(400)).all()
    assert torch.equal(shares(3, torch.tensor([7]), torch.tensor([9])), found[7:8, 9:10])
    other = shares(4, torch.arange(199), torch.arange(99))
    beside = (found[:-1, :-1], found[1:, :-1], found[:-1, 1:], other)
    lags = torch.stack([part.flatten() for part in beside])
    assert (torch.corrcoef(lags) - torch.eye(4)).abs().max() < 0.03


def test_log_probabilities_are_the_models_own():
    model = made(tt.LSTM)
    with frozen(model):
        writer = Writer(model, [Start([2, 5]), Start([2, 9])], Sampling(temperature=3), 1, tops=4)
        tokens, likely = writer.step(), writer.likely
    for ids, token, one in zip(([2, 5], [2, 9]), tokens, likely):
        h, _ = model.hidden(torch.tensor(ids)[:, None], model.initial_state(1))
        expected = model.head.logits(h[-1]).log_softmax(1)[0].detach()
        assert one.log_probability == pytest.approx(float(expected[token]), abs=1e-5)
        best = expected.topk(4)
        assert [i for i, _ in one.instead] == best.indices.tolist()
        assert [p for _, p in one.instead] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_penalties_are_what_they_say():
    logits = torch.tensor([[2.0, -1.0, 0.5, 4.0]])
    before = Before(torch.tensor([[True, True, False, False]]), torch.tensor([[3.0, 0, 0, 1]]))
    found = Sampling(repetition_penalty=2.0).penalised(logits, before)
    assert found.tolist() == [[1.0, -2.0, 0.5, 4.0]]
    found = Sampling(presence_penalty=0.5, frequency_penalty=0.25).penalised(logits, before)
    assert found.tolist() == [[0.75, -1.0, 0.5, 3.25]]
    with frozen(model := made(tt.LSTM)):  # a prime is seen, and only what is written is counted
        writer = Writer(model, [Start([2, 5, 6])], Sampling(0, presence_penalty=1e9), 1)
        written = [writer.step()[0] for _ in range(V)]
        assert sorted(written) == list(range(V))
        writer = Writer(model, [Start([2, 5, 6])], Sampling(0, repetition_penalty=1e9), 1)
        writer.step()
        assert writer.before.seen[0, [2, 5, 6]].all()


def test_min_p_keeps_what_is_near_the_most_probable():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    kept = Sampling(min_p=0.25).probabilities(logits)[0]
    assert (kept > 0).tolist() == [True, True, True, False]
    draws = Sampling(min_p=0.7).draw(logits.expand(500, 4), torch.Generator().manual_seed(0))
    assert set(draws.tolist()) == {0}


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 1), (0.4999, 1), (0.5, 3), (1 - 1e-17, 3)])
def test_a_token_of_no_probability_is_never_drawn(chance, expected):
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]])
    chances = torch.tensor([chance], dtype=torch.float64)
    assert Sampling().draw(logits, chances=chances).tolist() == [expected]


LETTERS = Vocabulary.of_texts(["abcdefgh"], "char")


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("abcdef", ["cd"], "ab"),
        ("abcabd", ["abd"], "abc"),
        ("aaab", ["aab"], "a"),
        ("abc", ["cd"], "abc"),
        ("abcd", ["bcx", "cd", "d"], "ab"),
        ("abcd", ["a"], ""),
        ("abcd", ["h"], "abcd"),
    ],
)
def test_a_text_ends_before_what_it_stops_at(text, stop, expected):
    growing = Growing(0, LETTERS, "x", stop)
    heard = ""
    for token in LETTERS.encode(text):
        growing.push(int(token))
        heard = "".join(piece.text for piece in growing.pieces)[1:]
        assert expected.startswith(heard)  # nothing is said that must be taken back
        if growing.ended:
            break
    growing.close("length")
    assert "".join(piece.text for piece in growing.pieces) == "x" + expected
    assert growing.pieces[-1].ended == ("length" if expected == text else "stop")


def test_a_stop_may_lie_across_bytes_of_a_character():
    of_bytes = Vocabulary.of_texts([], "byte")
    growing = Growing(0, of_bytes, "", ["é!"])
    for token in of_bytes.encode("né é!x"):
        growing.push(int(token))
        if growing.ended:
            break
    assert "".join(piece.text for piece in growing.pieces) == "né "


def test_options_of_drawing_do_not_go_with_beams():
    for named in ({"stop": ["a"]}, {"min_p": 0.1}, {"logprobs": 2}, {"repetition_penalty": 1.5}):
        with pytest.raises(tt.InputError, match="does not go with num_beams"):
            WritingOptions(num_beams=2, **named).check()
    with pytest.raises(tt.InputError, match="one character at least"):
        WritingOptions(stop=[""]).check()
    with pytest.raises(tt.InputError, match="give one of them"):
        WritingOptions(prime="a", prompts="b").check()
