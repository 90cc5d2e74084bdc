"""One to many: a sequence given a condition."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import ConditionalModelConfig
from ..engine import Parts, map_of, maps_of
from ..ground import lengths as ragged
from ..layers.heads import OutputLayers, Softmax
from ..layers.noise import Draw
from ..layers.outline import Affine, Condition, Outline, Tokens, affine, affines, array
from ..layers.states import each, like, tensors
from . import Cells, initialise, stack_of
from .decoder import DecoderModel, in_parts


class Conditioned(NamedTuple):
    """A stack's state, and the embedded condition e [1, B, condition_size] of each sequence."""

    cells: Any
    e: Tensor


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
        return self.laid_out(torch.tanh(self.first_state(e)), zeros)

    @staticmethod
    def laid_out(first: Tensor, zeros: Any) -> Any:
        """A state like `zeros` of all its numbers [B, …]."""
        parts, batch = tensors(zeros), len(first)
        first = first.to(parts[0].dtype)
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
        return self.run(self.inputs(tokens, e), state, draw)

    def inputs(self, tokens: Tensor, e: Tensor) -> Tensor:
        """What the stack reads, [T, B, n_x]."""
        x = self.drop(self.embedding(tokens), self.embedding_dropout)
        if self.joins_input:
            x = torch.cat([x, e.expand(len(tokens), -1, -1).to(x.dtype)], -1)
        return x

    def written(self) -> Parts | str:
        """What a native step is made of, or why there is none."""
        maps = maps_of(self.output.children())
        if isinstance(maps, str):
            return maps
        extra = self.condition.out_features if self.joins_input else 0
        return Parts(self.embedding.weight, self.stack, (*maps, map_of(self.head)), extra)

    def begun(self, state: Conditioned) -> tuple[Any, Tensor | None]:
        """The stack's state, and what joins x [B, condition_size] where anything does."""
        return state.cells, state.e[0] if self.joins_input else None

    def outline(self) -> Outline:
        """What a step computes under a condition: for exporters."""
        embedding = Tokens(array(self.embedding.weight))
        outputs = (*affines(self.output), affine(self.head))
        condition = None
        if sum(self.condition_sizes):
            first = self.first_outline() if self.joins_state else None
            condition = Condition(affine(self.condition), self.joins_input, first)
        return Outline(embedding, self.stack.outline(), outputs, condition=condition)

    def first_outline(self) -> Affine:
        """The map to the first state, its rows layer by layer."""
        whole, stack = affine(self.first_state, "tanh"), self.stack
        numbers = torch.arange(len(whole.W), dtype=torch.float64)[None]
        zeros = each(lambda part: part.to("cpu", torch.float64), stack.initial_state(1))
        scans = stack.layout.apart(self.laid_out(numbers, zeros))
        order = torch.cat([part[0] for scan in scans for part in scan]).long().numpy()
        return Affine(whole.W[order], whole.b[order], whole.then)

    # ---- as `decoding` steps it: its state holds the condition -----------------------------------

    def begin(self, condition: Tensor) -> Conditioned:
        """Where a sequence under one condition [n_v] begins."""
        e = self.embed_condition(condition[None])
        return Conditioned(self.state(e, 1), e[None])

    def hidden(self, tokens: Tensor, state: Conditioned) -> tuple[Tensor, Conditioned]:
        """What the softmax sees of tokens [T, B], each under its condition; and the state."""
        h, after = self.hidden_after(tokens, state.cells, state.e[0])
        return h, Conditioned(after, state.e)

    def step(self, tokens: Tensor, state: Conditioned) -> tuple[Tensor, Conditioned]:
        """Logits [B, V] of the token after `tokens [B]`, and the state."""
        x = self.inputs(tokens[None], state.e[0])
        logits, after = self.next_logits(x, state.cells)
        return logits, Conditioned(after, state.e)
