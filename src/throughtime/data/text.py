"""Text files read as one stream: globs, directories, .gz, strict UTF-8, whole lines at a time."""

from __future__ import annotations

import codecs
import glob
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

from ..ground import terminal
from ..ground.errors import InputError
from ..ground.paths import typed_path

CHUNK = 1 << 20


def find_files(patterns: list[str]) -> list[Path]:
    """The files that names, globs and directories stand for, in order, each once."""
    found: list[Path] = []
    for pattern in patterns:
        path = typed_path(pattern)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and not hidden(p, path))
        elif path.exists():
            files = [path]
        else:
            files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
            files = [p for p in files if p.is_file()]
        if not files and path.is_dir():
            raise InputError(f"{pattern}: the directory has no files.")
        if not files:
            raise InputError(f"no such file, directory or match: {pattern}")
        found += files
    return list(dict.fromkeys(found))


def hidden(path: Path, below: Path) -> bool:
    """Whether a file or a folder on the way to it begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def open_bytes(path: Path) -> BinaryIO:
    """Open for reading, decompressing .gz."""
    try:
        return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error


class Decoder:
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
        line = 1
        decode = Decoder(path)
        with open_bytes(path) as file:
            while data := self._read(path, file):
                if self.raw:
                    yield data
                    continue
                chunk = decode(data)
                if self.column is not None:
                    rows = chunk.removesuffix("\n").split("\n")
                    chunk = "".join(
                        self._field(path, line + i, row) + "\n" for i, row in enumerate(rows)
                    )
                    line += len(rows)
                yield chunk
        if not self.raw and (rest := decode(b"", final=True)):
            yield rest

    @staticmethod
    def _read(path: Path, file: BinaryIO) -> bytes:
        """A megabyte and the rest of its last line, or of its last word if the line is long."""
        try:
            data = file.read(CHUNK)
            data += file.readline(CHUNK) if data else b""
            if len(data) == 2 * CHUNK and not data.endswith(b"\n"):
                for _ in range(CHUNK):
                    byte = file.read(1)
                    data += byte
                    if not byte or byte.isspace():
                        break
            return data
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: cannot be read: {error}.") from error

    def _field(self, path: Path, line: int, row: str) -> str:
        fields = row.split("\t")
        if len(fields) < (self.column or 1):
            raise InputError(
                f"{path}:{line}: expected at least {self.column} tab-separated columns, got "
                f"{len(fields)}."
            )
        return fields[(self.column or 1) - 1]

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
                newline = b"\n" if isinstance(chunk, bytes) else "\n"
                found = chunk.find(newline, max(0, position - at - 1))  # type: ignore[arg-type]
                return at + (found + 1 if found >= 0 else len(chunk))
            at += len(chunk)
        return at
