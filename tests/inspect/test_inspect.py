"""Influence, errors, units, health, the other tasks' losses, and the verb with its report."""

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from hypothesis import given

import throughtime as tt
from cases import modest, st
from throughtime.command.cli import main
from throughtime.config import ModelConfig
from throughtime.ground.output import json_text
from throughtime.inspect import (
    errors_by_context,
    errors_by_frequency,
    figures,
    gates_through_time,
    gradients_through_time,
    influence_of_tokens,
    longest_units,
    read_health,
)
from throughtime.inspect.endings import by_lag, gradients_by_stack, sequences
from throughtime.inspect.gates import Gates, GateValues, summary, watch_gates
from throughtime.inspect.gradients import GradientsThroughTime
from throughtime.inspect.influence import Influence, choose_positions, exchanges, mean_within, reach
from throughtime.inspect.page import Section, inline
from throughtime.inspect.positions import ContextErrors
from throughtime.inspect.report import Report
from throughtime.inspect.sections import gates_sentence, gradients_section, verdict
from throughtime.inspect.text_sections import context_section
from throughtime.models.language import LanguageModel
from throughtime.training.glance import glance

V, n = 9, 6


def language_model(cell=tt.GRU):
    config = ModelConfig(hidden_size=n, embedding_size=4, num_layers=2)
    model = LanguageModel(cell, V, config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1)
    model.stack.backend = "reference"
    return model.eval()


def log_probabilities(model, tokens, state=None):
    """After the last of tokens [T], one step at a time."""
    state = model.initial_state(1) if state is None else state
    for token in tokens:
        logits, state = model.step(token[None], state)
    return logits.log_softmax(1)[0].detach()


# ---- influence --------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [1, 5, 37])  # 37: exchanged columns join in several blocks
def test_influence_is_that_of_one_exchange_at_a_time(T):
    model, ids = language_model(), np.random.default_rng(0).integers(4, V, 300)
    tokens, target = torch.from_numpy(ids[:T]), 5
    state = model.initial_state(1)
    state = type(state)(*(torch.randn_like(part) for part in state))
    found = influence_of_tokens(model, tokens, target, ids, state=state, draws=3, seed=1)
    others = exchanges(tokens, ids, 3, 1)
    assert (others != tokens[:, None]).all()
    p = log_probabilities(model, tokens, state)
    for j in {0, T // 2, T - 1}:
        moved, helped = 0.0, 0.0
        for other in others[j]:
            changed = tokens.clone()
            changed[j] = other
            q = log_probabilities(model, changed, state)
            moved += float((p.exp() * (p - q)).sum()) / 3 / math.log(2)
            helped += float(p[target] - q[target]) / 3 / math.log(2)
        assert float(found.moved[j]) == pytest.approx(moved, rel=1e-9, abs=1e-12)
        assert float(found.helped[j]) == pytest.approx(helped, rel=1e-9, abs=1e-12)
    assert found.bits == pytest.approx(-float(p[target]) / math.log(2))
    assert found.best[0][0] == int(p.argmax())
    assert len(found.moved) == T


def test_what_is_not_seen_has_no_influence():
    class Last(tt.Cell):
        gates = ("a",)
        state = ("a",)

        def step(self, w, x, s):
            return self.State(a=torch.tanh(w.a.input(x)))

    ids = np.random.default_rng(0).integers(4, V, 50)
    found = influence_of_tokens(language_model(Last), torch.from_numpy(ids[:8]), 4, ids)
    assert found.moved[-1] > 0
    assert (found.moved[:-1].abs() < 1e-12).all()
    assert found.reach(0.5) == found.reach(0.99) == 1


def test_an_exchange_needs_another_token():
    with pytest.raises(tt.InputError, match="repeats one token"):
        exchanges(torch.tensor([4]), np.full(10, 4), 2, 0)


def test_positions_are_where_the_rest_of_the_window_helped():
    model = language_model()
    tokens = torch.randint(4, V, (12, 10))
    targets = torch.cat([tokens[1:], torch.randint(4, V, (1, 10))])
    helped = []
    for b in range(10):
        whole, short = (log_probabilities(model, tokens[-k:, b]) for k in (12, 3))
        helped.append(float(whole[targets[-1, b]] - short[targets[-1, b]]))
    chosen = choose_positions(model, tokens, targets, 4, near=3)
    assert [b for b, _ in chosen[:2]] == np.argsort(helped)[::-1][:2].tolist()
    assert len({b for b, _ in chosen}) == 4


def test_memory_that_does_not_help_is_no_reason_to_show_a_passage():
    model = language_model()
    with torch.no_grad():
        for parameter in model.stack.parameters():
            parameter.zero_()  # nothing of what was read comes through
    tokens, targets = torch.randint(4, V, (12, 9)), torch.randint(4, V, (12, 9))
    chosen = choose_positions(model, tokens, targets, 4, near=3)
    assert [why for _, why in chosen] == ["drawn at random"] * 4


def test_the_sentence_of_influence_is_that_of_the_bold_line():
    def one(*moved):
        moved = torch.tensor(moved)
        return Influence([4] * len(moved), 4, moved, moved, 1.0, [], 0, "")

    near, far, none = one(0.0, 0.0, 1.0), one(1.0, 0.0, 0.0), one(0.0, 0.0, 0.0)
    assert (near.reach(0.5), far.reach(0.5), none.reach(0.5)) == (1, 3, 0)
    assert mean_within([near, far, none]).tolist() == [0.5, 0.5, 1.0]
    assert [reach(mean_within([near, far, none]), share) for share in (0.5, 0.9)] == [1, 3]
    (line, *_) = figures.influence_figure([near, far, none]).axes[0].get_lines()[-1:]
    assert line.get_ydata().tolist() == [0.5, 0.5, 1.0]
    assert reach(mean_within([none]), 0.5) == 0


# ---- errors -----------------------------------------------------------------------------------


def test_a_context_is_enough_where_what_is_left_is_within_the_error():
    loss, interval = [2.0, 1.6, 1.5, 1.52, 1.5], [0.3, 0.05, 0.01, 0.03, 0.0]
    assert ContextErrors([1, 2, 4, 8, 16], loss, interval, 99).enough() == 4
    interval[1] = 0.2
    assert ContextErrors([1, 2, 4, 8, 16], loss, interval, 99).enough() == 2
    interval[3] = 0.0
    assert ContextErrors([1, 2, 4, 8, 16], loss, interval, 99).enough(0.001) == 16
    flat = ContextErrors([1, 2], [1.5, 1.499], [0.0, 0.0], 99)
    assert context_section(flat, "word").finding.startswith("Memory does not help")


def test_how_far_the_loss_still_is_above_its_last_is_said_as_it_is():
    noisy = ContextErrors([1, 2, 4, 8], [3.0, 1.07, 1.03, 1.0], [0.1, 0.1, 0.1, 0.0], 99)
    finding = context_section(noisy, "word").finding
    assert finding == (
        "The loss falls from 3.00 nats after 1 word of context to 1.00 after 8 words; from 2 words "
        "on it is at most 7.0% above that, within the error."
    )
    close = ContextErrors([1, 2, 4], [3.0, 1.012, 1.0], [0.1, 0.001, 0.0], 99)
    assert context_section(close, "word").finding.endswith("it is at most 1.2% above that.")


def test_gates_that_never_saturate_are_not_said_to_saturate_most():
    half = torch.full((1, 4), 0.0)
    found = Gates({"u": GateValues(torch.full((1, 20), 0.05), half, half)}, {}, ("layer 1",), 9)
    assert gates_sentence(found) == "no gate is closed or open in more than 1% of steps."


def test_errors_by_context_are_of_the_same_targets():
    model = language_model()
    tokens, targets = torch.randint(V, (9, 7)), torch.randint(V, (9, 7))
    found = errors_by_context(model, (tokens, targets))
    assert found.contexts == [1, 2, 3, 4, 6, 8, 9]
    for context, loss in zip(found.contexts, found.loss):
        right = [
            -float(log_probabilities(model, tokens[-context:, b])[targets[-1, b]]) for b in range(7)
        ]
        assert loss == pytest.approx(np.mean(right), rel=1e-6)
    assert found.interval[-1] == 0
    assert found.interval[0] > 0


def test_enough_context_is_where_the_loss_stays_low():
    found = tt.inspect.ContextErrors([1, 2, 4, 8, 16], [3.0, 1.01, 2.0, 1.01, 1.0], [0.0] * 5, 9)
    assert found.enough() == 8
    assert found.enough(within=0.001) == 16


def test_errors_by_frequency_count_each_target_once():
    model, ids = language_model(), np.repeat(np.arange(4, 9), [1, 2, 4, 8, 16])
    tokens, targets = torch.randint(4, V, (20, 5)), torch.randint(4, V, (20, 5))
    found = errors_by_frequency(model, (tokens, targets), ids, settled=5)
    nats, _ = model.nats(tokens, targets, model.initial_state(5))
    nats, kept = nats[5:].detach().double(), targets[5:]
    assert [(band.first, band.last) for band in found] == [(1, 1), (2, 3), (4, 5)]
    assert sum(band.count for band in found) == 75
    assert sum(band.share_of_loss for band in found) == pytest.approx(1)
    assert found[0].examples == [8]
    assert found[0].loss == pytest.approx(float(nats[kept == 8].mean()), rel=1e-6)
    assert found[1].loss == pytest.approx(float(nats[(kept == 7) | (kept == 6)].mean()), rel=1e-6)


# ---- units ------------------------------------------------------------------------------------


def test_the_unit_that_keeps_longest_is_found_with_what_moves_it():
    """One unit's forget gate is wide open and only token 7 writes to it."""
    model = language_model(tt.LSTM)
    weights, unit = model.stack.weights[0], 4
    with torch.no_grad():
        for gate, bias in enumerate((0.0, 6.0, 0.0, 0.0)):
            row = gate * n + unit
            weights.W_x[row], weights.W_a[row], weights.b[row] = 0, 0, bias
        model.embedding.weight[:, 0] = 0
        model.embedding.weight[7, 0] = 1
        weights.W_x[2 * n + unit, 0] = 3
    tokens = torch.randint(4, V, (60, 3))
    seen = watch_gates(model, tokens)
    units = longest_units(seen, summary(seen), tokens, count=3)
    first = units[0]
    assert (first.layer, first.unit) == (0, unit)
    assert first.kept == pytest.approx(float(torch.sigmoid(torch.tensor(6.0))), rel=1e-6)
    assert first.raises[0][0] == 7
    states = torch.stack([state.c for state in seen.states[0]])
    step, column, value = first.high[0]
    assert value == pytest.approx(float(states[..., unit].max()))
    assert value == float(states[step, column, unit])
    assert torch.equal(first.values, states[:, first.column, unit])


def test_a_cell_without_a_direct_path_has_no_such_units():
    model, tokens = language_model(tt.RNN), torch.randint(4, V, (10, 3))
    seen = watch_gates(model, tokens)
    assert longest_units(seen, gates_through_time(model, (tokens, tokens)), tokens) == []


# ---- health -----------------------------------------------------------------------------------


def metrics(path, losses, *, norms=None, clipped=0.0, valid=(), skipped=(), end=""):
    norms = norms or [1.0] * len(losses)
    lines = [
        {"kind": "train", "step": 10 * (i + 1), "loss": loss, "norm": norm, "clipped": clipped,
         "lr": 0.1}
        for i, (loss, norm) in enumerate(zip(losses, norms))
    ]  # fmt: skip
    lines += [{"kind": "valid", "step": step, "loss": loss} for step, loss in valid]
    lines += [{"kind": "skipped", "step": s, "loss": "nan", "norm": "inf"} for s in skipped]
    path.write_text("".join(json_text(line) + "\n" for line in lines) + end)  # NaN as null
    return read_health(path)


def kinds(health):
    return [(trouble.step, trouble.kind) for trouble in health.troubles]


def test_moments_of_trouble(tmp_path):
    path, falling = tmp_path / "metrics.jsonl", [3 - 0.1 * i for i in range(12)]
    assert kinds(metrics(path, falling)) == []
    spiked = [*falling[:6], 9.0, 9.0, *falling[8:]]
    assert kinds(metrics(path, spiked)) == [(70, "spike")]
    assert kinds(metrics(path, [*falling[:6], math.nan, *falling[7:]])) == [(70, "spike")]
    norms = [1.0] * 8 + [50.0] + [1.0] * 3
    assert kinds(metrics(path, falling, norms=norms)) == [(90, "large gradient")]
    assert kinds(metrics(path, falling, clipped=0.8)) == [(120, "clipped often")]
    assert kinds(metrics(path, falling, skipped=[15, 16])) == [(15, "skipped"), (16, "skipped")]
    risen = [(20, 2.0), (40, 1.5), (60, 1.6), (80, 1.8)]
    assert kinds(metrics(path, falling, valid=risen)) == [(40, "validation rose")]
    assert kinds(metrics(path, falling, valid=risen[:2])) == []
    assert kinds(metrics(path, falling, valid=[(20, 2.0), (40, math.nan)])) == [
        (40, "validation lost")
    ]


def test_a_glance_is_what_the_functions_find_and_names_gates_that_are_stuck():
    model = language_model(tt.GRU)
    with torch.no_grad():
        model.stack.weights[0].b[n : 2 * n] = -100.0  # Γ_u of layer 1 is closed: it keeps all
        model.stack.weights[1].b[n : 2 * n] = 100.0  # that of layer 2 is open, whatever comes
        model.stack.weights[1].b[2 * n : 2 * n + 2] = -100.0  # and two units of its Γ_r closed
    batch = torch.randint(4, V, (20, 6)), torch.randint(4, V, (20, 6))
    gradients, gates = gradients_through_time(model, batch), gates_through_time(model, batch)
    seen = glance(gradients, gates)
    assert seen.lags == 19
    by_layer = [gradients.horizon("c", layer) for layer in range(2)]
    assert seen.horizon == (None if None in by_layer else max(by_layer))
    assert seen.stuck["Γ_u in layer 2 open"] == 1
    assert not [name for name in seen.stuck if "layer 1" in name]
    assert seen.stuck["Γ_r in layer 2 closed"] == pytest.approx(2 / n)
    assert "Γ_u in layer 2 open in 100% of the units" in seen.describe()


def test_looks_during_training_are_drawn(tmp_path):
    health = metrics(tmp_path / "metrics.jsonl", [3.0, 2.9, 2.8])
    assert len(figures.health_figure(health).axes) == 4
    for step, horizon in ((10, 5), (20, 9), (30, None)):
        look = {"horizon": horizon, "lags": 16, "stuck": {}, "gated": True}
        health.inside.append({"kind": "inside", "step": step, "stack": look})
    panel = figures.health_figure(health).axes[4]
    course, within, beyond = panel.get_lines()
    assert list(course.get_ydata()) == [5, 9, 16]
    assert (within.get_marker(), list(within.get_xdata())) == ("o", [10, 20])
    assert (beyond.get_marker(), list(beyond.get_xdata())) == ("^", [30])


def test_clipped_since_the_line_before(tmp_path):
    health = metrics(tmp_path / "m", [1.0] * 4, clipped=0.5)
    assert [line["clipped_here"] for line in health.train] == pytest.approx([0.5] * 4)
    assert health.clipped == 0.5


def test_a_killed_run_s_last_line_is_passed_over_and_another_is_not(tmp_path):
    assert len(metrics(tmp_path / "m", [1.0] * 4, end='{"kind": "tr').train) == 4
    with pytest.raises(tt.InputError, match=r"m:5: not a line of metrics"):
        metrics(tmp_path / "m", [1.0] * 4, end='{"kind": "tr\n')


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


def test_figures_are_matplotlib_s_and_show_what_was_found():
    model = language_model(tt.LSTM)
    batch = torch.randint(4, V, (20, 6)), torch.randint(4, V, (20, 6))
    found = tt.inspect.gradients_through_time(model, batch)
    left, right = figures.gradients_figure(found).axes
    assert left.get_title(loc="left") == "∂L<T>/∂a<t>"
    (line,) = [line for line in right.get_lines() if line.get_label() == "layer 2"]
    median = found.median("c", 1).numpy()
    np.testing.assert_allclose(line.get_ydata(), median / median[0])
    gates = gates_through_time(model, batch)
    panels = figures.gates_figure(gates).axes
    assert [p.get_title(loc="left") for p in panels[:3]] == ["Γ_u", "Γ_f", "Γ_o"]
    heights = [bar.get_height() for bar in panels[1].patches]
    assert sum(heights) == pytest.approx(1)
    assert figures.memory_figure(gates).axes[0].get_xscale() == "log"


def test_a_script_that_the_font_lacks_stays_text():
    figure, axes = figures.new_figure(1.0)
    axes[0, 0].set_title("猫は")
    assert "猫" in inline(figure, "cats")


# ---- the verb ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("The cat, which already ate <fish> & more, was full.\nThe cats were.\n" * 60)
    return path


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    """A trained language model of two layers."""
    folder = str(tmp_path_factory.mktemp("runs") / "lm")
    arguments = ["--train", str(text), "--cell", "lstm", "--model.num_layers", "2"]
    train("lm", *arguments, "--loop.batch_size", "4", "--out", folder)
    return folder


QUICK = ["--positions", "8", "--lags", "30", "--passages", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def report(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "here"
    assert main(["inspect", run, "--out", str(out), "--untrained", *QUICK]) == 0
    return out


class Page(HTMLParser):
    """Every tag balanced; attributes collected."""

    VOID = ("meta", "link", "br", "img", "hr")

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.attributes, self.ids, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_well_formed_and_fetches_nothing(report):
    source = (report / "report.html").read_text("utf-8")
    page = Page()
    page.feed(source)
    page.close()
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    links = [(t, n, v) for t, n, v in page.attributes if n in ("src", "href", "xlink:href", "data")]
    assert all(v.startswith("#") or v == "data:," for _, _, v in links), links
    assert {v[1:] for _, _, v in links if v.startswith("#")} <= set(page.ids)
    rest = re.sub(r'xmlns(:\w+)?="[^"]*"', "", source)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|<script", rest)
    assert set(re.findall(r"url\(#([^)]+)\)", source)) <= set(page.ids)
    used = set(re.findall(r"var\(--([\w-]+)\)", source))
    assert used <= set(re.findall(r"--([\w-]+):", source))
    assert "<fish>" in "".join(page.text).replace("⏎\n", "\n") or "&lt;" in source
    for colour in ("#1b1f24", "#1f6feb"):  # only where the light page's colours are named
        assert source.count(colour) == 1


def test_json_has_the_numbers_of_the_page(report, run):
    said = json.loads((report / "inspect.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert said["run"] == run
    sections = said["sections"]
    assert list(sections) == [
        *("gradients", "influence", "gates", "units", "context", "frequency", "health")
    ]
    for kind in ("trained", "untrained"):
        layer = sections["gradients"][kind]["a"]["layer 2"]
        assert len(layer["median"]) == len(layer["low"]) == len(layer["high"]) == 31
    assert sections["gradients"]["trained"] != sections["gradients"]["untrained"]
    assert len(sections["influence"]["positions"]) == 2
    assert set(sections["gates"]["gates"]) == {"u", "f", "o"}
    assert len(sections["gates"]["memory"]["c"]["layer 1"]["kept"]) == 8
    source = (report / "report.html").read_text("utf-8")
    for section in sections.values():
        assert section["finding"].replace("<", "&lt;").replace("&", "&") in source


def test_findings_go_to_standard_output(run, text, tmp_path, capsys):
    assert main(["inspect", run, "--data", str(text), "--out", str(tmp_path / "r"), *QUICK]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 7
    assert re.match(r"The influence of a character on the loss at a position .* step", lines[0])
    assert "report.html" in err


def test_the_report_says_what_the_functions_find(report, run, text):
    """The curve on the page is that of the public function over the same windows."""
    from throughtime.inspect.language import WARM, warmed

    task, model = tt.load(run)
    ids = task.running_text().ids
    warm = min(WARM, len(ids) // 8)
    windows = tt.inspect.language_windows(task, ids, warm + 30, 8, 0)
    tokens, targets, state = warmed(model, windows, warm)
    found = tt.inspect.gradients_through_time(model, (tokens, targets), state=state)
    said = json.loads((report / "inspect.json").read_text("utf-8"))["sections"]["gradients"]
    right = said["trained"]["a"]["layer 1"]["median"]
    np.testing.assert_allclose(found.median("a", 0), right, rtol=1e-5)


def test_nothing_is_overwritten_unasked(run, tmp_path, capsys):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for extra, says in (([], "exists"), (["--overwrite"], "holds no report")):
        assert main(["inspect", run, "--out", str(out), *extra, *QUICK]) == 2
        assert says in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_report_is_replaced_where_asked(tmp_path):
    folder = tmp_path / "new/report"
    for title in ("first", "second"):
        report = Report(title, [], [Section("a", "A", "found < that", {"x": math.inf})], {})
        page = report.write(folder, overwrite=title == "second")
        assert f"<title>{title}</title>" in page.read_text("utf-8")
    with pytest.raises(tt.InputError, match="exists"):
        report.write(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["inspect.json", "report.html"]
    said = json.loads((folder / "inspect.json").read_text())
    assert said == {"sections": {"a": {"finding": "found < that", "x": None}}}


def test_the_default_folder_is_in_the_run_and_free(run, tmp_path, capsys):
    mine = tmp_path / "lm"
    shutil.copytree(run, mine)
    (mine / "metrics.jsonl").unlink()
    (mine / "inspect").mkdir()
    assert main(["inspect", str(mine), *QUICK]) == 0
    assert (mine / "inspect-2/report.html").exists()
    assert "no metrics.jsonl" in capsys.readouterr().out


def test_options_that_make_no_sense(run, capsys):
    for extra, says in ((["--seed", "-1"], "--seed must be"), (["--overwrite"], "give one")):
        assert main(["inspect", run, *extra]) == 2
        assert says in capsys.readouterr().err


def test_few_lags_have_a_ratio_and_no_name():
    def called(rate, lags, last=None):
        norms = torch.tensor([rate**k if k <= (last or lags) else 0.0 for k in range(lags + 1)])
        return verdict(
            GradientsThroughTime({"c": norms.double()[None, :, None]}, ("layer 1",)), "c", 0
        )

    assert [called(0.5, lags) for lags in (19, 20)] == ["too few lags", "vanishing"]
    assert [called(1.02, lags) for lags in (20, 40)] == ["carried", "exploding"]
    assert called(1000.0, 200, last=1) == "exploding"  # no number is too large
    assert called(1.05, 200, last=9) == "carried"
    model = language_model()
    batch = torch.randint(4, V, (5, 6)), torch.randint(4, V, (5, 6))
    section = gradients_section(gradients_through_time(model, batch), None)
    assert "too few lags" in "".join(map(str, section.body))
    assert "vanishing" not in section.finding + "".join(map(str, section.body))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run: (run / "model.safetensors").unlink(), "no checkpoint"),
        (lambda run: (run / "config.yaml").unlink(), "not a run folder"),
        (lambda run: (run / "model.safetensors").write_bytes(b"1"), "damaged or truncated"),
    ],
)
def test_a_run_that_cannot_be_looked_into(run, tmp_path, capsys, spoil, says):
    mine = tmp_path / "lm"
    shutil.copytree(run, mine)
    spoil(mine)
    assert main(["inspect", str(mine), *QUICK]) == 2
    err = capsys.readouterr().err.strip()
    assert says in err
    assert len(err.splitlines()) == 1
    assert not (mine / "inspect").exists()


def test_data_that_cannot_be_read(run, tmp_path, capsys):
    (tmp_path / "short.txt").write_text("ab")
    for arguments, says in (
        (["--data", str(tmp_path / "none.txt")], "no such file"),
        (["--data", str(tmp_path / "short.txt")], "the text has 2 tokens"),
        (["--lags", "0"], "--lags must be at least 1"),
    ):
        assert main(["inspect", run, "--out", str(tmp_path / "r"), *arguments]) == 2
        err = capsys.readouterr().err.strip()
        assert says in err.splitlines()[-1]
    assert not (tmp_path / "r").exists()


def test_without_matplotlib_the_extra_is_named(run, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert main(["inspect", run, *QUICK]) == 2
    assert "throughtime[inspect]" in capsys.readouterr().err


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_real_browser_has_nothing_to_complain_of(report, tmp_path):
    """No message on the console, and no request of the page's that leaves the file.

    The browser asks for things of its own; those have "not an origin" as initiator. A copy of the
    page with an image elsewhere and a script that complains shows that both would be seen.
    """
    source = (report / "report.html").read_text("utf-8")
    poison = '<img src="http://elsewhere.invalid/x.png"><script>console.error("poison")</script>'
    (tmp_path / "poisoned.html").write_text(source.replace("<main>", f"<main>{poison}"), "utf-8")
    clean, poisoned = (
        browse(path, tmp_path) for path in (report / "report.html", tmp_path / "poisoned.html")
    )
    assert clean == ([], [])
    assert poisoned[0]
    assert any("elsewhere.invalid" in url for url in poisoned[1])


def browse(page, folder):
    """Messages on the console, and addresses that the page asked for."""
    log = folder / f"{page.stem}.json"
    done = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
         f"--user-data-dir={folder / page.stem}", "--enable-logging=stderr", f"--log-net-log={log}",
         "--virtual-time-budget=1000", "--dump-dom", page.as_uri()],
        capture_output=True, timeout=120, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Gradients through time" in done.stdout
    events = [line for line in log.read_text().splitlines() if '"initiator":"' in line]
    own = [line for line in events if '"initiator":"not an origin"' not in line]
    asked = [url for line in own for url in re.findall(r'"url":"([^"]*)', line)]
    outside = [url for url in asked if not url.startswith(("file:", "data:"))]
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line], outside
