"""The translator: each sentence as if alone, its bridge, scheduled sampling, its search."""

import itertools
import math

import pytest
import torch

import throughtime as tt
from throughtime.config import TranslatorModelConfig
from throughtime.data.vocabulary import EOS
from throughtime.decoding import BeamSearch
from throughtime.models.translator import Bridge, Translator

LENGTHS = torch.tensor([5, 0, 3, 1])


def make(cell=tt.GRU, decoder_cell=None, V=7, **settings):
    torch.manual_seed(1)
    config = TranslatorModelConfig(
        **{"hidden_size": 6, "embedding_size": 5, "dropout": 0.0, "init_range": 0.8, **settings}
    )
    return Translator(cell, decoder_cell or cell, 9, V, config).double().eval()


def pair_of(V=7):
    source = torch.randint(4, 9, (5, 4))
    tokens = torch.randint(4, V, (4, 4))
    targets = torch.cat([tokens[1:], torch.full((1, 4), EOS)])
    return source, LENGTHS, tokens, targets, torch.tensor([4, 2, 1, 3])


KINDS = [
    {},
    {"attention": "additive", "num_layers": 2, "encoder_layers": 1},
    {"attention": "none", "tied": "output"},
    {"input_feeding": True, "num_layers": 2, "bidirectional": False},
    {"input_feeding": True, "attention": "none"},
    {"input_feeding": True, "attention": "additive", "tied": "output"},
    {"hidden_size": [4, 6]},
    {"hidden_size": [4, 6], "input_feeding": True, "attention": "none"},
]


# ---- the model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", KINDS)
def test_each_sentence_is_as_if_alone_and_padding_is_inert(settings):
    model = make(**settings)
    source, source_lengths, tokens, targets, lengths = pair_of()
    together = model.nats(source, source_lengths, tokens, targets, lengths)
    assert torch.isfinite(together).all()
    for i in range(4):
        T_x, T_y = max(1, int(source_lengths[i])), int(lengths[i])
        alone = model.nats(
            source[:T_x, i : i + 1], source_lengths[i : i + 1], tokens[:T_y, i : i + 1],
            targets[:T_y, i : i + 1], lengths[i : i + 1],
        )  # fmt: skip
        torch.testing.assert_close(alone[:, 0], together[:T_y, i], rtol=1e-10, atol=1e-12)
        assert not together[T_y:, i].any()
    mean = together.sum() / lengths.sum()
    torch.testing.assert_close(model(source, source_lengths, tokens, targets, lengths), mean)


@pytest.mark.parametrize("settings", KINDS)
def test_step_by_step_is_the_whole_pass(settings):
    model = make(tt.LSTM, **settings)
    source, source_lengths, tokens, *_ = pair_of()
    whole, _ = model.hidden(tokens, model.read(source, source_lengths))
    state = model.read(source, source_lengths)
    for t in range(4):
        logits, state = model.step(tokens[t], state)
        torch.testing.assert_close(logits, model.head.logits(whole[t]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("settings", KINDS)
def test_gradients_are_finite_with_an_empty_source(settings):
    model = make(**settings, label_smoothing=0.1, scheduled_sampling=0.5).train()
    model(*pair_of(), 0.5).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("encoder", [tt.RNN, tt.LSTM, tt.GRU])
@pytest.mark.parametrize("decoder", [tt.RNN, tt.LSTM, tt.GRU])
def test_the_bridge_leads_from_any_cell_to_any_cell(encoder, decoder):
    model = make(encoder, decoder, num_layers=2, encoder_layers=1)
    final = model.encoder.run(
        model.source(pair_of()[0]), model.encoder.initial_state(4), LENGTHS, None
    )[1]
    state = model.bridge(final)
    assert state._fields == decoder.state
    for name, part in zip(state._fields, state):
        sources = [name] if name in encoder.state else encoder.state
        v = torch.cat([getattr(final, s)[k] for s in sources for k in (0, 1)], -1)
        for layer in range(2):
            affine = model.bridge.maps[name][layer]
            torch.testing.assert_close(part[layer], torch.tanh(affine(v)))


@pytest.mark.parametrize("depth", [2, 3])
def test_the_bridge_leads_from_layers_of_any_cells_to_layers_of_any(depth):
    """Layer l of the decoder begins from layer min(l, last) of the encoder."""
    encoder, decoder = (tt.LSTM, tt.GRU), (tt.GRU, tt.PeepholeLSTM, tt.RNN)[:depth]
    model = make(encoder, encoder, hidden_size=[4, 6])
    model.decoder = tt.Stack(decoder, model.decoder.input_size, [5, 3, 7][:depth]).double()
    bridge = Bridge(model.encoder, model.decoder).double()
    final = model.encoder(torch.randn(5, 4, 5).double(), lengths=LENGTHS)[1]
    state = bridge(final)
    taken = dict.fromkeys(bridge.maps, 0)
    for layer, (cell, one) in enumerate(zip(decoder, state, strict=True)):
        below = min(layer, 1)
        for name, part in one._asdict().items():
            sources = [name] if name in encoder[below].state else encoder[below].state
            v = torch.cat([getattr(final[below], s)[k] for s in sources for k in (0, 1)], -1)
            affine = bridge.maps[name][taken[name]]
            taken[name] += 1
            torch.testing.assert_close(part, torch.tanh(affine(v))[None])
        assert type(one) is cell.State
    model.decoder.step(torch.randn(4, model.decoder.input_size).double(), state)


def test_the_decoder_knows_the_source_and_its_order():
    for settings in KINDS:
        model = make(**settings)
        source, *rest = pair_of()
        before = model.nats(source, *rest)
        other = model.nats(source.flip(0), *rest)
        assert (before[:, 0] - other[:, 0]).abs().max() > 1e-4
        torch.testing.assert_close(before[:, 1], other[:, 1])  # its source is empty


def test_scheduled_sampling_replaces_inputs_but_the_first_by_draws(monkeypatch):
    """After position t the decoder reads what was drawn at t; every draw at t gives t here."""
    model = make().train()
    source, source_lengths, tokens, _, lengths = pair_of()
    keep = torch.arange(4)[:, None] < lengths
    tokens[:] = 6
    positions = 1000 * torch.eye(6, dtype=torch.float64)[:4, None].expand(4, 4, 6)
    monkeypatch.setattr(model, "hidden", lambda *_: (positions, None))
    model.head.weight.data = torch.eye(7, 6, dtype=torch.float64)
    start = model.read(source, source_lengths)
    drawn = model.draw(start, tokens, keep, 1.0)
    assert (drawn[0] == 6).all()
    for t in range(1, 4):
        assert (drawn[t][keep[t]] == t - 1).all()
    assert (drawn[1:][~keep[1:]] == 6).all()
    assert (model.draw(start, tokens, keep, 0.0) == 6).all()


def test_label_smoothing_is_for_training_only():
    model = make(label_smoothing=0.3)
    pair = pair_of()
    plain = model(*pair)
    model.train()
    h, _ = model.hidden(pair[2], model.read(*pair[:2]))
    keep = torch.arange(4)[:, None] < pair[4]
    smoothed = torch.nn.functional.cross_entropy(
        model.head.logits(h[keep]), pair[3][keep], label_smoothing=0.3
    )
    torch.testing.assert_close(model(*pair), smoothed)
    assert plain != smoothed


@pytest.mark.parametrize("tied", ["output", "all"])
def test_tied_parameters_are_one(tied):
    model = make(tied=tied)
    assert model.head.weight is model.target.embedding.weight
    assert (model.source.embedding is model.target.embedding) == (tied == "all")


# ---- search -------------------------------------------------------------------------------------


def searched(model, source, lengths, limits, **options):
    search = BeamSearch(eos=EOS, forbidden=(0, 2), **options)
    with torch.inference_mode():
        state = model.read(source, lengths)
    return search(model.step, state, torch.full_like(lengths, 2), limits)


@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 1},
        {"num_beams": 3, "length_penalty": 1.0},
        {"num_beams": 4, "n_best": 2, "no_repeat_ngram": 2, "length_penalty": 0.6},
    ],
)
def test_many_sentences_at_once_are_each_as_if_alone(settings, options):
    model = make(**settings)
    source = torch.randint(4, 9, (5, 4))
    limits = [8, 3, 6, 0]
    together = searched(model, source, LENGTHS, limits, **options)
    for i in range(4):
        T = max(1, int(LENGTHS[i]))
        (alone,) = searched(
            model, source[:T, i : i + 1], LENGTHS[i : i + 1], limits[i : i + 1], **options
        )
        assert [h.tokens for h in alone] == [h.tokens for h in together[i]]
        assert [h.score for h in alone] == pytest.approx([h.score for h in together[i]])
        assert len(alone) <= options.get("n_best", options["num_beams"])


def log_probability(model, source, tokens):
    """Of a target, whose <eos> counts where it has one."""
    y = torch.tensor(tokens)[:, None]
    inputs = torch.cat([torch.tensor([[2]]), y[:-1]])
    h, _ = model.hidden(inputs, model.read(source, torch.tensor([len(source)])))
    return model.head.logits(h[:, 0]).log_softmax(1).gather(1, y).sum().item()


@pytest.mark.parametrize("settings", [{}, {"input_feeding": True}, {"attention": "none"}])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_huge_beam_is_exhaustive_search(settings, alpha):
    model = make(V=6, **settings)
    source, L = torch.randint(4, 9, (3, 1)), 3
    others = [1, 4, 5]
    found = {}
    for n in range(L + 1):
        for tokens in itertools.product(others, repeat=n):
            ended = [*tokens, EOS] if n < L else list(tokens)
            found[tokens] = log_probability(model, source, ended) / len(ended) ** alpha
    expected = sorted(found, key=found.__getitem__, reverse=True)[:10]
    (best,) = searched(
        model, source, torch.tensor([3]), [L], num_beams=40, n_best=10, length_penalty=alpha
    )
    assert [tuple(h.tokens) for h in best] == expected


def test_one_beam_is_greedy():
    model = make()
    source = torch.randint(4, 9, (5, 4))
    found = searched(model, source, LENGTHS, [9] * 4, num_beams=1)
    for i in range(4):
        with torch.inference_mode():
            state = model.read(source[:, i : i + 1], LENGTHS[i : i + 1])
        tokens, last = [], torch.tensor([2])
        while len(tokens) < 9:
            with torch.inference_mode():
                logits, state = model.step(last, state)
            logits = logits.clone()
            logits[:, [0, 2]] = -math.inf
            last = logits.argmax(1)
            if int(last) == EOS:
                break
            tokens.append(int(last))
        assert found[i][0].tokens == tokens


def test_no_ngram_occurs_twice():
    model = make()
    model.head.bias.data[EOS] = -20.0
    for n in (1, 2, 3):
        found = searched(
            model, torch.randint(4, 9, (5, 4)), LENGTHS, [10] * 4, num_beams=3, no_repeat_ngram=n
        )
        for hypothesis in itertools.chain(*found):
            grams = [
                tuple(hypothesis.tokens[i : i + n]) for i in range(len(hypothesis.tokens) - n + 1)
            ]
            assert len(grams) == len(set(grams))
