import pytest
import torch

import throughtime as tt
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
        (["lm", "--level", "char", "--model.affixes", "0"], "reads words, and this run chars"),
        (["adding"], "cannot start from"),
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
