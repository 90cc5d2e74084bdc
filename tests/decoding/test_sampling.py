import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import throughtime as tt
from throughtime.config import ModelConfig
from throughtime.decoding import Sampling, beam_search, sample
from throughtime.ground.errors import InputError, ThroughtimeError
from throughtime.models.language import LanguageModel

V, EOS = 6, 3


@pytest.fixture
def model():
    config = ModelConfig(hidden_size=8, num_layers=2, init_range=1.5)
    return LanguageModel(tt.GRU, V, config).double().eval()


def log_probability(model, prime, tokens):
    state, total = model.initial_state(1), 0.0
    sequence = [*prime, *tokens]
    for i, token in enumerate(sequence[:-1]):
        logits, state = model.step(torch.tensor([token]), state)
        if i + 1 >= len(prime):
            total += logits.log_softmax(1)[0, sequence[i + 1]].item()
    return total


def test_greedy_takes_the_most_probable_token_each_time(model):
    greedy = list(sample(model, [2], 10, Sampling(temperature=0)))
    written = [2]
    for token in greedy:
        logits, _ = model.hidden(torch.tensor(written)[:, None], model.initial_state(1))
        assert model.head.logits(logits[-1]).argmax().item() == token
        written.append(token)


def test_a_seed_fixes_the_text_and_another_changes_it(model):
    texts = [
        list(sample(model, [2], 40, generator=torch.Generator().manual_seed(seed)))
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_sampling_draws_from_the_models_distribution(model):
    logits, _ = model.step(torch.tensor([2]), model.initial_state(1))
    p = logits.softmax(1)[0]
    draws = Sampling().draw(logits.expand(40_000, V), torch.Generator().manual_seed(0))
    shares = torch.bincount(draws, minlength=V) / 40_000
    assert (shares - p).abs().max() < 4 * math.sqrt(0.25 / 40_000)


@settings(max_examples=50)
@given(
    k=st.integers(1, V), p=st.floats(0.05, 1.0), t=st.floats(0.2, 3.0), seed=st.integers(0, 2**31)
)
def test_top_k_and_top_p_keep_what_they_say(k, p, t, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, V, generator=generator)
    order = logits[0].argsort(descending=True)
    draws = Sampling(temperature=t, top_k=k).draw(logits.expand(200, V), generator)
    assert set(draws.tolist()) <= set(order[:k].tolist())
    cumulative = (logits[0] / t).softmax(0)[order].cumsum(0)
    kept = 1 + int((cumulative < p - 1e-6).sum())
    draws = Sampling(temperature=t, top_p=p).draw(logits.expand(200, V), generator)
    assert set(draws.tolist()) <= set(order[: kept + 1].tolist())
    if kept < V and cumulative[kept - 1] > p + 1e-6:
        assert set(draws.tolist()) <= set(order[:kept].tolist())


def test_forbidden_tokens_never_occur(model):
    sampling = Sampling(temperature=5.0, forbidden=(0, 1, 4))
    tokens = set(sample(model, [2], 300, sampling, generator=torch.Generator().manual_seed(0)))
    assert tokens == {2, 3, 5}


@pytest.mark.parametrize("temperature", [1e-40, 1e-300, 5e-324])
def test_almost_no_temperature_is_none(temperature):
    logits = torch.tensor([[1.0, 3.0, 2.0], [-5.0, -90.0, -7.0], [-math.inf, 1e30, 0.0]])
    sampling = Sampling(temperature=temperature, forbidden=(2,))
    assert sampling.draw(logits).tolist() == [1, 0, 1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_model_whose_logits_are_no_numbers_says_so(model, bad):
    with torch.no_grad():
        next(model.head.parameters()).fill_(bad)
    for write in (
        lambda: list(sample(model, [2], 5)),
        lambda: list(sample(model, [2], 5, Sampling(temperature=0))),
        lambda: beam_search(model, [2], 5, 2),
    ):
        with pytest.raises(ThroughtimeError, match="NaN or infinite"):
            write()


def test_writing_stops_at_eos_and_leaves_it_out(model):
    generator = torch.Generator().manual_seed(0)
    tokens = list(sample(model, [2], 1000, eos=EOS, generator=generator))
    assert len(tokens) < 1000
    assert EOS not in tokens


def test_a_prime_read_at_once_equals_one_read_step_by_step(model):
    prime = [2, 4, 5, 1, 0, 4]
    greedy = list(sample(model, prime, 5, Sampling(temperature=0)))
    state = model.initial_state(1)
    for token in prime:
        logits, state = model.step(torch.tensor([token]), state)
    assert logits.argmax().item() == greedy[0]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_as_wide_as_the_tree_finds_the_best_of_all(model, length_penalty):
    """Against every sequence of up to four tokens."""
    L = 4
    others = [t for t in range(V) if t != EOS]
    best = -math.inf
    for n in range(L + 1):
        for tokens in itertools.product(others, repeat=n):
            if n < L:
                total, length = log_probability(model, [2], [*tokens, EOS]), n + 1
            else:
                total, length = log_probability(model, [2], tokens), n
            if total / length**length_penalty > best:
                best, winner, score = total / length**length_penalty, list(tokens), total
    ((found, found_score), *_) = beam_search(
        model, [2], L, len(others) ** L, eos=EOS, length_penalty=length_penalty
    )
    assert found == winner
    assert found_score == pytest.approx(score)


def test_a_beam_of_one_is_greedy_and_beams_come_best_first(model):
    greedy = list(sample(model, [2], 12, Sampling(temperature=0)))
    assert beam_search(model, [2], 12, 1)[0][0] == greedy
    found = beam_search(model, [2], 6, 5, eos=EOS)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    for tokens, score in found:
        ended = [*tokens, EOS] if len(tokens) < 6 else tokens
        assert score == pytest.approx(log_probability(model, [2], ended))


@pytest.mark.parametrize(
    "options",
    [{"temperature": -1}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0}, {"top_p": 2}],
)
def test_senseless_options_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        Sampling(**options)


def test_an_empty_prime_and_no_beams_are_refused(model):
    with pytest.raises(InputError, match="prime"):
        list(sample(model, [], 3))
    with pytest.raises(InputError, match="num_beams"):
        beam_search(model, [2], 3, 0)


def test_a_top_p_of_almost_nothing_leaves_the_most_probable():
    logits = torch.tensor([[0.1, 3.0, 0.2], [0.0, 0.1, 0.2]])
    assert Sampling(top_p=1e-300).draw(logits).tolist() == [1, 2]
