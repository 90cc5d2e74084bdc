"""Vocabularies of characters, bytes, words or subwords, kept as a `tokenizers` file.

Ids 0 to 3 are <pad> <unk> <bos> <eos>. Words follow by falling frequency, so that an adaptive
softmax can cut the vocabulary by rank; characters by code point; bytes by value.

Text is text: what is written like a special is spelled like everything else, and decoding gives it
back. At level word <unk> alone is read as the unknown word, since corpora (PTB) write it so; <pad>,
<bos> and <eos> are words like others. Vocabularies of release 0.1 read all four as specials, and
still do: their files declare <pad> an added token.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from ..ground import terminal
from ..ground.errors import InputError
from ..ground.whole import read_text
from .lines import split_lines, with_line_feeds
from .text import Text
from .tokenizing import (
    BOS,
    EOS,
    PAD,
    SPECIALS,
    UNK,
    as_written,
    byte_symbols,
    byte_tokenizer,
    count_characters,
    count_words,
    subword_tokenizer,
    word_tokenizer,
)

DEFAULT_SIZE = {"word": 50_000, "subword": 8_000}


class Vocabulary:
    """Text to ids and back. `level` is char, byte, word or subword."""

    def __init__(self, level: str, tokenizer: Tokenizer) -> None:
        self.level, self.tokenizer = level, tokenizer
        ids = tokenizer.get_vocab(with_added_tokens=True)
        if [ids.get(s) for s in SPECIALS] != list(range(4)):
            raise InputError(
                f"a vocabulary must have the ids 0 to 3 for {' '.join(SPECIALS)}; this one has "
                f"{[ids.get(s) for s in SPECIALS]}."
            )
        model = tokenizer.model
        if isinstance(model, WordLevel) and model.unk_token not in tokenizer.get_vocab(False):
            raise InputError(
                f"{model.unk_token}, for words that are unknown, is none of its words."
            )
        names = sorted(ids, key=ids.__getitem__)
        if [ids[name] for name in names] != list(range(len(names))):
            raise InputError("a vocabulary must have the ids 0, 1, 2 … without a gap.")
        self.tokens = [*SPECIALS, *map(as_written, names[len(SPECIALS) :])]
        declared = tokenizer.get_added_tokens_decoder()
        self.of_0_1 = PAD in declared  # one of characters or bytes has not changed
        first = PAD if self.of_0_1 else len(SPECIALS)
        self.ids = {token: i for i, token in enumerate(self.tokens) if i >= first or i == UNK}
        self._read_as = np.arange(len(ids) + 1, dtype=np.uint32)
        self._read_as[-1] = EOS  # the end of a line
        if level == "word":
            self._read_as[: len(SPECIALS)] = [self.ids.get(s, UNK) for s in SPECIALS]
        self.lowercase = tokenizer.normalizer is not None
        if level == "char":
            self._by_code_point = np.full(0x110000, UNK, np.uint32)
            for token, i in ids.items():
                if len(token) == 1:
                    self._by_code_point[ord(token)] = i
        if level in ("byte", "subword"):
            value = {symbol: b for b, symbol in enumerate(byte_symbols())}
            spelled = self.tokens[len(SPECIALS) :]
            self._bytes = [b""] * len(SPECIALS) + [bytes(value[s] for s in t) for t in spelled]

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def build(
        cls,
        text: Text,
        level: str,
        *,
        size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        words: str = "punctuation",
        quiet: bool = False,
    ) -> Vocabulary:
        """Count the text as it streams by and keep the most frequent tokens, `size` at most."""
        if level == "byte":
            return cls(level, byte_tokenizer())
        with terminal.progress("building the vocabulary", text.size, quiet) as advance:

            def chunks() -> Iterator[str | bytes]:
                for chunk, _ in text.chunks():
                    yield chunk
                    advance(len(chunk))

            return cls.of_texts(
                chunks(), level, size=size, min_count=min_count, lowercase=lowercase, words=words
            )

    @classmethod
    def of_texts(
        cls,
        texts: Iterable[str | bytes],
        level: str,
        *,
        size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        words: str = "punctuation",
    ) -> Vocabulary:
        """The same from texts in memory, such as the examples of a data set."""
        size = size or DEFAULT_SIZE.get(level)
        if size is not None and size <= len(SPECIALS):
            raise InputError(f"vocab_size must exceed the {len(SPECIALS)} specials, got {size}.")
        if level == "byte":
            return cls(level, byte_tokenizer())
        chunks = (as_text(text, lowercase) for text in texts)
        if level == "subword":
            return cls(level, subword_tokenizer(chunks, size or 0, min_count, lowercase))
        counts = count_characters(chunks) if level == "char" else count_words(chunks, words)
        return cls.of_counts(
            counts, level, size=size, min_count=min_count, lowercase=lowercase, words=words
        )

    @classmethod
    def of_counts(
        cls,
        counts: Counter[str],
        level: str = "word",
        *,
        size: int | None = None,
        min_count: int = 1,
        lowercase: bool = False,
        words: str = "spaces",
    ) -> Vocabulary:
        """From tokens that are split already: the most frequent, `size` at most, specials included.

        `lowercase` says that the counts are of tokens in lower case and folds what is encoded.
        """
        size = size or DEFAULT_SIZE.get(level)
        kept = sorted((-n, t) for t, n in counts.items() if n >= min_count and t != SPECIALS[UNK])
        tokens = [token for _, token in kept[: size and size - len(SPECIALS)]]
        if not tokens:
            raise InputError(f"no token occurs {min_count} times: the vocabulary would be empty.")
        if level == "char":
            tokens.sort()
        return cls(level, word_tokenizer(tokens, level, words, lowercase))

    def with_words(self, words: Iterable[str]) -> Vocabulary:
        """This one of words or characters, and after its own those that it lacks."""
        more = list(dict.fromkeys(word for word in words if word not in self.ids))
        at_spaces = isinstance(self.tokenizer.pre_tokenizer, pre_tokenizers.WhitespaceSplit)
        split = "spaces" if at_spaces else "punctuation"
        tokens = [*self.tokens[len(SPECIALS) :], *more]
        return Vocabulary(self.level, word_tokenizer(tokens, self.level, split, self.lowercase))

    def and_then(self, other: Vocabulary) -> Vocabulary:
        """This one, and after its own what another of the same level has besides; at the levels
        that can spell everything, nothing is missing."""
        if self.level in ("byte", "subword"):
            return self
        return self.with_words(other.tokens[len(SPECIALS) :])

    def encode_tokens(self, tokens: Iterable[str]) -> np.ndarray:
        """Ids of tokens that are split already, spaces in them or not; <unk> for unknown ones."""
        if self.lowercase:
            tokens = (token.lower() for token in tokens)
        return np.array([self.ids.get(token, UNK) for token in tokens], np.int64)

    def encode(self, chunk: str | bytes, *, eos_at_lines: bool = False) -> np.ndarray:
        """Ids of a piece of text; with `eos_at_lines`, <eos> in place of each line's end.

        At the levels that give a text back whole that is LF alone, since <eos> decodes to it.
        """
        if self.level == "byte":
            data = chunk.encode() if isinstance(chunk, str) else chunk
            ids = np.frombuffer(data, np.uint8).astype(np.uint32) + len(SPECIALS)
            return np.where(ids == ord("\n") + len(SPECIALS), EOS, ids) if eos_at_lines else ids
        text = as_text(chunk, self.lowercase)
        if self.level == "char":
            points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
            ids = self._by_code_point[points]
            return np.where(points == ord("\n"), EOS, ids) if eos_at_lines else ids
        lines = self._lines(text, eos_at_lines)
        ends = len(lines) - 1 if eos_at_lines else 0
        if eos_at_lines and not lines[-1]:
            lines.pop()
        parts = []
        for i, encoding in enumerate(self.tokenizer.encode_batch_fast(lines)):
            parts += encoding.ids
            if i < ends:
                parts.append(len(self))
        return self._read_as[np.asarray(parts, np.int64)]

    def _lines(self, text: str, eos_at_lines: bool = False) -> list[str]:
        """The pieces that are encoded side by side; <eos> comes between, if at all."""
        if eos_at_lines:
            lossy = self.level == "word" and not self.of_0_1
            return (with_line_feeds(text) if lossy else text).split("\n")
        return text.splitlines(keepends=True) if self.of_0_1 else split_lines(text, keepends=True)

    def surfaces(self, text: str) -> list[str]:
        """What stands in the text for each id of `encode(text)`, unknown tokens as they are."""
        if self.level == "char":
            return list(text)
        if self.level == "byte":
            return [c if k == 0 else "" for c in text for k in range(len(c.encode()))]
        found = []
        for line in self._lines(text):
            encoding = self.tokenizer.encode(line)
            found += [line[begin:end].strip() for begin, end in encoding.offsets]
        return found

    def label(self, i: int) -> str:
        """One token by itself: a character, a word, a piece; the specials by name."""
        if i in (PAD, BOS, EOS):
            return SPECIALS[i]
        decoder = self.decoder()
        return (decoder.push(int(i)) + decoder.close()) or self.tokens[i]

    def line_breaks(self) -> tuple[int, ...]:
        """Ids of tokens that would end a line of text, the specials not among them."""
        if self.level in ("byte", "subword"):
            ends = (i for i, data in enumerate(self._bytes) if b"\n" in data or b"\r" in data)
        else:
            ends = (i for i, token in enumerate(self.tokens) if "\n" in token or "\r" in token)
        return tuple(ends)

    def word_breaks(self) -> tuple[int, ...]:
        """Ids that cannot go on with a word: <eos>, and what begins with no letter and no digit.

        A byte above 127 may be a part of a letter, and counts as one.
        """
        if self.level in ("byte", "subword"):
            starts = (data[:1].decode("latin-1") for data in self._bytes)
            found = (i for i, c in enumerate(starts) if c and c < "\x80" and not c.isalnum())
        else:
            found = (i for i, token in enumerate(self.tokens) if not token[0].isalnum())
        return (EOS, *(i for i in found if i >= len(SPECIALS)))

    def decoder(self) -> Decoder:
        """A decoder that turns ids into text one at a time."""
        return Decoder(self)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of a sequence of ids."""
        decoder = self.decoder()
        return "".join([*map(decoder.push, ids), decoder.close()])

    def to_json(self) -> str:
        """The text of tokenizer.json."""
        return self.tokenizer.to_str(pretty=True)

    @classmethod
    def load(cls, path: Path, level: str) -> Vocabulary:
        """Read tokenizer.json; `InputError` names the file where it cannot be read."""
        text = read_text(path)
        try:
            return cls(level, Tokenizer.from_str(text))
        except Exception as error:  # tokenizers raises bare Exception for any malformed file
            raise InputError(f"{path}: not a tokenizer file: {error}") from error


class Decoder:
    """Ids to text as they come: no partial UTF-8, words joined by spaces, <eos> as a new line."""

    def __init__(self, vocabulary: Vocabulary, after: str = "") -> None:
        """`after`: the text already there, which tells whether a space goes before a word."""
        self.vocabulary = vocabulary
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_line_start = not after or after[-1].isspace()

    def push(self, i: int) -> str:
        """The text that this id completes, perhaps none."""
        v = self.vocabulary
        if i == EOS:
            self._at_line_start = True
            return self._utf8.decode(b"", True) + "\n" if v.level in ("byte", "subword") else "\n"
        if i in (PAD, BOS):
            return ""
        if v.level in ("byte", "subword"):
            return self._utf8.decode(v._bytes[i])
        token = v.tokens[i]
        if v.level == "char":
            return "\N{REPLACEMENT CHARACTER}" if i == UNK else token
        space = "" if self._at_line_start else " "
        self._at_line_start = False
        return space + token

    def close(self) -> str:
        """What is left when the text ends: a replacement character for half a UTF-8 sequence."""
        return self._utf8.decode(b"", True)


def as_text(chunk: str | bytes, lowercase: bool) -> str:
    """A chunk as str, in lower case where asked for."""
    text = chunk if isinstance(chunk, str) else chunk.decode("utf-8")
    return text.lower() if lowercase else text
