"""Other tasks looked into, from the losses at the ends of their sequences."""

import json

import pytest
import torch
from hypothesis import given

import throughtime as tt
from cases import modest, st
from throughtime.command.cli import main
from throughtime.inspect.endings import by_lag, gradients_by_stack, sequences

# ---- other tasks ------------------------------------------------------------------------------


@modest
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), lags=st.integers(0, 8))
def test_lags_are_counted_from_each_sequence_s_own_end(lengths, lags):
    norms = torch.rand(2, 6, len(lengths))
    found = by_lag(norms, torch.tensor(lengths), lags)
    assert found.shape == (2, min(6, lags + 1), len(lengths))
    for b, length in enumerate(lengths):
        for lag in range(found.shape[1]):
            if lag < length:
                assert torch.equal(found[:, lag, b], norms[:, length - 1 - lag, b])
            else:
                assert found[:, lag, b].isnan().all()


SMALL = ["--model.hidden_size", "8", "--max-steps", "3", "--threads", "1"]


def train(task, *arguments):
    assert main(["train", task, *arguments, *SMALL]) == 0


@pytest.fixture
def classifier(tmp_path, capsys):
    texts = [
        f"{'so fine' if i % 2 else 'too dull a thing'} film {'x ' * (i % 5)}" for i in range(60)
    ]
    rows = [f"{text}\t{('neg', 'pos')[i % 2]}\n" for i, text in enumerate(texts)]
    (tmp_path / "r.tsv").write_text("text\tlabel\n" + "".join(rows))
    run = str(tmp_path / "classify")
    shape = {"bidirectional": "true", "num_layers": "2", "pooling": "last", "embedding_size": "8"}
    options = [part for name, value in shape.items() for part in (f"--model.{name}", value)]
    train("classify", "--train", str(tmp_path / "r.tsv"), "--out", run, *options)
    capsys.readouterr()
    return run


def test_a_classifier_s_gradients_are_those_of_each_text_alone(classifier, monkeypatch):
    """Ragged batches, both directions: against one text at a time, by autograd over the model."""
    task, model = tt.load(classifier)
    found = sequences(task, None, 40, 0)
    monkeypatch.setattr("throughtime.inspect.endings.trimmed", lambda norms: norms)
    together = gradients_by_stack(model, found, 99)["stack"]
    assert together.layers[1] == "layer 1, backward"
    monkeypatch.setattr("throughtime.inspect.endings.TOKENS", 1)  # each by itself
    alone = gradients_by_stack(model, found, 99)["stack"]
    for part, norms in together.norms.items():
        torch.testing.assert_close(norms, alone.norms[part], equal_nan=True, rtol=1e-4, atol=1e-7)
    # the last forward state and the last backward state are what "last" pools
    (batch, *_) = found.batches(model)
    y, final = None, None

    def keep(module, inputs, output):
        nonlocal y, final
        y, final = output

    handle = model.stack.register_forward_hook(keep)
    loss = batch.losses["last"]()
    handle.remove()
    (grad,) = torch.autograd.grad(loss, final[0])
    for k in (2, 3):  # layer 2: nothing is above it
        first = alone.norms[model.stack.cell.state[0]][k, 0, 0]
        assert float(first) == pytest.approx(float(grad[k].norm(dim=-1)[0]), rel=1e-5)


@pytest.fixture
def data(tmp_path):
    """Small data of the other tasks, by task: what to train on, and more options."""
    rows = [("Ada", "PROPN"), ("sees", "VERB"), ("a", "DET"), ("bear", "NOUN")]
    lines = "".join(f"{i}\t{w}\t_\t{t}\t_\t_\t0\troot\t_\t_\n" for i, (w, t) in enumerate(rows, 1))
    (tmp_path / "t.conllu").write_text(f"{lines}\n{''.join(lines.splitlines(True)[:2])}\n" * 20)
    for side, word in (("de", "Hund"), ("en", "dog")):
        (tmp_path / f"p.{side}").write_text("".join(f"{word} {i % 7}\n" for i in range(40)))
    (tmp_path / "names").mkdir()
    for language, end in (("Italian", "io"), ("Greek", "as")):
        names = "".join(f"{a}{b}p{end}\n" for a in "PRST" for b in "aei")
        (tmp_path / f"names/{language}.txt").write_text(names)
    roll = [[[60, 64], [62], [], [64, 67]] * (2 + i % 3) for i in range(12)]
    (tmp_path / "rolls.json").write_text(json.dumps({"train": roll, "valid": roll[:3]}))
    return {
        "tag": [str(tmp_path / "t.conllu"), "--model.bidirectional", "true"],
        "translate": [str(tmp_path / "p.de"), str(tmp_path / "p.en")],
        "conditional": [str(tmp_path / "names")],
    }


@pytest.mark.parametrize(
    ("task", "stacks"),
    [
        ("tag", {"stack", "characters.stack"}),
        ("translate", {"encoder", "decoder"}),
        ("conditional", {"stack"}),
        ("adding", {"stack"}),
        ("copy", {"stack"}),
        ("temporal-order", {"stack"}),
    ],
)
def test_every_stack_of_other_tasks_is_looked_into(task, stacks, data, tmp_path, capsys):
    run = str(tmp_path / task)
    given = ["--train", *data[task]] if task in data else ["--length", "30"]
    train(task, *given, "--out", run, "--loop.inspect_every", "50%")
    assert "inside  " in capsys.readouterr().err
    assert (
        main(["inspect", run, "--json", "--untrained", "--positions", "12", "--threads", "1"]) == 0
    )
    said = json.loads(capsys.readouterr().out)["sections"]
    for stack in stacks:
        suffix = f"-{stack.replace('.', '-')}" if len(stacks) > 1 else ""
        gradients = said[f"gradients{suffix}"]
        for kind in ("trained", "untrained"):
            part = next(iter(gradients[kind].values()))
            medians = [layer["median"] for layer in part.values()]
            assert all(median[0] > 0 for median in medians), "the loss sees each scan's lag 0"
        assert said[f"gates{suffix}"]["gates"]
    assert said["influence"]["left_out"]
    assert said["health"]["train"]
    assert len(said["health"]["inside"]) == 2
    for line in said["health"]["inside"]:
        assert stacks == line.keys() - {"kind", "step"}
