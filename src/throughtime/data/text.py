"""Text files read as one stream: strict UTF-8, whole lines at a time."""

from __future__ import annotations

import codecs
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from ..ground import terminal
from ..ground.errors import InputError
from .files import find_files, open_bytes
from .limits import unpacking
from .lines import LINE_END, read_lines

CHUNK = 1 << 20
SPACE = re.compile(rb"\s")


class FileDecoder:
    """Strict UTF-8, a piece at a time; an error names the file and the byte in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0
        self.decoder = codecs.getincrementaldecoder("utf-8")("strict")

    def __call__(self, data: bytes, *, final: bool = False) -> str:
        begun = len(self.decoder.getstate()[0])
        try:
            text = self.decoder.decode(data, final)
        except UnicodeDecodeError as error:
            at = self.offset - begun + error.start
            raise InputError(
                f"{self.path}: not UTF-8 at byte {at} (0x{error.object[error.start]:02x}). Convert "
                "the file, or train on bytes with --level byte."
            ) from error
        self.offset += len(data)
        return text


@dataclass(frozen=True)
class Text:
    """Files as one stream of text, or the part of it from `start` up to `stop`.

    `start` and `stop` count characters, or bytes where `raw`. `column` picks one field of
    tab-separated lines. `size` is about its bytes on disk, for progress. Errors: `InputError`
    names the file and the byte or the line.
    """

    files: tuple[Path, ...]
    raw: bool = False
    column: int | None = None
    start: int = 0
    stop: int | None = None
    size: int = field(default=0, compare=False)

    @classmethod
    def of(cls, patterns: list[str], *, raw: bool = False, column: int | None = None) -> Text:
        """The text of all files that the patterns stand for; empty text is an error."""
        files = find_files(patterns)
        size = sum(f.stat().st_size for f in files)
        text = cls(tuple(files), raw, column, size=size)
        if not any(chunk for chunk, _ in text.chunks()):
            names = ", ".join(patterns[:3]) + (" …" if len(patterns) > 3 else "")
            raise InputError(f"{names}: empty. Expected text.")
        return text

    def chunks(self) -> Iterator[tuple[str | bytes, bool]]:
        """Pieces of whole lines, about a megabyte each, and whether a file ends with the piece.

        A line of more than a megabyte is cut after a space.
        """
        position = 0
        for path in self.files:
            pending: str | bytes | None = None
            whole_file = True
            for chunk in self._file_chunks(path):
                first = max(0, self.start - position)
                last = len(chunk) if self.stop is None else max(0, self.stop - position)
                position += len(chunk)
                if piece := chunk[first:last]:
                    if pending:
                        yield pending, False
                    pending = piece
                if self.stop is not None and position >= self.stop:
                    whole_file = last >= len(chunk)
                    break
            if pending:
                yield pending, whole_file
            if self.stop is not None and position >= self.stop:
                return

    def _file_chunks(self, path: Path) -> Iterator[str | bytes]:
        if self.column is not None:
            yield from self._column_chunks(path)
            return
        decode = FileDecoder(path)
        with open_bytes(path) as file:
            for data in unpacking(path, iter(lambda: self._read(path, file), b"")):
                yield data if self.raw else decode(data)
        if not self.raw and (rest := decode(b"", final=True)):
            yield rest

    @staticmethod
    def _read(path: Path, file: BinaryIO) -> bytes:
        """A megabyte and the rest of its last line, or of its last word if the line is long."""
        try:
            data = file.read(CHUNK)
            data += file.readline(CHUNK) if data else b""
            if len(data) == 2 * CHUNK and not data.endswith(b"\n"):
                data += _word(cast(BufferedReader, file))
                if data.endswith(b"\r") and cast(BufferedReader, file).peek(1)[:1] == b"\n":
                    data += file.read(1)
            return data
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: cannot be read: {error}.") from error

    def _column_chunks(self, path: Path) -> Iterator[str]:
        """A field of each line, about a megabyte at a time."""
        fields: list[str] = []
        size, column = 0, self.column or 1
        for line in read_lines(path, longest=sys.maxsize):
            row = line.text.split("\t")
            if len(row) < column:
                raise InputError(
                    f"{line.where}: expected at least {column} tab-separated columns, got "
                    f"{len(row)}."
                )
            fields.append(row[column - 1] + "\n")
            size += len(fields[-1])
            if size >= CHUNK:
                yield "".join(fields)
                fields, size = [], 0
        if fields:
            yield "".join(fields)

    def split(self, holdout: float, *, at_lines: bool, quiet: bool = False) -> tuple[Text, Text]:
        """The text without its last share, and that share; cut after a line where `at_lines`."""
        if not 0 < holdout < 1:
            raise InputError(f"data.holdout must lie between 0 and 1, got {holdout}.")
        total = 0
        with terminal.progress("measuring the text", self.size, quiet) as advance:
            for chunk, _ in self.chunks():
                total += len(chunk)
                advance(len(chunk))
        cut = int(total * (1 - holdout))
        if at_lines:
            cut = self._line_end(cut)
        if cut <= 0 or cut >= total:
            raise InputError(
                f"the training text is too short to hold out {holdout:.0%} of it. Give --valid."
            )
        first = round(self.size * cut / total)
        return replace(self, stop=cut, size=first), replace(self, start=cut, size=self.size - first)

    def _line_end(self, position: int) -> int:
        at = 0
        for chunk, _ in self.chunks():
            if at + len(chunk) >= position:
                text = chunk if isinstance(chunk, str) else chunk.decode("latin-1")
                found = LINE_END.search(text, max(0, position - at - 1))
                return at + (found.end() if found else len(chunk))
            at += len(chunk)
        return at


def _word(file: BufferedReader) -> bytes:
    """What is left of a word, the space after it too; a megabyte at most."""
    rest = bytearray()
    while len(rest) < CHUNK and (ahead := file.peek(1)[: CHUNK - len(rest)]):
        space = SPACE.search(ahead)
        rest += file.read(space.end() if space else len(ahead))
        if space:
            break
    return bytes(rest)
