"""CSV records from lines, one line at a time, as the standard library's reader has them."""

from __future__ import annotations

from ..ground.errors import InputError
from .limits import LONGEST_LINE, too_long
from .lines import Line, csv_fields


class CsvRecords:
    """Fields of records whose quoted fields may go over several lines; those keep their line ends.

    A quote opens a field where it is its first sign, and stands for itself elsewhere (`5" disk`).
    Errors: `InputError` names the line where a field was opened that never ends, or is too long.
    """

    def __init__(self, longest: int | None = None) -> None:
        self.longest = longest
        self.parts: list[str] = []
        self.size = 0
        self.start: Line | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a quoted field goes on in the next line."""
        return bool(self.parts)

    def push(self, line: Line) -> list[str] | None:
        """The fields of the record that this line completes."""
        start = self.start if self.start and self.parts else line
        self.start = start
        opened = still_open(line.text, bool(self.parts))
        self.parts.append(line.text + (line.end or "\n"))
        self.size += len(self.parts[-1])
        if opened:
            if self.size > (self.longest or LONGEST_LINE):
                raise too_long(start.where, self.longest)
            return None
        text, self.parts, self.size = "".join(self.parts), [], 0
        return csv_fields(text, start)

    def close(self) -> None:
        """Raise `InputError` if a quoted field was left open."""
        if self.parts and self.start:
            raise InputError(f"{self.start.where}: a quoted field begins here and never ends.")


def still_open(text: str, opened: bool) -> bool:
    """Whether a quoted field is open at the end of a line; `opened`: one was at its beginning."""
    at = 0
    if not opened and text.startswith('"'):
        opened, at = True, 1
    while True:
        if opened:
            at = text.find('"', at) + 1
            if not at:
                return True
            opened = text.startswith('"', at)  # two are one quote within the field
            at += opened
        else:
            at = text.find(",", at) + 1
            if not at:
                return False
            opened = text.startswith('"', at)
            at += opened
