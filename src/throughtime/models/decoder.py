"""What models that say one step after another share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..config import StackConfig
from ..ground import lengths as ragged
from ..layers.noise import Draw
from ..layers.rows import in_blocks
from ..layers.stack import Stack, drop


class DecoderModel(nn.Module):
    """Embedding → stack → output layers → head, each step given those before it.

    A model says what goes into the stack and what its head is. In training, dropout acts on the
    embedding and on what comes out of the stack, one mask for all steps where that is asked for.
    """

    stack: Any
    output: nn.Module
    head: Any

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.embedding_dropout = config.dropout_of("embedding")
        self.output_dropout = config.dropout_of("output")
        self.locked_dropout = config.locked_dropout

    def drop(self, x: Tensor, p: float) -> Tensor:
        """Dropout in training, locked where asked for."""
        return drop(x, p, self.locked_dropout) if self.training else x

    def draw_noise(self) -> Draw | None:
        """What the recurrent noise of one loss is drawn from; None where there is none."""
        return self.stack.draw() if isinstance(self.stack, Stack) else None

    def run(self, x: Tensor, state: Any, draw: Draw | None = None) -> tuple[Tensor, Any]:
        """What the head sees after inputs x [T, B, n_x], and the state after the last step."""
        y, state = self.stack.run(x, state, None, None, *([draw] if draw else []))
        return self.output(self.drop(y, self.output_dropout)), state

    def next_logits(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits [B, V] after one input x [1, B, n_x], each row as it would be alone where the
        stack's step is (`frozen`); and the state."""
        y, state = self.stack.run(x, state, None, None)
        return in_blocks(self.answer, self.drop(y, self.output_dropout)[0]), state

    def answer(self, y: Tensor) -> Tensor:
        """Logits [B, V] of what comes out of the stack, [B, n]."""
        return self.head.logits(self.output(y))

    def mean_of(
        self, h: Tensor, targets: Tensor, lengths: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """The head's mean loss over the targets [T, B] before each length [B]."""
        keep = ragged.mask(lengths, len(targets))
        return self.head(h[keep], targets[keep], smoothing)

    def nats_of(self, h: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
        """Nats of each target [T, B], zero at or beyond the lengths [B]."""
        keep = ragged.mask(lengths, len(targets))
        out = h.new_zeros(targets.shape)
        out[keep] = self.head.nats(h[keep], targets[keep]).to(out.dtype)
        return out


def in_parts(
    loss: Callable[..., tuple[Tensor, Any]], state: Any, steps: int, *sequences: Tensor
) -> tuple[Tensor, Any]:
    """The sum of `loss` over parts of so many steps of sequences [T, …], and the last state.

    `loss(start, *parts, state)` gives that of a part and the state after it. Activations are kept
    for one part at a time and computed again in the backward pass: full backpropagation through a
    long sequence in bounded memory. With steps 0, or T and more, there is one part, kept.
    """
    T = len(sequences[0])
    if not 0 < steps < T:
        return loss(0, *sequences, state)
    total = sequences[0].new_zeros((), dtype=torch.float32)
    for start in range(0, T, steps):
        parts = (sequence[start : start + steps] for sequence in sequences)
        part, state = checkpoint(  # type: ignore[misc]
            loss, start, *parts, state, use_reentrant=False
        )
        total = total + part
    return total, state
