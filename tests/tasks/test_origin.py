from pathlib import Path

import pytest
import torch

import throughtime as tt
from cases import MINIMAL
from runs import small_run
from throughtime.command.parsing import task_command
from throughtime.data.affixes import affix_names


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Language models of words, the second of which reads backwards over the first's embedding."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for name in ("forward", "backward"):
        (folder / name).mkdir()
        config = small_run("lm", folder / name)
        config.level, config.model.affixes, config.model.num_layers = "word", 3, 2
        config.model.zoneout = "0"  # whose expectation evaluation takes
        if name == "backward":
            config.init_from, config.data.reversed = found["forward"], True
            config.optim.freeze = ["embedding,affixes"]
        tt.train(config)
        found[name] = str(config.out)
    return found


def other_text(folder, name="other.txt"):
    path = folder / name
    path.write_text("the zebra, which sat on a quagga, ate a cat\n" * 300)
    return str(path)


def settings(*words):
    """What a command line comes to."""
    return task_command("train", words).config


def began(config, monkeypatch):
    """The model and the task as training begins."""
    seen = {}

    def stop(trainer):
        seen["model"], seen["task"] = trainer.model, trainer.task
        raise InterruptedError

    monkeypatch.setattr("throughtime.training.trainer.Trainer.warm_up", stop)
    with pytest.raises(InterruptedError):
        tt.train(config)
    return seen["model"], seen["task"]


def test_a_language_model_goes_on_with_another_text(runs, tmp_path, monkeypatch, capsys):
    config = settings("lm", "--init-from", runs["forward"], "--train", other_text(tmp_path),
                      "--out", str(tmp_path / "new"), "--optim.lr", "0.01")  # fmt: skip
    origin = tt.Run.open(runs["forward"])
    assert config.level == "word"
    assert config.model == origin.config.model
    assert config.optim.lr == 0.01
    model, task = began(config, monkeypatch)
    old = origin.task.vocabulary.tokens
    assert task.vocabulary.tokens[: len(old)] == old
    assert {"zebra", "quagga"} <= set(task.vocabulary.tokens[len(old) :])
    assert f"{len(task.vocabulary) - len(old)} tokens that it has not" in capsys.readouterr().err
    theirs = dict(origin.model.named_parameters())
    for name, value in model.named_parameters():
        if not name.startswith("affixes."):
            assert torch.equal(value[: len(theirs[name])], theirs[name]), name
    names = [affix_names(v, 3) for v in (old, task.vocabulary.tokens)]
    for k, name in enumerate(names[0]):
        row = names[1].index(name)
        assert torch.equal(model.affixes.weight[row], theirs["affixes.weight"][k])


def test_it_trains_and_goes_on_without_the_other(runs, tmp_path):
    config = settings("lm", "--init-from", runs["forward"], "--train", other_text(tmp_path),
                      "--out", str(tmp_path / "new"), "--max-steps", "4", "--loop.batch_size", "2",
                      "--loop.window", "8", "--loop.sample_every", "0", "--optim.freeze",
                      "embedding,stack.0")  # fmt: skip
    first = tt.train(config)
    before = tt.Run.open(runs["forward"]).model.state_dict()
    after = tt.Run.open(first.folder, checkpoint="last").model.state_dict()
    rows = len(before["embedding.weight"])
    assert torch.equal(after["embedding.weight"][:rows], before["embedding.weight"])
    assert torch.equal(after["stack.weights.0.W_a"], before["stack.weights.0.W_a"])
    assert not torch.equal(after["stack.weights.1.W_a"], before["stack.weights.1.W_a"])
    config.max_steps, config.init_from = 8, str(tmp_path / "gone")
    assert tt.train(config, resume=True).steps == 8


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_classifier_reads_as_the_language_models_do(runs, tmp_path, monkeypatch, bidirectional):
    config = small_run("classify", tmp_path)
    words = ["classify", "--init-from", runs["forward"], "--out", str(tmp_path / "new")]
    words += ["--train", *config.train, "--model.bidirectional", str(bidirectional).lower()]
    words += ["--init-backward-from", runs["backward"]] if bidirectional else []
    made = settings(*words)
    assert made.level == "word"
    assert made.model.affixes == 3
    model, task = began(made, monkeypatch)
    model.eval()
    text = task.source.vocabulary.encode("the cat sat on a mat")
    ids = torch.from_numpy(text.astype("int64"))[:, None]
    y, _ = model.stack(model.inputs(ids))
    n = y.shape[-1] // (2 if bidirectional else 1)
    for k, name in enumerate(["forward", "backward"][: 1 + bidirectional]):
        origin = tt.Run.open(runs[name])
        order = ids.flip(0) if k else ids  # its ids are those of the same vocabulary
        lm = origin.model
        expected, _ = lm.stack(lm.embedding(order) + affixes(model, order))
        expected = expected.flip(0) if k else expected
        torch.testing.assert_close(y[..., k * n : (k + 1) * n], expected, atol=1e-5, rtol=1e-4)


def affixes(model, ids):
    return model.inputs.affixes(ids)


def test_taggers_and_translators_start_too(runs, tmp_path, monkeypatch, capsys):
    for task, stack, tokens in (("tag", "stack", "words"), ("translate", "encoder", "source")):
        (tmp_path / task).mkdir()
        config = small_run(task, tmp_path / task)
        config.init_from, config.cell = runs["forward"], "lstm"
        origin = tt.Run.open(runs["forward"])
        m = origin.config.model
        config.cell = origin.config.cell
        config.model.hidden_size, config.model.num_layers = m.hidden_size, m.num_layers
        config.model.embedding_size = m.embedding_size or m.widths[0]
        config.model.learned_initial_state = m.learned_initial_state
        words = [task, "--init-from", runs["forward"], "--train", *config.train]
        assert settings(*words, "--out", config.out).level == ("words" if task == "tag" else "word")
        config.level = "words" if task == "tag" else "word"
        model, _ = began(config, monkeypatch)
        W_a = getattr(model, stack).weights[0].W_a
        assert torch.equal(W_a, origin.model.stack.weights[0].W_a)
        rows = len(origin.model.embedding.weight)
        embedding = getattr(model, tokens).embedding.weight[:rows]
        assert torch.equal(embedding, origin.model.embedding.weight)
    assert "the backward direction starts new (--init-backward-from RUN)" in capsys.readouterr().err


def test_what_does_not_fit_is_told(runs, tmp_path):
    text = other_text(tmp_path)
    for words, said in (
        (["lm", "--model.hidden_size", "16"], "does not fit: its"),
        (["lm", "--model.num_layers", "1"], "does not fit: its"),
        (["lm", "--cell", "simple-gru"], "cells is"),
        (["lm", "--level", "char", "--model.affixes", "0"], "reads words, and this run chars"),
        (["adding"], "cannot start from"),
        (["conditional"], "a conditional model cannot start from .*, a language model of level"),
        (["regress", "--data.target", "y"], "cannot start from .*: only from a run of the same"),
        (["forecast"], "cannot start from"),
        (["lm", "--optim.freeze", "nothing"], "the model has no 'nothing'; it has embedding"),
    ):
        given = [] if words[0] == "adding" else ["--train", text]
        given += ["--init-from", runs["forward"], "--out", str(tmp_path / "new")]
        with pytest.raises(tt.InputError, match=said):
            tt.train(settings(*words, *given))
    config = settings("lm", "--train", text, "--out", str(tmp_path / "new"))
    config.init_backward_from = runs["backward"]
    with pytest.raises(tt.InputError, match="goes with init_from"):
        tt.train(config)
    with pytest.raises(tt.InputError, match="reads backwards"):
        tt.Run.open(runs["backward"]).generate()


# ---- a run of the same task ---------------------------------------------------------------------

ALIKE = ["classify", "classify numbers", "tag", "tag numbers", "regress", "translate",
         "conditional", "frames", "forecast", "adding"]  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_a_run_of_the_same_task_goes_on(name, tmp_path, monkeypatch):
    first = small_run(name, tmp_path, "first", max_steps=3)
    tt.train(first)
    words = [name.split()[0] if name != "frames" else "music", "--init-from", first.out]
    words += ["--train", *first.train] if hasattr(first, "train") else []
    config = settings(*words, "--out", str(tmp_path / "second"))
    assert config.model == tt.Run.open(first.out).config.model
    for section in ("held_out", "sequences"):
        if hasattr(first, section):
            setattr(config, section, getattr(first, section))
    config.device, config.loop, config.max_steps = "cpu", first.loop, 3
    if name == "translate":
        config.score = first.score
    model, _ = began(config, monkeypatch)
    origin = tt.Run.open(first.out)
    theirs = dict(origin.model.named_parameters())
    assert {k: v.shape for k, v in model.named_parameters()} == {
        k: v.shape for k, v in theirs.items()
    }
    assert all(torch.equal(v, theirs[k]) for k, v in model.named_parameters())
    monkeypatch.undo()
    tt.train(config)  # and it can be opened without the other
    Path(first.out).rename(tmp_path / "gone")
    assert tt.Run.open(config.out).evaluate()


def reviews(folder, name, labels, word):
    path = folder / name
    rows = (f"{labels[i % len(labels)]} the {word} {i % 9} was {i % 7}\n" for i in range(90))
    path.write_text("".join(rows))
    return str(path)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    config = small_run("classify", folder)
    config.train, config.class_weights = [reviews(folder, "a.txt", ["good", "bad"], "film")], []
    config.model.affixes = 2
    tt.train(config)
    return str(config.out)


def test_other_labels_get_rows_of_their_own(classifier, tmp_path, monkeypatch, capsys):
    theirs = dict(tt.Run.open(classifier).model.named_parameters())
    words = ["classify", "--init-from", classifier, "--out", str(tmp_path / "new")]
    more = reviews(tmp_path, "b.txt", ["so-so", "good"], "play")
    config = settings(*words, "--train", more, "--class-weights", "good=3")
    model, task = began(config, monkeypatch)
    assert task.labels.names == ["bad", "good", "so-so"]
    assert task.weights[0] == 0
    assert (task.weights[1:] > 0).all()
    assert torch.equal(model.output.weight[:2], theirs["output.weight"])
    assert "1 label that it has not" in (said := capsys.readouterr().err)
    assert "1 token that it has not" in said
    rows = len(theirs["inputs.embedding.weight"])
    assert torch.equal(model.inputs.embedding.weight[:rows], theirs["inputs.embedding.weight"])
    other = reviews(tmp_path, "c.txt", ["x", "y"], "play")
    model, task = began(settings(*words, "--train", other), monkeypatch)
    assert task.labels.names == ["x", "y"]
    assert not torch.equal(model.output.weight, theirs["output.weight"])
    assert torch.equal(model.stack.weights[0].W_a, theirs["stack.weights.0.W_a"])
    assert "knows none of these labels" in capsys.readouterr().err


def test_a_tagger_keeps_its_tags_and_numbers_their_columns(tmp_path):
    first = small_run("tag", tmp_path, max_steps=1)
    tt.train(first)
    other = tmp_path / "other.conll"
    other.write_text("Oslo\tB-CITY\nis\tO\n\n" * 20)
    words = ["tag", "--init-from", first.out, "--train", str(other), "--out", str(tmp_path / "n")]
    with pytest.raises(tt.InputError, match="has not the tag 'B-CITY'"):
        tt.train(settings(*words))
    (tmp_path / "numbers").mkdir()
    first = small_run("regress", tmp_path / "numbers", max_steps=1)
    tt.train(first)
    other = tmp_path / "other.csv"
    other.write_text("sequence,b,c,mean,last\n" + "".join(f"{k},1,2,3,{k}\n" for k in range(20)))
    words[:5] = ["regress", "--init-from", first.out, "--train", str(other)]
    with pytest.raises(tt.InputError, match="numbers without a and with c"):
        tt.train(settings(*words))


def test_words_do_not_start_from_numbers(classifier, tmp_path):
    config = small_run("classify numbers", tmp_path)
    config.init_from = classifier
    with pytest.raises(tt.InputError, match="a classifier of level word: only from"):
        tt.train(config)


def test_a_cell_of_one_s_own_comes_along(tmp_path):
    (tmp_path / "mine.py").write_text(MINIMAL)
    config = small_run("lm", tmp_path)
    config.cell, config.model.zoneout = f"{tmp_path / 'mine.py'}:Minimal", "0"
    config.model.recurrent_dropout = config.model.variational_dropout = 0.0
    config.model.weight_drop, config.model.backend = 0.0, "reference"
    tt.train(config)
    (tmp_path / "mine.py").unlink()
    words = ["lm", "--init-from", config.out, "--train", *config.train, "--max-steps", "2"]
    words += ["--loop.batch_size", "4", "--loop.window", "8", "--out", str(tmp_path / "new")]
    with pytest.raises(tt.InputError, match="--trust"):
        settings(*words)
    command = task_command("train", [*words, "--trust"])
    assert tt.train(command.config, trust=True).steps == 2
    assert (tmp_path / "new" / "mine.py").is_file()


def test_changed_data_are_told_with_the_advice_to_start_from_the_run(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a cat sat on a mat\n" * 200)
    words = ["lm", "--train", str(text), "--out", str(tmp_path / "run"), "--max-steps", "2"]
    words += ["--loop.batch_size", "2", "--loop.window", "8", "--loop.sample_every", "0"]
    config = settings(*words, "--model.hidden_size", "8")
    tt.train(config)
    text.write_text("a dog sat on a log\n" * 200)
    config.max_steps = 4
    with pytest.raises(tt.InputError, match=rf"--init-from {config.out}"):
        tt.train(config, resume=True)
