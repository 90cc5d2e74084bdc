"""Text files read as one stream: globs, directories, .gz, strict UTF-8, whole lines at a time."""

from __future__ import annotations

import glob
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

from .. import terminal
from ..errors import InputError

CHUNK = 1 << 20


def find_files(patterns: list[str]) -> list[Path]:
    """The files that names, globs and directories stand for, in order, each once."""
    found: list[Path] = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        elif path.exists():
            files = [path]
        else:
            files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
            files = [p for p in files if p.is_file()]
        if not files:
            raise InputError(f"no such file, directory or match: {pattern}")
        found += files
    return list(dict.fromkeys(found))


def open_bytes(path: Path) -> BinaryIO:
    """Open for reading, decompressing .gz."""
    try:
        return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error


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
        """Pieces of whole lines, about a megabyte each, and whether a file ends with the piece."""
        position = 0
        for path in self.files:
            pending: str | bytes | None = None
            for chunk in self._file_chunks(path):
                first = max(0, self.start - position)
                last = len(chunk) if self.stop is None else max(0, self.stop - position)
                position += len(chunk)
                if piece := chunk[first:last]:
                    if pending:
                        yield pending, False
                    pending = piece
                if self.stop is not None and position >= self.stop:
                    break
            if pending:
                yield pending, True
            if self.stop is not None and position >= self.stop:
                return

    def _file_chunks(self, path: Path) -> Iterator[str | bytes]:
        offset, line = 0, 1
        with open_bytes(path) as file:
            while True:
                try:
                    data = file.read(CHUNK)
                    data += file.readline() if data else b""
                except (OSError, EOFError, zlib.error) as error:
                    raise InputError(f"{path}: cannot be read: {error}.") from error
                if not data:
                    return
                if self.raw:
                    yield data
                else:
                    chunk = self._decode(path, data, offset)
                    if self.column is not None:
                        rows = chunk.splitlines()
                        chunk = "".join(
                            self._field(path, line + i, row) + "\n" for i, row in enumerate(rows)
                        )
                        line += len(rows)
                    yield chunk
                offset += len(data)

    def _decode(self, path: Path, data: bytes, offset: int) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            at = offset + error.start
            raise InputError(
                f"{path}: not UTF-8 at byte {at} (0x{data[error.start]:02x}). Convert the file, or "
                "train on bytes with --level byte."
            ) from error

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
