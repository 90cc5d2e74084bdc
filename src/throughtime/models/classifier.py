"""The classifier: embedding → stack → pooling over time → softmax over the labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..cell import Cell
from ..config import ClassifierModelConfig
from ..pooling import Pooling
from ..stack import drop
from . import initialise, stack_of


class Classifier(nn.Module):
    """P(label | x<1…T_x>) = softmax(W pool(y) + b).

    Shapes: tokens [T, B], lengths [B], labels [B]. `forward` gives the mean loss in nats, so that
    data-parallel wrappers see one call; `logits` gives [B, K].
    """

    def __init__(
        self,
        cell: Cell | type[Cell],
        vocabulary: int,
        labels: int,
        config: ClassifierModelConfig,
    ) -> None:
        super().__init__()
        c = config
        self.dropout, self.locked_dropout = c.dropout, c.locked_dropout
        self.embedding = nn.Embedding(vocabulary, c.embedding_size)
        self.stack = stack_of(cell, c.embedding_size, c, bidirectional=c.bidirectional)
        self.pooling = Pooling(c.pooling, self.stack.output_size)
        self.output = nn.Linear(self.stack.output_size, labels)
        if c.init_range is not None:
            initialise(self, c.init_range)

    def forward(self, tokens: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """Mean nats of the labels."""
        return F.cross_entropy(self.logits(tokens, lengths).float(), labels)

    def logits(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """[B, K]."""
        x = self.embedding(tokens)
        if self.training:
            x = drop(x, self.dropout, self.locked_dropout)
        y, state = self.stack(x, lengths=lengths)
        found = self.pooling(y, state[0][-self.stack.directions :], lengths)
        return self.output(F.dropout(found, self.dropout, self.training))

    def log_probabilities(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """[B, K], in float64: what metrics are made of."""
        return self.logits(tokens, lengths).to(torch.float64).log_softmax(1)
