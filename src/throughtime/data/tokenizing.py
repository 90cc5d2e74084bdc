"""The tokenizers under a vocabulary, as the `tokenizers` library has them, and what they count."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordLevel
from tokenizers.trainers import BpeTrainer

from ..ground.errors import InputError
from .lines import split_lines

SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
PAD, UNK, BOS, EOS = range(4)
WRITTEN = "\n"
"""Ends a word in tokenizer.json that is written like a special; no word has a line end."""
SHORT = 1 << 16
"""Below so many characters a dictionary counts faster than an array over all code points."""
MOST_SUBWORDS = 1 << 20
"""The trainer takes room for all that are asked for at once, and ends the process without it."""


def byte_symbols() -> list[str]:
    """The printable symbol that byte-level tokenizers write for each byte (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def count_characters(chunks: Iterable[str]) -> Counter[str]:
    """How often each character occurs."""
    totals = np.zeros(0x110000, np.int64)
    of_short: Counter[str] = Counter()
    for chunk in chunks:
        if len(chunk) < SHORT:
            of_short.update(chunk)
        else:
            points = np.frombuffer(chunk.encode("utf-32-le", "surrogatepass"), np.uint32)
            totals += np.bincount(points, minlength=len(totals))
    for character, count in of_short.items():
        totals[ord(character)] += count
    return Counter({chr(p): int(totals[p]) for p in totals.nonzero()[0]})


def count_words(chunks: Iterable[str], words: str) -> Counter[str]:
    """How often each word occurs."""
    pieces: Counter[str] = Counter()
    for chunk in chunks:
        pieces.update(chunk.replace(SPECIALS[UNK], " ").split())
    if words == "spaces":
        return pieces
    counts: Counter[str] = Counter()
    split = pre_tokenizers.Whitespace().pre_tokenize_str  # the split that encoding uses
    for piece, count in pieces.items():
        for word, _ in split(piece):
            counts[word] += count
    return counts


def as_written(name: str) -> str:
    """The word that a name in tokenizer.json stands for."""
    word = name.removesuffix(WRITTEN)
    return word if word in SPECIALS else name


def word_tokenizer(tokens: list[str], level: str, words: str, lowercase: bool) -> Tokenizer:
    """A tokenizer whose tokens are whole pieces: characters, or words."""
    names = (token + WRITTEN if token in SPECIALS else token for token in tokens)
    vocab = {name: i for i, name in enumerate([*SPECIALS, *names])}
    tokenizer = Tokenizer(WordLevel(vocab, unk_token="<unk>"))
    if level == "char":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")  # type: ignore
        tokenizer.decoder = decoders.Fuse()  # type: ignore
    else:
        split = pre_tokenizers.WhitespaceSplit if words == "spaces" else pre_tokenizers.Whitespace
        tokenizer.pre_tokenizer = split()  # type: ignore
        tokenizer.add_special_tokens([SPECIALS[UNK]])
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()  # type: ignore
    return tokenizer


def byte_tokenizer() -> Tokenizer:
    """256 bytes, no merges."""
    vocab = {token: i for i, token in enumerate([*SPECIALS, *byte_symbols()])}
    tokenizer = Tokenizer(BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(  # type: ignore
        add_prefix_space=False, use_regex=False
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore
    return tokenizer


def subword_tokenizer(
    chunks: Iterable[str], size: int, min_count: int, lowercase: bool
) -> Tokenizer:
    """Byte-level BPE trained on the text: no unknown token is possible, every text comes back."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()  # type: ignore
    if not len(SPECIALS) + 256 <= size <= MOST_SUBWORDS:
        raise InputError(f"a subword vocabulary has 260 to {MOST_SUBWORDS:,} tokens, got {size:,}.")
    trainer = BpeTrainer(
        vocab_size=size,
        min_frequency=min_count,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )

    def lines() -> Iterator[list[str]]:
        for chunk in chunks:
            yield split_lines(chunk, keepends=True)

    tokenizer.train_from_iterator(lines(), trainer)
    said = json.loads(tokenizer.to_str())
    return Tokenizer.from_str(json.dumps({**said, "added_tokens": []}))  # none is read in a text
