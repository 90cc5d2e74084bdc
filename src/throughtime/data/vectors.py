"""Pretrained word vectors in the text format of word2vec or GloVe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..ground import terminal
from ..ground.errors import InputError
from ..ground.paths import typed_path
from ..ground.wording import plural
from .limits import LARGEST
from .lines import Line, read_lines, whole_number
from .vocabulary import SPECIALS, Vocabulary


@dataclass(frozen=True)
class Vectors:
    """Words and their vectors [N, width], in the order of the file."""

    words: list[str]
    values: np.ndarray

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.values.shape[1]

    def by_word(self, *, lowercase: bool = False) -> dict[str, int]:
        """Where each word stands; `lowercase`: by its lower case, that of the word itself first."""
        found = {word: i for i, word in reversed(list(enumerate(self.words)))}
        if lowercase:
            for i, word in enumerate(self.words):
                found.setdefault(word.lower(), i)
            found = {word: i for word, i in found.items() if word == word.lower()}
        return found

    def put_into(self, weight: Tensor, vocabulary: Vocabulary) -> None:
        """Replace the rows of an embedding [V, width] whose words have a vector."""
        known = self.by_word(lowercase=vocabulary.lowercase)
        pairs = [(i, known[word]) for word, i in vocabulary.ids.items() if word in known]
        to, of = np.array(pairs, np.int64).reshape(-1, 2).T
        with torch.no_grad():
            weight[torch.from_numpy(to)] = torch.from_numpy(self.values[of])

    def extend(self, vocabulary: Vocabulary) -> Vocabulary:
        """With the words that have one, behind those of training."""
        return vocabulary.with_words(self.by_word(lowercase=vocabulary.lowercase))

    def covering(self, vocabulary: Vocabulary) -> str:
        """How many words of training's vocabulary have one, as a person reads it."""
        known = self.by_word(lowercase=vocabulary.lowercase)
        words = set(vocabulary.tokens[len(SPECIALS) :])
        found = sum(word in known for word in words)
        if not found:
            terminal.warn("no word of the training data has a vector: is it the right file?")
        return f"vectors for {found:,} of {len(words):,} words ({found / max(1, len(words)):.1%})"


def vectors_as_wide(
    path: str | None, limit: int, width: int, longest: int | None = None
) -> Vectors | None:
    """The vectors of a configuration's file, if it names one; as wide as its embedding."""
    if path is None:
        return None
    vectors = read_vectors(path, limit, longest)
    if vectors.width != width:
        raise InputError(
            f"{path}: the vectors have {vectors.width} numbers, but model.embedding_size is "
            f"{width}. Give --model.embedding_size {vectors.width}."
        )
    return vectors


def read_vectors(path: str | Path, limit: int | None = None, longest: int | None = None) -> Vectors:
    """The vectors of a file (.gz too), no more than `limit`; the first of equal words is kept.

    A first line of two whole numbers is word2vec's header; without it the first line tells the
    width, as in GloVe. A word may have spaces in it. A line has at most `longest` bytes.
    Errors: `InputError` names file and line of a vector of another width and of what is no finite
    number.
    """
    path = typed_path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of word vectors.")
    words: dict[str, None] = {}
    rows: list[np.ndarray] = []
    width, because = 0, ""
    promised: int | None = None
    again: list[str] = []
    for line in read_lines(path, longest=longest):
        text = line.text.rstrip()
        fields = text.split(" ")
        header = [whole_number(field) for field in fields] if line.number == 1 else []
        if len(header) == 2 and None not in header:
            promised, width, because = header[0], header[1] or 0, "the first line says"
            continue
        if not text:
            continue
        if not width:
            width, because = len(fields) - 1, f"line {line.number} has"
        word, numbers = numbers_of(line, text, width, because)
        if word in words:
            again.append(line.where)
            continue
        words[word] = None
        rows.append(numbers)
        if limit is not None and len(rows) >= limit:
            break
    else:
        if promised not in (None, len(rows) + len(again)):
            terminal.warn(
                f"{path}: the first line says {promised:,} vectors, the file has "
                f"{len(rows) + len(again):,}: it may be cut off."
            )
    if not rows:
        raise InputError(f"{path}: no word vectors.")
    if again:
        terminal.warn(
            f"{path}: {plural(len(again), 'vector')} of a word that had one before, the first at "
            f"{again[0]}; the first of each word is kept."
        )
    return Vectors(list(words), np.stack(rows))


def numbers_of(line: Line, text: str, width: int, because: str) -> tuple[str, np.ndarray]:
    """The word and the vector of a line."""
    word, *fields = text.rsplit(" ", width) if width else [text]
    if not width or len(fields) != width or not word:
        count = text.count(" ")
        raise InputError(
            f"{line.where}: expected a word and {width or 'some'} numbers, as {because}, got "
            f"{count} after the word {text.split(' ')[0][:40]!r}."
        )
    try:
        numbers = list(map(float, fields))
    except ValueError as error:
        raise InputError(f"{line.where}: in the vector of {word[:40]!r}: {error}.") from error
    if is_number(word.rpartition(" ")[2]) and " " in word:
        raise InputError(
            f"{line.where}: expected {width} numbers, as {because}, got "
            f"{text.count(' ')} after the word {text.split(' ')[0][:40]!r}."
        )
    if not all(abs(x) <= LARGEST for x in numbers):
        raise InputError(
            f"{line.where}: the vector of {word[:40]!r} holds NaN, infinity or a number that is "
            "none in single precision."
        )
    return word, np.array(numbers, np.float32)


def is_number(text: str) -> bool:
    """Whether it reads as a number with a decimal point, as those of vectors do."""
    try:
        float(text)
    except ValueError:
        return False
    return "." in text
