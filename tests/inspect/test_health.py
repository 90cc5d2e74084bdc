"""Moments of trouble in metrics.jsonl; looks while a model trains."""

import math

import pytest
import torch

import throughtime as tt
from cases import V, language_model, n
from throughtime.ground.output import json_text
from throughtime.inspect import (
    figures,
    gates_through_time,
    gradients_through_time,
    read_health,
)
from throughtime.training.glance import glance

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
    assert kinds(metrics(path, falling, norms=norms)) == []  # the loss did not feel it
    for k in (8, 9):  # it is felt in the same line or in the next
        felt = [*falling[:k], 9.0, *falling[k + 1 :]]
        troubles = [(10 * (k + 1), "spike"), (90, "large gradient")]
        assert kinds(metrics(path, felt, norms=norms)) == sorted(troubles, key=lambda t: t[0])
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
