"""Tune books: files of tunes, each a header of fields from X: to K: and a body of music.

A tune begins at an X: line and ends at an empty line, at the next X: or with the file. What stands
between tunes is free text; it is counted, not read. A field before the first tune (in the file's
header) is a default for every tune of the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...data.files import find_files
from ...data.limits import read_whole
from ...data.lines import split_lines
from ...ground.errors import InputError
from ...ground.paths import typed_path

KNOWN_FIELDS = frozenset("ABCDEFGHIKLMNOPQRSTUVWXZmrsw+")
"""The fields of ABC 2.1, and E: of 1.6. Others are kept and counted as unknown."""

FILE_HEADER_FIELDS = frozenset("ABCDFGHILMmNORrSUZ")
"""Fields that a file's header may set for all its tunes."""

FIELD = re.compile(r"([A-Za-z+]):(.*)")


@dataclass(frozen=True)
class Field:
    """A line `letter:value`, without its comment; `line` counts from 1 in the file."""

    letter: str
    value: str
    line: int


@dataclass(frozen=True)
class Tune:
    """One tune: its header from X: to K:, the file header's fields first, and its body's lines."""

    header: tuple[Field, ...]
    body: tuple[tuple[int, str], ...]
    line: int
    path: Path | None = None

    def first(self, letter: str) -> str | None:
        """The value of a header field: the tune's own before the file header's; None for none."""
        found = [f for f in self.header if f.letter == letter]
        own = [f for f in found if f.line >= self.line]
        return (own or found)[0].value if found else None

    @property
    def number(self) -> str | None:
        """The value of X:."""
        return self.first("X")

    @property
    def title(self) -> str | None:
        """The first T: line."""
        return self.first("T")

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.path}:{self.line}" if self.path else f"line {self.line}"

    @property
    def unknown(self) -> Counter[str]:
        """Header fields that the standard does not have, by letter."""
        return Counter(f.letter for f in self.header if f.letter not in KNOWN_FIELDS)

    def text(self) -> str:
        """The tune as ABC, its own header first; comments and the file header are left out."""
        own = (f"{f.letter}:{f.value}" for f in self.header if f.line >= self.line)
        return "\n".join([*own, *(text for _, text in self.body)]) + "\n"


@dataclass(frozen=True)
class Book:
    """The tunes of one file, and how many of its lines belong to none."""

    path: Path
    tunes: tuple[Tune, ...]
    free_lines: int


def read_tunes(patterns: list[str]) -> list[Tune]:
    """The tunes of all tune books that files, globs and directories (their .abc files) name."""
    tunes: list[Tune] = []
    for path in abc_files(patterns):
        tunes += read_book(path).tunes
    return tunes


def abc_files(patterns: list[str]) -> list[Path]:
    """The tune books that the patterns stand for; of a directory, those that end in .abc."""
    found: list[Path] = []
    for pattern in patterns:
        files = find_files([pattern])
        if typed_path(pattern).is_dir():
            files = [f for f in files if f.name.removesuffix(".gz").lower().endswith(".abc")]
            if not files:
                raise InputError(f"{pattern}: no tune book in it: expected files that end in .abc.")
        found += files
    return list(dict.fromkeys(found))


def read_book(path: Path) -> Book:
    """Read a tune book. Errors: `InputError` names the file, and the byte that is not text."""
    lines = split_lines(decode(path, read_whole(path)))
    book = Book(path, *split(lines, path))
    if not book.tunes:
        raise InputError(f"{path}: no tune in it: expected a line X:1 where one begins.")
    return book


def read_tune(text: str, path: Path | None = None) -> Tune:
    """The first tune of a text; `InputError` where there is none."""
    tunes, _ = split(split_lines(text), path)
    if not tunes:
        raise InputError(f"{path or 'the text'}: no tune in it: expected a line X:1.")
    return tunes[0]


def decode(path: Path, data: bytes) -> str:
    """UTF-8, or the encoding that an abc-charset line names."""
    named = re.search(rb"(?:^|[\r\n])(?:%%|I:)\s*abc-charset\s+([\w-]+)", data)
    charset = named[1].decode() if named else "utf-8"
    try:
        return data.decode(charset).removeprefix("\N{BOM}")
    except LookupError:
        raise InputError(f"{path}: unknown abc-charset {charset!r}.") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: not {charset} (byte 0x{data[error.start]:02x}). Convert the file to "
            "UTF-8, or name its encoding in a line such as %%abc-charset iso-8859-1."
        ) from error


def split(lines: list[str], path: Path | None) -> tuple[tuple[Tune, ...], int]:
    """The tunes of a file's lines, and how many non-empty lines belong to none."""
    defaults: list[Field] = []
    tunes: list[Tune] = []
    free = 0
    in_file_header = True
    block: list[tuple[int, str]] | None = None
    for number, line in enumerate([*lines, ""], start=1):
        text = line.rstrip()
        if block is not None and (not text or text.startswith("X:")):
            tunes.append(tune_of(block, defaults, path))
            block = None
        if text.startswith("X:"):
            block, in_file_header = [], False
        if block is not None:
            block.append((number, text))
        elif text and not text.startswith("%"):
            field = FIELD.fullmatch(text)
            if in_file_header and field and field[1] in FILE_HEADER_FIELDS:
                defaults.append(Field(field[1], uncomment(field[2]), number))
            else:
                free += 1
        elif not text and defaults:
            in_file_header = False
    return tuple(tunes), free


def tune_of(block: list[tuple[int, str]], defaults: Iterable[Field], path: Path | None) -> Tune:
    """The tune of a block of lines: the header ends with K:, or where no field follows."""
    header = list(defaults)
    lines = iterate_uncommented(block)
    body: list[tuple[int, str]] = []
    for number, text in lines:
        field = FIELD.fullmatch(text)
        if field is None:
            body.append((number, text))
            break
        if field[1] == "+" and header:
            before = header.pop()
            value = f"{before.value} {field[2].strip()}"
            header.append(Field(before.letter, value, before.line))
        else:
            header.append(Field(field[1], field[2].strip(), number))
        if field[1] == "K":
            break
    body += lines
    return Tune(tuple(header), tuple(body), block[0][0], path)


def iterate_uncommented(block: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The lines without comments and directives."""
    for number, text in block:
        if text.startswith("%"):
            continue
        if kept := uncomment(text):
            yield number, kept


def uncomment(text: str) -> str:
    r"""The text before its comment; \% is no comment."""
    return re.split(r"(?<!\\)%", text, maxsplit=1)[0].strip()
