"""One to many: a sequence given a condition."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ConditionalModelConfig
from ..ground import lengths as ragged
from ..layers.heads import OutputLayers, Softmax
from ..layers.noise import Draw
from ..layers.states import like, tensors
from . import Cells, initialise, stack_of
from .decoder import DecoderModel, in_parts


class ConditionalModel(DecoderModel):
    """P(y | v) = Π P(y<t> | y<1…t-1>, v): a language model whose every step knows a condition v.

        e = W_e v + b_e
        state joined:  s<0>[l] = tanh(W_s[l] e + b_s[l]) for each part s of the state and layer l
        input joined:  x<t> = [E y<t-1>, e];  otherwise x<t> = E y<t-1>
        then the stack, the output layers and the softmax, as in `LanguageModel`

    In training, `condition_dropout` sets each named part of v to zero (unspecified) with that
    probability, so that the model can also write without it.

    Shapes: tokens, targets [T, B]; lengths [B]; conditions v [B, n_v]. Steps at or beyond a length
    change nothing. Initial values: state zero where the condition does not join it (or learned:
    joined, b_s is what is learned); the rest as in `Stack` and torch. Source: Karpathy & Fei-Fei
    2015 (state), Sutskever et al. 2011 (input).
    """

    def __init__(
        self,
        cell: Cells,
        vocabulary: int,
        condition_sizes: list[int],
        config: ConditionalModelConfig,
    ) -> None:
        super().__init__(config)
        c = config
        embedding_size = c.embedding_size or c.widths[0]
        self.condition_dropout, self.condition_sizes = c.condition_dropout, condition_sizes
        conditioned = sum(condition_sizes) > 0
        self.joins_state = conditioned and c.condition_joins in ("state", "both")
        self.joins_input = conditioned and c.condition_joins in ("input", "both")
        self.embedding = nn.Embedding(vocabulary, embedding_size)
        if conditioned:
            self.condition = nn.Linear(sum(condition_sizes), c.condition_size)
        joined = c.condition_size if self.joins_input else 0
        self.stack = stack_of(cell, embedding_size + joined, c, state_is_given=self.joins_state)
        if self.joins_state:
            numbers = sum(part.numel() for part in tensors(self.stack.initial_state(1)))
            self.first_state = nn.Linear(c.condition_size, numbers)
        self.output = OutputLayers(self.stack.output_size, list(c.output_layers), c.dropout)
        self.head = Softmax(self.output.output_size, vocabulary)
        initialise(self, c.init_range)

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor,
        lengths: Tensor,
        conditions: Tensor,
        recompute: int = 0,
    ) -> Tensor:
        """Mean loss in nats over the targets before each length.

        With `recompute` > 0, activations are kept for so many steps at a time (`in_parts`).
        """
        e = self.embed_condition(conditions)
        state = self.state(e, tokens.shape[1])
        if not 0 < recompute < len(tokens):
            return self.mean_of(self.hidden_after(tokens, state, e)[0], targets, lengths)

        draw = self.draw_noise()

        def loss(start: int, tokens: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
            h, state = self.hidden_after(tokens, state, e, draw and draw.after(start))
            count = int(ragged.mask(lengths - start, len(tokens)).sum())
            if not count:
                return h.sum() * 0.0, state
            return self.mean_of(h, targets, lengths - start) * count, state

        total, _ = in_parts(loss, state, recompute, tokens, targets)
        return total / lengths.sum()

    def nats(self, tokens: Tensor, targets: Tensor, lengths: Tensor, conditions: Tensor) -> Tensor:
        """Nats of each target [T, B], zero at or beyond the lengths."""
        e = self.embed_condition(conditions)
        h, _ = self.hidden_after(tokens, self.state(e, tokens.shape[1]), e)
        return self.nats_of(h, targets, lengths)

    def embed_condition(self, conditions: Tensor) -> Tensor:
        """e [B, condition_size] of v [B, n_v]; width 0 where there are no conditions."""
        if not conditions.shape[1]:
            return conditions
        if self.training and self.condition_dropout:
            ones = conditions.new_ones(len(conditions), len(self.condition_sizes))
            keep = F.dropout(ones, self.condition_dropout).sign()
            sizes = torch.tensor(self.condition_sizes, device=conditions.device)
            conditions = conditions * keep.repeat_interleave(sizes, 1)
        return self.condition(conditions)

    def state(self, e: Tensor, batch: int) -> Any:
        """The state before the first step."""
        zeros = self.stack.initial_state(batch)
        if not self.joins_state:
            return zeros
        parts = tensors(zeros)
        first = torch.tanh(self.first_state(e)).to(parts[0].dtype)  # [B, all numbers of a state]
        sizes = [part[:, 0].numel() for part in parts]
        of_parts = (
            some.view(batch, len(part), -1).transpose(0, 1).contiguous()
            for some, part in zip(first.split(sizes, 1), parts)
        )
        return like(zeros, list(of_parts))

    def hidden_after(
        self, tokens: Tensor, state: Any, e: Tensor, draw: Draw | None = None
    ) -> tuple[Tensor, Any]:
        """What the softmax sees, [T, B, n], and the state after the last step."""
        x = self.drop(self.embedding(tokens), self.embedding_dropout)
        if self.joins_input:
            x = torch.cat([x, e.expand(len(tokens), -1, -1).to(x.dtype)], -1)
        return self.run(x, state, draw)

    def given(self, condition: Tensor) -> Given:
        """The model under one condition [n_v], as `decoding` steps it."""
        return Given(self, condition)


class Given(nn.Module):
    """A `ConditionalModel` under one condition: what `decoding` asks of a language model."""

    def __init__(self, model: ConditionalModel, condition: Tensor) -> None:
        super().__init__()
        self.model = model
        self.e = model.embed_condition(condition[None])

    def initial_state(self, batch: int) -> Any:
        """The state that the condition sets, for each of so many sequences."""
        return self.model.state(self.e.expand(batch, -1), batch)

    def hidden(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read tokens [T, B]."""
        return self.model.hidden_after(tokens, state, self.e.expand(tokens.shape[1], -1))

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits [B, V] of the token after `tokens [B]`, and the state."""
        h, state = self.hidden(tokens[None], state)
        return self.model.head.logits(h[0]), state
