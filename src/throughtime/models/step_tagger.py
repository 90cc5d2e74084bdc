"""The tagger of numbers: steps of numbers → stack → a tag at each step, by softmax or CRF."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..config import TaggerModelConfig
from ..layers.crf import CRF
from ..layers.heads import OutputLayers
from ..layers.outline import Outline
from ..layers.stack import drop
from . import Cells, initialise, stack_of
from .tagger import Tagger


class Steps(NamedTuple):
    """Sequences of numbers side by side: values [T, B, n], lengths [B]."""

    values: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Steps:
        """The same, there."""
        return Steps(*(part.to(device) for part in self))


class StepTagger(Tagger):
    """P(y<t> | x) = softmax(W h<t> + b), or by a CRF;  h<t> = output layers(stack(input(x))<t>).

    As `Tagger`, with `Steps` in the place of words.
    """

    def __init__(self, cell: Cells, inputs: Any, tags: int, config: TaggerModelConfig) -> None:
        nn.Module.__init__(self)
        c = config
        self.inputs = inputs
        self.dropout, self.locked = c.dropout_of("output"), c.locked_dropout
        self.stack = stack_of(cell, inputs.output_size, c, bidirectional=c.bidirectional)
        self.hidden = OutputLayers(self.stack.output_size, list(c.output_layers), self.dropout)
        self.output = nn.Linear(self.hidden.output_size, tags)
        self.crf = CRF(tags, None) if c.head == "crf" else None
        initialise(self, c.init_range)

    def scores(self, words: Any) -> Tensor:
        """[T, B, K]."""
        y, _ = self.stack(self.inputs(words.values), lengths=words.lengths)
        return self.of_outputs(y)

    def outline(self) -> Outline:
        """What it computes: for exporters."""
        return self.outlined(self.inputs.outline())

    def of_outputs(self, y: Tensor) -> Tensor:
        """The scores of steps from what the stack gives, [T, B, n] → [T, B, K]."""
        if self.training:
            y = drop(y, self.dropout, self.locked)
        return self.output(self.hidden(y))
