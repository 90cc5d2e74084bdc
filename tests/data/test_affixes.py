"""Beginnings and endings of words: the table by hand, the sum token by token, a run with them."""

import random
from collections import Counter

import pytest
import torch
import yaml

import throughtime as tt
from throughtime.command.cli import main
from throughtime.config import from_dict
from throughtime.data.affixes import (
    SHARED,
    AffixTables,
    Spelling,
    affix_table,
    affixes,
    affixes_of,
    lacking,
)
from throughtime.data.conll import Sentence
from throughtime.data.vocabulary import EOS, SPECIALS, UNK, Vocabulary
from throughtime.ground.errors import InputError
from throughtime.layers.inputs import Affixes, TokenInput

PLURALS = ["cats", "dogs", "bears", "birds", "hens"]


def test_what_many_words_share_has_a_number_and_nothing_else():
    tokens = [*SPECIALS, *PLURALS, "s", "is", "undo"]
    table, count = affix_table(tokens, 2)
    assert count == 1  # six words end with s; no other ending or beginning has five
    assert table.shape == (len(tokens), 4)
    assert (table[4 : 4 + len(PLURALS)] == [0, 0, 1, 0]).all()
    assert (table[tokens.index("is")] == [0, 0, 1, 0]).all()
    for token in (*SPECIALS, "s", "undo"):  # "s" is no affix of itself
        assert not table[tokens.index(token)].any()


def test_beginnings_and_endings_are_told_apart():
    tokens = [f"ab{c}" for c in "cdefg"] + [f"{c}ab" for c in "cdefg"]
    table, count = affix_table(tokens, 2)
    assert count == 4  # a… ab… …b …ab
    assert len({tuple(row) for row in table.tolist()}) == 2
    assert SHARED == 5


def test_the_sum_is_that_of_each_token_s_affixes():
    table = torch.tensor([[0, 0], [1, 3], [2, 0]])
    layer = Affixes(AffixTables(table, 3), 4)
    assert not layer.weight.any()
    with torch.no_grad():
        layer.weight.normal_()
    tokens = torch.tensor([[0, 1], [2, 1]])
    zero, one, two = torch.zeros(4), layer.weight[0] + layer.weight[2], layer.weight[1]
    expected = torch.stack([torch.stack([zero, one]), torch.stack([two, one])])
    torch.testing.assert_close(layer(tokens), expected)
    layer(tokens[:1]).sum().backward()
    assert layer.weight.grad.sum(1).tolist() == [4, 0, 4]


def test_a_language_model_learns_writes_and_loads_with_them(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(f"the {w} were old .\nthe {w} ate .\n" for w in PLURALS) * 20)
    values = {"train": [str(path)], "level": "word", "out": str(tmp_path / "run"), "max_steps": 8,
              "threads": 1, "model": {"hidden_size": 8, "affixes": 3},
              "loop": {"batch_size": 2, "window": 8, "sample_every": "0"}}  # fmt: skip
    result = tt.train(from_dict(tt.LanguageConfig, values))
    task, model = tt.load(tmp_path / "run")
    assert model.affixes.weight.any()
    assert tt.evaluate(tmp_path / "run").nats_per_token == pytest.approx(
        result.metrics["loss"], rel=0.05
    )
    ids = task.vocabulary.encode("the cats were")
    tokens = torch.from_numpy(ids.astype("int64"))[:, None]
    before = model.hidden(tokens, model.initial_state(1))[0]
    with torch.no_grad():
        model.affixes.weight[model.affixes.table[tokens[1, 0]].max() - 1] += 1
    after = model.hidden(tokens, model.initial_state(1))[0]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])
    with pytest.raises(InputError, match="not with level char"):
        tt.train(from_dict(tt.LanguageConfig, {**values, "level": "char", "out": "other"}))


def test_a_classifier_learns_and_loads_with_them(tmp_path):
    path = tmp_path / "words.tsv"
    lines = [f"the {w[:-1]}{end}\t{end}\n" for w in PLURALS for end in ("ing", "ous")] * 8
    path.write_text("text\tlabel\n" + "".join(lines))
    values = {"train": [str(path)], "valid": [str(path)], "out": str(tmp_path / "run"),
              "max_steps": 20, "threads": 1, "optim": {"lr": 0.02},
              "model": {"hidden_size": 8, "embedding_size": 8, "dropout": 0.0,
                        "affixes": 3}}  # fmt: skip
    assert tt.train(from_dict(tt.ClassifierConfig, values)).metrics["accuracy"] == 1
    task, model = tt.load(tmp_path / "run")
    inputs = model.inputs
    assert inputs.affixes.weight.any()
    ids = torch.from_numpy(task.source.vocabulary.encode("the cating")).long()[:, None]
    rows = inputs.affixes.table[ids]
    zero = torch.zeros(1, inputs.affixes.weight.shape[1])
    expected = inputs.embedding(ids) + torch.cat([zero, inputs.affixes.weight])[rows].sum(-2)
    torch.testing.assert_close(inputs(ids), expected)
    assert rows[1].any()
    assert tt.evaluate(tmp_path / "run").accuracy == 1
    with pytest.raises(InputError, match="not with level char"):
        tt.train(from_dict(tt.ClassifierConfig, {**values, "level": "char", "out": "other"}))


# ---- words that the vocabulary lacks ------------------------------------------------------------


def made_up(count, seed=0):
    """Words with few beginnings and endings."""
    draw = random.Random(seed)
    parts = [["un", "re", "inter", "pre", "an"], ["bak", "walk", "pos", "k"], ["ing", "er", "s"]]
    return sorted({"".join(map(draw.choice, parts)) for _ in range(count)})


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.of_counts(Counter([*made_up(40), "the", "is", "<pad>"]), lowercase=True)


def known_affixes(vocabulary, most):
    counts = Counter(a for token in vocabulary.tokens for _, a in affixes(token, most))
    return [affix for affix, n in counts.items() if n >= SHARED]


def test_an_unknown_word_s_id_says_its_affixes(vocabulary):
    """Oracle: the known affixes of each word, one by one, by name."""
    spelling, names = Spelling(vocabulary, 4), known_affixes(vocabulary, 4)
    layer = Affixes(affixes_of(vocabulary, 4, of_unknown=True), 3)
    torch.nn.init.normal_(layer.weight)
    unknown = [w for w in [*made_up(200, 1), "xq", "unxyz", "s", "ing"] if w not in vocabulary.ids]
    assert len(unknown) > 10
    ids = spelling.encode_tokens(unknown)
    assert lacking(ids, vocabulary).all()
    for word, i in zip(unknown, ids.tolist()):
        rows = [names.index(affix) for _, affix in affixes(word, 4) if affix in names]
        found = layer(torch.tensor([[i]]))[0, 0]
        torch.testing.assert_close(found, layer.weight[rows].sum(0))
        assert (i == UNK) == (not rows), word
    known = torch.arange(len(vocabulary))[:, None]
    before = Affixes(affixes_of(vocabulary, 4, of_unknown=False), 3)
    before.load_state_dict(layer.state_dict())
    assert torch.equal(layer(known), before(known))


@pytest.mark.parametrize("eos_at_lines", [True, False])
def test_text_is_read_as_words_are(vocabulary, eos_at_lines):
    spelling = Spelling(vocabulary, 4)
    text = "The unzzing , <unk> is\n\ninterqqs <eos> The unzzing\n"
    plain = vocabulary.encode(text, eos_at_lines=eos_at_lines)
    found = spelling.encode(text, eos_at_lines=eos_at_lines)
    same = found < len(vocabulary)
    assert (found[same] == plain[same]).all()
    assert (plain[~same] == UNK).all()
    words = ["unzzing", "interqqs", "unzzing"]
    assert found[~same].tolist() == [spelling.id_of(word) for word in words]
    assert (found == EOS).sum() == (3 if eos_at_lines else 0)
    assert UNK in found  # <unk> itself, and what has no known affix


def test_a_dropped_word_keeps_its_affixes(vocabulary):
    tokens = torch.arange(4, len(vocabulary))[:, None]
    for of_unknown in (True, False):
        tables = affixes_of(vocabulary, 4, of_unknown=of_unknown)
        x = TokenInput(len(vocabulary), 3, word_dropout=0.999999, unknown=UNK, affixes=tables)
        torch.nn.init.normal_(x.affixes.weight)
        added = x.affixes(tokens) if of_unknown else torch.zeros(len(tokens), 1, 3)
        torch.testing.assert_close(x(tokens), x.embedding.weight[UNK] + added)
        assert added.any() == of_unknown


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A language model, a classifier and a tagger whose vocabularies lack words."""
    folder, found = tmp_path_factory.mktemp("unknown"), {}
    words, draw = made_up(60), random.Random(3)
    sentences = [[draw.choice(words[: 25 + 99 * (i % 2)]) for _ in range(5)] for i in range(240)]
    texts = {
        "lm.txt": "".join(" ".join(s) + "\n" for s in sentences),
        "classify.txt": "".join(f"{s[0].endswith('s')} {' '.join(s)}\n" for s in sentences),
        "tag.conll": "\n".join("".join(f"{w}\t{w[-1]}\n" for w in s) for s in sentences),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    model = {"hidden_size": 8, "embedding_size": 8, "affixes": 3}
    loop = {"batch_size": 2, "window": 8, "sample_every": "0"}
    for file, cls, more in (
        ("lm.txt", tt.LanguageConfig, {"level": "word", "loop": loop, "model": model}),
        ("classify.txt", tt.ClassifierConfig, {"model": model}),
        ("tag.conll", tt.TaggerConfig, {"model": {**model, "characters": "none"}}),
    ):
        name = file.split(".")[0]
        values = {"max_steps": 6, "threads": 1, "device": "cpu", "train": [str(folder / file)],
                  "out": str(folder / name), "data": {"vocab_size": 30}, **more}  # fmt: skip
        tt.train(from_dict(cls, values))
        found[name] = folder / name
    return found


def test_a_language_model_tells_unknown_words_apart(runs, capsys):
    run = tt.Run.open(runs["lm"])
    one, other = run.score(["unzzs unwalks", "qqqq unwalks"])
    assert one.unknown >= 1
    assert one.tokens[0] == other.tokens[0]  # <unk> as what is to be found
    assert one.tokens[0][0] == "<unk>"
    assert one.tokens[1] != other.tokens[1]
    texts = run.generate(["unzzs", "qqqq", "unzzs"], max_new_tokens=6, seed=1,
                         repetition_penalty=1.1)  # fmt: skip
    assert texts[0] == texts[2]
    assert texts[0].startswith("unzzs")
    assert "read as <unk>: 3 of the tokens of 3 prompts" in capsys.readouterr().err
    ids, unknown = run.task.read_prime("unzzs")
    assert unknown == 1
    assert ids[-1] >= len(run.task.vocabulary)
    assert run.evaluate().unk_rate > 0
    document = runs["lm"].parent / "lm.txt"
    (scored,) = run.score([document.read_text()], per="document")
    whole = run.evaluate(str(document))
    assert scored.log_probability == pytest.approx(-whole.nats_per_token * whole.tokens, rel=1e-5)
    assert not (run.task.running_text().ids[:200] >= len(run.task.vocabulary)).any()


@pytest.mark.parametrize("name", ["lm", "classify", "tag"])
def test_runs_of_before_keep_their_results(runs, name, capsys):
    """Whose settings do not say that unknown words have affixes."""
    metric = "nats_per_token" if name == "lm" else "loss"
    run = tt.Run.open(runs[name])
    loss = getattr(run.evaluate(), metric)
    settings = runs[name] / "config.yaml"
    text = settings.read_text()
    values = yaml.safe_load(text)
    assert values["model"].pop("affixes_of_unknown")
    try:
        settings.write_text(yaml.safe_dump(values, sort_keys=False))
        old = tt.Run.open(runs[name])
        assert not old.config.model.affixes_of_unknown
        assert getattr(old.evaluate(), metric) != loss
        capsys.readouterr()
        assert main(["train", name, "--resume", "--out", str(runs[name]), "--print_config"]) == 0
        assert "affixes_of_unknown: false" in capsys.readouterr().out
    finally:
        settings.write_text(text)


def test_a_word_never_seen_is_read_by_its_end(runs):
    words = ["unzzing", "unzzs"]
    for name in ("classify", "tag"):
        run = tt.Run.open(runs[name])
        layer = run.model.inputs if name == "classify" else run.model.words
        with torch.no_grad():
            layer.affixes.weight.normal_()
        if name == "classify":
            found = [next(run.predict(lines=[word])).values["probability"] for word in words]
            assert found[0] != found[1]
        else:
            reader = run.task.forms([Sentence(words, [])])
            assert len(set(reader.ids.tolist())) == len(words)
            assert reader.unknown == 1.0


@pytest.mark.parametrize("name", ["lm", "classify", "tag"])
def test_integers_of_an_export_are_calibrated_on_words_of_the_vocabulary(runs, name, tmp_path):
    run = tt.Run.open(runs[name])
    made = run.export(tmp_path / "c", name="m", precision="int8-full")
    assert "steps of the training data" in (made / "README.md").read_text()
