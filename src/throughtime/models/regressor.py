"""The regression: numbers → stack → pooling over time → a number, or quantiles, for each target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.regression import RegressionModelConfig
from ..layers.heads import OutputLayers
from ..layers.outline import Outline, affine, affines
from ..layers.pooling import Pooling
from . import Cells, initialise, stack_of
from .outlook import middle


class Regressor(nn.Module):
    """ŷ = W h + b,  h = output layers(pool(stack(input(x)))).

    Shapes: x as `inputs` takes it, lengths [B], targets [B, K], scaled. `forward` gives the mean
    loss over all targets: squared or absolute error, huber, or the mean pinball loss of quantiles.
    `outputs` gives [B, K, Q], Q = 1 but for quantiles, which rise.
    """

    def __init__(
        self, cell: Cells, inputs: Any, targets: int, config: RegressionModelConfig
    ) -> None:
        super().__init__()
        c = config
        self.config, self.inputs, self.targets = c, inputs, targets
        self.dropout = c.dropout_of("output")
        self.stack = stack_of(cell, inputs.output_size, c, bidirectional=c.bidirectional)
        self.pooling = Pooling(c.pooling, self.stack.output_size)
        self.hidden = OutputLayers(self.stack.output_size, list(c.output_layers), self.dropout)
        self.each = len(c.quantiles) if c.loss == "quantiles" else 1
        self.output = nn.Linear(self.hidden.output_size, targets * self.each)
        initialise(self, c.init_range)

    def forward(self, x: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        """Mean loss."""
        return self.losses(self.made(x, lengths), targets).mean()

    def made(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[B, K, Q], as they are learned."""
        y, state = self.stack(self.inputs(x), lengths=lengths)
        return self.of_pooled(self.pooling(y, self.stack.layout.by_layer(state)[-1][0], lengths))

    def of_pooled(self, pooled: Tensor) -> Tensor:
        """What is said of a sequence that is pooled [B, n]."""
        h = self.hidden(F.dropout(pooled, self.dropout, self.training))
        return self.output(h).float().unflatten(-1, (self.targets, self.each))

    def outline(self) -> Outline:
        """What it computes, scaled: for exporters."""
        maps = (*affines(self.hidden), affine(self.output))
        pooling = self.pooling.outline()
        return Outline(self.inputs.outline(), self.stack.outline(), maps, pooling=pooling)

    def losses(self, made: Tensor, targets: Tensor) -> Tensor:
        """Of each target [B, K]."""
        if self.config.loss == "quantiles":
            q = torch.tensor(self.config.quantiles, device=made.device)
            off = targets[..., None] - made
            return torch.maximum(q * off, (q - 1) * off).mean(-1)
        error = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.smooth_l1_loss}[self.config.loss]
        return error(made[..., 0], targets, reduction="none")

    def outputs(self, made: Tensor) -> tuple[Tensor, Tensor | None]:
        """The value of each target [B, K], and its quantiles where those are learned."""
        if self.config.loss != "quantiles":
            return made[..., 0], None
        rising = made.sort(-1).values
        return middle(rising, self.config.quantiles), rising
