"""What a trainer says when training goes wrong, and that it is silent when it does not."""

from __future__ import annotations

import json
import math
import random

import pytest

from throughtime.config import OptimConfig
from throughtime.training.advice import RECENT, RISES, Advisor
from throughtime.training.glance import Glance


def said(advisor: Advisor, norms, losses=None) -> list[tuple[int, str]]:
    """What is said of a run of norms and losses, with the step; a loss that stays where none is."""
    losses = [2.0] * len(norms) if losses is None else losses
    steps = zip(norms, losses, strict=True)
    heard = ((step, advisor.after_step(step, *both)) for step, both in enumerate(steps, 1))
    return [(step, line) for step, line in heard if line is not None]


def noise(steps: int) -> list[float]:
    """Norms as they vary in training that goes well: by half, now and then threefold."""
    draw = random.Random(1)
    return [0.5 * draw.choice((0.7, 1.0, 1.0, 1.4, 3.0)) for _ in range(steps)]


def leaping(at, steps: int, size: float = 37.0) -> list[float]:
    """Such norms with bursts at these steps."""
    return [size if step in at else norm for step, norm in enumerate(noise(steps), 1)]


def test_norms_that_vary_as_they_do_are_no_trouble():
    assert said(Advisor(OptimConfig()), noise(2000)) == []


def test_bursts_that_raise_the_loss_are_told_once_with_the_norm_and_a_value_to_clip_at():
    losses = [2.0] * 250 + [2.5] * 750
    norms = leaping((251, 254, 257, 900), 1000)
    ((step, line),) = said(Advisor(OptimConfig(clip_norm=0.0)), norms, losses)
    assert step == 260  # ten losses since the first of them
    assert "at step 260, 3 of the last 100" in line
    assert "largest 37, and the loss rose from 2 to 2.5: gradients explode" in line
    assert "--optim.clip_norm 1, now none" in line


def test_an_explosion_is_told_before_it_is_usual():
    norms = [1.2] * 15 + [20.0] * 200
    ((step, line),) = said(Advisor(OptimConfig()), norms, [3.7] * 15 + [186.0] * 200)
    assert step == 25
    assert "the usual 1.2," in line


def test_where_bursts_are_clipped_the_rate_is_what_is_left():
    norms, losses = noise(RECENT) + [50.0] * 10, [2.0] * RECENT + [3.0] * 10
    ((_, line),) = said(Advisor(OptimConfig(clip_norm=1.0, lr=0.02)), norms, losses)
    assert "clipped at 1" in line
    assert "--optim.lr (now 0.02)" in line


def test_a_norm_that_was_nothing_before_its_bursts_is_clipped_at_one():
    norms, losses = [0.0] * RECENT + [50.0] * 10, [2.0] * RECENT + [3.0] * 10
    ((_, line),) = said(Advisor(OptimConfig(clip_norm=0.0)), norms, losses)
    assert "--optim.clip_norm 1, now none" in line


def test_norms_that_are_not_finite_are_bursts_that_did_harm():
    for bad in (math.nan, math.inf):
        ((_, line),) = said(Advisor(OptimConfig()), noise(RECENT) + [bad] * 3)
        assert f"largest {bad:.3g}, and 3 of them not finite" in line


def test_bursts_far_apart_are_no_trouble():
    norms = leaping(range(101, 1001, RECENT // 2), 1000)
    assert said(Advisor(OptimConfig()), norms, [2.0 + k / 100 for k in range(1000)]) == []


def test_bursts_that_the_loss_does_not_feel_are_no_trouble():
    norms = leaping((250, 270, 290, 300), 1000)
    assert said(Advisor(OptimConfig(clip_norm=0.0)), norms) == []


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_bursts_of_a_norm_that_harms_nothing_are_no_trouble(clip):
    norms, losses = [0.001] * RECENT + [0.1] * 15, [1.0] * RECENT + [2.0] * 15
    assert said(Advisor(OptimConfig(clip_norm=clip)), norms, losses) == []


def test_a_model_that_learns_at_once_does_not_explode():
    """Its first norms are a thousand times the usual one of its first hundred steps."""
    norms = [1.94 * 0.9**step + 0.049 * (step > 20) for step in range(200)]
    losses = [3.2 * 0.9**step + 0.01 for step in range(200)]
    assert said(Advisor(OptimConfig()), norms, losses) == []


@pytest.mark.parametrize(("usual", "largest"), [(0.049, 1.94), (0.1, 1.23), (1e-6, 13.7)])
def test_an_example_that_a_converged_model_has_wrong_is_no_explosion(usual, largest):
    """Now and then it is wrong: that batch's norm and loss tower above the others."""
    wrong = {step for step in range(100, 2000) if step % 17 == 0}
    norms = [largest if step in wrong else usual for step in range(2000)]
    losses = [0.5 if step in wrong else 0.001 for step in range(2000)]
    assert said(Advisor(OptimConfig()), norms, losses) == []


@pytest.mark.parametrize(
    ("train", "valid", "told_at"),
    [
        ([2.0, 1.5, 1.2, 1.1, 1.0, 0.9], [2.0, 1.6, 1.7, 1.7, 1.8, 1.9], 5),
        ([2.0, 1.5, 1.6, 1.6, 1.6, 1.6], [2.0, 1.6, 1.7, 1.7, 1.8, 1.9], None),  # both rise
        ([2.0, 1.5, 1.2, 1.1, 1.0, 0.9], [2.0, 1.6, 1.7, 1.7, 1.5, 1.6], None),  # it recovers
        ([2.0, 1.5, 1.2, 1.1, 1.0, 0.9], [2.0, 1.6] + 4 * [math.nan], None),
    ],
)
def test_validation_that_rises_while_training_falls_is_told_once(train, valid, told_at):
    advisor = Advisor(OptimConfig())
    heard = [advisor.after_evaluation(k, *pair) for k, pair in enumerate(zip(train, valid), 1)]
    assert [k for k, line in enumerate(heard, 1) if line] == ([told_at] if told_at else [])
    if told_at:
        line = heard[told_at - 1]
        assert line is not None
        assert "1.6000 at step 2, now 1.8000" in line
        assert f"--loop.early_stopping {RISES}" in line


def test_a_resumed_run_keeps_its_best():
    before = Advisor(OptimConfig())
    assert before.after_evaluation(700, 1.3, 1.5) is None
    advisor = Advisor(OptimConfig())
    advisor.resume(json.loads(json.dumps(before.state())))
    heard = [advisor.after_evaluation(k, 1.2, 1.6) for k in (800, 900, 1000)]
    assert heard[:2] == [None, None]
    assert heard[2] is not None
    assert "1.5000 at step 700" in heard[2]
    again = Advisor(OptimConfig())
    again.resume(advisor.state())
    assert [again.after_evaluation(k, 1.1, 1.7) for k in (1100, 1200, 1300, 1400)] == [None] * 4


def test_a_run_that_kept_no_advice_can_be_taken_up():
    advisor = Advisor(OptimConfig())
    advisor.resume({})
    assert advisor.best == math.inf


def look(horizon, lags=64, gated=True, **stuck):
    return {"stack": Glance(horizon, lags, stuck, gated)}


def heard(advisor, looks):
    return [line for step, one in enumerate(looks, 1) for line in advisor.after_look(step, one)]


def test_a_horizon_that_stays_short_is_told_once():
    (line,) = heard(Advisor(OptimConfig()), [look(9), look(9), look(8), look(8), look(8)])
    assert "at step 3" in line
    assert "below 1% after 8 of 64 steps" in line
    assert "another cell" in line
    (line,) = heard(Advisor(OptimConfig()), [look(5, gated=False)] * 3)
    assert "--cell gru" in line


@pytest.mark.parametrize(
    "looks",
    [
        [look(5), look(5)],
        [look(5), look(7), look(9)],
        [look(16), look(16), look(16)],
        [look(None), look(None), look(None)],
        [look(9), look(None), look(9)],
        [look(2, lags=10)] * 5,
    ],
)
def test_a_horizon_that_grows_or_reaches_far_is_no_trouble(looks):
    assert heard(Advisor(OptimConfig()), looks) == []


def test_gates_stuck_in_many_units_are_told_by_name():
    bad = {"Γ_u in layer 1 closed": 0.75, "Γ_r in layer 1 open": 0.1}
    (line,) = heard(Advisor(OptimConfig(lr=0.5)), [look(None, **bad)] * 4)
    assert "Γ_u in layer 1 closed in more than 99% of the steps for 75% of the units" in line
    assert "--optim.lr (now 0.5)" in line
    now_and_then = [look(None, **bad), look(None), look(None, **bad)]
    assert heard(Advisor(OptimConfig()), now_and_then) == []


def test_of_several_stacks_each_is_told_by_its_name():
    looks = [{"encoder": Glance(3, 20, {}, False), "decoder": Glance(18, 20, {}, False)}] * 3
    (line,) = heard(Advisor(OptimConfig()), looks)
    assert "in encoder, the influence" in line
    assert "keeps more: --cell gru" in line


def test_a_stack_with_a_cell_of_its_own_is_told_by_the_option_that_sets_it():
    from throughtime.tasks.translation import Translation

    looks = [{"encoder": Glance(18, 20, {}, False), "decoder": Glance(3, 20, {}, False)}] * 3
    (line,) = heard(Advisor(OptimConfig(), Translation.cell_options), looks)
    assert "in decoder, the influence" in line
    assert "keeps more: --model.decoder_cell gru, --model.decoder_cell lstm" in line
