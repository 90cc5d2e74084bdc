"""The language model: embedding → stack → output layers → softmax."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from ..data.affixes import AffixTables
from ..engine import Parts, map_of, maps_of
from ..ground.errors import InputError
from ..layers.heads import AdaptiveSoftmax, OutputLayers, Softmax
from ..layers.inputs import Affixes, embed, table_of
from ..layers.noise import Draw
from ..layers.outline import Outline, affine, affines
from ..layers.stack import Stack
from ..layers.window import Window
from . import Cells, initialise, stack_of
from .decoder import DecoderModel, in_parts


class LanguageModel(DecoderModel):
    """P(y<t> | y<1…t-1>): embedding, stack, output layers, softmax; x<t> = y<t-1>.

    Shapes: tokens [T, B]; state as `Stack` has it. `forward` gives the mean loss in nats, so that
    data-parallel wrappers see one call; `step` gives the logits of the next token. With
    `config.context` a `Window` over so many tokens stands in the stack's place. `affixes` are the
    tables of `affixes_of`, where they add to the embedding: of words that the vocabulary lacks,
    too, which are <unk> as targets.
    """

    def __init__(
        self,
        cell: Cells,
        vocabulary: int,
        config: ModelConfig,
        affixes: AffixTables | None = None,
    ) -> None:
        super().__init__(config)
        c = config
        embedding_size = c.embedding_size or c.widths[0]
        self.embedding = nn.Embedding(vocabulary, embedding_size)
        self.affixes = Affixes(affixes, embedding_size) if affixes else None
        sizes = c.widths if len(c.widths) > 1 else c.widths * (c.num_layers or 1)
        self.stack = (
            stack_of(cell, embedding_size, c)
            if c.context is None
            else Window(c.context, embedding_size, sizes, c.dropout)
        )
        self.output = OutputLayers(self.stack.output_size, list(c.output_layers), c.dropout)
        size = self.output.output_size
        if c.tied:
            if c.head != "full":
                raise InputError("model.tied needs the full softmax: --model.head full.")
            # tied weights need h of the embedding's width: one more linear map where it differs
            self.to_embedding = (
                nn.Identity() if size == embedding_size else nn.Linear(size, embedding_size)
            )
            bound = embedding_size**-0.5
            nn.init.uniform_(self.embedding.weight, -bound, bound)
            tied = cast(nn.Parameter, self.embedding.weight)
            self.head: Softmax | AdaptiveSoftmax = Softmax(embedding_size, vocabulary, tied)
        else:
            self.to_embedding = nn.Identity()
            self.head = (
                Softmax(size, vocabulary)
                if c.head == "full"
                else AdaptiveSoftmax(size, vocabulary, c.cutoffs)
            )
        initialise(self, c.init_range)

    def forward(
        self, tokens: Tensor, targets: Tensor, state: Any, recompute: int = 0
    ) -> tuple[Tensor, Any]:
        """Mean loss in nats of targets [T, B] after inputs [T, B]; the state after the last.

        With `recompute` > 0, activations are kept for so many steps at a time (`in_parts`).
        """
        T, draw, targets = len(tokens), self.draw_noise(), self.known(targets)

        def loss(start: int, tokens: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
            h, state = self.hidden(tokens, state, draw and draw.after(start))
            return self.head(h.flatten(0, 1), targets.flatten()) * (len(tokens) / T), state

        return in_parts(loss, state, recompute, tokens, targets)

    def hidden(self, tokens: Tensor, state: Any, draw: Draw | None = None) -> tuple[Tensor, Any]:
        """What the softmax sees, [T, B, n], and the state after the last step."""
        x = embed(tokens, self.embedding, self.affixes)
        y, state = self.run(self.drop(x, self.embedding_dropout), state, draw)
        return self.to_embedding(y), state

    def nats(self, tokens: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Nats of each target [T, B], and the state."""
        h, state = self.hidden(tokens, state)
        targets = self.known(targets)
        return self.head.nats(h.flatten(0, 1), targets.flatten()).view_as(targets), state

    def known(self, targets: Tensor) -> Tensor:
        """Targets, <unk> for words that the vocabulary lacks."""
        return targets if self.affixes is None else self.affixes.known(targets)

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits [B, V] of the token after `tokens [B]`, and the state."""
        x = embed(tokens[None], self.embedding, self.affixes)
        return self.next_logits(self.drop(x, self.embedding_dropout), state)

    def answer(self, y: Tensor) -> Tensor:
        """Logits [B, V] of what comes out of the stack, [B, n]."""
        return self.head.logits(self.to_embedding(self.output(y)))

    def initial_state(self, batch: int) -> Any:
        """As `Stack.initial_state`: zeros, or what is learned."""
        return self.stack.initial_state(batch)

    def written(self) -> Parts | str:
        """What a native step is made of, or why there is none."""
        if not isinstance(self.head, Softmax):
            return "the adaptive softmax has no native step: train with --model.head full."
        if self.affixes is not None and self.affixes.of_unknown:
            return "words that the vocabulary lacks have affixes, and no row of a table."
        maps = maps_of([*self.output.children(), self.to_embedding])
        if isinstance(maps, str):
            return maps
        with torch.no_grad():
            every = torch.arange(self.embedding.num_embeddings)
            table = embed(every, self.embedding, self.affixes)
        return Parts(table, self.stack, (*maps, map_of(self.head)))

    def begun(self, state: Any) -> tuple[Any, Tensor | None]:
        """The stack's state, the first one where it is None, and what joins x: nothing."""
        return self.initial_state(1) if state is None else state, None

    def outline(self) -> Outline:
        """What a step computes: for exporters."""
        if not isinstance(self.stack, Stack):
            raise InputError("a fixed window has no recurrent state: it is not exported.")
        if not isinstance(self.head, Softmax):
            raise InputError("the adaptive softmax is not exported: train with --model.head full.")
        return Outline(
            table_of(self.embedding, self.affixes),
            self.stack.outline(),
            (*affines(self.output), *affines(self.to_embedding), affine(self.head)),
            tied=self.head.weight is self.embedding.weight and self.affixes is None,
        )
