"""The tagger: words and their characters → stack → a tag at each word, by softmax or CRF."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import TaggerModelConfig
from ..data.affixes import AffixTables
from ..data.forms import Words
from ..ground import lengths as ragged
from ..layers.crf import CRF
from ..layers.heads import OutputLayers
from ..layers.inputs import TokenInput
from ..layers.outline import (
    Affine,
    Chain,
    Numbers,
    Outline,
    Spelling,
    Tokens,
    affine,
    affines,
    array,
)
from ..layers.stack import Stack, drop
from . import Cells, initialise, stack_of


class RecurrentCharacters(nn.Module):
    """A word's characters, read in both directions: [forward a<L>, backward a<1>].

    characters [L, W] and lengths [W] → [W, n]; an empty word gives zeros.
    """

    def __init__(self, cell: Cells, vocabulary: int, config: TaggerModelConfig) -> None:
        super().__init__()
        c = config
        self.embedding = TokenInput(vocabulary, c.char_embedding_size)
        self.stack = Stack(
            *(cell, c.char_embedding_size, c.char_size // 2, 1),
            bidirectional=True,
            backend=c.backend,
        )

    def forward(self, characters: Tensor, lengths: Tensor) -> Tensor:
        """[W, n]."""
        _, final = self.stack(self.embedding(characters), lengths=lengths)
        return final[0].transpose(0, 1).flatten(1)

    def outline(self) -> Spelling:
        """For exporters."""
        return Spelling(self.embedding.outline().table, self.stack.outline()[0])


class ConvolutionalCharacters(nn.Module):
    """h<l> = W [x<l - k/2> … x<l + k/2>] + b, the maximum over a word's l, unit by unit.

    Beyond its ends a word has zeros. characters [L, W] and lengths [W] → [W, n]; an empty word
    gives zeros. Source: Ma & Hovy 2016. Oracle: each word by itself.
    """

    def __init__(self, vocabulary: int, config: TaggerModelConfig) -> None:
        super().__init__()
        c = config
        self.embedding = TokenInput(vocabulary, c.char_embedding_size)
        self.convolution = nn.Conv1d(
            c.char_embedding_size, c.char_size, c.char_width, padding="same"
        )

    def forward(self, characters: Tensor, lengths: Tensor) -> Tensor:
        """[W, n]."""
        x = ragged.zero_padding(self.embedding(characters), lengths)
        h = self.convolution(x.permute(1, 2, 0)).permute(2, 0, 1)
        outside = ~ragged.mask(lengths, len(h))[..., None]
        found = h.masked_fill(outside, -torch.inf).amax(0)
        return found.masked_fill((lengths == 0)[:, None], 0.0)

    def outline(self) -> Spelling:
        """For exporters: the kernel's columns neighbour by neighbour."""
        W = array(self.convolution.weight)
        bias = self.convolution.bias
        b = np.zeros(len(W)) if bias is None else array(bias)
        before = (W.shape[2] - 1) // 2
        kernel = Affine(W.transpose(0, 2, 1).reshape(len(W), -1), b)
        around = before, W.shape[2] - 1 - before
        return Spelling(self.embedding.outline().table, convolution=kernel, around=around)


class Tagger(nn.Module):
    """P(y<t> | x) = softmax(W h<t> + b), or P(y | x) by a CRF over those scores.

        x<t> = [E[word<t>], characters of word<t>];  h<t> = output layers(stack(x)<t>)

    Shapes: `Words` of T steps and B sentences, tags [T, B], −1 for those that are unknown or
    padding. The characters of each distinct word of a batch are read once. `forward` gives the mean
    nats over all words, so that data-parallel wrappers see one call.
    """

    def __init__(
        self,
        cell: Cells,
        char_cell: Cells,
        sizes: tuple[int, int, int],
        config: TaggerModelConfig,
        legal: tuple[Tensor, Tensor, Tensor] | None = None,
        affixes: AffixTables | None = None,
    ) -> None:
        """`sizes` are those of the vocabularies of words and characters, and the number of tags;
        `affixes` the tables of words."""
        super().__init__()
        c = config
        words, characters, tags = sizes
        self.dropout = c.dropout_of("output")
        self.input_dropout = c.dropout_of("input")
        self.locked = c.locked_dropout
        self.words = TokenInput(
            words, c.embedding_size, word_dropout=c.word_dropout, affixes=affixes
        )
        self.characters: nn.Module | None = None
        if c.characters == "recurrent":
            self.characters = RecurrentCharacters(char_cell, characters, c)
        elif c.characters == "convolutional":
            self.characters = ConvolutionalCharacters(characters, c)
        width = c.embedding_size + (c.char_size if self.characters else 0)
        self.stack = stack_of(cell, width, c, bidirectional=c.bidirectional)
        self.hidden = OutputLayers(self.stack.output_size, list(c.output_layers), self.dropout)
        self.output = nn.Linear(self.hidden.output_size, tags)
        self.crf = CRF(tags, legal) if c.head == "crf" else None
        initialise(self, c.init_range)

    def forward(self, words: Words, tags: Tensor) -> Tensor:
        """Mean nats of the tags."""
        return self.nats(words, tags).sum() / words.lengths.sum().clamp(min=1)

    def scores(self, words: Words) -> Tensor:
        """[T, B, K]."""
        x = self.words(words.ids)
        if self.characters is not None:
            spelled = self.characters(words.characters, words.character_lengths)
            x = torch.cat([x, F.embedding(words.forms, spelled)], -1)
        if self.training:
            x = drop(x, self.input_dropout, self.locked)
        y, _ = self.stack(x, lengths=words.lengths)
        if self.training:
            y = drop(y, self.dropout, self.locked)
        return self.output(self.hidden(y))

    def nats(self, words: Words, tags: Tensor) -> Tensor:
        """Of each sentence [B]; unknown tags cost nothing, nor, with a CRF, sentences with one."""
        return self.nats_of(self.scores(words), words.lengths, tags)

    def costing(self, tags: Tensor, lengths: Tensor) -> int:
        """How many words `nats` is the sum over."""
        known = (tags >= 0) & ragged.mask(lengths, len(tags))
        if self.crf is not None:
            known &= known.sum(0) == lengths
        return int(known.sum())

    def nats_of(self, scores: Tensor, lengths: Tensor, tags: Tensor) -> Tensor:
        """The same, from the scores."""
        known = (tags >= 0) & ragged.mask(lengths, len(tags))
        if self.crf is None:
            precise = torch.promote_types(scores.dtype, torch.float32)
            flat = F.cross_entropy(
                scores.to(precise).flatten(0, 1),
                tags.masked_fill(~known, -100).flatten(),
                reduction="none",
            )
            return flat.view_as(tags).sum(0)
        whole = known.sum(0) == lengths
        return self.crf(scores, tags.clamp(min=0), lengths).masked_fill(~whole, 0.0)

    def outline(self) -> Outline:
        """What it computes: for exporters."""
        spelling = None if self.characters is None else self.characters.outline()  # type: ignore[operator]
        return replace(self.outlined(self.words.outline()), spelling=spelling)

    def outlined(self, inputs: Tokens | Numbers) -> Outline:
        """The same, of these inputs."""
        maps, chain = (*affines(self.hidden), affine(self.output)), None
        if self.crf is not None:
            chain = Chain(*map(array, self.crf.weights(-torch.inf)))
        return Outline(inputs, self.stack.outline(), maps, chain=chain)

    def decode(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """The most probable tags [T, B]."""
        return scores.argmax(-1) if self.crf is None else self.crf.decode(scores, lengths)
