"""Lines of text with the place where each stands, from files or as they come in.

A line ends at LF, CR LF or CR alone, in every format that is read by lines; what else Unicode
counts as a separator (U+2028, U+0085, VT, FF) is part of a line. A line keeps its end for readers
to whom it belongs, as within quotes of CSV.

`throughtime predict` reads its input here, and so do the readers of examples: an error can always
name the file and the line.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..ground import terminal
from ..ground.errors import InputError
from .files import find_files, open_bytes
from .limits import LONGEST_LINE, check_text, parse_json, too_long, unpacking

csv.field_size_limit((1 << 31) - 1)  # a long document is no error

AT_ONCE = 1 << 16
"""Bytes taken from a pipe at once, if so many are waiting."""


ASCII = 'a1 \t,;"\r\n'
"""Signs that formats of lines are made of."""

LINE_END = re.compile(r"\r\n|\r|\n")


class WrongEncoding(InputError):
    """A line is not in the encoding that its file was read in."""


class Line(NamedTuple):
    """A line without its end, where it stands, and its end; the last of a file may have none."""

    text: str
    source: str
    number: int
    end: str = ""

    @property
    def where(self) -> str:
        """As errors name it: FILE:LINE."""
        return f"{self.source}:{self.number}"


def with_line_feeds(text: str) -> str:
    """The text with LF at the end of each line."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def split_lines(text: str, *, keepends: bool = False) -> list[str]:
    """The lines of a text in memory; as `str.splitlines`, which ends lines at other signs too."""
    lines = io.StringIO(text, "")
    return list(lines) if keepends else [line.rstrip("\r\n") for line in lines]


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """What a file holds, or a pipe as it comes."""
    read = getattr(file, "read1", file.read)
    return iter(lambda: read(AT_ONCE), b"")


def whole_lines(arriving: Iterable[bytes], longest: int = LONGEST_LINE) -> Iterator[list[bytes]]:
    """Lines with their ends, as soon as they are whole; a CR waits for what may be its LF.

    Of one longer than `longest` comes as much as is there.
    """
    rest = bytearray()
    for piece in arriving:
        if b"\n" not in piece and b"\r" not in piece and not rest.endswith(b"\r"):
            rest += piece
            if len(rest) > longest:
                yield [bytes(rest)]
                rest = bytearray()
            continue
        lines = bytes(rest + piece).splitlines(keepends=True)  # of bytes: at LF, CR LF, CR alone
        rest = bytearray() if lines[-1].endswith(b"\n") else bytearray(lines.pop())
        if lines:
            yield lines
    if rest:
        yield [bytes(rest)]


def read_lines(
    path: Path, encoding: str = "utf-8", longest: int | None = None, option: str = ""
) -> Iterator[Line]:
    """The lines of a file, .gz too.

    Errors: `InputError` names the line that is not in the encoding, or has more bytes than
    `longest` (None: 64 MiB), which `option` or a setting of training says.
    """
    with open_bytes(path) as file:
        lines = whole_lines(unpacking(path, pieces(file)), longest or LONGEST_LINE)
        try:
            for number, data in enumerate(chain.from_iterable(lines), 1):
                yield line_of(data, str(path), number, encoding, longest, option)
        except (OSError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path}: cannot be read: {error}.") from error


def line_of(
    data: bytes,
    source: str,
    number: int,
    encoding: str = "utf-8",
    longest: int | None = None,
    option: str = "",
) -> Line:
    """A line from its bytes, without a byte-order mark."""
    if len(data) > (longest or LONGEST_LINE):
        raise too_long(f"{source}:{number}", longest, option)
    if number == 1:
        data = data.removeprefix(codecs.BOM_UTF8)
    text = data.rstrip(b"\r\n")
    try:
        return Line(text.decode(encoding), source, number, data[len(text) :].decode("ascii"))
    except UnicodeDecodeError as error:
        raise WrongEncoding(
            f"{source}:{number}: not {encoding.upper()} at byte {error.start} of the line "
            f"(0x{text[error.start]:02x})."
        ) from error
    except (LookupError, ValueError) as error:
        raise WrongEncoding(f"{source}:{number}: not {encoding.upper()}: {error}.") from error


def csv_fields(text: str, line: Line, delimiter: str = ",") -> list[str]:
    """The fields of one CSV record, which may hold line ends within quotes; it begins at `line`."""
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error as error:
        raise InputError(f"{line.where}: not CSV: {error}.") from error


def whole_number(text: str) -> int | None:
    """The whole number that digits are; None for what is none, and for more than eighteen."""
    return int(text) if len(text) <= 18 and text.isdecimal() else None


def check_encoding(name: str) -> None:
    """Raise `InputError` for an encoding that Python does not know, or whose lines are not found.

    Lines are split before they are decoded: the encoding must write line ends, tabs and commas as
    ASCII does, which UTF-16 and what is no encoding of text (hex, zip) do not.
    """
    try:
        as_ascii = ASCII.encode(name).removeprefix(codecs.BOM_UTF8) == ASCII.encode("ascii")
    except (LookupError, ValueError):
        raise InputError(
            f"unknown encoding {name!r}; expected one of text, as in utf-8, latin-1, cp1252."
        ) from None
    if not as_ascii:
        raise InputError(
            f"encoding {name!r} writes line ends otherwise than ASCII. Convert the file to "
            f"UTF-8: iconv -f {name} -t utf-8."
        )


@dataclass(frozen=True)
class Inputs:
    """What predictions are made for: files, lines, or standard input as it comes.

    `paths` are the files, for tasks that read a file as a whole; None for lines and for standard
    input. `chunks` gives lines in pieces: what waits in a pipe is taken together, and a line typed
    into a terminal comes at once. A line of more than `longest` bytes is an error, which names the
    `option` that says how many, or the setting of training.
    """

    paths: tuple[Path, ...] | None = None
    given: Iterable[str] | None = None
    encoding: str = "utf-8"
    longest: int | None = None
    option: str = ""

    @classmethod
    def files(cls, patterns: list[str], encoding: str = "utf-8") -> Inputs:
        """Files, globs and directories; - is standard input."""
        if patterns == ["-"]:
            return cls(encoding=encoding)
        return cls(paths=tuple(find_files(patterns)), encoding=encoding)

    def read_as(self, encoding: str, longest: int) -> Inputs:
        """The same with what a run reads by: of files the encoding, of all the longest line."""
        return replace(self, encoding=encoding if self.paths else self.encoding, longest=longest)

    def lines(self) -> Iterator[Line]:
        """One line after the other."""
        for chunk in self.chunks(1):
            yield from chunk

    def chunks(self, size: int) -> Iterator[list[Line]]:
        """Up to `size` lines at a time, none held back while the source has no more to give."""
        if self.given is not None:
            arriving = ([given_line(text, i)] for i, text in enumerate(self.given, 1))
            yield from full(arriving, size)
        elif self.paths is not None:
            for path in self.paths:
                lines = read_lines(path, self.encoding, self.longest, self.option)
                yield from full(([line] for line in lines), size)
        else:
            terminal.say_if_typed("lines")
            for lines in arriving_lines(
                sys.stdin.buffer, "standard input", self.encoding, self.longest, self.option
            ):
                for start in range(0, len(lines), size):
                    yield lines[start : start + size]


def json_object(line: Line) -> dict[str, Any]:
    """The JSON object on a line; `InputError` names the place of anything else."""
    try:
        values = parse_json(line.text)
    except ValueError as error:
        raise InputError(f"{line.where}: not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{line.where}: expected a JSON object, got {line.text.strip()[:40]}.")
    return values


def given_line(text: str, number: int) -> Line:
    """A line that is text already; `InputError` where it is none that can be encoded."""
    try:
        check_text(text)
    except ValueError as error:
        raise InputError(f"line {number}: {error}.") from error
    return Line(text, "line", number)


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


def arriving_lines(
    file: BinaryIO, source: str, encoding: str, longest: int | None = None, option: str = ""
) -> Iterator[list[Line]]:
    """Whole lines as soon as they are there: all that one read of a pipe brings."""
    number = 1
    for lines in whole_lines(pieces(file), longest or LONGEST_LINE):
        yield [
            line_of(data, source, n, encoding, longest, option)
            for n, data in enumerate(lines, number)
        ]
        number += len(lines)
