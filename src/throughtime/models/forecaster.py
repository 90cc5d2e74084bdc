"""The forecaster: a window of numbers → stack of cells → the next steps, or their distribution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.forecast import ForecastModelConfig
from ..ground.errors import InputError
from ..layers.heads import OutputLayers
from ..layers.inputs import NumberInput
from ..layers.outline import Numbers, Outline, Window, affine, affines
from ..layers.stack import drop
from ..layers.states import each
from . import Cells, initialise, stack_of
from .outlook import LEAST, Outlook, losses, parameters_of


class Sizes(NamedTuple):
    """Of a window: steps read and forecast, targets, numbers of a past step, known ones, static."""

    window: int
    horizon: int
    targets: int
    past: int
    known: int
    static: int
    names: tuple[int, ...] = ()


class Frame(NamedTuple):
    """Of each window what is taken off its targets, and what they are divided by: [B, k]."""

    anchor: Tensor
    scale: Tensor


class Forecaster(nn.Module):
    """ŷ<L+1> … ŷ<L+H> of a window of L steps: points, quantiles, or what a distribution is made by.

        y' = (y − y<L>) / 1  (or less the window's mean, or nothing; or by its deviation)
        x<t> = [y'<t>, marks and observed numbers of t, known of t + 1, static];  a = stack(x)
        direct:  ŷ' = W hidden([a<L>, known of L + 1 … L + H]) + b  (+ V y'<1 … L>, V of all)
        step:    ŷ'<t+1> = W hidden(a<t>) + b, x<t+1> made of ŷ'<t+1>, or in training of y'<t+1>

    Shapes: past [L + H, B, c] (its first numbers the k targets, scaled; its last H steps are for
    training alone), known [L + H, B, f], static [B, s], unit [B, k], targets [H, B, k], NaN where
    there is none. `forward` gives the mean loss over the targets that are there. `outlook` gives
    what is forecast. Initial values: W, V zero, so that the first forecast is the anchor; the rest
    as in `Stack` and torch. Source: V as in LSTNet (Lai et al. 2018) and NLinear (Zeng et al.
    2023), the window's own deviation as in RevIN (Kim et al. 2022); step with distributions as
    DeepAR (Salinas et al. 2020).
    """

    def __init__(self, cell: Cells, sizes: Sizes, config: ForecastModelConfig) -> None:
        super().__init__()
        c, s = config, sizes
        self.config, self.sizes = c, s
        self.reads = min(c.reads or s.window, s.window)
        self.each = parameters_of(c)
        self.static = NumberInput(s.static, categories=s.names) if s.static or s.names else None
        width = self.static.output_size if self.static else 0
        self.input_dropout, self.dropout = c.dropout_of("input"), c.dropout_of("output")
        self.locked = c.locked_dropout
        self.stack = stack_of(cell, s.past + s.known + width, c)
        direct = c.decoding == "direct"
        more = s.known * s.horizon if direct else 0
        size = self.stack.output_size + more + width
        self.hidden = OutputLayers(size, list(c.output_layers), self.dropout)
        steps = s.horizon if direct else 1
        self.head = nn.Linear(self.hidden.output_size, steps * s.targets * self.each)
        moved = c.output != "negative-binomial"
        self.linear = nn.Linear(s.window, s.horizon) if c.linear and direct and moved else None
        initialise(self, c.init_range)
        for layer in (self.head, self.linear):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(
        self, past: Tensor, known: Tensor, static: Tensor, unit: Tensor, targets: Tensor
    ) -> Tensor:
        """Mean loss of the targets that are there."""
        found = losses(self.config, self.made(past, known, static), targets, unit)
        return found.sum() / (~targets.isnan()).sum().clamp(min=1)

    def made(self, past: Tensor, known: Tensor, static: Tensor) -> Tensor:
        """What is forecast [H, B, k, P], with the steps before each known to step decoding."""
        L = self.sizes.window
        frame = self.frame(past[:L])
        if self.config.decoding == "direct":
            return self.direct(past[:L], known, static, frame)
        steps = past[L - self.reads : -1]
        x = self.inputs(steps, known[L - self.reads + 1 :], static, frame)
        y, _ = self.stack(x)
        return self.at_each(y[self.reads - 1 :], static, frame)

    def frame(self, window: Tensor) -> Frame:
        """What is taken off the targets, and what they are divided by."""
        y = window[..., : self.sizes.targets]
        scale = torch.ones_like(y[-1])
        if self.config.scale == "window":
            scale = (y.var(0, correction=0) + LEAST).sqrt()
        if self.config.anchor == "last":
            return Frame(y[-1], scale)
        return Frame(y.mean(0) if self.config.anchor == "mean" else torch.zeros_like(scale), scale)

    def inputs(self, past: Tensor, known: Tensor, static: Tensor, frame: Frame) -> Tensor:
        """x [T, B, n_x] of steps, and of what is known of the steps after them."""
        k = self.sizes.targets
        parts = [(past[..., :k] - frame.anchor) / frame.scale, past[..., k:], known]
        if self.static is not None:
            parts.append(self.static(static[None]).expand(len(past), -1, -1))
        x = torch.cat(parts, -1)
        return drop(x, self.input_dropout, self.locked) if self.training else x

    def direct(self, window: Tensor, known: Tensor, static: Tensor, frame: Frame) -> Tensor:
        """The whole horizon at once."""
        L, H, k = self.sizes.window, self.sizes.horizon, self.sizes.targets
        x = self.inputs(window[L - self.reads :], known[L - self.reads + 1 : L + 1], static, frame)
        y, _ = self.stack(x)
        h = F.dropout(y[-1], self.dropout, self.training)
        parts = [h, known[L:].transpose(0, 1).flatten(1)]
        if self.static is not None:
            parts.append(self.static(static[None])[0])
        out = self.head(self.hidden(torch.cat(parts, -1))).view(-1, H, k, self.each).transpose(0, 1)
        if self.linear is not None:
            scaled = (window[..., :k] - frame.anchor) / frame.scale
            out = self.moved(out, self.linear(scaled.permute(1, 2, 0)).permute(2, 0, 1))
        return self.back(out, frame)

    def at_each(self, y: Tensor, static: Tensor, frame: Frame) -> Tensor:
        """What is forecast after each step: y [T, B, n] → [T, B, k, P]."""
        h = drop(y, self.dropout, self.locked) if self.training else y
        if self.static is not None:
            h = torch.cat([h, self.static(static[None]).expand(len(h), -1, -1)], -1)
        out = self.head(self.hidden(h)).unflatten(-1, (self.sizes.targets, self.each))
        return self.back(out, frame)

    def back(self, out: Tensor, frame: Frame) -> Tensor:
        """What is said of a window in its frame, as it is outside."""
        if self.config.scale == "window":
            if self.config.output == "student-t":
                width = F.softplus(out[..., 1:2]) * frame.scale[..., None]
                raw = width + torch.log(-torch.expm1(-width))  # whose softplus it is
                out = torch.cat([out[..., :1] * frame.scale[..., None], raw, out[..., 2:]], -1)
            else:
                out = out * frame.scale[..., None]
        return self.moved(out, frame.anchor)

    def moved(self, out: Tensor, by: Tensor) -> Tensor:
        """Points, quantiles and means moved; widths stay."""
        if self.config.output == "negative-binomial":
            return out
        if self.config.output == "student-t":
            return torch.cat([out[..., :1] + by[..., None], out[..., 1:]], -1)
        return out + by[..., None]

    def outline(self) -> Outline:
        """What it computes of a scaled window: for exporters."""
        c, s = self.config, self.sizes
        if self.static is not None:
            raise InputError("a forecast with data.static is not exported yet.")
        if c.output not in ("point", "quantiles"):
            raise InputError(
                f"a forecast with model.output {c.output}, whose paths are drawn, is not exported: "
                "point and quantiles are."
            )
        window = Window(
            s.window, self.reads, s.horizon, s.targets, s.past - s.targets, s.known, c.anchor,
            c.scale == "window", LEAST, c.decoding == "direct",
            None if self.linear is None else affine(self.linear),
            tuple(c.quantiles) if c.output == "quantiles" else (),
        )  # fmt: skip
        maps = (*affines(self.hidden), affine(self.head))
        return Outline(Numbers(s.past + s.known), self.stack.outline(), maps, window=window)

    def outlook(
        self,
        past: Tensor,
        known: Tensor,
        static: Tensor,
        unit: Tensor,
        *,
        samples: int = 100,
        seed: int = 0,
        horizon: int | None = None,
    ) -> Outlook:
        """The forecast of windows, of which only the first L steps of `past` are read.

        Paths are drawn from numbers that `seed` alone decides, the same for each window: what is
        forecast of one does not depend on those beside it.
        """
        L, H = self.sizes.window, horizon or self.sizes.horizon
        window = past[:L]
        frame = self.frame(window)
        if self.config.decoding == "direct":
            made = self.direct(window, known, static, frame)
            return Outlook.of(self.config, made, unit, samples, seed)
        many = samples if self.config.output != "point" else 1
        x = self.inputs(window[L - self.reads :], known[L - self.reads + 1 : L + 1], static, frame)
        y, state = self.stack(x)
        B, k = frame.anchor.shape

        def wide(part: Tensor, dim: int = 0) -> Tensor:
            return part.repeat_interleave(many, dim)

        state = each(lambda part: wide(part, 1), state)
        made = wide(self.at_each(y[-1:], static, frame), 1)[0]
        frame, static, unit = Frame(*map(wide, frame)), wide(static), wide(unit)
        rest = wide(past[L - 1 : L, :, k:], 1).clone()
        if rest.shape[-1]:
            rest[..., : min(k, rest.shape[-1])] = 1.0  # marks: a step that is drawn is there
        chance = Outlook.chance(self.config, H, B, k, many, seed, made)
        path = []
        for t in range(H):
            drawn = Outlook.draw(self.config, made, unit, chance, t)
            path.append(drawn)
            if t + 1 < H:
                step = torch.cat([drawn[None], rest], -1)
                x = self.inputs(step, wide(known[L + t + 1 : L + t + 2], 1), static, frame)
                y, state = self.stack(x, state)
                made = self.at_each(y, static, frame)[0]
        drawn = torch.stack(path).view(H, B, many, k)
        return Outlook.of_paths(self.config, drawn)
