"""Tagging: a tag for each word of a sentence (many-to-many, T_x = T_y)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..cells.names import find_cell, source_file
from ..checkpoint import RunFolder
from ..config import TaggerConfig
from ..config.tagging import TaggerDataConfig, TaggingOptions
from ..data.batches import Batches, Ragged, by_length
from ..data.conll import Reader, Sentence, format_of, of_words, read_tagged
from ..data.forms import Forms, Words
from ..data.labelled import Record
from ..data.labels import Labels
from ..data.lines import Inputs, check_encoding
from ..data.spans import spans_of
from ..data.splits import hold_out
from ..data.vectors import Vectors, vectors_as_wide
from ..data.vocabulary import SPECIALS, Vocabulary
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.machine import Processes
from ..models.tagger import Tagger
from .tagged import Tagged, Tags, Truth
from .task import Evaluation, Loss, Prediction, Score, Task, aligned, batches_of, figures

EVALUATION_TOKENS = 1 << 13
"""Words looked at together when nothing is learned, padding included."""

AT_ONCE = 1 << 12
"""Most lines of input taken together."""


@dataclass(frozen=True)
class Examples:
    """Sentences, the ids of their tags, and what is known of them."""

    words: Forms
    tags: Ragged
    truth: Truth

    def __len__(self) -> int:
        return len(self.words)


class Tagging(Task):
    """A tagger's data, loss and metrics. `Task` says what each part is for."""

    unit = "words"
    train: Examples
    valid: Examples
    batches: Batches
    vectors: Vectors | None = None
    covered = ""
    """How many words have a vector."""

    def __init__(
        self,
        config: TaggerConfig,
        words: Vocabulary,
        characters: Vocabulary,
        tags: Tags,
        device: torch.device | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        self.config, self.words, self.characters, self.tags = config, words, characters, tags
        where = folder.path if folder else None
        self.cell = find_cell(config.cell, where)
        self.char_cell = find_cell(config.model.char_cell or config.cell, where)
        self.device = device or torch.device("cpu")
        metric = config.score
        if metric == "auto":
            metric = "f1" if tags.of_spans else "accuracy"
        if metric == "f1" and not tags.of_spans:
            raise InputError("score f1 is that of spans, and these tags are classes by themselves.")
        self.score = Score(metric, higher_is_better=metric != "loss", percent=metric != "loss")

    # ---- training -----------------------------------------------------------------------------

    @classmethod
    def prepare(
        cls,
        config: TaggerConfig,
        *,
        resumed: RunFolder | None = None,
        device: torch.device | None = None,
        processes: Processes | None = None,
    ) -> Tagging:
        """The task with its data: vocabularies and tags are those of the training sentences."""
        processes = processes or Processes()
        check_encoding(config.data.encoding)
        train = read_tagged(config.train, reader(config.data))
        if len(train) == 1 and not config.valid:
            raise InputError(
                f"{train[0].places[0]}: all {len(train[0].words):,} words are one sentence: "
                "expected a blank line after each sentence, or --valid FILE."
            )
        if config.valid:
            valid = read_tagged(config.valid, reader(config.data))
        else:
            train, valid = split(config, train)
        tags = Tags.of(config.data, train)
        if len(tags.labels) < 2:
            raise InputError(
                f"all words of {' '.join(config.train)} have the tag "
                f"{tags.labels.names[0]!r}: there is nothing to tell apart."
            )
        data = config.data
        width = config.model.embedding_size
        vectors = vectors_as_wide(data.vectors, data.vectors_limit, width)
        words, characters = vocabularies(data, train)
        covered = vectors.covering(words) if vectors else ""
        if vectors is not None:  # known, seen in training or not
            words = vectors.extend(words)
        task = cls(config, words, characters, tags, device, resumed)
        task.vectors, task.covered = vectors, covered
        task.train, task.valid = task.encode(train), task.encode(valid)
        if tags.unseen(task.valid.truth) == len(task.valid.tags.values) > 0:
            terminal.warn("no word of the validation data has a tag that training has.")
        task.batches = batches_of(task.train.words.sentences.lengths, config, processes)
        return task

    @classmethod
    def load(cls, config: TaggerConfig, folder: RunFolder, device: torch.device) -> Tagging:
        """The task of a run, without its data."""
        labels = Labels.load(folder.file("labels.json"))
        return cls(
            config,
            Vocabulary.load(folder.tokenizer, "word"),
            Vocabulary.load(folder.file("characters.json"), "char"),
            Tags(labels, config.data.scheme, config.data.spans_as),
            device,
            folder,
        )

    def save(self, folder: RunFolder) -> None:
        """Write vocabularies and tags, and the source of cells of the user's own."""
        for cell in (self.config.cell, self.config.model.char_cell):
            if cell:
                folder.keep(source_file(cell, folder.path))
        folder.save_text(folder.tokenizer, self.words.to_json())
        folder.save_text(folder.file("characters.json"), self.characters.to_json())
        folder.save_text(folder.file("labels.json"), self.tags.labels.to_json())

    def encode(self, sentences: Sequence[Sentence]) -> Examples:
        """Words and tags as numbers."""
        truth = self.tags.read(sentences)
        return Examples(self.forms(sentences), self.tags.encode(truth), truth)

    def forms(self, sentences: Sequence[Sentence]) -> Forms:
        """Words as numbers."""
        return Forms.of((s.words for s in sentences), self.words, self.characters)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the sentences."""
        return len(self.batches)

    @property
    def fingerprint(self) -> str:
        """Of words, characters and tags."""
        parts = [
            part.fingerprint()
            for examples in (self.train, self.valid)
            for part in (examples.words.sentences, examples.words.characters, examples.tags)
        ]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

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
        model = Tagger(self.cell, self.char_cell, sizes, self.config.model, self.tags.legal())
        if self.vectors is not None:
            self.vectors.put_into(model.words.embedding.weight, self.words)
        return model.to(self.device)

    def batch(self, epoch: int, i: int) -> tuple[Words, Tensor, int, bool]:
        """Words, tags [T, B], how many words, and whether they count."""
        share = self.batches.share(epoch, i)
        words = self.train.words.pad(share.examples)
        tags, lengths = self.train.tags.pad(share.examples, -1)
        return words.to(self.device), tags.to(self.device), int(lengths.sum()), share.counts

    def loss(self, model: Any, batch: tuple[Words, Tensor, int, bool], carry: Any) -> Loss:
        """Mean nats over the words."""
        words, tags, size, counts = batch
        return Loss(model(words, tags), size if counts else 0)

    def validate(self, model: Tagger, *, quick: bool) -> dict[str, float]:
        """Accuracy, loss and, of spans, precision, recall and F1 of the validation sentences."""
        predicted, loss = self.predicted(model, self.valid.words, self.valid.tags)
        return numbers(self.tags.measure(self.valid.truth, predicted), loss)

    def describe(self, metrics: dict[str, float]) -> str:
        """What counts first."""
        text = f"accuracy {metrics['accuracy']:.2%}, loss {metrics['loss']:.4f}"
        if "f1" in metrics:
            text = (
                f"F1 {metrics['f1']:.2%} (precision {metrics['precision']:.2%}, recall "
                f"{metrics['recall']:.2%}), {text}"
            )
        return text

    # ---- a finished run -----------------------------------------------------------------------

    @torch.inference_mode()
    def predicted(
        self, model: Tagger, words: Forms, tags: Ragged | None = None
    ) -> tuple[list[list[str]], float]:
        """The tags of each sentence, in their order; and the mean nats of `tags` that are known."""
        training = model.training
        model.eval()
        found: list[list[str]] = [[] for _ in range(len(words))]
        nats, count = 0.0, 0
        for some in by_length(words.sentences.lengths, EVALUATION_TOKENS):
            padded = words.pad(some).to(self.device)
            scores = model.scores(padded)
            ids = model.decode(scores, padded.lengths).cpu().numpy()
            for column, i in enumerate(some.tolist()):
                found[i] = self.tags.decode(ids[: words.sentences.lengths[i], column])
            if tags is not None:
                true = tags.pad(some, -1)[0].to(self.device)
                nats += float(model.nats_of(scores, padded.lengths, true).double().sum())
                count += model.costing(true, padded.lengths)
        model.train(training)
        return found, nats / count if count else float("nan")

    def to_measure(self, data: list[str] | None) -> Examples:
        """The sentences of files; None: the run's own for validation."""
        config = self.config
        if data is not None or config.valid:
            return self.encode(read_tagged(data or config.valid, reader(config.data)))
        return self.encode(split(config, read_tagged(config.train, reader(config.data)))[1])

    def evaluate(
        self, model: Tagger, data: list[str] | None, options: None = None
    ) -> TaggerEvaluation:
        """Metrics of tagged sentences."""
        examples = self.to_measure(data)
        predicted, loss = self.predicted(model, examples.words, examples.tags)
        found = self.tags.measure(examples.truth, predicted)
        return TaggerEvaluation(
            **numbers(found, loss),
            sentences=len(examples),
            words=len(examples.tags.values),
            unseen_tags=found.unseen_tags,
            repaired_tags=examples.truth.repaired,
            tags=found.tags,
            types=found.spans.types if found.spans else None,
        )

    def predict(
        self, model: Tagger, inputs: Inputs, options: TaggingOptions
    ) -> Iterator[Prediction]:
        """The tags of each sentence, as its lines with a last column, and a blank line."""
        for sentences in self.arriving(inputs, options):
            predicted, _ = self.predicted(model, self.forms(sentences))
            for sentence, tags in zip(sentences, predicted):
                values: dict[str, Any] = {"words": sentence.words, "tags": tags}
                if self.tags.of_spans:
                    values["spans"] = [
                        {**span._asdict(), "words": sentence.words[span.start : span.end]}
                        for span in spans_of(tags)
                    ]
                text = sentence.written(tags, replace=options.replace)
                yield Prediction(f"{text}\n" if sentence.rows else "", values)

    def arriving(self, inputs: Inputs, options: TaggingOptions) -> Iterator[list[Sentence]]:
        """Sentences as they come; a pipe's are not held back until there are more."""
        data = self.config.data
        asked = data.format if options.format == "auto" else options.format
        for path in inputs.paths or [None]:
            of_path = Inputs((path,), encoding=data.encoding) if path else inputs
            form = format_of(path or self.config.train[0], asked)
            rows = replace(reader(data), format=form, tagged=False)
            for lines in of_path.chunks(AT_ONCE):
                if form == "text":
                    yield [of_words(line.text.split(), line) for line in lines]
                elif found := [s for line in lines if (s := rows.push(line)) is not None]:
                    yield found
            if (last := rows.close()) is not None:
                yield [last]


def reader(data: TaggerDataConfig) -> Reader:
    """What reads files as the configuration says."""
    return Reader(data.format, data.word, data.tag, data.columns, data.encoding)


def split(config: TaggerConfig, sentences: list[Sentence]) -> tuple[list[Sentence], list[Sentence]]:
    """Training and validation sentences, where no validation file is given."""
    by_place = {s.places[0]: s for s in sentences}
    records = [
        Record("\n".join(map("\t".join, zip(s.words, s.tags))), None, place)
        for place, s in by_place.items()
    ]
    parts = hold_out(records, config.data.holdout, config.data.split_seed)
    train, valid = ([by_place[record.where] for record in part] for part in parts)
    return train, valid


def vocabularies(
    data: TaggerDataConfig, train: Sequence[Sentence]
) -> tuple[Vocabulary, Vocabulary]:
    """Of words and of characters."""
    words: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    for form, count in Counter(word for sentence in train for word in sentence.words).items():
        words[form.lower() if data.lowercase else form] += count
        for character in form:
            characters[character] += count
    kept, size = frequent(words, data.min_count), data.vocab_size
    if not kept:
        terminal.warn(f"no word occurs {data.min_count} times: all but one are <unk>.")
        kept, size = words, len(SPECIALS) + 1
    vocabulary = Vocabulary.of_counts(kept, size=size, lowercase=data.lowercase)
    # characters seen once become <unk>, so that it is learned
    return vocabulary, Vocabulary.of_counts(frequent(characters, 2) or characters, "char")


def frequent(counts: Counter[str], least: int) -> Counter[str]:
    """What occurs so often."""
    return Counter({token: n for token, n in counts.items() if n >= least})


def numbers(found: Tagged, loss: float) -> dict[str, float]:
    """The plain figures."""
    values = {"accuracy": found.accuracy, "loss": loss}
    if (spans := found.spans) is not None:
        values |= {
            "precision": spans.precision,
            "recall": spans.recall,
            "f1": spans.f1,
            "macro_f1": spans.macro_f1,
        }
    return values


@dataclass(frozen=True)
class TaggerEvaluation(Evaluation):
    """What `evaluate` found. Tags never seen in training are counted, as wrong.

    Of spans there are precision, recall and F1 over all (micro), `macro_f1` and the `types`, each
    with its own; `tags` has those of each tag, by words.
    """

    accuracy: float
    loss: float
    sentences: int
    words: int
    unseen_tags: int
    repaired_tags: int
    tags: list[dict[str, Any]]
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    macro_f1: float | None = None
    types: list[dict[str, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """What there is: tags by themselves have no spans."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def report(self) -> str:
        """The figures, then each type of span or each tag."""
        name, rows, count = "tag", self.tags, "words"
        if self.types is not None:
            name, rows, count = "type", self.types, "spans"
        shown = [
            [r[name], *(f"{r[k]:.4f}" for k in ("precision", "recall", "f1")), r[count]]
            for r in rows
        ]
        table = aligned([[name, "precision", "recall", "F1", count], *shown])
        return f"{figures(self.to_dict())}\n\n{table}"
