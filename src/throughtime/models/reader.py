"""A stack that reads a sequence and answers, at its end or at each step: one linear map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import StackConfig
from . import Cells, initialise, stack_of


class SequenceReader(nn.Module):
    """ŷ = W a<T> + b at each sequence's end, or ŷ<t> = W a<t> + b with `at_each_step`.

    Shapes: x [T, B, inputs], or symbols [T, B], which are read one-hot; lengths [B]; targets real
    [B] (outputs = 1) or symbols [B] or [T, B]. `forward` gives the mean loss: the squared error of
    real targets, nats of symbols.
    """

    def __init__(
        self,
        cell: Cells,
        inputs: int,
        outputs: int,
        config: StackConfig,
        *,
        at_each_step: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.at_each_step = inputs, at_each_step
        self.stack = stack_of(cell, inputs, config)
        self.output = nn.Linear(self.stack.output_size, outputs)
        initialise(self, config.init_range)

    def forward(self, x: Tensor, lengths: Tensor | None, targets: Tensor) -> Tensor:
        """Mean loss."""
        return self.losses(self.outputs(x, lengths), targets).mean()

    def outputs(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """[B, outputs], or [T, B, outputs]."""
        if not x.is_floating_point():
            x = F.one_hot(x, self.inputs).to(torch.get_default_dtype())
        y, state = self.stack(x, lengths=lengths)
        return self.output(y if self.at_each_step else self.stack.layout.apart(state)[-1][0])

    @staticmethod
    def losses(outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each target."""
        if targets.is_floating_point():
            return (outputs.squeeze(-1).float() - targets) ** 2
        flat = F.cross_entropy(outputs.flatten(0, -2).float(), targets.flatten(), reduction="none")
        return flat.view_as(targets)
