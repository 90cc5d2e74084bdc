"""Lines of text with the place where each stands, from files or as they come in.

`throughtime predict` reads its input here, and so do the readers of examples: an error can always
name the file and the line.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..ground.errors import InputError
from .text import find_files, open_bytes

csv.field_size_limit((1 << 31) - 1)  # a long document is no error

AT_ONCE = 1 << 16
"""Bytes taken from a pipe at once, if so many are waiting."""


class WrongEncoding(InputError):
    """A line is not in the encoding that its file was read in."""


class Line(NamedTuple):
    """A line without its end, and where it stands."""

    text: str
    source: str
    number: int

    @property
    def where(self) -> str:
        """As errors name it: FILE:LINE."""
        return f"{self.source}:{self.number}"


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[Line]:
    """The lines of a file, .gz too; `InputError` names the line that is not in the encoding."""
    with open_bytes(path) as file:
        try:
            for number, data in enumerate(file, 1):
                yield Line(decode(data, str(path), number, encoding), str(path), number)
        except (OSError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path}: cannot be read: {error}.") from error


def decode(data: bytes, source: str, number: int, encoding: str = "utf-8") -> str:
    """A line's text, without its end and without a byte-order mark."""
    if number == 1:
        data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.removesuffix(b"\n").removesuffix(b"\r").decode(encoding)
    except UnicodeDecodeError as error:
        raise WrongEncoding(
            f"{source}:{number}: not {encoding.upper()} at byte {error.start} of the line "
            f"(0x{data[error.start]:02x})."
        ) from error


def csv_fields(text: str, line: Line) -> list[str]:
    """The fields of one CSV record, which may hold line ends within quotes; it begins at `line`."""
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        raise InputError(f"{line.where}: not CSV: {error}.") from error


def check_encoding(name: str) -> None:
    """Raise `InputError` for an encoding that Python does not know."""
    try:
        codecs.lookup(name)
    except LookupError:
        raise InputError(f"unknown encoding {name!r}; as in utf-8, latin-1, cp1252.") from None


@dataclass(frozen=True)
class Inputs:
    """What predictions are made for: files, lines, or standard input as it comes.

    `paths` are the files, for tasks that read a file as a whole; None for lines and for standard
    input. `chunks` gives lines in pieces: what waits in a pipe is taken together, and a line typed
    into a terminal comes at once.
    """

    paths: tuple[Path, ...] | None = None
    given: Iterable[str] | None = None
    encoding: str = "utf-8"

    @classmethod
    def files(cls, patterns: list[str], encoding: str = "utf-8") -> Inputs:
        """Files, globs and directories; - is standard input."""
        if patterns == ["-"]:
            return cls(encoding=encoding)
        return cls(paths=tuple(find_files(patterns)), encoding=encoding)

    def lines(self) -> Iterator[Line]:
        """One line after the other."""
        for chunk in self.chunks(1):
            yield from chunk

    def chunks(self, size: int) -> Iterator[list[Line]]:
        """Up to `size` lines at a time, none held back while the source has no more to give."""
        if self.given is not None:
            arriving = ([Line(t, "line", i)] for i, t in enumerate(self.given, 1))
            yield from full(arriving, size)
        elif self.paths is not None:
            for path in self.paths:
                yield from full(([line] for line in read_lines(path, self.encoding)), size)
        else:
            for lines in arriving_lines(sys.stdin.buffer, "standard input", self.encoding):
                for start in range(0, len(lines), size):
                    yield lines[start : start + size]


def full(pieces: Iterable[list[Line]], size: int) -> Iterator[list[Line]]:
    """The same lines, `size` at a time."""
    chunk: list[Line] = []
    for piece in pieces:
        chunk += piece
        if len(chunk) >= size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def arriving_lines(file: BinaryIO, source: str, encoding: str) -> Iterator[list[Line]]:
    """Whole lines as soon as they are there: all that one read of a pipe brings."""
    rest, number = b"", 1
    read = getattr(file, "read1", file.read)
    while True:
        data = read(AT_ONCE)
        *whole, rest = (rest + data).split(b"\n")
        if not data and rest:
            whole, rest = [rest], b""
        if whole:
            yield [
                Line(decode(line, source, n, encoding), source, n)
                for n, line in enumerate(whole, number)
            ]
            number += len(whole)
        if not data:
            return
