"""The CRF against all sequences of tags enumerated in float64."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime.data.spans import legal, spans_of, tag_names, tags_of
from throughtime.layers.crf import CRF


def enumerated(crf, scores, tags, may):
    """−log P of one sequence, and its best legal sequence: sums and maxima over all of them."""
    T, K = scores.shape

    def score(y):
        total = crf.start[y[0]] + crf.end[y[-1]] + sum(scores[t, k] for t, k in enumerate(y))
        return total + sum(crf.transitions[a, b] for a, b in itertools.pairwise(y))

    def possible(y):
        steps = all(may.transitions[a, b] for a, b in itertools.pairwise(y))
        return may.start[y[0]] and may.end[y[-1]] and steps

    paths = [y for y in itertools.product(range(K), repeat=T) if possible(y)]
    values = torch.stack([score(y) for y in paths])
    return values.logsumexp(0) - score(tags), paths[int(values.argmax())]


@pytest.fixture(params=["IOB2", "BIOES", None])
def crf(request):
    """A CRF over spans, or over tags that may follow one another as they like."""
    names = tag_names(["x"], request.param or "BIOES")
    may = legal(names, request.param or "BIOES")
    if request.param is None:
        may = type(may)(*(np.ones_like(part) for part in may))
    model = CRF(len(names), tuple(map(torch.from_numpy, may))).double()  # type: ignore
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model, may


def legal_tags(may, T, random):
    """A random legal sequence."""
    while True:
        y = random.integers(0, len(may.start), T).tolist()
        steps = all(may.transitions[a, b] for a, b in itertools.pairwise(y))
        if may.start[y[0]] and may.end[y[-1]] and steps:
            return y


def test_likelihood_gradients_and_viterbi_are_those_of_the_enumeration(crf):
    model, may = crf
    random = np.random.default_rng(0)
    lengths, K = torch.tensor([4, 0, 1, 3, 2]), len(may.start)
    scores = torch.randn(4, 5, K, dtype=torch.float64, requires_grad=True)
    tags = torch.full((4, 5), -1)
    for b, T in enumerate(lengths.tolist()):
        if T:
            tags[:T, b] = torch.tensor(legal_tags(may, T, random))
    weights = torch.randn(5, dtype=torch.float64)
    expected, best = [], torch.zeros(4, 5, dtype=torch.int64)
    for b, T in enumerate(lengths.tolist()):
        if not T:
            expected.append(scores.sum() * 0)
            continue
        nats, path = enumerated(model, scores[:T, b], tags[:T, b].tolist(), may)
        expected.append(nats)
        best[:T, b] = torch.tensor(path)
    inputs = (scores, *model.parameters())
    found = model(scores, tags, lengths)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)
    gradients = torch.autograd.grad((found * weights).sum(), inputs)
    wanted = torch.autograd.grad((torch.stack(expected) * weights).sum(), inputs)
    for a, b in zip(gradients, wanted):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert torch.equal(model.decode(scores, lengths), best)


def test_float32_loses_nothing_in_long_sequences(crf):
    model, may = crf
    T = 3_000
    tags = torch.zeros(T, 1, dtype=torch.int64)  # all outside
    scores = 5 * torch.randn(T, 1, len(may.start), dtype=torch.float64)
    precise = model(scores, tags, torch.tensor([T]))
    rounded = model.float()(scores.float(), tags, torch.tensor([T]))
    assert rounded.item() == pytest.approx(precise.item(), rel=2e-7)
    half = model(scores.bfloat16(), tags, torch.tensor([T]))
    assert half.dtype == torch.float32


@settings(max_examples=50)
@given(st.integers(1, 12), st.sampled_from(["IOB2", "BIOES"]), st.integers(0, 10**6))
def test_viterbi_never_leaves_the_scheme(T, scheme, seed):
    names = tag_names(["a", "b"], scheme)
    may = legal(names, scheme)
    model = CRF(len(names), tuple(map(torch.from_numpy, may)))  # type: ignore
    torch.manual_seed(seed)
    scores = torch.randn(T, 3, len(names)) * 10.0 ** (seed % 7)
    scores[:, 0] = 0
    for b in range(3):
        found = model.decode(scores, torch.tensor([T, T, T]))[:, b]
        tags = [names[i] for i in found.tolist()]
        assert tags == tags_of(spans_of(tags), T, scheme)
