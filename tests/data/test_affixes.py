"""Beginnings and endings of words: the table by hand, the sum token by token, a run with them."""

import pytest
import torch

import throughtime as tt
from throughtime.config import from_dict
from throughtime.data.affixes import SHARED, affix_table
from throughtime.data.vocabulary import SPECIALS
from throughtime.ground.errors import InputError
from throughtime.layers.inputs import Affixes

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
    layer = Affixes(table, 3, 4)
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
