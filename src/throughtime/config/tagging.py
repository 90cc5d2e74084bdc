"""Settings of taggers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ..ground.errors import SettingError
from .numbers import StepsConfig, check_split
from .run import BATCHES, ExampleLoopConfig, OptimConfig, RunConfig
from .settings import WIDEST, data_files, limited
from .text import LARGEST_VOCABULARY, HoldoutConfig, LinesConfig, ReaderModelConfig, VectorsConfig


@dataclass
class TaggerDataConfig(StepsConfig, HoldoutConfig, LinesConfig, VectorsConfig):
    """How files become sentences of tagged words, or sequences of labelled steps.

    Args:
        format: conll (columns with tabs or spaces between), or conllu (ten columns, or those that
            # global.columns names); auto: conllu by the file's name (.conllu, .conllup), else
            conll.
        columns: Names of the columns, first to last, where the file does not tell them.
        word: Column of the words: a name, or a number from 1, or from -1 for the last; auto: FORM,
            or the first.
        tag: Column of the tags; auto: UPOS, or the last; with level numbers the column label.
        scheme: How tags tell spans: IOB1, IOB2, BIOES, BILOU or BMES; none: each tag is a class by
            itself; auto: the one that most tags of the training data are written in.
        spans_as: What the model learns of spans; its predictions are written in the scheme of the
            data.
        encoding: Encoding of the text.
        max_bytes: Most bytes of a line, which holds a word or a word's vector; a longer one is an
            error that names it.
        vocab_size: Most words in the vocabulary.
        min_count: Words seen less often become <unk>; their characters are still read.
        lowercase: Fold words to lower case; characters keep theirs.
    """

    format: Literal["auto", "conll", "conllu"] = "auto"
    columns: list[str] = field(default_factory=list)
    word: str = "auto"
    tag: str = "auto"
    scheme: Literal["auto", "IOB1", "IOB2", "BIOES", "BILOU", "BMES", "none"] = "auto"
    spans_as: Literal["IOB2", "BIOES"] = "BIOES"
    encoding: str = "utf-8"
    max_bytes: int = limited(1 << 16, 1)
    vocab_size: int = limited(50_000, 5, LARGEST_VOCABULARY)
    min_count: int = limited(2, 1)
    lowercase: bool = True


@dataclass
class TaggerModelConfig(ReaderModelConfig):
    """The network: words and their characters, stack of cells, output layers, softmax or CRF.

    Args:
        dropout: On the input, between layers and on what comes out.
        affixes: Add to a word's embedding those of its beginnings and endings of up to so many
            characters, which it shares with other words; 0 for none.
        affixes_of_unknown: Words that the vocabulary lacks have affixes too; runs of before have
            none.
        characters: How a word's characters are read: by cells in both directions, by a convolution
            with its maximum over the word, or not at all.
        char_cell: Cell of recurrent characters; default: that of the stack's first layer.
        char_embedding_size: Width of the character embedding.
        char_size: Width of what stands for a word's characters.
        char_width: Characters that a convolution sees at a time.
        output_layers: Widths of ordinary layers (relu) at each word, before the head.
        head: softmax, each tag by itself; or crf, the whole sequence of tags at once.
        word_dropout: Share of words read as <unk> in training; their characters are still read.
    """

    hidden_size: int | list[int] = limited(192, 1, WIDEST)
    affixes: int = limited(0, 0, 8)
    affixes_of_unknown: bool = True
    characters: Literal["recurrent", "convolutional", "none"] = "recurrent"
    char_cell: str | None = None
    char_embedding_size: int = limited(32, 1, WIDEST)
    char_size: int = limited(128, 2, WIDEST)
    char_width: int = limited(3, 1, 1000)
    head: Literal["softmax", "crf"] = "softmax"
    dropout: float = limited(0.4, 0, 0.999)
    word_dropout: float = limited(0.1, 0, 0.999)

    def check(self) -> None:
        """Two directions share the width of characters evenly."""
        super().check()
        if self.characters == "recurrent" and self.char_size % 2:
            raise SettingError(
                "model.char_size must be even where characters are read in both directions; got "
                f"{self.char_size}.",
                "model.char_size",
            )


@dataclass
class TagColumnOptions:
    """Which columns of tagged sentences are read, where they are others than in training.

    With another --format than that of training, what is not told is found as --data.columns,
    --data.word and --data.tag of training are by default.

    Args:
        columns: Names of the columns, first to last; default: as in training.
        word: Column of the words: a name, or a number from 1, or from -1 for the last; default: as
            in training.
        tag: Column of the tags; default: as in training.
    """

    columns: list[str] = field(default_factory=list)
    word: str | None = None
    tag: str | None = None

    def read_as(self, data: TaggerDataConfig, format: str, trained: str) -> dict[str, Any]:
        """Format and columns as a reader takes them: those said, else those of `data`.

        `format` is that asked for; `trained` that of the training files, whose columns another
        format has not.
        """
        other = format not in ("auto", trained)
        said = {
            "columns": self.columns or ([] if other else data.columns),
            "word": self.word or ("auto" if other else data.word),
            "tag": self.tag or ("auto" if other else data.tag),
        }
        return said | {"format": data.format if format == "auto" else format}


@dataclass
class TaggerScoringOptions(TagColumnOptions):
    """How the files of --data are read.

    Args:
        format: conll or conllu, as --data.format of training; auto: as in training.
    """

    format: Literal["auto", "conll", "conllu"] = "auto"


@dataclass
class TaggingOptions(TagColumnOptions):
    """How tags are predicted.

    Args:
        format: conll or conllu, or text (a sentence a line, words with spaces between); auto: by
            the file's name, or as in training.
        replace: Write the tag into the column of the tags, in place of what stands there, instead
            of a last column.
    """

    format: Literal["auto", "conll", "conllu", "text"] = "auto"
    replace: bool = False


@dataclass
class TaggerConfig(RunConfig):
    """Train a tagger: a tag for each word of a sentence, one by one or as spans, or for each step
    of a sequence of numbers.

    Args:
        train: Files of tagged sentences, globs or directories; .gz is read as it is. With level
            numbers, tables or .npz.
        valid: Validation files; default: a tenth of the training sentences or sequences.
        level: words; or numbers: sequences of numbers, CSV or Parquet with a row a step, or .npz.
        score: What decides which weights are the best; auto: f1 for spans, else accuracy.
        data: How files become sentences.
        model: The network.
        loop: The training loop.
    """

    train: list[str] = data_files()
    valid: list[str] = data_files()
    level: Literal["words", "numbers"] = "words"
    score: Literal["auto", "accuracy", "f1", "macro_f1", "loss"] = "auto"
    data: TaggerDataConfig = field(default_factory=TaggerDataConfig)
    model: TaggerModelConfig = field(default_factory=TaggerModelConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=0.003))
    loop: ExampleLoopConfig = field(default_factory=ExampleLoopConfig)

    fixed: ClassVar[tuple[str, ...]] = ("level", *RunConfig.fixed, *BATCHES, "score")
    evaluate_options: ClassVar[type | None] = TaggerScoringOptions
    predict_options: ClassVar[type | None] = TaggingOptions

    def cells(self) -> dict[str, list[str]]:
        """Characters are read by one layer."""
        found = super().cells()
        return found if self.model.char_cell else found | {"char_cell": found["cell"][:1]}

    def check(self) -> None:
        """The score is one of these tags."""
        super().check()
        check_split(self.data)
        if self.level == "words" and (others := self.data.of_steps()):
            name = f"data.{next(iter(others))}"
            raise SettingError(f"{name} is of numbers: not with level words.", name, "level")
        if self.score == ("macro_f1" if self.level == "words" else "f1"):
            raise SettingError(
                f"score {self.score} is not one of level {self.level}.", "score", "level"
            )
        if self.score == "f1" and self.data.scheme == "none":
            raise SettingError(
                "score f1 is that of spans, but data.scheme is none.", "score", "data.scheme"
            )
