"""Frames of many keys: piano rolls."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import DecoderConfig
from ..ground import lengths as ragged
from ..layers.heads import OutputLayers
from ..layers.outline import Numbers, Outline, affine, affines
from . import Cells, initialise, stack_of
from .decoder import DecoderModel

RARE = -3.0
"""The first log-odds of a key: few of them are down at a time."""


class FrameModel(DecoderModel):
    """P(frame<t> | frames<1…t-1>) = Π over keys Bernoulli(frame<t>[k]; σ(ŷ<t>[k])).

        x<t> = frame<t-1>, zeros at the start;  y = stack(x);  ŷ<t> = W output_layers(y<t>) + b

    Shapes: frames [T, B, keys] of 0 and 1; lengths [B]. The loss is nats a frame: the sum over the
    keys, the mean over the frames before each length. Initial values: the log-odds of every key -3,
    the rest as in `Stack` and torch. Source: Boulanger-Lewandowski et al. 2012,
    Chung et al. 2014.
    """

    def __init__(self, cell: Cells, keys: int, config: DecoderConfig) -> None:
        super().__init__(config)
        c = config
        self.keys = keys
        width = c.embedding_size or keys
        self.embedding = nn.Linear(keys, width) if c.embedding_size else nn.Identity()
        self.stack = stack_of(cell, width, c)
        self.output = OutputLayers(self.stack.output_size, list(c.output_layers), c.dropout)
        self.head = nn.Linear(self.output.output_size, keys)
        initialise(self, c.init_range)
        nn.init.constant_(self.head.bias, RARE)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Mean nats a frame."""
        keep = ragged.mask(lengths, len(frames))
        logits, _ = self.logits(shift(frames), None)
        logits, frames = logits[keep], frames[keep]
        loss = F.binary_cross_entropy_with_logits(precise(logits), frames, reduction="sum")
        return loss / max(len(frames), 1)

    def nats(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Nats of each frame [T, B], zero at or beyond the lengths."""
        logits, _ = self.logits(shift(frames), None)
        nats = F.binary_cross_entropy_with_logits(precise(logits), frames, reduction="none").sum(-1)
        return nats.masked_fill(~ragged.mask(lengths, len(frames)), 0.0)

    def logits(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """ŷ [T, B, keys] after inputs x [T, B, keys], and the state."""
        state = self.stack.initial_state(x.shape[1]) if state is None else state
        h, state = self.run(self.drop(self.embedding(x), self.embedding_dropout), state)
        return self.head(h), state

    def outline(self) -> Outline:
        """What a step computes: for exporters."""
        embed = affine(self.embedding) if isinstance(self.embedding, nn.Linear) else None
        outputs = (*affines(self.output), affine(self.head))
        return Outline(Numbers(self.keys, embed=embed), self.stack.outline(), outputs)


def precise(logits: Tensor) -> Tensor:
    """At least float32, under autocast too."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def shift(frames: Tensor) -> Tensor:
    """x<t> = frame<t-1>, zeros first."""
    return torch.cat([torch.zeros_like(frames[:1]), frames[:-1]])
