"""What classifiers classify: texts, or sequences of numbers; how each is read and encoded."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import RunFolder
from ..config import ClassifierConfig
from ..config.classification import ClassifierScoringOptions, LabellingOptions
from ..config.settings import WIDEST
from ..data.affixes import affixes_of
from ..data.batches import Ragged
from ..data.labelled import Record, Rows, format_of, read_labelled
from ..data.left_out import LeftOut, files_said
from ..data.lines import Inputs, check_encoding
from ..data.numbers import Columns, Scale, read_numbers
from ..data.vectors import Vectors, vectors_as_wide
from ..data.vocabulary import UNK, Vocabulary
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.whole import read_text
from ..layers.inputs import NumberInput, TokenInput

FORMS = {
    "text": "a text a line",
    "lines": "a label and a text a line",
    "tsv": "columns with tabs between",
    "csv": "CSV",
    "jsonl": "a JSON object a line",
}
"""What is said of the formats."""


class TextSource:
    """Texts as tokens of a vocabulary; `vectors` are where its embedding starts from."""

    vectors: Vectors | None = None
    covered = ""
    """How many words have a vector."""

    vocabulary: Vocabulary

    def __init__(self, config: ClassifierConfig, left_out: LeftOut) -> None:
        self.config, self.left_out = config, left_out

    def go_on(self, folder: RunFolder) -> None:
        """What is learned of the same data again is the same."""

    def learn(self, train: list[Record]) -> None:
        """The vocabulary of the training examples; words that have a vector are in it."""
        data = self.config.data
        width = self.config.model.embedding_size
        self.vectors = vectors_as_wide(data.vectors, data.vectors_limit, width, data.max_bytes)
        self.vocabulary = Vocabulary.of_texts(
            (record.content for record in train), self.config.level, **data.vocabulary()
        )
        if self.vectors is not None:
            self.covered = self.vectors.covering(self.vocabulary)
            self.vocabulary = self.vectors.extend(self.vocabulary)

    def save(self, folder: RunFolder) -> None:
        """Write the vocabulary."""
        folder.save_text(folder.tokenizer, self.vocabulary.to_json())

    def restore(self, folder: RunFolder) -> None:
        """Read the vocabulary of a run."""
        self.vocabulary = Vocabulary.load(folder.tokenizer, self.config.level)

    def read(
        self,
        patterns: list[str],
        labels: Iterable[str] = (),
        options: ClassifierScoringOptions | None = None,
    ) -> list[Record]:
        """Labelled texts; `labels` are those known already, `options` of how files are read."""
        data = replace(self.config.data, **(options.changes() if options else {}))
        check_encoding(data.encoding)
        encoding, longest = data.encoding, data.max_bytes
        rows = Rows(
            data.format, data.text, data.label, data.has_header, encoding, longest=longest,
            implied=data.header is None, options=vars(options) if options else (),
            left_out=self.left_out,
        )  # fmt: skip
        return read_labelled(patterns, rows, labels)

    def encode(self, records: Sequence[Record]) -> Ragged:
        """Tokens of each text, as many as the configuration lets through."""
        texts = (self.vocabulary.encode(record.content) for record in records)
        return Ragged.of(cut(texts, self.config))

    def build_input(self) -> TokenInput:
        """The embedding."""
        c = self.config.model
        return TokenInput(
            len(self.vocabulary),
            c.embedding_size,
            word_dropout=c.word_dropout,
            unknown=UNK,
            dropout=c.dropout_of("input"),
            locked=c.locked_dropout,
            affixes=affixes_of(self.vocabulary, c.affixes),
        )

    def begin(self, inputs: Any) -> None:
        """Put word vectors in place, where there are any."""
        if self.vectors is not None:
            self.vectors.put_into(inputs.embedding.weight, self.vocabulary)

    def describe(self, tokens: Ragged) -> str:
        """How much there is."""
        text = f"{len(tokens.values):,} tokens, vocabulary {len(self.vocabulary):,}"
        text += f", {self.covered}" if self.covered else ""
        unknown = (tokens.values == UNK).mean() if len(tokens.values) else 0.0
        return text + (f", {unknown:.2%} <unk>" if unknown else "")

    def form_of(self, path: Path | None, asked: str) -> str:
        """How a file to predict is read, or what comes in (None): as asked for, or as in training.

        Where training had tables or files of a class, a file that is no table holds texts.
        """
        data = self.config.data
        if asked != "auto":
            return asked
        if path is None or data.format == "files":
            return "text"
        of_lines = any(format_of(Path(name), data.format) == "lines" for name in self.config.train)
        form = format_of(path, data.format)
        return "text" if form == "lines" and not of_lines else form

    def arriving(
        self, inputs: Inputs, options: LabellingOptions, labels: Collection[str]
    ) -> Iterator[list[Record]]:
        """Texts to label, as they come. A blank line is nothing, but for `text` an empty one."""
        data = replace(self.config.data, **options.changes())
        rows = Rows(
            "text", data.text, "", data.has_header, data.encoding, labelled=False,
            longest=data.max_bytes, options=vars(options),
        )  # fmt: skip
        inputs = inputs.read_as(data.encoding, data.max_bytes)
        forms = {path: self.form_of(path, options.format) for path in inputs.paths or ()}
        for form in dict.fromkeys(forms.values()):
            files = files_said([path for path, its in forms.items() if its == form])
            terminal.say(f"{files}: read as {FORMS[form]} (--format {form}).")
        sure = options.format == "lines"
        for path in inputs.paths or [None]:
            of_path = replace(inputs, paths=(path,)) if path else inputs
            rows.format = forms[path] if path else self.form_of(None, options.format)
            for lines in of_path.chunks(options.batch_size):
                records: list[Record] = []
                for line in lines:
                    if rows.format != "text" and not line.text.strip() and not rows.unfinished:
                        rows.left_out.add(line.source, "blank line")
                    elif record := rows.push(line):
                        if rows.format == "lines" and not sure and record.label not in labels:
                            raise no_label(record, labels)
                        records.append(record)
                if records:
                    yield records
            rows.close()
        if rows.left_out:
            terminal.warn(rows.left_out.warning())


class NumberSource:
    """Sequences of numbers, standardised by the mean and deviation of the training examples.

        (number − mean) / deviation, in float64, before it becomes float32

    so that a column at 1.7e9, as times in seconds are, keeps what it tells.
    """

    size = 0
    """Of a step."""
    columns: tuple[str, ...] = ()
    """The names of the numbers, where training had them from a table."""
    scale: Scale | None = None
    """Mean and deviation; None in a run of release 0.1, whose model has its own in float32."""
    standardises = True

    def __init__(self, config: ClassifierConfig, left_out: LeftOut) -> None:
        self.config, self.left_out = config, left_out

    def go_on(self, folder: RunFolder) -> None:
        """Take a run's columns, and leave standardising to its model where that does it."""
        self.restore(folder)
        self.standardises = self.scale is not None

    def learn(self, train: list[Record]) -> None:
        """The columns of the training examples, or how wide they are; mean and deviation."""
        self.columns = next((record.columns for record in train if record.columns), ())
        self.size = train[0].content.shape[1]
        if self.standardises:
            self.scale = Scale.of([record.content for record in train])

    def restore(self, folder: RunFolder) -> None:
        """Read the columns of a run, mean and deviation."""
        path = folder.file("features.json")
        text = read_text(path)
        try:
            said = json.loads(text)
            self.size, self.columns = said["size"], tuple(said.get("columns", ()))
            if type(self.size) is not int or not 0 < self.size <= WIDEST:
                raise ValueError(f"size {self.size!r}")
            if not all(isinstance(name, str) for name in self.columns):
                raise ValueError(f"columns {self.columns!r}")
            if "mean" in said:
                self.scale = Scale.from_lists(said["mean"], said["deviation"], self.size)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: damaged: {error}.") from error

    def save(self, folder: RunFolder) -> None:
        """Write how wide a step is, what its numbers are called, and their mean and deviation."""
        said: dict[str, Any] = {"size": self.size, "columns": self.columns}
        if self.scale:
            said |= {name: value.tolist() for name, value in vars(self.scale).items()}
        folder.save_text(folder.file("features.json"), json.dumps(said, ensure_ascii=False))

    def read(
        self,
        patterns: list[str],
        labels: Iterable[str] = (),
        options: ClassifierScoringOptions | None = None,
    ) -> list[Record]:
        """Labelled sequences, with the columns of training where those are known."""
        self.refuse(options.changes() if options else {})
        return read_numbers(patterns, self.table())

    def table(self, *, labelled: bool = True) -> Columns:
        """A reader of tables with the columns of training."""
        data = self.config.data
        return Columns(
            data.sequence, data.label, data.features, known=self.columns, labelled=labelled,
            longest=data.max_bytes, left_out=self.left_out,
        )  # fmt: skip

    def encode(self, records: Sequence[Record]) -> Ragged:
        """The sequences end to end, as many steps as the configuration lets through."""
        kept = cut([record.content for record in records], self.config)
        lengths = np.array([len(content) for content in kept], np.int64)
        values = np.empty((lengths.sum(), self.size), np.float32)
        ends = lengths.cumsum().tolist()
        for record, content, end in zip(records, kept, ends):
            if (found := content.shape[1]) != self.size:
                raise InputError(
                    f"{record.where}: expected {self.size} numbers a step, as in training, got "
                    f"{found}."
                )
            row = values[end - len(content) : end]
            row[:] = content if self.scale is None else self.scale(content, record.where)
        return Ragged(values, lengths)

    def build_input(self) -> NumberInput:
        """What drops some of them."""
        c = self.config.model
        return NumberInput(
            self.size,
            standardises=self.scale is None,
            dropout=c.dropout_of("input"),
            locked=c.locked_dropout,
        )

    def begin(self, inputs: Any) -> None:
        """There is nothing to put in place."""

    def describe(self, steps: Ragged) -> str:
        """How much there is."""
        return f"{len(steps.values):,} steps of {self.size} numbers"

    def refuse(self, changes: Mapping[str, Any]) -> None:
        """`InputError` for what says how texts are read."""
        if changes:
            raise InputError(
                f"--{next(iter(changes))} is how texts are read; sequences of numbers are read as "
                "in training."
            )

    def arriving(
        self, inputs: Inputs, options: LabellingOptions, labels: Collection[str]
    ) -> Iterator[list[Record]]:
        """Sequences to label: of files, or of CSV that comes in, each as soon as it has ended."""
        self.refuse(options.changes())
        columns = self.table(labelled=False)
        self.left_out.clear()
        if inputs.paths is None:
            chunks = inputs.read_as(inputs.encoding, self.config.data.max_bytes).chunks
            found = columns.arriving(chunks(options.batch_size), "standard input")
            yield from filter(None, found)
        else:
            records = iter(read_numbers([str(path) for path in inputs.paths], columns))
            while some := list(islice(records, options.batch_size)):
                yield some
        if self.left_out:
            terminal.warn(self.left_out.warning())


def no_label(record: Record, labels: Collection[str]) -> InputError:
    """A line that should begin with a label of training, and does not."""
    return InputError(
        f"{record.where}: read as in training, a label before each text; {str(record.label)[:40]!r}"
        f" is none of training's labels ({', '.join(labels)[:200]}). --format text: a text a line; "
        "--format lines: whatever the label."
    )


def cut(sequences: Iterable[Any], config: ClassifierConfig) -> list[Any]:
    """The sequences, none beyond `data.max_length`; how many were cut is said."""
    limit, count, kept = config.data.max_length, 0, []
    for sequence in sequences:
        count += limit is not None and len(sequence) > limit
        kept.append(sequence[:limit])
    if count:
        terminal.warn(f"{count:,} of {len(kept):,} sequences cut off after {limit:,}.")
    return kept
