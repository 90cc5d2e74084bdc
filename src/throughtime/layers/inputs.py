"""What goes into a stack: embedded tokens, spelled words, or standardised numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..data.affixes import AffixTables
from ..data.vocabulary import UNK
from .outline import Numbers, Tokens, array
from .stack import drop

MOST_OF_A_CATEGORY = 16
"""The widest embedding of a category; of few names it is narrower."""


class TokenInput(nn.Module):
    """x<t> = E[token<t>]: tokens [T, B] → [T, B, n_x].

    In training, `word_dropout` reads that share of tokens as `unknown`, and `dropout` acts on the
    embedding. Initial values: uniform in ±√(3 / n_x), each vector of length about 1. `affixes` are
    the tables of `affixes_of`, where they add to the embedding; with those of unknown words a token
    that is dropped keeps its affixes, as an unknown one has them.
    """

    def __init__(
        self,
        vocabulary: int,
        size: int,
        *,
        word_dropout: float = 0.0,
        unknown: int = 1,
        dropout: float = 0.0,
        locked: bool = False,
        affixes: AffixTables | None = None,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        self.affixes = Affixes(affixes, size) if affixes else None
        bound = (3 / size) ** 0.5
        nn.init.uniform_(self.embedding.weight, -bound, bound)
        self.output_size = size
        self.word_dropout, self.unknown = word_dropout, unknown
        self.dropout, self.locked = dropout, locked

    def forward(self, tokens: Tensor) -> Tensor:
        """[T, B, n_x]."""
        if not self.training:
            return embed(tokens, self.embedding, self.affixes)
        kept = tokens
        if self.word_dropout:
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout
            kept = tokens.masked_fill(dropped, self.unknown)
        spelled = tokens if self.affixes is not None and self.affixes.of_unknown else kept
        x = embed(kept, self.embedding, self.affixes, spelled)
        return drop(x, self.dropout, self.locked)

    def outline(self) -> Tokens:
        """Every token's x, affixes added: for exporters."""
        return table_of(self.embedding, self.affixes)


def embed(
    tokens: Tensor,
    embedding: nn.Embedding,
    affixes: Affixes | None,
    spelled: Tensor | None = None,
) -> Tensor:
    """Tokens [T, B] → [T, B, n_x]: the embedding, and what affixes add where there are any, by
    default those of the same tokens."""
    if affixes is None:
        return embedding(tokens)
    return embedding(affixes.known(tokens)) + affixes(tokens if spelled is None else spelled)


def table_of(embedding: nn.Embedding, affixes: Affixes | None) -> Tokens:
    """What `embed` makes of every token."""
    every = torch.arange(embedding.num_embeddings, device=embedding.weight.device)
    with torch.no_grad():
        return Tokens(array(embed(every, embedding, affixes)))


class Affixes(nn.Module):
    """What a token's beginnings and endings add to its embedding: tokens [T, B] → [T, B, n_x].

        Σ_k A[affix k of the token];  `table [V, K]` has their numbers from 1, 0 for none

    A rare word so begins near the frequent ones that are spelled alike, as plurals are. With the
    tables of unknown words tokens from V on are such words, as `Spelling` numbers them. Initial
    values: zeros. There is no second derivative. Oracle: the sum, token by token.
    """

    table: Tensor
    begins: Tensor | None
    ends: Tensor | None

    def __init__(self, tables: AffixTables, size: int) -> None:
        super().__init__()
        for name in ("table", "begins", "ends"):
            self.register_buffer(name, getattr(tables, name), persistent=False)
        self.weight = nn.Parameter(torch.zeros(max(tables.number, 1), size))

    @property
    def of_unknown(self) -> bool:
        """Whether words that the vocabulary lacks have affixes."""
        return self.begins is not None

    def known(self, tokens: Tensor) -> Tensor:
        """The tokens, <unk> for those that the vocabulary lacks."""
        if self.begins is None:
            return tokens
        return tokens.masked_fill(tokens >= len(self.table), UNK)

    def forward(self, tokens: Tensor) -> Tensor:
        """[T, B, n_x]."""
        numbers = self.table[self.known(tokens)]
        if self.begins is not None and self.ends is not None:
            beyond = (tokens - len(self.table)).clamp(min=0)
            begins = self.begins[beyond // len(self.ends)]
            numbers = numbers + torch.cat([begins, self.ends[beyond % len(self.ends)]], -1)
        numbers = numbers.flatten(0, -2)
        there = (numbers > 0).to(self.weight.dtype)
        found = nn.functional.embedding_bag(
            (numbers - 1).clamp(min=0), self.weight, mode="sum", per_sample_weights=there
        )
        return found.unflatten(0, tokens.shape)


class NumberInput(nn.Module):
    """x<t> = [number<t>, E_k[category k<t>] …]: [T, B, n + K] → [T, B, n_x].

    Numbers come standardised; after them the number of each category, 0 for one that is missing or
    not known, of `categories` many names. Initial values of E: as of `TokenInput`, but for row 0,
    zero. Runs of release 0.1 have raw numbers come in float32, and `standardises`: x<t> =
    (number<t> − mean) / deviation, with those that come with their weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        size: int,
        *,
        standardises: bool = False,
        dropout: float = 0.0,
        locked: bool = False,
        categories: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.size, self.standardises = size, standardises
        if standardises:
            self.register_buffer("mean", torch.zeros(size))
            self.register_buffer("deviation", torch.ones(size))
        widths = [min(MOST_OF_A_CATEGORY, 1 + names // 2) for names in categories]
        self.categories = nn.ModuleList(
            nn.Embedding(names + 1, width) for names, width in zip(categories, widths)
        )
        for width, embedding in zip(widths, self.categories):
            bound = (3 / width) ** 0.5
            with torch.no_grad():
                embedding.weight.uniform_(-bound, bound)[0] = 0.0  # type: ignore[union-attr,operator]
        self.output_size = size + sum(widths)
        self.dropout, self.locked = dropout, locked

    def forward(self, numbers: Tensor) -> Tensor:
        """[T, B, n_x]."""
        x = numbers[..., : self.size] if len(self.categories) else numbers
        if self.standardises:
            x = (x - self.mean) / self.deviation
        if len(self.categories):
            ids = numbers[..., self.size :].long().unbind(-1)
            x = torch.cat([x, *(embedding(k) for embedding, k in zip(self.categories, ids))], -1)
        return drop(x, self.dropout, self.locked) if self.training else x

    def outline(self) -> Numbers:
        """For exporters."""
        if not self.standardises:
            return Numbers(self.output_size)
        return Numbers(self.output_size, array(self.mean), array(self.deviation))
