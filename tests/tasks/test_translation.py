"""Translation: model, search, verbs."""

import gzip
import io
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import throughtime as tt
from throughtime.command.cli import main
from throughtime.config import TranslatorModelConfig, from_dict
from throughtime.data.parallel import hold_out, read_parallel
from throughtime.decoding import BeamSearch
from throughtime.ground.errors import InputError
from throughtime.models.translator import Translator

WORDS = ["red", "green", "blue", "cat", "dog", "bird"]
TO = dict(zip(WORDS, ["rot", "grün", "blau", "Katze", "Hund", "Vogel"]))
EOS = 3
LENGTHS = torch.tensor([5, 0, 3, 1])


@pytest.fixture
def data(tmp_path):
    """Word for word, in reverse order; some sentences are empty."""
    random = np.random.default_rng(0)
    sentences = [random.choice(WORDS, random.integers(0, 6)).tolist() for _ in range(120)]
    (tmp_path / "train.en").write_text("".join(" ".join(s) + "\n" for s in sentences))
    lines = "".join(" ".join(TO[w] for w in s[::-1]) + "\n" for s in sentences)
    (tmp_path / "train.de.gz").write_bytes(gzip.compress(lines.encode()))
    return [str(tmp_path / "train.en"), str(tmp_path / "train.de.gz")]


@pytest.fixture
def configure(data, tmp_path):
    """A small run; change what a test is about."""

    def configure(out="run", **sections):
        values = {
            "train": data,
            "out": str(tmp_path / out),
            "level": "word",
            "max_steps": 8,
            "device": "cpu",
            "threads": 1,
            "model": {"hidden_size": 8, "embedding_size": 8, "dropout": 0.2},
            "optim": {"lr": 0.02, "warmup": 0},
            "loop": {
                "batch_size": 16, "eval_every": "4", "save_every": "3", "log_every": "1",
                "sample_every": "0", "valid_sentences": 5,
            },
        }  # fmt: skip
        for name, value in sections.items():
            both = isinstance(value, dict)
            values[name] = {**values.get(name, {}), **value} if both else value
        return from_dict(tt.TranslatorConfig, values)

    return configure


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


# ---- data ---------------------------------------------------------------------------------------


def test_parallel_files_keep_empty_lines_and_must_be_of_one_length(tmp_path, data):
    source, target = read_parallel(data)
    assert len(source) == len(target) == 120
    assert [i for i, s in enumerate(source) if not s] == [i for i, t in enumerate(target) if not t]
    assert "" in source
    (tmp_path / "short").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"train.en has 120, .*short has 2"):
        read_parallel([data[0], str(tmp_path / "short")])
    with pytest.raises(InputError, match="two parallel files"):
        read_parallel(data[:1])
    (tmp_path / "empty").write_text("")
    with pytest.raises(InputError, match="empty"):
        read_parallel([str(tmp_path / "empty")] * 2)


def test_what_is_held_out_is_no_source_of_training():
    pairs = [str(i % 30) for i in range(100)], [str(i) for i in range(100)]
    train, valid = hold_out(pairs, 0.2, 0)
    assert len(train[0]) + len(valid[0]) == 100
    assert not set(train[0]) & set(valid[0])
    assert len(set(valid[0])) == 6
    assert all(int(b) % 30 == int(a) for a, b in zip(*train))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"train": ["a"]}, "two parallel files, got 1"),
        ({"valid": ["a", "b", "c"]}, "two parallel files, got 3"),
        ({"model": {"tied": "all"}}, "joint"),
        ({"data": {"joint": True}, "target_level": "char"}, "must be the same"),
        ({"model": {"input_feeding": True, "weight_drop": 0.1}}, "one call at a time"),
        ({"loop": {"valid_sentences": 0}}, "valid_sentences"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(configure, settings, said):
    config = configure(**settings)
    with pytest.raises(InputError, match=said):
        tt.train(config)
    assert not Path(config.out).exists()


def test_a_missing_sacrebleu_names_the_extra(configure, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(InputError, match=r"throughtime\[translate\]"):
        tt.train(configure())


# ---- a run --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has learned to translate."""
    folder = tmp_path_factory.mktemp("translate")
    random = np.random.default_rng(0)
    sentences = [random.choice(WORDS, random.integers(1, 5)).tolist() for _ in range(400)]
    (folder / "a").write_text("".join(" ".join(s) + "\n" for s in sentences))
    (folder / "b").write_text("".join(" ".join(TO[w] for w in s) + "\n" for s in sentences))
    values = {
        "train": [str(folder / "a"), str(folder / "b")],
        "out": str(folder / "run"),
        "level": "word",
        "max_steps": 260,
        "device": "cpu",
        "model": {"hidden_size": 32, "embedding_size": 16, "dropout": 0.0, "label_smoothing": 0.0},
        "optim": {"lr": 0.02},
        "loop": {"batch_size": 32, "eval_every": "50%", "sample_every": "0"},
    }
    torch.manual_seed(0)
    tt.train(from_dict(tt.TranslatorConfig, values))
    return str(folder / "run")


def test_it_learns_to_translate(run):
    found = tt.evaluate(run, bleu_tokenize="none")
    assert found.bleu > 90
    assert found.perplexity < 1.5
    assert found.perplexity_per_word == pytest.approx(found.perplexity)
    assert "tok:none" in found.bleu_signature
    assert "chrF" in found.report()
    lines = ["red cat", "", "blue dog bird"]
    assert [p.text for p in tt.predict(run, lines=lines)] == ["rot Katze", "", "blau Hund Vogel"]


def test_predict_gives_a_line_for_each_line_of_standard_input(run, capsys, monkeypatch):
    lines = ["red", "", "dog cat", "unheard of", "", "bird " * 50]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
    assert main(["predict", run, "--beam-size", "3", "--max-length", "1.5"]) == 0
    found = capsys.readouterr().out.split("\n")
    assert len(found) == 7
    assert found[0] == "rot"
    assert found[1] == found[4] == ""
    one = [p.text for p in tt.predict(run, lines=lines, beam_size=3, max_length=1.5, batch_size=1)]
    assert one == found[:-1]


def test_several_translations_come_with_their_scores(run):
    (found,) = tt.predict(run, lines=["red cat"], n_best=3)
    lines = [line.split(" ||| ") for line in found.text.splitlines()]
    assert [line[0] for line in lines] == ["0"] * 3
    assert lines[0][1] == "rot Katze"
    translations = found.values["translations"]
    assert [t["text"] for t in translations] == [line[1] for line in lines]
    assert translations[0]["score"] == pytest.approx(float(lines[0][2]), abs=1e-4)
    with pytest.raises(InputError, match="n_best must be at most beam_size"):
        tt.predict(run, lines=[], n_best=6)


def test_unknown_words_are_replaced_by_what_attention_sees(run, monkeypatch):
    task, model = tt.load(run)
    options = tt.config.translation.TranslatingOptions(unk_replace=True)
    weights = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    monkeypatch.setattr(type(task), "align", lambda *_: weights)
    assert task.text(model, "Ada Lovelace", [1, 1], options) == "Lovelace Ada"
    options.unk_replace = False
    assert task.text(model, "Ada Lovelace", [1, 1], options) == "<unk> <unk>"


def test_the_alignment_is_that_of_the_words(run):
    task, model = tt.load(run)
    found = task.alignment(
        model, "red cat", task.search(model, ["red cat"], options())[0][0].tokens
    )
    assert found.source == ["red", "cat"]
    assert found.target == ["rot", "Katze", "<eos>"]
    np.testing.assert_allclose(found.weights.sum(1), 1, rtol=1e-5)
    assert task.alignment(model, "", []) is None


def options(**values):
    return tt.config.translation.TranslatingOptions(**values)


def test_alignments_are_drawn_and_nothing_is_overwritten(run, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "alignment.png"
    texts = list(tt.predict(run, lines=["red cat", "", "dog"], attention_plot=str(path)))
    assert len(texts) == 3
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["alignment-3.png", "alignment.png"]
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="not overwritten"):
        list(tt.predict(run, lines=["red"], attention_plot=str(path)))


def test_evaluate_takes_two_files_and_its_options(run, tmp_path, capsys):
    (tmp_path / "x").write_text("red\nblue\n")
    (tmp_path / "y").write_text("rot\nblau\n")
    command = ["evaluate", run, "--data", str(tmp_path / "x"), str(tmp_path / "y"), "--json"]
    assert main([*command, "--bleu-tokenize", "none", "--beam-size", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sentences"] == 2
    assert found["tokens"] == 4
    assert found["chrf"] > 90
    assert main([*command, "--bleu-tokenize", "nonsense"]) == 2
    assert "unknown bleu_tokenize 'nonsense'" in capsys.readouterr().err


def test_without_attention_there_is_nothing_to_draw_or_to_replace(configure):
    config = configure(model={"attention": "none"})
    tt.train(config)
    for asked in ({"unk_replace": True}, {"attention_plot": "x.png"}):
        with pytest.raises(InputError, match="no attention"):
            list(tt.predict(config.out, lines=["red"], **asked))


@pytest.mark.parametrize(
    "settings",
    [
        {"level": "subword", "data": {"joint": True, "vocab_size": 290}, "model": {"tied": "all"}},
        {"level": "char", "target_level": "subword", "data": {"target_vocab_size": 270}},
        {"level": "word", "target_level": "char"},
        {"level": "byte", "cell": "gru", "model": {"decoder_cell": "lstm", "input_feeding": True}},
        {"model": {"attention": "additive", "num_layers": 2, "scheduled_sampling": 0.3}},
    ],
)
def test_tokens_of_every_kind_on_either_side(configure, settings):
    config = configure(**settings, max_steps=3, score="loss")
    tt.train(config)
    found = list(tt.predict(config.out, lines=["red cat", "", "ünheard 名"], max_length=1))
    assert len(found) == 3
    assert not any("\n" in p.text or "\r" in p.text for p in found)
    assert math.isfinite(tt.evaluate(config.out).perplexity)


def test_long_pairs_are_left_out_and_counted(configure):
    config = configure(data={"max_length": 3})
    task = tt.tasks.task_class("translate").prepare(config)
    whole = tt.tasks.task_class("translate").prepare(configure())
    assert task.train.lengths.max() <= 4
    assert task.left_out == sum(whole.train.lengths > 4) > 0
    assert f"{task.left_out} training pairs of more than 3 tokens left out" in task.summary()
    task.config.data.max_length = 1
    with pytest.raises(InputError, match="no training pair has at most 1 tokens"):
        task.encode((["red cat"], ["rot Katze"]), training=True)


def test_the_average_is_the_mean_of_the_last_evaluations(configure, capsys):
    config = configure(loop={"average": 2, "eval_every": "2"})
    tt.train(config)
    kept = [load_file(Path(config.out) / f"average-{step}.safetensors") for step in (6, 8)]
    _, model = tt.load(config.out, checkpoint="average")
    for name, part in model.state_dict().items():
        torch.testing.assert_close(part, (kept[0][name] + kept[1][name]) / 2)
    plain = configure("plain")
    tt.train(plain)
    with pytest.raises(InputError, match=r"loop\.average 5"):
        tt.load(plain.out, checkpoint="average")
    tt.train(configure(), overwrite=True)
    assert not list(Path(config.out).glob("average-*"))


def test_metrics_are_those_of_any_batch_size(configure, monkeypatch):
    from throughtime.tasks.translation import Translation

    config = configure()
    tt.train(config)
    found = [tt.evaluate(config.out, batch_size=1)]
    monkeypatch.setattr(Translation, "evaluation_tokens", 9)
    found.append(tt.evaluate(config.out))
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-6)
    assert found[0].bleu == found[1].bleu
