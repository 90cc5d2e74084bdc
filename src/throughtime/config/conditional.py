"""Settings of sequences with a condition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .durations import Every
from .language import DrawingOptions
from .run import BATCHES, ExampleLoopConfig, RunConfig
from .settings import WIDEST, data_files, limited, spelled
from .text import DecoderConfig, HoldoutConfig, LinesConfig, TextConfig


@dataclass
class SequencesConfig(TextConfig, HoldoutConfig):
    """How sequences become tokens, and which are held out."""

    holdout: float = limited(0.1, 0.0001, 0.9999)


@dataclass
class ConditionalDataConfig(SequencesConfig, LinesConfig):
    """How files become sequences with a condition, and sequences tokens.

    Args:
        format: jsonl (a JSON object a line), or files (a file for each class, named after it; a
            sequence a line); auto: by the file's name, .jsonl and .ndjson, else files.
        condition: Key of the condition in a JSON object.
        sequence: Key of the sequence.
    """

    format: Literal["auto", "jsonl", "files"] = "auto"
    condition: str = "condition"
    sequence: str = "sequence"


@dataclass
class ConditionalModelConfig(DecoderConfig):
    """The network of a sequence with a condition.

    Args:
        learned_initial_state: Learn the state in which a sequence begins; zero at first. Where the
            condition joins the state, it has a learned bias already, and this does nothing more.
        condition_size: Width of the condition's embedding.
        condition_joins: What the condition enters: the first state, every input, or both.
        condition_dropout: How often each named condition is left out in training, so that the
            model can also write without it.
    """

    condition_size: int = limited(64, 1, WIDEST)
    condition_joins: Literal["both", "state", "input"] = "both"
    condition_dropout: float = limited(0.0, 0, 0.999)


@dataclass
class ConditionalLoopConfig(ExampleLoopConfig):
    """The training loop over whole sequences, batched with others about as long.

    Args:
        recompute: Keep states only every so many steps and recompute between: long sequences in
            bounded memory; dropout masks are drawn anew for each such part. 0: never.
        sample_every: When to show a sample of what the model writes; 0 for never.
    """

    recompute: int = limited(1024, 0)
    sample_every: str = spelled("30s", Every.parse)


@dataclass
class ConditionalWritingOptions(DrawingOptions):
    """How a model writes for a condition.

    Args:
        prime: Text to go on from; - reads it from standard input.
        condition: What to write for: NAME=VALUE …, or VALUE alone where there is one name; several
            labels or numbers with commas between. Names left out are drawn as the training data
            have them.
    """

    prime: str = ""
    condition: list[str] = field(default_factory=list)


@dataclass
class ConditionalScoringOptions:
    """How the files of --data are read, where it is otherwise than in training.

    Args:
        format: jsonl or files, as --data.format of training; auto: as in training.
        condition: Key of the condition in a JSON object; default: as in training.
        sequence: Key of the sequence; default: as in training.
    """

    format: Literal["auto", "jsonl", "files"] = "auto"
    condition: str | None = None
    sequence: str | None = None

    def changes(self) -> dict[str, str]:
        """What is said here, as settings of the data."""
        found = {"condition": self.condition, "sequence": self.sequence}
        found |= {"format": None if self.format == "auto" else self.format}
        return {name: value for name, value in found.items() if value is not None}


@dataclass
class ConditionalConfig(RunConfig):
    """Train a model that writes a sequence for a condition: a label, labels or numbers.

    Args:
        train: JSON lines {"condition": …, "sequence": …}, or files of a class each, a sequence a
            line; globs or directories; .gz is read as it is.
        valid: Validation files; default: a tenth of the training sequences.
        level: What a token is; event for sequences that are lists.
        data: How sequences become tokens.
        model: The network.
        loop: The training loop.
    """

    train: list[str] = data_files()
    valid: list[str] = data_files()
    level: Literal["char", "byte", "word", "subword", "event"] = "char"
    data: ConditionalDataConfig = field(default_factory=ConditionalDataConfig)
    model: ConditionalModelConfig = field(default_factory=ConditionalModelConfig)
    loop: ConditionalLoopConfig = field(default_factory=ConditionalLoopConfig)

    fixed: ClassVar[tuple[str, ...]] = ("level", *RunConfig.fixed, *BATCHES)
    evaluate_options: ClassVar[type | None] = ConditionalScoringOptions
    generate_options: ClassVar[type | None] = ConditionalWritingOptions
    between_samples: ClassVar[str] = "\n"
