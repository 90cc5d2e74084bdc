"""CoNLL columns and CoNLL-U: tagged sentences, read and written back with everything they hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..ground.errors import InputError, did_you_mean
from ..ground.wording import plural, say_which
from .files import find_files
from .lines import Line, read_lines, whole_number

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
"""The columns of CoNLL-U."""

FORMS = {"conll": "a word a line", "conllu": "CoNLL-U", "text": "a sentence a line"}
"""What is said of the formats."""
DOCSTART = "-DOCSTART-"
"""What stands in the place of a word where a document begins."""

BLANK = " \t"
"""What a line between sentences may hold."""

GLOBAL = "# global.columns ="
"""The comment that names a file's columns."""


class Row(NamedTuple):
    """A line of a sentence: its fields where it has columns, and which word it is, if one."""

    line: Line
    fields: list[str]
    word: int | None


@dataclass(frozen=True)
class Sentence:
    """Words, their tags (none where there is no column of them), and the lines they come from."""

    words: list[str]
    tags: list[str]
    rows: list[Row] = field(default_factory=list)
    separator: str = "\t"
    tag_column: int | None = None
    names: tuple[str, ...] = ()
    begins: bool = False
    """Whether it is the first of its file."""

    @property
    def places(self) -> list[str]:
        """FILE:LINE of each word."""
        return [row.line.where for row in self.rows if row.word is not None]

    def written(self, tags: Sequence[str], *, replace: bool = False) -> str:
        """The lines with `tags` as a last column, or in the column of the tags.

        Comments, multiword ranges and empty nodes stay; the last have _ in a new column. In
        CoNLL-U a comment at the beginning of the file names the new column. `InputError` where tags
        should replace what is not there.
        """
        if replace and self.words and self.tag_column is None:
            raise InputError(
                f"{self.places[0]}: there is no column of tags to replace. Leave out --replace: "
                "tags are written as a last column."
            )
        new = f"PREDICTED:{self.names[self.tag_column or 0]}" if self.names else ""
        said = any(row.line.text.startswith(GLOBAL) for row in self.rows)
        lines = []
        if new and self.begins and not said and not replace:
            lines.append(f"{GLOBAL} {' '.join(self.names)} {new}")
        for line, fields, word in self.rows:
            text = line.text
            if not fields:
                named = text.startswith(GLOBAL) and not replace
                lines.append(f"{text.rstrip()} {new}" if named else text)
                continue
            tag = tags[word] if word is not None else "O" if fields[0] == DOCSTART else "_"
            if not replace:
                whole = text.rstrip(BLANK if fields[-1] else " ")
                lines.append(f"{whole}{self.separator}{tag}")
            elif word is None or self.tag_column is None:
                lines.append(text)
            else:
                k = self.tag_column
                lines.append(self.separator.join([*fields[:k], tag, *fields[k + 1 :]]))
        return "\n".join(lines)


def format_of(path: str | Path, asked: str = "auto") -> str:
    """The format asked for; auto: by the file's name, .gz aside."""
    if asked != "auto":
        return asked
    name = str(path).lower().removesuffix(".gz")
    return "conllu" if name.endswith((".conllu", ".conllup")) else "conll"


def read_tagged(patterns: list[str], reader: SentenceReader) -> list[Sentence]:
    """All sentences of the files that have words."""
    found: list[Sentence] = []
    for path in find_files(patterns):
        lines = read_lines(path, reader.encoding, reader.longest)
        found += (s for s in reader.of_file(path).read(lines) if s.words)
    if not found:
        raise InputError(f"{' '.join(patterns)}: no sentences.")
    return found


@dataclass
class SentenceReader:
    """From lines to sentences, one line at a time.

    A blank line ends a sentence. Every line with columns has as many as the first one, or as
    CoNLL-U has, or as `# global.columns` or `columns` name. In CoNLL columns (tabs between where
    the first line has one, else spaces) a line that begins with # before the first word of a
    sentence is a comment unless it has the file's number of columns. Blanks around a field are no
    part of it. `word` and `tag` are columns by name, or by number from 1 or from -1; with `tagged`
    false there need be no tag.
    """

    format: str = "auto"
    word: str = "auto"
    tag: str = "auto"
    columns: Sequence[str] = ()
    encoding: str = "utf-8"
    tagged: bool = True
    longest: int | None = None
    options: Collection[str] = ()
    """The settings of these that the verb at hand has options for."""

    def __post_init__(self) -> None:
        self.names = tuple(self.columns) or (CONLLU if self.format == "conllu" else ())
        self.tabs: bool | None = True if self.format == "conllu" else None
        self.count = len(self.names)
        self.because = "the columns named" if self.columns else "CoNLL-U has"
        self.places: tuple[int, int | None] | None = None
        self.begins = True
        self._clear()

    def _clear(self) -> None:
        self.rows: list[Row] = []
        self.words: list[str] = []
        self.tags: list[str] = []

    def of_file(self, path: str | Path) -> SentenceReader:
        """A reader for one file."""
        form = format_of(path, self.format)
        return replace(self, format=form)

    def read(self, lines: Iterable[Line]) -> Iterator[Sentence]:
        """The sentences of a file; those of blank lines have no rows."""
        for line in lines:
            if (sentence := self.push(line)) is not None:
                yield sentence
        if (sentence := self.close()) is not None:
            yield sentence

    def push(self, line: Line) -> Sentence | None:
        """The sentence that this line ends, if it ends one."""
        text = line.text
        if not text.strip(BLANK):
            return self._sentence()
        if self._is_comment(text):
            if text.startswith(GLOBAL):
                self._name(text.removeprefix(GLOBAL).split())
            self.rows.append(Row(line, [], None))
            return None
        if self.tabs is None:
            self.tabs = "\t" in text.strip(BLANK)
        fields = self._fields(text)
        if fields[0] == DOCSTART:
            self.rows.append(Row(line, fields, None))
            return None
        fields = self._check(fields, line)
        word, tag = self.places or self._find(line)
        if "ID" in self.names and not self._is_word(fields[self.names.index("ID")], line):
            self.rows.append(Row(line, fields, None))
            return None
        for column, what in ((word, "word"), (tag, "tag")):
            if column is not None and not fields[column]:
                raise InputError(f"{line.where}: the {what} (column {column + 1}) is empty.")
        self.rows.append(Row(line, fields, len(self.words)))
        self.words.append(fields[word])
        if tag is not None:
            self.tags.append(fields[tag])
        return None

    def close(self) -> Sentence | None:
        """The sentence that the end of the file ends."""
        return self._sentence() if self.rows else None

    def _sentence(self) -> Sentence:
        found = Sentence(
            self.words,
            self.tags,
            self.rows,
            "\t" if self.tabs is not False else " ",
            self.places[1] if self.places else None,
            self.names if "ID" in self.names else (),
            self.begins,
        )
        self.begins = False
        self._clear()
        return found

    def _is_comment(self, text: str) -> bool:
        if not text.startswith("#"):
            return False
        if "ID" in self.names or text.startswith(GLOBAL):
            return True
        if self.words:
            return False
        if not self.count:
            return text.startswith("# ") or len(text.split()) == 1
        return len(self._fields(text)) != self.count

    def _fields(self, text: str) -> list[str]:
        """Between tabs, or between spaces: other white space can be part of a word."""
        fields = [field.strip(BLANK) for field in text.split("\t" if self.tabs else " ")]
        return fields if self.tabs else [field for field in fields if field]

    def _name(self, names: list[str]) -> None:
        self.names, self.count, self.places = tuple(names), len(names), None
        self.because = "# global.columns names"
        self.tabs = True if "ID" in names else self.tabs

    def _check(self, fields: list[str], line: Line) -> list[str]:
        """The fields, as many as there must be; what tabs at the end of a line begin is none."""
        last = max((i for i, field in enumerate(fields, 1) if field), default=1)
        from_the_end = self.tag == "auto" or self.tag.startswith("-")
        if last < len(fields) and (self.count or from_the_end):
            fields = fields[: max(last, self.count)]
        if not self.count:
            self.count, self.because = len(fields), f"line {line.number} has"
        if len(fields) != self.count:
            between = "separated by tabs" if self.tabs else "separated by spaces"
            raise InputError(
                f"{line.where}: expected {plural(self.count, 'column')} {between}, as "
                f"{self.because}, got {len(fields)}."
            )
        return fields

    def _is_word(self, number: str, line: Line) -> bool:
        """Whether an ID is a word's: no range as in 1-2 and no empty node as in 8.1."""
        first, _, last = number.replace(".", "-", 1).partition("-")
        if not first.isdecimal() or not (last.isdecimal() or number == first):
            raise InputError(
                f"{line.where}: expected an ID as in 1, 1-2 or 1.1 in the first column, got "
                f"{number!r}."
            )
        in_order = self.format != "conllu" or whole_number(first) == len(self.words) + 1
        if number == first and not in_order:
            raise InputError(
                f"{line.where}: expected the ID {len(self.words) + 1}, got {number}: IDs of words "
                "count from 1 in each sentence, and a blank line ends one."
            )
        return number == first

    def _find(self, line: Line) -> tuple[int, int | None]:
        word = self._column(self.word, "FORM", 0, "word", line)
        tag: int | None = None
        if self.tagged or self._has(self.tag):
            tag = self._column(self.tag, "UPOS", self.count - 1, "tag", line)
            if tag == word and self.tagged:
                raise InputError(
                    f"{line.where}: words and tags are both in column {word + 1} of {self.count}."
                    f"{say_which('tag', 'COLUMN', self.options)}"
                )
            tag = None if tag == word else tag
        self.places = word, tag
        return self.places

    def _has(self, asked: str) -> bool:
        """Whether the column asked for is there."""
        if asked == "auto" or asked in self.names:
            return True
        return 0 < (whole_number(asked.removeprefix("-")) or 0) <= self.count

    def _column(self, asked: str, name: str, otherwise: int, what: str, line: Line) -> int:
        if asked == "auto":
            return self.names.index(name) if name in self.names else otherwise
        if asked in self.names:
            return self.names.index(asked)
        if self._has(asked):
            number = int(asked)
            return number - 1 if number > 0 else self.count + number
        named = f": {', '.join(self.names)}" if self.names else ""
        plain = "" if self.tagged else " For sentences without columns: --format text."
        raise InputError(
            f"{line.where}: no column {asked!r} for the {what}."
            f"{did_you_mean(asked, self.names)} Found {plural(self.count, 'column')}{named}.{plain}"
            f"{say_which(what, 'NUMBER', self.options)}"
        )


def of_words(words: list[str], line: Line) -> Sentence:
    """An untagged sentence from its words, a line each when it is written."""
    rows = [Row(Line(word, line.source, line.number), [word], i) for i, word in enumerate(words)]
    return Sentence(words, [], rows)
