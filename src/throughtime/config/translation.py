"""Settings of translators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ..ground.errors import InputError, SettingError
from .durations import Every
from .run import BATCHES, ExampleLoopConfig, OptimConfig, RunConfig, StackConfig
from .settings import DEEPEST, WIDEST, data_files, limited, spelled
from .text import LARGEST_VOCABULARY, LEVELS, HoldoutConfig, LinesConfig, TextConfig


@dataclass
class ParallelDataConfig(TextConfig, HoldoutConfig, LinesConfig):
    """How parallel files become pairs of token sequences.

    Args:
        vocab_size: Most tokens in the source's vocabulary, or in the joint one; default 50000 for
            words, 8000 for subwords, all characters.
        target_vocab_size: Instead of vocab_size, for the target.
        joint: One vocabulary, made of both sides, for both.
        encoding: Encoding of the text.
        max_length: Leave out training pairs with a side of more tokens; how many is said.
    """

    target_vocab_size: int | None = limited(None, 5, LARGEST_VOCABULARY)
    joint: bool = False
    encoding: str = "utf-8"
    holdout: float = limited(0.1, 0.0001, 0.9999)
    max_length: int | None = limited(None, 1)


@dataclass
class TranslatorModelConfig(StackConfig):
    """The network: an encoder reads the source, a decoder with attention writes the target.

    Args:
        hidden_size: Width n of the decoder's layers, and of the encoder's in each direction;
            several are one for each layer.
        num_layers: Depth of the decoder; default: as many as hidden_size or its cell has, else 1.
        dropout: On embeddings, between layers and before the softmax.
        encoder_layers: Depth of the encoder; default num_layers.
        learned_initial_state: Learn the state in which the encoder begins; zero at first. The
            decoder's is made from the encoder's last one, with a learned bias.
        bidirectional: Read the source in both directions.
        decoder_cell: Cell of the decoder; default: the run's.
        embedding_size: Width of the token embeddings.
        attention: Score of a source position: multiplicative (Luong), additive (Bahdanau), or none:
            the source is known by the encoder's final state alone.
        input_feeding: Each step of the decoder also sees what the one before gave to the softmax;
            it is then trained step by step, which takes several times as long.
        tied: Share the target's embedding with the softmax (output), the source's too (all, with a
            joint vocabulary), or nothing.
        label_smoothing: Share of the training target's probability that all tokens have alike.
        scheduled_sampling: Share of the decoder's training inputs that are drawn from the model in
            place of the true tokens, at the end of its rise.
        sampling_epochs: Epochs over which that share rises from 0.
        word_dropout: Share of source tokens read as <unk> in training.
        embedding_dropout: Instead of dropout, on embeddings.
        output_dropout: Instead of dropout, before the softmax.
    """

    hidden_size: int | list[int] = limited(256, 1, WIDEST)
    dropout: float = limited(0.3, 0, 0.999)
    encoder_layers: int | None = limited(None, 1, DEEPEST)
    bidirectional: bool = True
    decoder_cell: str | None = None
    embedding_size: int = limited(256, 1, WIDEST)
    attention: Literal["multiplicative", "additive", "none"] = "multiplicative"
    input_feeding: bool = False
    tied: Literal["none", "output", "all"] = "none"
    label_smoothing: float = limited(0.1, 0, 0.999)
    scheduled_sampling: float = limited(0.0, 0, 1)
    sampling_epochs: float = limited(10.0, 0, 1e9)
    word_dropout: float = limited(0.0, 0, 0.999)
    embedding_dropout: float | None = limited(None, 0, 0.999)
    output_dropout: float | None = limited(None, 0, 0.999)

    retired: ClassVar[dict[str, Any]] = {"decoder_bidirectional": False}

    def check(self) -> None:
        """Dropout masks can be kept while the decoder is stepped."""
        super().check()
        names = ("locked_dropout", "weight_drop", "variational_dropout")
        if self.input_feeding and any(getattr(self, name) for name in names):
            raise SettingError(
                "model.input_feeding steps the decoder one call at a time: model.locked_dropout, "
                "model.weight_drop and model.variational_dropout, whose masks last a whole "
                "sequence, do not go with it.",
                *("model.input_feeding", *(f"model.{name}" for name in names)),
            )


@dataclass
class TranslationLoopConfig(ExampleLoopConfig):
    """The training loop over pairs, batched with others about as long.

    Args:
        batch_size: Pairs in a batch, over all processes.
        batch_tokens: Instead of batch_size, the budget of a batch: pairs times the longest side,
            padding included.
        valid_sentences: Validation sentences translated greedily at each evaluation, for BLEU; 0
            for none.
        sample_every: When to show a translation of a validation sentence; 0 for never.
    """

    batch_size: int = limited(64, 1, WIDEST)
    valid_sentences: int = limited(500, 0)
    sample_every: str = spelled("30s", Every.parse)


@dataclass
class SearchOptions:
    """How translations are searched.

    Args:
        beam_size: Hypotheses kept; 1 is greedy.
        alpha: Length penalty: scores are compared divided by length ** alpha.
        max_length: Longest translation, as a multiple of the source's tokens; ten more are allowed.
        no_repeat_ngram: No n-gram of so many tokens occurs twice in a translation; 0: it may.
        unk_replace: Put the source token with the most attention in place of <unk>.
        forbid_unk: Never write <unk>.
        batch_size: Most sentences translated together; it changes no result.
    """

    beam_size: int = limited(5, 1, WIDEST)
    alpha: float = limited(0.6, -10, 10)
    max_length: float = limited(2.0, 0, 1e6)
    no_repeat_ngram: int = limited(0, 0)
    unk_replace: bool = False
    forbid_unk: bool = False
    batch_size: int = limited(32, 1, WIDEST)


@dataclass
class TranslatingOptions(SearchOptions):
    """How lines are translated.

    Args:
        n_best: Translations of each line, as NUMBER ||| TEXT ||| SCORE where there are several.
        attention_plot: PNG to draw the alignment in: FILE.png for the first line, FILE-2.png for
            the second and so on.
    """

    n_best: int = limited(1, 1)
    attention_plot: str | None = None

    def check(self) -> None:
        """No more translations than hypotheses."""
        if self.n_best > self.beam_size:
            raise SettingError(
                f"n_best must be at most beam_size = {self.beam_size}, got {self.n_best}.",
                *("n_best", "beam_size"),
            )


@dataclass
class ScoringOptions(SearchOptions):
    """How translations are searched and scored.

    Args:
        bleu_tokenize: Tokenization of BLEU: 13a for plain text, none for text tokenized already,
            char, intl, zh, or another that sacrebleu knows.
        bleu_lowercase: Fold case for BLEU.
    """

    bleu_tokenize: str = "13a"
    bleu_lowercase: bool = False


@dataclass
class TranslatorConfig(RunConfig):
    """Train a translator: a sequence for each sequence, of another length.

    Args:
        train: Two parallel files, source and target, a sentence a line; .gz is read as it is.
        valid: Two parallel files for validation; default: a tenth of the training pairs.
        level: What a token of the source is.
        target_level: What a token of the target is; default: level.
        score: What decides which weights are the best.
        data: How files become pairs.
        model: The network.
        loop: The training loop.
    """

    train: list[str] = data_files()
    valid: list[str] = data_files()
    level: LEVELS = "subword"
    target_level: Literal["char", "byte", "word", "subword"] | None = None
    score: Literal["loss", "bleu"] = "bleu"
    data: ParallelDataConfig = field(default_factory=ParallelDataConfig)
    model: TranslatorModelConfig = field(default_factory=TranslatorModelConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=0.002))
    loop: TranslationLoopConfig = field(default_factory=TranslationLoopConfig)

    fixed: ClassVar[tuple[str, ...]] = (
        *("level", "target_level", *RunConfig.fixed, *BATCHES),
        *("score", "loop.valid_sentences"),  # what best was said of
    )
    files: ClassVar[str] = "SOURCE TARGET"
    evaluate_options: ClassVar[type | None] = ScoringOptions
    predict_options: ClassVar[type | None] = TranslatingOptions

    def check(self) -> None:
        """There are pairs to learn from, and what is shared can be."""
        super().check()
        if len(self.train) != 2:
            raise InputError(
                f"train must be two parallel files, got {len(self.train)}. Give --train SOURCE "
                "TARGET."
            )
        if len(self.valid) not in (0, 2):
            raise InputError(
                f"valid must be two parallel files, got {len(self.valid)}. Give --valid SOURCE "
                "TARGET."
            )
        if self.data.joint and self.target_level not in (None, self.level):
            raise SettingError(
                f"data.joint is one vocabulary for both sides: level {self.level} and "
                f"target_level {self.target_level} must be the same.",
                *("data.joint", "level", "target_level"),
            )
        if self.data.joint and self.data.target_vocab_size is not None:
            raise SettingError(
                "data.joint is one vocabulary: its size is data.vocab_size, not "
                "data.target_vocab_size.",
                *("data.joint", "data.vocab_size", "data.target_vocab_size"),
            )
        if self.model.tied == "all" and not self.data.joint:
            raise SettingError(
                "model.tied all needs a joint vocabulary: data.joint true.",
                *("model.tied", "data.joint"),
            )
        if self.score == "bleu" and not self.loop.valid_sentences:
            raise SettingError(
                "score bleu needs loop.valid_sentences above 0; or choose score loss.",
                *("score", "loop.valid_sentences"),
            )
