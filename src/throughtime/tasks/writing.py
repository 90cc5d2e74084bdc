"""Novel text as it is written, from whatever model steps: sampled, or the best of a beam search."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from ..config.language import WritingOptions
from ..data.vocabulary import BOS, EOS, PAD, UNK, Decoder, Vocabulary
from ..decoding import Sampling, beam_search, sample
from ..ground import terminal


def write(
    model: Any,
    ids: list[int],
    vocabulary: Vocabulary,
    options: WritingOptions,
    *,
    eos: int | None,
    forbidden: Sequence[int],
) -> Iterator[tuple[int, str]]:
    """Pieces of text, each with the number of its sample; every sample begins with the prime.

    The same seed gives the same text; sample k of a seed is the first sample of seed + k. Writing
    stops at `eos` and at `max_new_tokens`. Beam search is deterministic and gives its best.
    """
    for k, tokens in enumerate(streams(model, ids, options, eos, forbidden)):
        decoder = Decoder(vocabulary, after=options.prime)
        yield k, options.prime
        for token in tokens:
            if piece := decoder.push(token):
                yield k, piece
        if rest := decoder.close():
            yield k, rest


def seed_of(options: Any) -> int:
    """The seed that is asked for, or one that is drawn."""
    return secrets.randbelow(2**31) if options.seed is None else options.seed


def never_written(options: WritingOptions, *, unknown: bool, eos: bool) -> tuple[int, ...]:
    """Special tokens that are not drawn: <unk> only where it is one of the text's own words
    (`unknown`) and not refused, <eos> only where it ends something."""
    no_unk = options.forbid_unk or not unknown
    return (PAD, BOS, *((UNK,) if no_unk else ()), *(() if eos else (EOS,)))


def tell_unknown(count: int) -> None:
    """Say how many tokens of a prime are not in the vocabulary, if any."""
    if count:
        terminal.warn(f"not in the vocabulary, read as <unk>: {count} of the prime's tokens.")


def streams(
    model: Any, ids: list[int], options: WritingOptions, eos: int | None, forbidden: Sequence[int]
) -> list[Iterable[int]]:
    """The tokens of each sample, drawn when they are asked for."""
    o = options
    sampling = Sampling(o.temperature, o.top_k, o.top_p, tuple(forbidden))
    if o.num_beams > 1:
        found = beam_search(
            model, ids, o.max_new_tokens, o.num_beams, eos=eos, forbidden=forbidden,
            length_penalty=1.0,
        )  # fmt: skip
        return [tokens for tokens, _ in found[: o.num_samples]]
    device = next(model.parameters()).device
    seed = seed_of(o)
    return [
        sample(
            model, ids, o.max_new_tokens, sampling, eos=eos,
            generator=torch.Generator(device).manual_seed(seed + k),
        )
        for k in range(o.num_samples)
    ]  # fmt: skip
