"""Texts as classifiers read them: how files become texts, and texts tokens."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import RunFolder
from ..config import ClassifierConfig
from ..config.classification import ClassifierScoringOptions, LabellingOptions
from ..data.affixes import Spelling, affixes_of, lacking, reader_of
from ..data.batches import Ragged
from ..data.labelled import Record, Rows, format_of, read_labelled
from ..data.left_out import LeftOut, files_said
from ..data.lines import Inputs, check_encoding
from ..data.splits import hold_out
from ..data.vectors import Vectors, vectors_as_wide
from ..data.vocabulary import UNK, Vocabulary
from ..ground import terminal
from ..ground.errors import InputError
from ..layers.inputs import TokenInput
from .numeric import cut

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

    def split(self, examples: list[Record]) -> tuple[list[Record], list[Record]]:
        """A share of each label is held out."""
        data = self.config.data
        together = data.equal_together
        return hold_out(examples, data.holdout, data.split_seed, equal_together=together)

    def encode(self, records: Sequence[Record]) -> Ragged:
        """Tokens of each text, as many as the configuration lets through."""
        texts = (self.reader.encode(record.content) for record in records)
        return Ragged.of(cut(texts, self.config))

    def encode_known(self, records: Sequence[Record]) -> Ragged:
        """The same with ids of the vocabulary alone: <unk> for words that are read by their
        affixes."""
        found = self.encode(records)
        known = np.where(found.values < len(self.vocabulary), found.values, UNK)
        return Ragged(known.astype(found.values.dtype), found.lengths)

    @property
    def reader(self) -> Vocabulary | Spelling:
        """What makes tokens of a text."""
        c = self.config.model
        return reader_of(self.vocabulary, c.affixes, of_unknown=c.affixes_of_unknown)

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
            affixes=affixes_of(self.vocabulary, c.affixes, of_unknown=c.affixes_of_unknown),
        )

    def begin(self, inputs: Any) -> None:
        """Put word vectors in place, where there are any."""
        if self.vectors is not None:
            self.vectors.put_into(inputs.embedding.weight, self.vocabulary)

    def describe(self, tokens: Ragged) -> str:
        """How much there is."""
        text = f"{len(tokens.values):,} tokens, vocabulary {len(self.vocabulary):,}"
        text += f", {self.covered}" if self.covered else ""
        unknown = lacking(tokens.values, self.vocabulary).mean() if len(tokens.values) else 0.0
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


def no_label(record: Record, labels: Collection[str]) -> InputError:
    """A line that should begin with a label of training, and does not."""
    return InputError(
        f"{record.where}: read as in training, a label before each text; {str(record.label)[:40]!r}"
        f" is none of training's labels ({', '.join(labels)[:200]}). --format text: a text a line; "
        "--format lines: whatever the label."
    )
