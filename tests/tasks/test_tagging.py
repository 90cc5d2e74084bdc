"""Tagging: it learns words and spans, its batches change nothing, its verbs keep what they read."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import throughtime as tt
from throughtime.command.cli import main
from throughtime.config import from_dict
from throughtime.config.tagging import TaggerModelConfig
from throughtime.data.conll import Sentence
from throughtime.data.forms import Forms, Words
from throughtime.data.labels import Labels
from throughtime.ground.errors import InputError
from throughtime.ground.output import measured
from throughtime.models.tagger import Tagger
from throughtime.tasks import tagging
from throughtime.tasks.tagged import Tags

FILLER = ["the", "a", "of", "and", "saw", "met", "with", "near"]
NAMES = {"PER": "Ada Alan Grace Kurt", "LOC": "Rome Oslo Lima Kyiv"}


def sentences(scheme, count=120, seed=0):
    """Sentences in which names are spans: two of one kind side by side are one."""
    random = np.random.default_rng(seed)
    blocks = []
    for _ in range(count):
        rows = []
        for _ in range(random.integers(1, 7)):
            rows.append((str(random.choice(FILLER)), "O"))
            if random.random() < 0.4:
                kind = str(random.choice(list(NAMES)))
                tags = {"IOB2": "BI", "IOB1": "II"}[scheme]
                for place in tags[: random.integers(1, 3)]:
                    rows.append((str(random.choice(NAMES[kind].split())), f"{place}-{kind}"))
        blocks.append("".join(f"{word}\t{tag}\n" for word, tag in rows))
    return "\n".join(blocks)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "train.conll"
    path.write_text(sentences("IOB2"))
    return path


@pytest.fixture
def configure(data, tmp_path):
    """A small run; change what a test is about."""

    def configure(out="run", **sections):
        values = {
            "train": [str(data)],
            "out": str(tmp_path / out),
            "max_steps": 12,
            "device": "cpu",
            "threads": 1,
            "data": {},
            "model": {
                "hidden_size": 8,
                "embedding_size": 8,
                "char_embedding_size": 4,
                "char_size": 8,
                "dropout": 0.1,
                "head": "crf",
            },
            "optim": {"lr": 0.02, "warmup": 0},
            "loop": {"batch_size": 16, "eval_every": "4", "save_every": "3", "log_every": "1"},
        }
        for name, value in sections.items():
            both = isinstance(value, dict)
            values[name] = {**values.get(name, {}), **value} if both else value
        return from_dict(tt.TaggerConfig, values)

    return configure


@pytest.mark.parametrize(
    ("scheme", "model"),
    [
        ("IOB2", {"head": "crf", "characters": "recurrent"}),
        ("IOB1", {"head": "softmax", "characters": "convolutional"}),
        ("IOB2", {"head": "crf", "characters": "none", "output_layers": [8]}),
        ("IOB1", {"head": "softmax", "characters": "recurrent", "char_cell": "gru"}),
    ],
)
def test_it_learns_spans_and_writes_them_in_the_scheme_of_the_data(
    configure, data, capsys, scheme, model
):
    data.write_text(sentences(scheme))
    bigger = {"hidden_size": 16, "embedding_size": 16, "dropout": 0.0, "word_dropout": 0.0}
    config = configure(max_steps=100, model={**bigger, **model}, optim={"lr": 0.03})
    result = tt.train(config)
    said = capsys.readouterr().err
    assert f"spans of 2 types in {scheme}, learned as BIOES: F1 of whole spans" in said
    assert result.metrics["f1"] > 0.9
    found = tt.evaluate(config.out, str(data))
    assert found.f1 > 0.95
    assert {row["type"] for row in found.types} == {"PER", "LOC"}
    (prediction,) = tt.predict(config.out, lines=["the", "Ada", "Kurt", "near", "Rome"])
    assert prediction.values["tags"] == (
        ["O", "B-PER", "I-PER", "O", "B-LOC"] if scheme == "IOB2"
        else ["O", "I-PER", "I-PER", "O", "I-LOC"]
    )  # fmt: skip
    assert prediction.values["spans"][0] == {
        "type": "PER", "start": 1, "end": 3, "words": ["Ada", "Kurt"]
    }  # fmt: skip


def test_a_file_in_the_form_of_conll_2003_is_read_and_written_in_its_own_scheme(
    configure, data, capsys, tmp_path
):
    news = "".join(
        f"{word} NN I-NP {tag}\n" if word else "\n"
        for word, tag in (line.split("\t") if line else ("", "") for line in
                          sentences("IOB1").split("\n"))
    )  # fmt: skip
    documents = f"-DOCSTART- -X- O O\n\n{news}\n-DOCSTART- -X- O O\n\nOslo NNP B-NP B-LOC\n\n"
    data.write_text(documents)  # with one superfluous B
    sizes = {"hidden_size": 16, "embedding_size": 16, "dropout": 0.0, "word_dropout": 0.0}
    config = configure(max_steps=60, model=sizes, optim={"lr": 0.03})
    tt.train(config)
    said = capsys.readouterr().err
    assert "spans of 2 types in IOB1" in said
    assert "1 tags of spans repaired" in said
    for scheme, begins in (("IOB1", "I"), ("IOB2", "B"), ("BILOU", "U")):
        path = tmp_path / f"{scheme}.conll"
        path.write_text(
            "-DOCSTART- -X- O O\n\n" + f"near IN I-PP O\nOslo NNP I-NP {begins}-LOC\n\n" * 2
        )
        found = tt.evaluate(config.out, str(path))
        assert (found.repaired_tags, found.words, found.unseen_tags) == (0, 4, 0)
        lines = [p.text for p in tt.predict(config.out, str(path), replace=True)]
        tags = {line.split()[-1] for block in lines for line in block.split("\n") if line}
        assert tags <= {"O", f"{begins}-LOC", f"{begins}-PER"}, tags
        assert f"{begins}-LOC" in tags


def test_words_of_chinese_are_spans_without_a_type(configure, data, capsys):
    rows = {"天": "B", "气": "E", "好": "S", "大": "B", "学": "M", "生": "E"}
    text = "".join(f"{c} {rows[c]}\n" for c in "天气好大学生") + "\n"
    data.write_text(text * 20 + "".join(f"{c} {rows[c]}\n" for c in "大学生天气") + "\n")
    sizes = {"hidden_size": 16, "embedding_size": 16, "dropout": 0.0, "word_dropout": 0.0}
    config = configure(max_steps=60, model=sizes, optim={"lr": 0.03})
    result = tt.train(config)
    assert "spans without a type in BMES" in capsys.readouterr().err
    assert result.metrics["f1"] == 1
    (found,) = tt.predict(config.out, lines=list("大学生好"))
    assert found.values["tags"] == list("BMES")
    assert [span["type"] for span in found.values["spans"]] == ["_", "_"]


def test_tags_that_are_no_spans_are_classes_by_themselves(configure, data, capsys):
    data.write_text(sentences("IOB2").replace("B-", "").replace("I-", ""))
    config = configure(max_steps=50, model={"head": "softmax", "dropout": 0.0})
    result = tt.train(config)
    assert "3 tags, each a class by itself: accuracy" in capsys.readouterr().err
    assert result.metrics["accuracy"] > 0.9
    assert "f1" not in result.metrics
    found = tt.evaluate(config.out)
    assert {row["tag"] for row in found.tags} == {"O", "PER", "LOC"}
    assert "f1" not in found.to_dict()
    with pytest.raises(InputError, match="score f1"):
        tt.train(configure("other", score="f1"))


# ---- batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["softmax", "crf"])
@pytest.mark.parametrize("characters", ["recurrent", "convolutional", "none"])
@settings(max_examples=10)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=10), budget=st.integers(1, 40))
def test_metrics_are_those_of_any_batch_size(head, characters, lengths, budget):
    random = np.random.default_rng(sum(lengths))
    letters = list("abcde")
    texts = [["".join(random.choice(letters, random.integers(1, 6))) for _ in range(n)]
             for n in lengths]  # fmt: skip
    model_values = {"hidden_size": 4, "head": head, "characters": characters}
    config = from_dict(tt.TaggerConfig, {"train": ["x"], "model": model_values})
    words = tt.Vocabulary.of_texts(["a b cc d e"], "word")
    spelling = tt.Vocabulary.of_texts(["abc"], "char")
    task = tagging.Tagging(config)
    task.words, task.characters = words, spelling
    task.has(Tags(Labels(["A", "B"]), "none", "BIOES"))
    torch.manual_seed(0)
    model = task.build_model().double().eval()
    tags = [["ABC"[len(word) % 3] for word in text] for text in texts]  # C was never seen

    def measured(order, tokens):
        examples = task.encode([Sentence(texts[i], tags[i]) for i in order])
        with pytest.MonkeyPatch.context() as m:
            m.setattr(task, "evaluation_tokens", tokens)
            found, loss = task.predicted(model, examples.words, examples.tags)
        return dict(zip(order, found)), loss

    order = list(range(len(texts)))
    one, loss = measured(order, budget)
    all_together, same = measured(order[::-1], 10**6)
    assert one == all_together
    assert loss == (same if same is None else pytest.approx(same, rel=1e-9))
    assert [len(one[i]) for i in order] == lengths


def test_characters_of_a_word_do_not_depend_on_the_others():
    config = TaggerModelConfig(char_size=6, char_embedding_size=4, dropout=0.5)
    for kind in ("recurrent", "convolutional"):
        config.characters = kind
        model = Tagger(tt.GRU, tt.GRU, (5, 9, 3), config).double().eval()
        letters = torch.randint(4, 9, (7, 4))
        lengths = torch.tensor([7, 2, 0, 1])
        together = model.characters(letters, lengths)  # type: ignore
        for k, n in enumerate(lengths.tolist()):
            alone = model.characters(letters[: max(n, 1), k : k + 1], lengths[k : k + 1])  # type: ignore
            torch.testing.assert_close(together[k : k + 1], alone, rtol=1e-12, atol=1e-12)
        assert not together[2].any()


def test_each_distinct_word_of_a_batch_is_spelled_once():
    words = tt.Vocabulary.of_texts(["the cat"], "word")
    forms = Forms.of([["the", "cat", "the"], [], ["The"], ["cat"]], words,
                     tt.Vocabulary.of_texts(["thecat"], "char"))  # fmt: skip
    batch = forms.pad(np.array([0, 1, 3]))
    assert isinstance(batch, Words)
    assert batch.characters.shape == (3, 2)
    assert batch.lengths.tolist() == [3, 0, 1]
    assert batch.forms[:, 0].tolist() == [0, 1, 0]
    assert batch.forms[0, 2] == 1
    empty = forms.pad(np.array([1]))
    model = Tagger(tt.LSTM, tt.LSTM, (6, 9, 3), TaggerModelConfig(head="crf"))
    loss = model(empty, torch.full((1, 1), -1))
    loss.backward()
    assert loss == 0


def test_word_dropout_leaves_characters_alone():
    config = TaggerModelConfig(dropout=0.0, word_dropout=0.999, hidden_size=4)
    model = Tagger(tt.GRU, tt.GRU, (50, 50, 3), config)
    seen = []
    model.stack.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    ids = torch.arange(4, 44)[:, None]
    batch = Words(ids, ids - 4, ids.reshape(1, -1), torch.ones(40).long(), torch.tensor([40]))
    model.train().scores(batch)
    model.eval().scores(batch)
    unknown = model.words.embedding.weight[1]
    assert (seen[0][:, 0, :128] == unknown).all(1).float().mean() > 0.9
    assert torch.equal(seen[0][..., 128:], seen[1][..., 128:])


# ---- the verbs ----------------------------------------------------------------------------------


@pytest.fixture
def run(configure, capsys):
    bigger = {"hidden_size": 16, "embedding_size": 16, "dropout": 0.0, "word_dropout": 0.0}
    config = configure(max_steps=100, model=bigger, optim={"lr": 0.03})
    tt.train(config)
    capsys.readouterr()
    return config.out


def test_predict_writes_the_columns_back(run, capsys, monkeypatch, tmp_path):
    long = "the\tx\n" * 10_000
    text = f"# a comment\nnear\tx\nRome\ty\n\n\n{long}\nKurt\tz\n"
    (tmp_path / "new.conll").write_text(text)
    assert main(["predict", run, "--data", str(tmp_path / "new.conll")]) == 0
    found = capsys.readouterr().out
    lines = found.splitlines()
    assert lines[:6] == ["# a comment", "near\tx\tO", "Rome\ty\tB-LOC", "", "", "the\tx\tO"]
    assert len(lines) == len(text.splitlines()) + 1  # the last sentence ends with a blank line too
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["predict", run, "--json"]) == 0
    values = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [len(v["words"]) for v in values] == [2, 0, 10_000, 1]
    assert values[0]["tags"] == ["O", "B-LOC"]
    assert main(["predict", run, "--data", str(tmp_path / "new.conll"), "--replace"]) == 0
    assert capsys.readouterr().out.splitlines()[1:3] == ["near\tO", "Rome\tB-LOC"]


def test_predict_takes_plain_text(run, capsys, tmp_path):
    (tmp_path / "new.txt").write_text("Ada met Kurt\n\nnear Oslo\n")
    command = ["predict", run, "--format", "text", "--data", str(tmp_path / "new.txt")]
    assert main(command) == 0
    assert capsys.readouterr().out == (
        "Ada\tB-PER\nmet\tO\nKurt\tB-PER\n\n\nnear\tO\nOslo\tB-LOC\n\n"
    )


def test_each_file_begins_anew(run, capsys, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.conll").write_text("near\nRome\n" if name == "a" else "Ada\tx")
    files = [str(tmp_path / f"{name}.conll") for name in "ab"]
    assert main(["predict", run, "--data", *files]) == 0
    assert capsys.readouterr().out == "near O\nRome B-LOC\n\nAda\tx\tB-PER\n\n"


def test_unseen_tags_are_wrong_and_repaired_ones_counted(run, tmp_path):
    path = tmp_path / "test.conll"
    path.write_text("near\tO\nRome\tI-LOC\n\nnear\tO\nAda\tB-NEW\n")
    found = tt.evaluate(run, str(path))
    assert (found.unseen_tags, found.repaired_tags) == (1, 1)
    assert found.accuracy == 0.75
    assert found.recall == 0.5
    path.write_text("near\tO\nRome\tX\n")
    with pytest.raises(InputError, match=r"test.conll:2: expected a tag of IOB2"):
        tt.evaluate(run, str(path))
    path.write_text("near\tO\nRome\n")
    with pytest.raises(InputError, match=r"test.conll:2: expected 2 columns"):
        tt.evaluate(run, str(path))


def test_pretrained_vectors_are_where_the_embedding_starts(configure, tmp_path, capsys):
    path = tmp_path / "v.txt"
    path.write_text("the 1 2 3\nzebra 4 5 6\n")
    settings = {"vectors": str(path)}
    with pytest.raises(InputError, match=r"have 3 numbers.*--model.embedding_size 3"):
        tt.train(configure(data=settings))
    config = configure(data=settings, model={"embedding_size": 3}, optim={"lr": 1e-30})
    tt.train(config)
    assert "vectors for 1 of " in capsys.readouterr().err
    path.unlink()
    task, model = tt.load(config.out)
    rows = [model.words.embedding.weight[task.words.ids[w]].tolist() for w in ("the", "zebra")]
    assert rows == [[1, 2, 3], [4, 5, 6]]


def test_validation_without_a_tag_of_training_is_told_and_its_loss_is_null(
    configure, tmp_path, capsys
):
    path = tmp_path / "other.conll"
    path.write_text("near\tB-NEW\nRome\tB-NEW\n")
    config = configure(valid=[str(path)])
    tt.train(config)
    assert "no word of the validation data has a tag that training has" in capsys.readouterr().err
    assert main(["evaluate", config.out, "--data", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (said["loss"], said["accuracy"], said["unseen_tags"]) == (None, 0.0, 2)
    lines = (Path(config.out) / "metrics.jsonl").read_text().splitlines()
    valid = [line for line in lines if '"valid"' in line]
    assert [json.loads(line, parse_constant=pytest.fail)["loss"] for line in valid] == [None] * 3
    assert math.isnan(measured(valid[0])["loss"])
    assert main(["evaluate", config.out, "--data", str(path)]) == 0
    assert "loss                         none\n" in capsys.readouterr().out


def test_how_input_is_read_is_told(run, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Ada sees a bear .\n")))
    assert main(["predict", run, "--threads", "1"]) == 0
    said = "standard input: read as a word a line (--format conll).\n"
    assert said in capsys.readouterr().err


def test_one_tag_alone_is_nothing_to_learn(configure, data):
    data.write_text("near\tO\nRome\tO\n\n" * 20)
    with pytest.raises(InputError, match="nothing to tell apart"):
        tt.train(configure())


def test_a_bidirectional_tagger_does_not_write_text(run, capsys):
    assert main(["generate", run]) == 2
    assert "a tagger: throughtime predict" in capsys.readouterr().err


def test_evaluate_and_predict_read_other_columns_and_formats_than_training(
    configure, data, tmp_path, capsys
):
    config = configure(max_steps=20)
    tt.train(config)
    expected = tt.evaluate(config.out, str(data))
    blocks = [
        [line.split("\t") for line in block.split("\n") if line]
        for block in data.read_text().split("\n\n")
    ]
    files = {
        "swapped.conll": lambda k, word, tag: f"{tag} {word} {k}",
        "named.tsv": lambda k, word, tag: f"{k}\t{tag}\t{word}",
        "words.conllu": lambda k, word, tag: f"{k}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\t_",
    }
    for name, line in files.items():
        rows = ("\n".join(line(k, *pair) for k, pair in enumerate(b, 1)) for b in blocks)
        (tmp_path / name).write_text("\n\n".join(rows) + "\n")
    asked = {
        "swapped.conll": ["--word", "2", "--tag", "1"],
        "named.tsv": ["--columns", "K", "T", "W", "--word", "W", "--tag", "T"],
        "words.conllu": ["--format", "conllu"],
    }
    for name, options in asked.items():
        capsys.readouterr()
        options = ["--data", str(tmp_path / name), *options]
        assert main(["evaluate", config.out, *options, "--json"]) == 0
        found = capsys.readouterr()
        said = measured(found.out)
        assert {k: said[k] for k in ("loss", "f1", "words")} == {
            "loss": pytest.approx(expected.loss), "f1": expected.f1, "words": expected.words,
        }, name  # fmt: skip
        assert f"{name}: {len(blocks)} sentences, {expected.words} words.\n" in found.err
        assert main(["predict", config.out, *options]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert sum(bool(line) and line[0] != "#" for line in lines) == expected.words
    swapped = ["evaluate", config.out, "--data", str(tmp_path / "swapped.conll")]
    assert main([*swapped, "--word", "7"]) == 2
    assert capsys.readouterr().err.endswith("Found 3 columns. Say which it is: --word NUMBER.\n")
    assert main(["evaluate", config.out, "--word", "2"]) == 2
    assert "--word is how --data is read: give it too." in capsys.readouterr().err


def test_columns_of_training_are_not_those_of_another_format(configure, tmp_path, data):
    rows = [line.split("\t")[::-1] for line in data.read_text().split("\n")]
    (tmp_path / "backwards.conll").write_text("\n".join(" ".join(row) for row in rows))
    columns = {"columns": ["TAG", "WORD"], "word": "WORD", "tag": "TAG"}
    config = configure(train=[str(tmp_path / "backwards.conll")], data=columns, max_steps=2)
    tt.train(config)
    path = tmp_path / "words.conllu"
    path.write_text("1\tAda\t_\tB-PER\t_\t_\t_\t_\t_\t_\n")
    assert tt.evaluate(config.out, str(path), format="conllu").words == 1


def test_labels_that_are_no_tags_of_spans_are_told_by_file(configure):
    config = configure(max_steps=1)
    tt.train(config)
    path = Path(config.out) / "labels.json"
    path.write_text(json.dumps(["", *json.loads(path.read_text())[1:]]))
    with pytest.raises(InputError, match=r"labels\.json: damaged"):
        tt.load(config.out)
    with pytest.raises(InputError, match=r"labels\.json: damaged: '' is no tag of a span"):
        Tags.load(path, "IOB2", "BIOES")
    assert Tags.load(path, "none", "BIOES").labels.names[0] == ""
