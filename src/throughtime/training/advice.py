"""What a trainer says when training goes wrong: what was seen, and what to try."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from ..config import OptimConfig
from .glance import STUCK, Glance

RECENT = 100
"""Steps that are looked back on."""

BURST = 10.0
"""A gradient norm so many times the median of those before it is a burst."""

HARMLESS = 1.0
"""Where nothing is clipped, a gradient norm up to this is no burst; else up to the clipping."""

BURSTS = 3
"""So many bursts within the recent steps, and a loss that rises with them, are told."""

RISE = 1.2
"""A loss so many times what it was before the bursts has risen."""

LEAST_BEFORE = 10
"""Of fewer norms or losses, the median says little."""

RISES = 3
"""So many evaluations in a row above the best, while the training loss falls, are told."""

LOOKS = 3
"""What so many looks inside in a row see is told."""

SHORT_SHARE = 0.25
"""A horizon of less than this share of the steps looked back on is short."""

LEAST_STEPS = 12
"""Of fewer steps to look back on, a short horizon says little."""

MANY_STUCK = 0.5
"""More than this share of a layer's units is many."""

KEPT = ("best", "best_step", "train_at_best", "rises")


class Advisor:
    """Looks on, and speaks once of each kind of trouble; it changes nothing.

    Exploding gradients: `Bursts` that do harm, above what is clipped (`HARMLESS` where nothing is).
    Overfitting: `RISES` evaluations in a row with a higher loss than the best, while the training
    loss is below what it was then. Vanishing gradients: in `LOOKS` looks inside in a row a stack's
    horizon was `SHORT_SHARE`, and did not grow from the first to the last of them; of fewer than
    `LEAST_STEPS` steps nothing is said. Stuck gates: as often, a gate was stuck in `MANY_STUCK`
    units of a layer. What was told is kept in the checkpoint.
    """

    def __init__(self, config: OptimConfig, cell_options: Mapping[str, str] | None = None) -> None:
        """`cell_options`: of stacks whose cell is not the run's, the option that sets it."""
        self.config, self.cell_options = config, cell_options or {}
        self.bursts = Bursts(config.clip_norm or HARMLESS)
        self.told: set[str] = set()
        self.best, self.best_step, self.train_at_best, self.rises = math.inf, 0, math.inf, 0
        self.looks: deque[dict[str, Glance]] = deque(maxlen=LOOKS)

    def state(self) -> dict[str, Any]:
        """What a resumed run must know; recent steps and looks are gathered anew."""
        return {name: getattr(self, name) for name in KEPT} | {"told": sorted(self.told)}

    def resume(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave; empty for a run that kept nothing."""
        for name in KEPT:
            setattr(self, name, state.get(name, getattr(self, name)))
        self.told = set(map(str, state.get("told", ())))

    def after_step(self, step: int, norm: float, loss: float) -> str | None:
        """Hear the gradient's norm before clipping and the loss, once a step; what to say."""
        if "exploding" in self.told:
            return None
        self.bursts.add(norm, loss)
        harm = self.bursts.harm()
        if harm is None:
            return None
        self.told.add("exploding")
        against = self.against_bursts(self.bursts.found[0].usual)
        said = self.bursts.said()
        return f"advice: at step {step}, {said}, and {harm}: gradients explode. {against}"

    def against_bursts(self, usual: float) -> str:
        """What to try: clipping above the usual norm, or where that is done, a lower lr."""
        clip, value = self.config.clip_norm, float(f"{2 * usual:.1g}") or HARMLESS
        if not clip or clip > 2 * value:
            now = f", now {clip:g}" if clip else ", now none"
            return f"Try --optim.clip_norm {value:g}{now}."
        return (
            f"They are clipped at {clip:g}, and that is not enough: try a lower --optim.lr (now "
            f"{self.config.lr:g})."
        )

    def after_evaluation(self, step: int, train: float, valid: float) -> str | None:
        """Hear the training and the validation loss of an evaluation; what to say, if anything."""
        if math.isnan(valid):  # another trouble: its steps are skipped and told
            return None
        if valid <= self.best:
            self.best, self.best_step, self.train_at_best, self.rises = valid, step, train, 0
            return None
        self.rises = self.rises + 1 if train < self.train_at_best else 0
        if self.rises < RISES or "rising" in self.told:
            return None
        self.told.add("rising")
        return (
            f"advice: the validation loss is above its best for {self.rises} evaluations "
            f"({self.best:.4f} at step {self.best_step}, now {valid:.4f}) while the training loss "
            f"falls ({self.train_at_best:.4f}, now {train:.4f}): the model learns its text by "
            f"heart. Try more --model.dropout, or stop there with --loop.early_stopping {RISES}."
        )

    def after_look(self, step: int, seen: dict[str, Glance]) -> list[str]:
        """Hear what each stack of the model does by now; what to say, if anything."""
        self.looks.append(seen)
        if len(self.looks) < LOOKS:
            return []
        lines = []
        for name in seen:
            course = [look[name] for look in self.looks]
            where = f"in {name}, " if len(seen) > 1 else ""
            option = self.cell_options.get(name, "--cell")
            found = {"vanishing": vanishing(course, option), "stuck": self.against_stuck(course)}
            for kind, line in found.items():
                if line is not None and f"{kind} {name}" not in self.told:
                    self.told.add(f"{kind} {name}")
                    lines.append(f"advice: at step {step}, {where}{line}")
        return lines

    def against_stuck(self, course: Sequence[Glance]) -> str | None:
        """What to say of a gate that stays stuck in many units."""
        last = course[-1].stuck
        always = [
            gate for gate in last if all(look.stuck.get(gate, 0) > MANY_STUCK for look in course)
        ]
        if not always:
            return None
        worst = max(always, key=lambda gate: last[gate])
        return (
            f"{worst} in more than {STUCK:.0%} of the steps for {last[worst]:.0%} of the units, "
            "which keep no memory by it: a gate that does not move decides nothing. Try a lower "
            f"--optim.lr (now {self.config.lr:g})."
        )


class Burst(NamedTuple):
    """A step whose gradient norm leapt, and the norm that was usual before it."""

    step: int
    norm: float
    usual: float


class Bursts:
    """Gradient norms that leap above those before them, and what they did to the loss.

    A burst is a norm above `BURST` times the median of the `RECENT` norms before it, and above
    `limit`. Of those before, since in a model that learns fast the norm falls within a few steps to
    a hundredth: measured against what follows, its first steps would look like bursts. Gradients
    explode where `BURSTS` bursts within `RECENT` steps do harm: the median loss since the first of
    them is `RISE` times the median before it, or one of them is not finite, and its step is lost.
    Without harm they are no trouble: where a model is right about nearly all it sees, the usual
    norm is next to nothing, and any example that it has wrong towers above it. That is how it
    learns, and clipping bounds the step.
    """

    def __init__(self, limit: float) -> None:
        self.limit, self.step = limit, 0
        self.norms: deque[float] = deque(maxlen=RECENT)
        self.losses: deque[float] = deque(maxlen=2 * RECENT)
        self.found: deque[Burst] = deque()

    def add(self, norm: float, loss: float) -> None:
        """The norm and the loss of the next step."""
        finite = [before for before in self.norms if math.isfinite(before)]
        usual = median(finite) if len(finite) >= LEAST_BEFORE else math.inf
        self.step += 1
        self.norms.append(norm)
        self.losses.append(loss if math.isfinite(loss) else math.inf)
        if math.isfinite(usual) and not norm <= max(BURST * usual, self.limit):
            self.found.append(Burst(self.step, norm, usual))
        if self.found and self.found[0].step <= self.step - RECENT:
            self.found.popleft()

    def harm(self) -> str | None:
        """What the recent bursts did, in words; None: nothing, or there are too few of them."""
        if len(self.found) < BURSTS:
            return None
        if lost := sum(not math.isfinite(burst.norm) for burst in self.found):
            return f"{lost} of them not finite"
        steps = self.step - self.found[0].step + 1
        losses = list(self.losses)
        before, since = median(losses[:-steps][-RECENT:]), median(losses[-steps:])
        if steps < LEAST_BEFORE or not since > RISE * before:
            return None
        return f"the loss rose from {before:.3g} to {since:.3g}"

    def said(self) -> str:
        """How many there are, above which norm, and the largest."""
        norms = (burst.norm for burst in self.found)
        largest = max(norms, key=lambda norm: norm if math.isfinite(norm) else math.inf)
        return (
            f"{len(self.found)} of the last {RECENT} steps had a gradient norm above {BURST:g} "
            f"times the usual {self.found[0].usual:.2g}, the largest {largest:.3g}"
        )


def vanishing(course: Sequence[Glance], option: str) -> str | None:
    """What to say of a stack's horizon that stays short and does not grow.

    `option` is the one that sets its cell.
    """
    horizons = [look.horizon for look in course if look.horizon is not None]
    lags = course[-1].lags
    short = len(horizons) == len(course) and max(horizons) < SHORT_SHARE * lags
    if not short or lags < LEAST_STEPS or horizons[-1] > horizons[0]:
        return None
    return (
        f"the influence of a step is below 1% after {horizons[-1]} of {lags} steps, and that did "
        f"not grow in {LOOKS} looks: gradients vanish. "
        + (
            "If longer memory should help (throughtime inspect measures whether it does), try "
            "another cell."
            if course[-1].gated
            else f"A cell with gates keeps more: {option} gru, {option} lstm."
        )
    )
