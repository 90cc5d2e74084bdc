"""Tagging: a tag for each word of a sentence (many-to-many, T_x = T_y)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..cells.base import Cell
from ..checkpoint import RunFolder
from ..config.tagging import (
    TagColumnOptions,
    TaggerConfig,
    TaggerScoringOptions,
    TaggingOptions,
)
from ..data.affixes import Spelling, affixes_of, reader_of
from ..data.batches import Ragged
from ..data.conll import FORMS, Sentence, SentenceReader, format_of, of_words, read_tagged
from ..data.forms import Forms, Words, vocabularies
from ..data.labelled import Record
from ..data.labels import UNSEEN
from ..data.limits import check_tokens
from ..data.lines import Inputs, check_encoding, read_lines
from ..data.spans import spans_of
from ..data.splits import hold_out
from ..data.vectors import Vectors, vectors_as_wide
from ..data.vocabulary import Vocabulary
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.wording import plural
from ..layers.mode import evaluating
from ..models.tagger import Tagger
from .endings import Ends
from .example_task import Encoded, ExampleTask, at
from .exported import Exported, mixed, tell_plain
from .origin import Origin
from .tagged import TaggerEvaluation, Tags, Truth, numbers
from .task import Prediction, Score

LINES_AT_ONCE = 1 << 12
"""Most lines of input taken together."""


@dataclass(frozen=True)
class TaggedSentences(Encoded):
    """N sentences, the ids of their tags, and what is known of them, if anything is."""

    words: Forms
    tags: Ragged
    truth: Truth

    @property
    def lengths(self) -> np.ndarray:
        """[N]."""
        return self.words.sentences.lengths

    def pad(self, some: np.ndarray) -> tuple[Words, Tensor]:
        """Words, tags [T, B]."""
        return self.words.pad(some), self.tags.pad(some, UNSEEN)[0]

    def fingerprint(self) -> str:
        """Of words, characters and tags."""
        words = self.words
        return "".join(p.fingerprint() for p in (words.sentences, words.characters, self.tags))


class Tagging(ExampleTask):
    """A tagger's data, loss and metrics. `ExampleTask` says what each part is for."""

    unit = "words"
    cell_options: ClassVar = {"characters.stack": "--model.char_cell"}
    kept: ClassVar = {
        "tokenizer.json": "words",
        "characters.json": "characters",
        "labels.json": "tags.labels",
    }
    train: TaggedSentences
    valid: TaggedSentences
    char_cell: Cell
    from_language: ClassVar = ("words", "words", "stack")
    words: Vocabulary
    characters: Vocabulary
    tags: Tags
    vectors: Vectors | None = None
    covered = ""
    """How many words have a vector."""

    # ---- data ---------------------------------------------------------------------------------

    def read(self, patterns: list[str]) -> list[Sentence]:
        """Tagged sentences."""
        return self.read_more(patterns)

    def read_more(
        self, patterns: list[str], options: TaggerScoringOptions | None = None
    ) -> list[Sentence]:
        """The same, but for what `options` say of how files are read."""
        check_encoding(self.config.data.encoding)
        return read_tagged(patterns, reader(self.config, options))

    def counted(self, examples: TaggedSentences) -> str:
        """Sentences and words."""
        return f"{plural(len(examples), 'sentence')}, {plural(len(examples.tags.values), 'word')}"

    def doubt(self, examples: list[Sentence]) -> None:
        """All words in one sentence are hardly meant."""
        if len(examples) == 1 and not self.config.valid:
            raise InputError(
                f"{examples[0].places[0]}: all {len(examples[0].words):,} words are one sentence: "
                "expected a blank line after each sentence, or --valid FILE."
            )

    def split(self, examples: list[Sentence]) -> tuple[list[Sentence], list[Sentence]]:
        """A share of the sentences is held out."""
        data = self.config.data
        by_place = {s.places[0]: s for s in examples}
        records = [
            Record("\n".join(map("\t".join, zip(s.words, s.tags))), None, place)
            for place, s in by_place.items()
        ]
        train, valid = hold_out(records, data.holdout, data.split_seed)
        return [by_place[r.where] for r in train], [by_place[r.where] for r in valid]

    def learn(self, train: list[Sentence]) -> None:
        """Tags and vocabularies; words that have a vector are known, seen in training or not."""
        data = self.config.data
        self.has(Tags.of(data, train))
        if len(self.tags.labels) < 2:
            raise InputError(
                f"all words of {' '.join(self.config.train)} have the tag "
                f"{self.tags.labels.names[0]!r}: there is nothing to tell apart."
            )
        width = self.config.model.embedding_size
        self.vectors = vectors_as_wide(data.vectors, data.vectors_limit, width, data.max_bytes)
        self.words, self.characters = vocabularies(
            (sentence.words for sentence in train),
            data.vocab_size,
            data.min_count,
            lowercase=data.lowercase,
        )
        if self.vectors is not None:
            self.covered = self.vectors.covering(self.words)
            self.words = self.vectors.extend(self.words)

    def begin_from(self, origin: Origin) -> None:
        """A tagger's words and characters, and what these sentences have besides; its tags."""
        if not origin.is_like(self):
            return super().begin_from(origin)
        theirs, name = origin.forward.task, origin.forward.name
        new = [tag for tag in self.tags.labels.names if tag not in theirs.tags.labels.ids]
        if new:
            raise InputError(
                f"{name} has not the tag {new[0]!r} of these sentences: a tagger starts from one "
                "that has all their tags, or from a language model."
            )
        self.words = origin.extend(self.words, theirs.words)
        self.characters = theirs.characters.and_then(self.characters)
        self.has(theirs.tags)

    def take_weights(self, origin: Origin, model: Any) -> None:
        """All, or of a language model what reads."""
        if not origin.is_like(self):
            return super().take_weights(origin, model)
        origin.put_whole(model, self.words)

    def has(self, tags: Tags) -> None:
        """These are the tags, and with them the score is settled."""
        self.tags, metric = tags, self.config.score
        if metric == "auto":
            metric = "f1" if tags.of_spans else "accuracy"
        if metric == "f1" and not tags.of_spans:
            raise InputError("score f1 is that of spans, and these tags are classes by themselves.")
        self.score = Score(metric, higher_is_better=metric != "loss", percent=metric != "loss")

    def encode(self, examples: list[Sentence], *, training: bool = False) -> TaggedSentences:
        """Words and tags as numbers."""
        scheme = self.tags.scheme if training else self.tags.scheme_in(examples)
        truth = self.tags.read(examples, scheme)
        return TaggedSentences(self.forms(examples), self.tags.encode(truth), truth)

    def look_over(self, train: list[Sentence], valid: list[Sentence]) -> None:
        """Validation sentences without a tag that is known."""
        if self.tags.unseen(self.valid.truth) == len(self.valid.tags.values) > 0:
            terminal.warn("no word of the validation data has a tag that training has.")

    def restore(self, folder: RunFolder) -> None:
        """Read vocabularies and tags."""
        data = self.config.data
        self.words = Vocabulary.load(folder.tokenizer, "word")
        self.characters = Vocabulary.load(folder.file("characters.json"), "char")
        self.has(Tags.load(folder.file("labels.json"), data.scheme, data.spans_as))

    @property
    def fingerprint(self) -> str:
        """Of words, characters and tags."""
        both = self.train.fingerprint() + self.valid.fingerprint()
        return hashlib.sha256(both.encode()).hexdigest()

    def forms(self, sentences: Sequence[Sentence]) -> Forms:
        """Words as numbers."""
        lengths = np.array([len(s.words) for s in sentences])
        check_tokens(lengths, self.config.data.max_tokens, lambda i: sentences[i].places[0])
        words = (s.words for s in sentences)
        return Forms.of(words, self.words, self.characters, self.reader)

    @property
    def reader(self) -> Vocabulary | Spelling:
        """What makes ids of words."""
        c = self.config.model
        return reader_of(self.words, c.affixes, of_unknown=c.affixes_of_unknown)

    def summary(self) -> str:
        """The data in one line."""
        train, valid = self.train, self.valid
        text = (
            f"{len(train):,} sentences, {len(train.tags.values):,} words, vocabulary "
            f"{len(self.words):,} ({train.words.unknown:.2%} <unk>, in validation "
            f"{valid.words.unknown:.2%}), {len(self.characters):,} characters; {len(valid):,} "
            f"sentences for validation; {self.tags.describe()}"
        )
        text += f"; {self.covered}" if self.covered else ""
        if repaired := train.truth.repaired + valid.truth.repaired:
            text += f"; {repaired:,} tags of spans repaired"
        if unseen := self.tags.unseen(valid.truth):
            text += f"; {unseen:,} validation words have tags that training has not"
        return text

    def build_model(self) -> Tagger:
        """The untrained network, on the device; word vectors in place where there are any."""
        sizes = len(self.words), len(self.characters), len(self.tags.labels)
        c = self.config.model
        affixes = affixes_of(self.words, c.affixes, of_unknown=c.affixes_of_unknown)
        model = Tagger(self.cell, self.char_cell, sizes, c, self.tags.legal(), affixes)
        if self.vectors is not None:
            self.vectors.put_into(model.words.embedding.weight, self.words)
        return model.to(self.device)

    def validate(self, model: Tagger, *, quick: bool) -> dict[str, float]:
        """Accuracy, loss and, of spans, precision, recall and F1 of the validation sentences."""
        predicted, loss = self.predicted(model, self.valid.words, self.valid.tags)
        return numbers(self.tags.measure(self.valid.truth, predicted), loss)

    def describe(self, metrics: dict[str, float]) -> str:
        """What counts first."""
        text = f"accuracy {metrics['accuracy']:.2%}, {self.validation_loss(metrics)}"
        if "f1" in metrics:
            text = (
                f"F1 {metrics['f1']:.2%} (precision {metrics['precision']:.2%}, recall "
                f"{metrics['recall']:.2%}), {text}"
            )
        return text

    def looked_into(self) -> dict[str, str]:
        """The loss of a sentence's last tag, backward of the first; a CRF's is of all."""
        of = "the loss of the last tag (backward: of the first)"
        if self.config.model.head == "crf":
            of = "the loss of all tags together, which a CRF does not split"
        return {"stack": of, "characters.stack": "the loss of all tags"}

    def ends(self, model: Any, examples: TaggedSentences, some: np.ndarray) -> Ends:
        """At the last word, at the first, and of all."""
        words, tags = self.inputs(examples, some)

        def whole() -> Tensor:
            return model.nats(words, tags).sum()

        def of(steps: Tensor) -> Tensor:
            scores, truth = at(steps, model.scores(words)).float(), at(steps, tags)
            return F.cross_entropy(scores, truth, ignore_index=UNSEEN, reduction="sum")

        losses: dict[str, Any] = {"last": whole, "first": whole}
        if model.crf is None:
            losses = {
                "last": lambda: of(words.lengths - 1),
                "first": lambda: of(torch.zeros_like(words.lengths)),
            }
        lengths = {"stack": words.lengths}
        if hasattr(model.characters, "stack"):
            lengths["characters.stack"] = words.character_lengths
            losses["whole"] = whole
        return Ends(losses, lengths, apart=("characters.stack",))

    # ---- a finished run -----------------------------------------------------------------------

    def predicted(
        self, model: Tagger, words: Forms, tags: Ragged | None = None
    ) -> tuple[list[list[str]], float | None]:
        """The tags of each sentence, in their order; the mean nats of `tags`, if any is known."""
        lengths = words.sentences.lengths
        known = tags or Ragged(np.full(lengths.sum(), UNSEEN), lengths)
        examples = TaggedSentences(words, known, Truth([], [], 0))
        found: list[list[str]] = [[] for _ in range(len(words))]
        nats, count = 0.0, 0
        with evaluating(model):
            for some, (padded, true) in self.in_batches(examples):
                scores = model.scores(padded)
                ids = model.decode(scores, padded.lengths).cpu().numpy()
                for column, i in enumerate(some.tolist()):
                    found[i] = self.tags.decode(ids[: lengths[i], column])
                if tags is not None:
                    nats += float(model.nats_of(scores, padded.lengths, true).double().sum())
                    count += model.costing(true, padded.lengths)
        return found, nats / count if count else None

    def evaluate(
        self, model: Tagger, data: list[str] | None, options: TaggerScoringOptions | None = None
    ) -> TaggerEvaluation:
        """Metrics of tagged sentences."""
        examples = self.to_measure(data, options)
        predicted, loss = self.predicted(model, examples.words, examples.tags)
        found = self.tags.measure(examples.truth, predicted)
        return TaggerEvaluation(
            **{"loss": math.nan, **numbers(found, loss)},
            sentences=len(examples),
            words=len(examples.tags.values),
            unseen_tags=found.unseen_tags,
            repaired_tags=examples.truth.repaired,
            tags=found.tags,
            types=found.spans.types if found.spans else None,
        )

    def exported(self, model: Tagger) -> Exported:
        """What an exporter writes."""
        tell_plain(self.reader)
        labels = self.tags.labels.names

        def given() -> list[Any]:
            found = mixed(self.raw_to_learn())
            ids = (self.words.encode_tokens(one.words).tolist() for one in found)
            if model.characters is None:
                return list(ids)
            spelled = ([self.characters.encode(w).tolist() for w in one.words] for one in found)
            return [list(zip(*both)) for both in zip(ids, spelled)]

        return Exported(
            model.outline(), "tag", self.words, labels, characters=self.characters,
            calibration=given,
        )  # fmt: skip

    def predict(
        self, model: Tagger, inputs: Inputs, options: TaggingOptions
    ) -> Iterator[Prediction]:
        """The tags of each sentence, as its lines with a last column, and a blank line."""
        for sentences, scheme in self.arriving(inputs, options):
            predicted, _ = self.predicted(model, self.forms(sentences))
            for sentence, tags in zip(sentences, predicted):
                values: dict[str, Any] = {"words": sentence.words, "tags": tags}
                if self.tags.of_spans:
                    values["spans"] = [
                        {**span._asdict(), "words": sentence.words[span.start : span.end]}
                        for span in spans_of(tags)
                    ]
                text = sentence.written(self.tags.rewritten(tags, scheme), replace=options.replace)
                yield Prediction(f"{text}\n" if sentence.rows else "", values)

    def arriving(
        self, inputs: Inputs, options: TaggingOptions
    ) -> Iterator[tuple[list[Sentence], str]]:
        """Sentences as they come, a pipe's not held back until there are more; and the scheme to
        write theirs in: that of the tags replaced in a file, else that of training.
        """
        data, as_asked = self.config.data, reader(self.config, options)
        inputs = inputs.read_as(data.encoding, data.max_bytes)
        for path in inputs.paths or [None]:
            of_path = replace(inputs, paths=(path,)) if path else inputs
            form = format_of(path or self.config.train[0], as_asked.format)
            terminal.say(f"{path or 'standard input'}: read as {FORMS[form]} (--format {form}).")
            rows = replace(as_asked, format=form, tagged=False)
            scheme = self.tags.scheme
            if path and path.is_file() and options.replace and form != "text":
                given = replace(rows).read(read_lines(path, data.encoding, data.max_bytes))
                scheme = self.tags.scheme_in(given)
            for lines in of_path.chunks(LINES_AT_ONCE):
                if form == "text":
                    yield [of_words(line.text.split(), line) for line in lines], scheme
                elif found := [s for line in lines if (s := rows.push(line)) is not None]:
                    yield found, scheme
            if (last := rows.close()) is not None:
                yield [last], scheme


def reader(config: TaggerConfig, options: TagColumnOptions | None = None) -> SentenceReader:
    """What reads files as the configuration says, but for what `options` say."""
    data, asked = config.data, options or TaggerScoringOptions()
    trained = format_of(config.train[0], data.format) if config.train else data.format
    said = asked.read_as(data, getattr(asked, "format", "auto"), trained)
    return SentenceReader(
        **said, encoding=data.encoding, longest=data.max_bytes,
        options=vars(options) if options else (),
    )  # fmt: skip
