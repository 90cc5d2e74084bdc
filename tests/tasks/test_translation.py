"""Translation: from files to BLEU and alignments."""

import gzip
import io
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
from throughtime.config import from_dict
from throughtime.data.parallel import hold_out, read_parallel
from throughtime.ground.errors import InputError

WORDS = ["red", "green", "blue", "cat", "dog", "bird"]
TO = dict(zip(WORDS, ["rot", "grün", "blau", "Katze", "Hund", "Vogel"]))


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
    assert task.too_long == sum(whole.train.lengths > 4) > 0
    assert f"{task.too_long} training pairs of more than 3 tokens left out" in task.summary()
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
