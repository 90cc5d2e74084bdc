"""The reference of exports says what the models say, task by task."""

import numpy as np
import pytest
import torch

import throughtime as tt
from exporting import (
    FORECASTS,
    TRANSLATIONS,
    classifier,
    forecaster,
    frames,
    off,
    precise,
    regressor,
    step_tagger,
    tagger,
    translator,
)  # fmt: skip
from throughtime.data.forms import Words
from throughtime.decoding import BeamSearch
from throughtime.export.answers import Translating, forecast, scores, tags
from throughtime.export.reference import Reference
from throughtime.models.step_tagger import Steps

BOUND = 1e-12


def words_of(sentence):
    """Words (id, characters) as a tagger's batch of one."""
    longest = max([1, *(len(c) for _, c in sentence)])
    characters = torch.zeros(longest, len(sentence), dtype=torch.long)
    for k, (_, spelled) in enumerate(sentence):
        characters[: len(spelled), k] = torch.tensor(spelled, dtype=torch.long)
    lengths = torch.tensor([len(c) for _, c in sentence])
    ids = torch.tensor([i for i, _ in sentence])[:, None]
    forms = torch.arange(len(sentence))[:, None]
    return Words(ids, forms, characters, lengths, torch.tensor([len(sentence)]))


SENTENCE = [(4, [5, 6, 7]), (1, [8]), (5, []), (9, [4, 4, 9, 12, 3]), (4, [5, 6, 7])]


@pytest.mark.parametrize("characters", ["recurrent", "convolutional", "none"])
@pytest.mark.parametrize("head", ["softmax", "crf"])
def test_tags_of_words(characters, head):
    model, exported = tagger(characters=characters, head=head, both=characters != "none")
    given = SENTENCE if characters != "none" else [word for word, _ in SENTENCE]
    oracle, words = precise(model), words_of(SENTENCE)
    with torch.inference_mode():
        right = oracle.scores(words)
        best = oracle.decode(right, words.lengths)[:, 0].tolist()
    reference = Reference(exported.outline)
    assert off(scores(reference, given), right[:, 0].numpy()) < BOUND
    assert tags(reference, given) == best


def test_what_may_not_follow_never_does():
    may = torch.tensor([True, True, False, True])
    then = torch.ones(4, 4, dtype=torch.bool)
    then[0, 2] = then[3, 2] = False
    model, exported = tagger(head="crf", legal=(may, then, may | True))
    oracle, words = precise(model), words_of(SENTENCE)
    with torch.inference_mode():
        best = oracle.decode(oracle.scores(words), words.lengths)[:, 0].tolist()
    assert tags(Reference(exported.outline), SENTENCE) == best


@pytest.mark.parametrize("both", [False, True])
def test_tags_of_numbers(both):
    model, exported = step_tagger(both=both)
    x = np.random.default_rng(0).normal(size=(6, 3)) * 3 + 4
    given = Steps(torch.from_numpy(x)[:, None], torch.tensor([6]))
    with torch.inference_mode():
        right = precise(model).scores(given)[:, 0].numpy()
    assert off(scores(Reference(exported.outline), x), right) < BOUND


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
def test_numbers_of_sequences(pooling):
    model, exported = regressor(pooling=pooling, loss="quantiles", both=pooling == "max")
    x = np.random.default_rng(0).normal(size=(6, 3))
    with torch.inference_mode():
        right = precise(model)
        made = right.of_pooled(
            right.pooling(*pooled_of(right, torch.from_numpy(x)[:, None]), torch.tensor([6]))
        )
    assert off(Reference(exported.outline).result(x), made.numpy().ravel()) < 1e-6  # is float32


def pooled_of(model, x):
    y, state = model.stack(model.inputs(x), lengths=torch.tensor([len(x)]))
    return y, model.stack.layout.by_layer(state)[-1][0]


def test_frames():
    model, exported = frames()
    x = (np.random.default_rng(0).random((7, 88)) < 0.1).astype(float)
    with torch.inference_mode():
        right, _ = precise(model).logits(torch.from_numpy(x)[:, None], None)
    assert off(list(Reference(exported.outline).run(x)), right[:, 0].numpy()) < BOUND


@pytest.mark.parametrize("name", FORECASTS)
def test_forecasts(name):
    model, exported = forecaster(**FORECASTS[name])
    oracle, random = precise(model), np.random.default_rng(0)
    past = random.normal(size=(8 + 3, oracle.sizes.past))
    known = random.normal(size=(8 + 3, oracle.sizes.known))
    given = [torch.from_numpy(part)[:, None] for part in (past, known)]
    nothing, unit = torch.zeros(1, 0).double(), torch.ones(1, 2).double()
    with torch.inference_mode():
        found = oracle.outlook(*given, nothing, unit)
    right = found.point[:, 0, :, None] if found.quantiles is None else found.quantiles[:, 0]
    mine = forecast(Reference(exported.outline), past[:8], known)
    assert off(mine, right.numpy()) < BOUND


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_translations(name):
    model, exported = translator(**TRANSLATIONS[name])
    oracle, source = precise(model), [4, 7, 7, 5, 9, 6]
    with torch.inference_mode():
        x = torch.tensor(source)[:, None]
        search = BeamSearch(1, n_best=1, eos=3, forbidden=(0, 2), length_penalty=0.6)
        best = search(oracle.step, oracle.read(x, torch.tensor([6])), torch.tensor([2]), [9])
        state = oracle.read(x, torch.tensor([6]))
        right = []
        for token in (2, 5, 8, 5):
            logits, state = oracle.step(torch.tensor([token]), state)
            right.append(logits[0].numpy())
    written = Translating(Reference(exported.outline), source)
    assert off([written.step(token) for token in (2, 5, 8, 5)], np.array(right)) < BOUND
    again = Translating(Reference(exported.outline), source)
    assert again.greedy(2, 9, 3, (0, 2)) == best[0][0].tokens


def test_a_classifier_of_nothing():
    model, exported = classifier(tt.GRU(), 4, pooling="mean")
    nothing = torch.zeros(1, 1, 4).double()
    with torch.inference_mode():
        right = precise(model).log_probabilities(nothing, torch.tensor([0]))[0].exp().numpy()
    assert off(Reference(exported.outline).whole([]), right) < BOUND
