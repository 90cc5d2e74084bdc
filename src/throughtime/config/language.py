"""Settings of language models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..ground.errors import SettingError
from .run import RunConfig, StreamLoopConfig, zoneout_rates
from .settings import SEEDS, WIDEST, data_files, each_said, limited
from .text import LEVELS, DecoderConfig, TextConfig


@dataclass
class DataConfig(TextConfig):
    """How text becomes tokens.

    Args:
        eos: Where <eos> stands: at each line's end, each file's end, nowhere; auto: line for words,
            file for several files, else none.
        holdout: Share of the training text, at its end, held out when no validation file is given.
        column: Read only this column (from 1) of tab-separated lines.
        reversed: Read backwards: the last token of each line, or where lines do not end with <eos>
            of each file, comes first.
    """

    eos: Literal["auto", "line", "file", "none"] = "auto"
    holdout: float = limited(0.1, 0, 0.999)
    column: int | None = limited(None, 1, 1_000_000)
    reversed: bool = False


@dataclass
class ModelConfig(DecoderConfig):
    """The network: embedding, stack of cells, output layers, softmax.

    Args:
        hidden_size: Width n of each layer; several are one for each layer.
        affixes: With level word, add to a word's embedding those of its beginnings and endings of
            up to so many characters, which it shares with other words; 0 for none.
        affixes_of_unknown: Words that the vocabulary lacks have affixes too; runs of before have
            none.
        context: No recurrence: a feed-forward network that sees so many tokens side by side, with
            layers (tanh) as many and as wide as those of a stack; the cell has no part in it.
        locked_dropout: One dropout mask for all time steps of a window.
        weight_drop: Share of recurrent weights dropped in each window.
        variational_dropout: Share of units dropped, at every step of a window alike, from what
            recurrent weights are multiplied with.
        tied: Use the embedding matrix as the softmax's weights.
        head: full softmax, or adaptive softmax (word level: frequent words cost less).
        cutoffs: Frequency ranks between the clusters of the adaptive softmax.
    """

    hidden_size: int | list[int] = limited(512, 1, WIDEST)
    affixes: int = limited(0, 0, 8)
    affixes_of_unknown: bool = True
    context: int | None = limited(None, 1, 10_000)
    tied: bool = False
    head: Literal["full", "adaptive"] = "full"
    cutoffs: list[int] | None = limited(None, 1)

    def check(self) -> None:
        """What only a recurrent stack has does not go with a fixed window."""
        super().check()
        only = ("skips", "weight_drop", "learned_initial_state", "initial")
        only += ("recurrent_dropout", "variational_dropout")
        recurrent = [name for name in only if getattr(self, name)]
        recurrent += ["zoneout"] if zoneout_rates(self.zoneout) else []
        if self.context is not None and recurrent:
            names = [f"model.{name}" for name in recurrent]
            raise SettingError(
                f"model.context has no recurrence: {' and '.join(names)} cannot go with it.",
                *("model.context", *names),
            )


@dataclass
class DrawingOptions:
    """How a model writes, a token after the other.

    Args:
        max_new_tokens: Longest continuation.
        stop: Stop before this text, which is not written; may be given several times.
        temperature: Below 1 safer, above 1 bolder; 0: always the most probable token.
        top_k: Draw from the k most probable tokens; 0: from all.
        top_p: Draw from the fewest tokens with this share of the probability.
        min_p: Draw from tokens at least so probable as the most probable one times this.
        repetition_penalty: Above 1: tokens that stand in prime or text become less probable; their
            logits are divided by it where positive, else multiplied.
        presence_penalty: Taken off the logit of each token that was written.
        frequency_penalty: Taken off the logit of each token as often as it was written.
        num_beams: Beam search of this width instead of sampling.
        num_samples: How many texts.
        batch_size: Texts written side by side; it changes none of them.
        seed: The same seed gives the same text.
        logprobs: With --json, tell each written token's log-probability and so many likely tokens
            in its place with theirs, as the model has them before all of the above.
        forbid_unk: Never write <unk>.
        ignore_eos: Write on past <eos>.
    """

    max_new_tokens: int = limited(500, 0)
    stop: list[str] = each_said()
    temperature: float = limited(1.0, 0, 1e6)
    top_k: int = limited(0, 0)
    top_p: float = limited(1.0, 0, 1, above=True)
    min_p: float = limited(0.0, 0, 1)
    repetition_penalty: float = limited(1.0, 0.01, 100)
    presence_penalty: float = limited(0.0, -100, 100)
    frequency_penalty: float = limited(0.0, -100, 100)
    num_beams: int = limited(1, 1, WIDEST)
    num_samples: int = limited(1, 1)
    batch_size: int = limited(256, 1, WIDEST)
    seed: int | None = limited(None, 0, SEEDS)
    logprobs: int | None = limited(None, 0, 1000)
    forbid_unk: bool = False
    ignore_eos: bool = False

    def check(self) -> None:
        """There are as many beams as samples to choose from them; beams draw nothing."""
        if 1 < self.num_beams < self.num_samples:
            raise SettingError(
                f"num_samples {self.num_samples} exceeds num_beams {self.num_beams}.",
                *("num_samples", "num_beams"),
            )
        if "" in self.stop:
            raise SettingError("stop must be a text of one character at least, got ''.", "stop")
        drawn = ("stop", "min_p", "presence_penalty", "frequency_penalty")
        asked = [name for name in drawn if getattr(self, name)]
        asked += ["repetition_penalty"] if self.repetition_penalty != 1 else []
        asked += ["logprobs"] if self.logprobs is not None else []
        if self.num_beams > 1 and asked:
            raise SettingError(
                f"{asked[0]} is for drawn texts: it does not go with num_beams.",
                *(asked[0], "num_beams"),
            )


@dataclass
class WritingOptions(DrawingOptions):
    """How a language model writes.

    Args:
        prime: Text to go on from; - reads it from standard input; may be given several times.
        prompts: File of texts to go on from: one a line, or of JSON objects with a "prompt" a line
            (.jsonl, .ndjson); - reads lines from standard input.
        num_samples: How many texts after each.
    """

    prime: str | list[str] = each_said("")
    prompts: str | None = None

    def check(self) -> None:
        """Texts come from one place."""
        super().check()
        if self.prompts is not None and self.prime:
            raise SettingError(
                "prime is a text to go on from, prompts a file of them: give one of them.",
                *("prime", "prompts"),
            )


@dataclass
class TextScoringOptions:
    """How texts are scored.

    Args:
        per: What a text is: a line, or a document, which is a file or all of standard input.
        batch_size: Texts read side by side.
        max_bytes: Most bytes of a text; a longer one is an error that names it.
    """

    per: Literal["line", "document"] = "line"
    batch_size: int = limited(64, 1, WIDEST)
    max_bytes: int = limited(1 << 22, 1)


@dataclass
class LanguageConfig(RunConfig):
    """Train a language model: characters, bytes, words or subwords.

    Args:
        train: Text files, globs or directories; .gz is read as it is.
        valid: Validation text; default: the last 10% of the training text.
        level: What a token is.
        data: How text becomes tokens.
        model: The network.
        loop: The training loop.
    """

    train: list[str] = data_files()
    valid: list[str] = data_files()
    level: LEVELS = "char"
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loop: StreamLoopConfig = field(default_factory=StreamLoopConfig)

    compared_by: ClassVar[tuple[str, ...]] = ("levels", "baselines")
    fixed: ClassVar[tuple[str, ...]] = (
        *("level", *RunConfig.fixed),
        *("train", "valid", "data", "loop.batch_size", "loop.window"),  # its place in the data does
    )
    generate_options: ClassVar[type | None] = WritingOptions
    score_options: ClassVar[type | None] = TextScoringOptions
