"""The classifier: input → stack → pooling over time → softmax over the labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ClassifierModelConfig
from ..layers.heads import OutputLayers
from ..layers.outline import Outline, affine, affines
from ..layers.pooling import Pooling
from . import Cells, initialise, stack_of


class Classifier(nn.Module):
    """P(label | x<1…T_x>) = softmax(W h + b),  h = output layers(pool(stack(input(x)))).

    Shapes: x as `inputs` takes it ([T, B] tokens or [T, B, n] numbers), lengths [B], labels [B].
    `forward` gives the mean loss in nats, so that data-parallel wrappers see one call: with
    `class_weights [K]` the mean weighted by them. `logits` gives [B, K].
    """

    class_weights: Tensor | None

    def __init__(
        self,
        cell: Cells,
        inputs: Any,
        labels: int,
        config: ClassifierModelConfig,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        c = config
        self.inputs = inputs
        self.dropout = c.dropout_of("output")
        self.stack = stack_of(cell, inputs.output_size, c, bidirectional=c.bidirectional)
        self.pooling = Pooling(c.pooling, self.stack.output_size)
        self.hidden = OutputLayers(self.stack.output_size, list(c.output_layers), self.dropout)
        self.output = nn.Linear(self.hidden.output_size, labels)
        self.register_buffer("class_weights", class_weights, persistent=False)
        initialise(self, c.init_range)

    def forward(self, x: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """Mean nats of the labels."""
        return F.cross_entropy(self.logits(x, lengths).float(), labels, self.class_weights)

    def logits(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[B, K]."""
        y, state = self.stack(self.inputs(x), lengths=lengths)
        pooled = self.pooling(y, self.stack.layout.by_layer(state)[-1][0], lengths)
        return self.output(self.hidden(F.dropout(pooled, self.dropout, self.training)))

    def outline(self) -> Outline:
        """What it computes: for exporters."""
        maps = (*affines(self.hidden), affine(self.output))
        pooling = self.pooling.outline()
        return Outline(self.inputs.outline(), self.stack.outline(), maps, pooling=pooling)

    def log_probabilities(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[B, K], in float64: what metrics are made of."""
        return self.logits(x, lengths).to(torch.float64).log_softmax(1)
