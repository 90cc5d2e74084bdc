"""Settings of text, whatever is learned from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .run import StackConfig
from .settings import SEEDS, WIDEST, limited, one_path

LARGEST_VOCABULARY = 2**31 - 1

LEVELS = Literal["char", "byte", "word", "subword"]
"""What a token can be."""


@dataclass
class TextConfig:
    """How text becomes tokens.

    Args:
        vocab_size: Most tokens in the vocabulary; default 50000 for words, 8000 for subwords,
            all characters.
        min_count: Tokens seen less often become <unk>.
        lowercase: Fold the text to lower case.
        words: With level word, split at spaces only (text tokenised already) or at punctuation too.
    """

    vocab_size: int | None = limited(None, 5, LARGEST_VOCABULARY)
    min_count: int = limited(1, 1)
    lowercase: bool = False
    words: Literal["punctuation", "spaces"] = "punctuation"

    def vocabulary(self, **instead: Any) -> dict[str, Any]:
        """What a vocabulary is made by, as `Vocabulary.of_texts` takes it."""
        names = ("min_count", "lowercase", "words")
        known = {"size": self.vocab_size} | {name: getattr(self, name) for name in names}
        return known | instead


@dataclass
class HoldoutConfig:
    """Which examples are held out.

    Args:
        holdout: Share of the training examples, drawn by split_seed, held out when no validation
            file is given.
        split_seed: Seed of that draw, apart from the seed of training.
    """

    holdout: float = limited(0.1, 0, 0.999)
    split_seed: int = limited(0, 0, SEEDS)


@dataclass
class LinesConfig:
    """What is read as lines.

    Args:
        max_bytes: Most bytes of a line, of word vectors too; a longer one is an error that names
            it.
        max_tokens: Most tokens, words or steps of an example; a longer one is an error that names
            it.
    """

    max_bytes: int = limited(1 << 24, 1)
    max_tokens: int = limited(1 << 20, 1)


@dataclass
class VectorsConfig:
    """Where the embedding of words starts from.

    Args:
        vectors: File of pretrained word vectors in the text format of word2vec or GloVe: where the
            embedding starts from.
        vectors_limit: Read no more than so many vectors, the first ones of the file.
    """

    vectors: str | None = one_path("read")
    vectors_limit: int = limited(400_000, 1)


@dataclass
class ReaderModelConfig(StackConfig):
    """A network that reads all of a sequence: embedding, stack of cells, output layers.

    Args:
        hidden_size: Width n of each layer, in each direction; several are one for each layer.
        bidirectional: Read in both directions.
        embedding_size: Width of the token embedding.
        word_dropout: Share of tokens read as <unk> in training.
        input_dropout: Instead of dropout, on the input.
        output_layers: Widths of ordinary layers (relu) before the last one.
        output_dropout: Instead of dropout, on what comes out and in the output layers.
    """

    bidirectional: bool = True
    embedding_size: int = limited(128, 1, WIDEST)
    output_layers: list[int] = limited([], 1, WIDEST)
    word_dropout: float = limited(0.0, 0, 0.999)
    input_dropout: float | None = limited(None, 0, 0.999)
    output_dropout: float | None = limited(None, 0, 0.999)


@dataclass
class DecoderConfig(StackConfig):
    """The network: embedding, stack of cells, output layers, softmax.

    Args:
        dropout: On the embedding, between layers and before the softmax.
        embedding_size: Width of the token embedding; default that of the first layer.
        output_layers: Widths of ordinary layers (relu) between the stack and the softmax.
        embedding_dropout: Instead of dropout, on the embedding.
        output_dropout: Instead of dropout, before the softmax.
    """

    embedding_size: int | None = limited(None, 1, WIDEST)
    output_layers: list[int] = limited([], 1, WIDEST)
    embedding_dropout: float | None = limited(None, 0, 0.999)
    output_dropout: float | None = limited(None, 0, 0.999)
