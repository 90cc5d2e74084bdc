"""Many to many with T_x ≠ T_y: an encoder, a bridge, a decoder with attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..cells import Cell
from ..config import TranslatorModelConfig
from ..ground import lengths as ragged
from ..layers.attention import Attention, Memory
from ..layers.heads import Softmax
from ..layers.inputs import TokenInput
from ..layers.outline import Bridge as Between
from ..layers.outline import Outline, Writer, affine
from ..layers.stack import Stack
from . import Cells, initialise, stack_of
from .decoder import DecoderModel

DRAWN_AT_ONCE = 1024
"""Rows of logits that exist at a time while scheduled sampling draws."""


class Bridge(nn.Module):
    """From the encoder's final states to the decoder's first: any cells to any cells.

        s<0>[l] = tanh(W_s[l] v_s[l] + b_s[l])  for each part s of the decoder's state, layer l

    v_s[l] is the encoder's final part of the same name in layer min(l, L_encoder - 1), its
    directions side by side; all its parts, where none has that name. Shapes: encoder parts
    [D, B, n_e] of a layer → decoder parts [1, B, n] of a layer. Source: Bahdanau et al. 2015, for
    any state.
    """

    def __init__(self, encoder: Stack, decoder: Stack) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder.layout, decoder.layout
        maps: dict[str, list[nn.Module]] = {}
        for layer, (cell, widths) in enumerate(zip(self.decoder.cells, self.decoder.widths)):
            below = self.below(layer)
            wide = dict(zip(self.encoder.cells[below].state, self.encoder.widths[below]))
            for name, n in zip(cell.state, widths):
                one = sum(wide[part] for part in self.sources(name, below))
                maps.setdefault(name, []).append(nn.Linear(one * encoder.directions, n))
        self.maps = nn.ModuleDict({name: nn.ModuleList(layers) for name, layers in maps.items()})

    def below(self, layer: int) -> int:
        """The encoder's layer that a layer of the decoder begins from."""
        return min(layer, len(self.encoder.cells) - 1)

    def sources(self, name: str, below: int) -> tuple[str, ...]:
        """The parts of the encoder's state there that a part of the decoder's is made from."""
        known = self.encoder.cells[below].state
        return (name,) if name in known else known

    def outline(self) -> tuple[Between, ...]:
        """Of every part of the decoder's state, layer by layer: for exporters."""
        found = []
        for layer, cell in enumerate(self.decoder.cells):
            below = self.below(layer)
            known = self.encoder.cells[below].state
            for name in cell.state:
                one = affine(self.maps[name][layer_of(self.decoder.cells, name, layer)], "tanh")  # type: ignore[index]
                parts = tuple(known.index(part) for part in self.sources(name, below))
                found.append(Between(one, below, parts))
        return tuple(found)

    def forward(self, final: Any) -> Any:
        """The decoder's first state."""
        finals = self.encoder.by_layer(final)
        maps = {name: iter(layers) for name, layers in self.maps.items()}  # type: ignore[call-overload]
        states = []
        for layer, cell in enumerate(self.decoder.cells):
            below = self.below(layer)
            parts = []
            for name in cell.state:
                from_parts = (getattr(finals[below], one) for one in self.sources(name, below))
                v = torch.cat([direction for part in from_parts for direction in part], -1)
                parts.append(torch.tanh(next(maps[name])(v))[None])
            states.append(cell.State(*parts))
        return self.decoder.of_layers(states)


def layer_of(cells: Sequence[Cell], name: str, layer: int) -> int:
    """How many layers before this one have a part of that name."""
    return sum(name in cell.state for cell in cells[:layer])


class Writing(NamedTuple):
    """Where the decoder is: its cells' state, h̃<t-1> [1, B, n], and what attention reads."""

    cells: Any
    h: Tensor
    memory: Memory | None


class Translator(DecoderModel):
    """P(y | x) = Π P(y<t> | y<1…t-1>, x), for x and y of different lengths.

        h = encoder(E_x x);  s<0> = bridge(final states)
        s<t> = decoder(E_y y<t-1>, s<t-1>);  with input feeding ([E_y y<t-1>, h̃<t-1>], s<t-1>)
        c<t> = attention(s<t>, h);  h̃<t> = tanh(W [s<t>, c<t>] + b)
        ŷ<t> = softmax(W_y h̃<t> + b_y)

    Without attention there is no c<t>: the decoder knows the source by s<0> alone. Without input
    feeding all steps of the decoder are one scan, and attention is one product over all of them.

    Scheduled sampling (Bengio et al. 2015) is done in parallel, as in Mihaylova & Martins 2019: one
    pass with the true tokens draws from the model, a second learns with some inputs replaced.

    Shapes: source [T_x, B], source_lengths [B]; tokens (<bos> first) and targets (<eos> last)
    [T_y, B], lengths [B]. Padding changes nothing; a source may be empty. Initial values: h̃<0>
    zero; embeddings as in `TokenInput`, the rest as in `Stack` and torch. Source: Luong et al.
    2015, arXiv:1508.04025. Oracle: the step-by-step decoder, and each sentence by itself.
    """

    def __init__(
        self,
        cell: Cells,
        decoder_cell: Cells,
        source_vocabulary: int,
        target_vocabulary: int,
        config: TranslatorModelConfig,
        *,
        unknown: int = 1,
    ) -> None:
        super().__init__(config)
        c = config
        self.input_feeding, self.smoothing = c.input_feeding, c.label_smoothing
        sizes = {"dropout": self.embedding_dropout, "locked": c.locked_dropout, "unknown": unknown}
        self.source = TokenInput(
            source_vocabulary, c.embedding_size, word_dropout=c.word_dropout, **sizes
        )
        self.target = TokenInput(target_vocabulary, c.embedding_size, **sizes)
        if c.tied == "all":
            self.target.embedding = self.source.embedding
        self.encoder = stack_of(
            cell, c.embedding_size, c, bidirectional=c.bidirectional, num_layers=c.encoder_layers
        )
        width = c.widths[-1]
        out = width if c.tied == "none" else c.embedding_size
        self.decoder = stack_of(
            decoder_cell, c.embedding_size + (out if c.input_feeding else 0), c, state_is_given=True
        )
        self.bridge = Bridge(self.encoder, self.decoder)
        seen, self.attention = 0, None
        if c.attention != "none":
            seen = self.encoder.output_size
            self.attention = Attention(c.attention, self.decoder.output_size, seen)
        self.combine = nn.Linear(self.decoder.output_size + seen, out)
        tied: Any = None if c.tied == "none" else self.target.embedding.weight
        self.head = Softmax(out, target_vocabulary, tied)
        initialise(self, c.init_range)

    def forward(
        self,
        source: Tensor,
        source_lengths: Tensor,
        tokens: Tensor,
        targets: Tensor,
        lengths: Tensor,
        sampled: float = 0.0,
    ) -> Tensor:
        """Mean loss over the targets before each length, with label smoothing in training.

        `sampled` is the share of the decoder's inputs drawn from the model itself.
        """
        start = self.read(source, source_lengths)
        if sampled and self.training:
            keep = ragged.mask(lengths, len(tokens))
            tokens = self.draw(start, tokens, keep, sampled)
        h, _ = self.hidden(tokens, start)
        return self.mean_of(h, targets, lengths, self.smoothing if self.training else 0.0)

    def nats(
        self, source: Tensor, source_lengths: Tensor, tokens: Tensor, targets: Tensor,
        lengths: Tensor,
    ) -> Tensor:  # fmt: skip
        """Nats of each target [T_y, B], zero at or beyond the lengths; no smoothing."""
        h, _ = self.hidden(tokens, self.read(source, source_lengths))
        return self.nats_of(h, targets, lengths)

    def align(self, source: Tensor, source_lengths: Tensor, tokens: Tensor) -> Tensor:
        """Attention's weights [T_y, B, T_x] where the decoder writes what follows `tokens`."""
        _, weights = self.hidden(tokens, self.read(source, source_lengths))
        assert weights is not None
        return weights

    def read(self, source: Tensor, lengths: Tensor) -> Writing:
        """The encoder's pass: where the decoder begins."""
        x = self.source(source)
        B = source.shape[1]
        h, final = self.encoder.run(x, self.encoder.initial_state(B), lengths, None)
        memory = self.attention.memory(h, lengths) if self.attention else None
        first = h.new_zeros(1, B, self.combine.out_features)
        return Writing(self.bridge(final), first, memory)

    def hidden(self, tokens: Tensor, start: Writing) -> tuple[Tensor, Tensor | None]:
        """h̃ [T_y, B, n] for all of `tokens`, and attention's weights."""
        x = self.target(tokens)
        if not self.input_feeding:
            s, _ = self.decoder.run(x, start.cells, None, None)
            return self.attend(s, start.memory)
        cells, h = start.cells, start.h
        hs, weights = [], []
        for one in x.split(1):
            s, cells = self.decoder.run(torch.cat([one, h], -1), cells, None, None)
            h, weight = self.attend(s, start.memory)
            hs.append(h)
            weights.append(weight)
        return torch.cat(hs), None if self.attention is None else torch.cat(weights)

    def attend(self, s: Tensor, memory: Memory | None) -> tuple[Tensor, Tensor | None]:
        """h̃ [T, B, n] of states s [T, B, n], and attention's weights."""
        weights = None
        if self.attention is not None and memory is not None:
            context, weights = self.attention(s, memory)
            s = torch.cat([s, context], -1)
        h = torch.tanh(self.combine(s))
        return self.drop(h, self.output_dropout), weights

    def outline(self) -> Outline:
        """The reader, and its writer: for exporters."""
        scores = None if self.attention is None else self.attention.outline()
        writer = Writer(
            self.target.outline().table, self.decoder.outline(), self.bridge.outline(), scores,
            affine(self.combine, "tanh"), affine(self.head), self.input_feeding,
        )  # fmt: skip
        return Outline(self.source.outline(), self.encoder.outline(), (), writer=writer)

    @torch.no_grad()
    def draw(self, start: Writing, tokens: Tensor, keep: Tensor, share: float) -> Tensor:
        """The tokens, that share of them (never the first) drawn from the model."""
        h, _ = self.hidden(tokens, start)
        drawn = tokens.clone()
        drawn[keep] = torch.cat(
            [
                torch.multinomial(self.head.logits(rows).float().softmax(1), 1)[:, 0]
                for rows in h[keep].split(DRAWN_AT_ONCE)
            ]
        )
        mixed = tokens.clone()
        chosen = torch.rand(tokens[1:].shape, device=tokens.device) < share
        mixed[1:] = torch.where(chosen & keep[1:], drawn[:-1], tokens[1:])
        return mixed

    def step(self, tokens: Tensor, state: Writing) -> tuple[Tensor, Writing]:
        """Logits [R, V] after `tokens [R]`, those of a sentence's hypotheses side by side."""
        x = self.target(tokens[None])
        if self.input_feeding:
            x = torch.cat([x, state.h], -1)
        s, cells = self.decoder.run(x, state.cells, None, None)
        R, sentences = len(tokens), state.memory.values.shape[1] if state.memory else len(tokens)
        by_sentence = s.view(sentences, R // sentences, -1).transpose(0, 1)
        h, _ = self.attend(by_sentence, state.memory)
        h = h.transpose(0, 1).reshape(1, R, -1)
        return self.head.logits(h[0]), Writing(cells, h, state.memory)
