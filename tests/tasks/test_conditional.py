"""Sequences with a condition: the model's equations, and the task from data to names."""

import json
import math

import pytest
import torch

import throughtime as tt
from throughtime.command.cli import main
from throughtime.config import ConditionalConfig, ConditionalModelConfig, from_dict
from throughtime.data.vocabulary import BOS
from throughtime.decoding import beam_search
from throughtime.ground.errors import InputError
from throughtime.models.conditional import ConditionalModel

SIZES = [3, 2]


def small(joins="both", cell="lstm", **settings):
    torch.manual_seed(3)
    config = ConditionalModelConfig(
        hidden_size=6, embedding_size=4, condition_size=5, condition_joins=joins,
        backend="reference", **settings,
    )  # fmt: skip
    return ConditionalModel(tt.LSTM if cell == "lstm" else tt.GRU, 7, SIZES, config).double().eval()


def batch(lengths, seed=0):
    """Inputs, targets, lengths and conditions, garbage beyond the lengths."""
    random = torch.Generator().manual_seed(seed)
    T, B = max(lengths), len(lengths)
    targets = torch.randint(4, 7, (T, B), generator=random)
    inputs = torch.cat([torch.full((1, B), BOS), targets[:-1]])
    return inputs, targets, torch.tensor(lengths), torch.randn(B, 5, generator=random).double()


# ---- the model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("joins", ["state", "input", "both"])
def test_the_condition_enters_where_it_is_said_to(joins):
    """Written out by hand: e, the first state, the inputs, the scan, the softmax."""
    model = small(joins, num_layers=2)
    inputs, targets, lengths, v = batch([4, 4])
    e = v @ model.condition.weight.T + model.condition.bias
    state = model.stack.initial_state(2)
    if joins != "input":
        first = torch.tanh(e @ model.first_state.weight.T + model.first_state.bias)
        parts = first.view(2, 2, 2, 6)  # B, parts, layers, n
        state = type(state)(*(parts[:, k].transpose(0, 1) for k in range(2)))
    x = model.embedding(inputs)
    if joins != "state":
        x = torch.cat([x, e.expand(4, 2, 5)], -1)
    y, _ = model.stack(x, state)
    logs = (y @ model.head.weight.T + model.head.bias).log_softmax(-1)
    expected = -logs.gather(-1, targets[..., None])[..., 0]
    torch.testing.assert_close(model.nats(inputs, targets, lengths, v), expected)
    torch.testing.assert_close(model(inputs, targets, lengths, v), expected.mean())


def test_padding_and_company_change_nothing():
    model = small()
    lengths = [5, 2, 1, 3]
    inputs, targets, n, v = batch(lengths)
    together = model.nats(inputs, targets, n, v)
    for b, length in enumerate(lengths):
        alone = model.nats(
            inputs[:length, b : b + 1], targets[:length, b : b + 1], n[b : b + 1], v[b : b + 1]
        )
        torch.testing.assert_close(alone[:, 0], together[:length, b])
        assert not together[length:, b].any()
    total = sum(together[:, b].sum() for b in range(4)) / sum(lengths)
    torch.testing.assert_close(model(inputs, targets, n, v), total)


def test_recomputing_gives_the_same_loss_and_gradients():
    model = small()
    parts = batch([7, 2, 4])
    found = []
    for recompute in (0, 3):
        model.zero_grad()
        loss = model(*parts, recompute)
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("joins", ["state", "input", "both"])
def test_stepping_equals_reading(joins):
    model = small(joins)
    inputs, _, _, v = batch([5])
    state = model.begin(v[0])
    h, _ = model.hidden(inputs, state)
    expected = model.head.logits(h[:, 0])
    for t, token in enumerate(inputs):
        logits, state = model.step(token, state)
        torch.testing.assert_close(logits[0], expected[t])


def test_beam_search_runs_under_a_condition():
    model = small().float()
    found = beam_search(model, [BOS], 4, 3, state=model.begin(torch.ones(5)))
    assert len(found) == 3
    assert found[0][1] >= found[1][1]


def test_condition_dropout_leaves_out_whole_names():
    model = small(condition_dropout=0.5).train()
    torch.manual_seed(0)
    plain = model.condition.weight.new_zeros(200, 5) + 1
    e = model.embed_condition(plain)
    columns = model.condition.weight.T
    kinds = {
        (a, b): a * columns[:3].sum(0) + b * columns[3:].sum(0) + model.condition.bias
        for a in (0, 1)
        for b in (0, 1)
    }
    seen = {
        kind for kind, value in kinds.items() for row in e if torch.allclose(row, value, atol=1e-9)
    }
    assert seen == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert all(any(torch.allclose(row, v) for v in kinds.values()) for row in e)


# ---- the task -----------------------------------------------------------------------------------

WORDS = {"up": "abcdefg", "down": "gfedcba"}


@pytest.fixture
def data(tmp_path):
    """Two classes whose sequences run up and down the alphabet."""
    for name, letters in WORDS.items():
        lines = [letters[i : i + 4] for i in range(4)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines * 20))
    return [str(tmp_path / f"{name}.txt") for name in WORDS]


@pytest.fixture
def settings(data, tmp_path):
    def settings(out="run", **changes):
        values = {
            "train": data, "valid": data, "out": str(tmp_path / out), "max_steps": 120,
            "device": "cpu", "threads": 1, "optim": {"lr": 0.02},
            "model": {"hidden_size": 16, "condition_size": 8},
            "loop": {"batch_size": 16, "sample_every": "0", "eval_every": "60"},
        }  # fmt: skip
        return from_dict(ConditionalConfig, {**values, **changes})

    return settings


@pytest.mark.parametrize(("joins", "cell"), [("state", "lstm"), ("input", "gru"), ("both", "rnn")])
def test_it_writes_what_the_condition_says(settings, joins, cell):
    model = {"hidden_size": 16, "condition_size": 8, "condition_joins": joins}
    config = settings(model=model, cell=cell)
    result = tt.train(config)
    assert result.metrics["loss"] < 0.5
    for name, letters in WORDS.items():
        for word in tt.generate(
            config.out, condition=[name], temperature=0.3, num_samples=5, seed=0
        ):
            assert word in letters
    # names left out are drawn: both occur
    words = tt.generate(config.out, num_samples=20, seed=1, temperature=0.1)
    assert {next(n for n, letters in WORDS.items() if w in letters) for w in words} == set(WORDS)


def test_evaluation_is_the_same_for_any_batch_size(settings):
    config = settings(max_steps=10)
    tt.train(config)
    one = tt.evaluate(config.out)
    folder = config.out + "/config.yaml"
    with open(folder) as file:
        text = file.read()
    with open(folder, "w") as file:
        file.write(text.replace("batch_size: 16", "batch_size: 3"))
    assert tt.evaluate(config.out) == one
    assert one.sequences == 160
    assert one.tokens == one.characters + one.sequences
    assert math.isclose(one.nats_per_token, math.log(one.perplexity))
    assert math.isclose(one.nats_per_char * one.characters, one.nats_per_sequence * 160)


def test_json_lines_with_numbers_and_events(tmp_path, settings):
    path = tmp_path / "events.jsonl"
    rows = [
        {"condition": {"tempo": i % 5, "mood": ["a", "b"][: 1 + i % 2]}, "sequence": ["C4", "E4"]}
        for i in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    config = settings(train=[str(path)], valid=[str(path)], level="event", max_steps=30)
    tt.train(config)
    written = tt.generate(config.out, condition=["tempo=3", "mood=a,b"], seed=1)
    assert written == ["C4 E4"]


def test_a_list_of_events_is_not_read_as_characters(tmp_path, settings):
    path = tmp_path / "events.jsonl"
    path.write_text(
        '{"condition": "a", "sequence": "xy"}\n{"condition": "a", "sequence": ["C4"]}\n'
    )
    for level in ("char", "subword", "byte"):
        with pytest.raises(InputError, match=r"events.jsonl:2: .* a list of events.*--level event"):
            tt.train(settings(train=[str(path)], valid=[str(path)], level=level))
    config = settings(max_steps=2)
    tt.train(config)
    assert tt.evaluate(config.out, str(path)).sequences == 2  # runs of before stay of use


def test_labels_of_evaluation_never_seen_are_counted(settings, tmp_path):
    config = settings(max_steps=5)
    tt.train(config)
    path = tmp_path / "other.jsonl"
    path.write_text('{"condition": "sideways", "sequence": "abc"}\n')
    found = tt.evaluate(config.out, str(path))
    assert (found.unseen_labels, found.tokens) == (1, 4)


def test_evaluate_reads_other_keys_and_formats_than_training(settings, tmp_path, capsys):
    config = settings(max_steps=5)
    tt.train(config)
    (tmp_path / "down.txt").write_text("abc\n\ncba\n")
    one = tt.evaluate(config.out, str(tmp_path / "down.txt"))
    capsys.readouterr()
    rows = [{"kind": "down", "letters": letters} for letters in ("abc", "cba")]
    (tmp_path / "other.dat").write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    other = ["evaluate", config.out, "--data", str(tmp_path / "other.dat"), "--format", "jsonl"]
    keys = ["--condition", "kind", "--sequence", "letters"]
    assert main([*other, *keys, "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["nats_per_token"] == one.nats_per_token
    assert "other.dat: 2 sequences, 8 tokens; 2 blank lines left out." in found.err
    assert main([*other, *keys[:2]]) == 2
    said = capsys.readouterr().err
    assert "other.dat:1: no 'sequence'. Found: kind, letters. " in said
    assert said.endswith("Say which it is: --sequence NAME.\n")
    assert main(["evaluate", config.out, *keys]) == 2
    assert "--condition is how --data is read: give it too." in capsys.readouterr().err


def test_training_reads_other_keys(settings, tmp_path):
    path = tmp_path / "other.dat"
    rows = [{"kind": "ab"[i % 2], "letters": "xyz"[: 1 + i % 3]} for i in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"format": "jsonl", "condition": "kind", "sequence": "letters"}
    config = settings(train=[str(path)], valid=[str(path)], data=data, max_steps=2)
    tt.train(config)
    assert tt.evaluate(config.out).sequences == 60


def test_empty_and_long_sequences(tmp_path, settings):
    path = tmp_path / "odd.jsonl"
    rows = [{"condition": "x", "sequence": ""}] * 8 + [{"condition": "y", "sequence": "ab" * 5000}]
    path.write_text("\n".join(map(json.dumps, rows)))
    loop = {"batch_size": 4, "sample_every": "0", "recompute": 1024}
    config = settings(train=[str(path)], valid=[str(path)], max_steps=3, loop=loop)
    result = tt.train(config)
    assert math.isfinite(result.metrics["loss"])


def test_the_command_line(settings, capsys):
    config = settings(max_steps=20)
    tt.train(config)
    capsys.readouterr()
    assert main(["generate", config.out, "--condition", "up", "--num-samples", "3",
                 "--seed", "1"]) == 0  # fmt: skip
    assert capsys.readouterr().out.count("\n") == 3  # one may be empty
    assert main(["generate", config.out, "--condition", "upp"]) == 2
    assert "nearest first: up" in capsys.readouterr().err
    assert main(["generate", config.out, "--condition", "up", "--num-beams", "3",
                 "--num-samples", "2"]) == 0  # fmt: skip
    assert len(set(capsys.readouterr().out.split())) == 2
    assert main(["evaluate", config.out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sequences"] == 160
