"""What can go wrong, as types. Every message says what was expected, what came, what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

LONGEST = 1600
"""Characters of a message; of a longer one both ends are kept."""


class ThroughtimeError(Exception):
    """Base of all errors raised on purpose. The command line prints it as one line.

    What it repeats of a file or of an option cannot make it two, or steer a terminal.
    """

    exit_code = 1

    def __str__(self) -> str:
        return shortened(printable(super().__str__()))


def printable(text: str) -> str:
    """The text on one line: line ends, controls and half characters as escapes (\\n, \\x1b)."""
    if text.isprintable():
        return text
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(escaped)


def shortened(text: str) -> str:
    """The text without its middle where it is too long to be read."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST * 3 // 4]} […] {text[-LONGEST // 4 :]}"


class InputError(ThroughtimeError, ValueError):
    """Something the user gave cannot be used: a file, an option, a name, a run folder."""

    exit_code = 2


class SettingError(InputError):
    """Settings cannot be what they are; `names` are those that the message speaks of.

    The message has them as Python and YAML do: model.hidden_size, n_best.
    """

    def __init__(self, message: str, *names: str) -> None:
        super().__init__(message)
        self.names = names

    def spelled(self, spell: Callable[[str], str]) -> InputError:
        """The same with the names as `spell` has them: those of options, on a command line."""
        if not self.names:
            return InputError(str(self))
        each = "|".join(re.escape(name) for name in sorted(self.names, key=len, reverse=True))
        known = rf"(?<![\w.-])(?:{each})(?![\w-]|\.\w)"
        return InputError(re.sub(known, lambda found: spell(found[0]), str(self)))


class ShapeError(InputError):
    """A tensor has another shape than the equations need."""


class CellError(InputError):
    """The code of a user's own cell failed: file, line, class. The cause is what it raised."""


class NonFiniteError(InputError):
    """Input data holds NaN or infinity."""


class BackendUnavailable(ThroughtimeError, RuntimeError):
    """A scan backend asked for by name cannot run this scan here; the message is the reason."""

    exit_code = 2


class TrainingDiverged(ThroughtimeError, RuntimeError):
    """Several training steps in a row had a non-finite loss or gradient."""


NO_MEMORY = ("can't allocate memory", "out of memory", "calculation overflowed")
"""What torch says where there is not enough memory, or cannot be."""


def no_memory(error: BaseException) -> bool:
    """Whether this is the want of memory, as Python and torch tell it."""
    if isinstance(error, RuntimeError):
        return any(said in str(error) for said in NO_MEMORY)
    return isinstance(error, MemoryError)


def passing(error: BaseException) -> bool:
    """Whether an error tells of this moment, not of what was asked: no memory, thread or file."""
    no_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    return no_thread or no_memory(error) or isinstance(error, OSError)


def one_of(what: str, given: str, known: Iterable[str]) -> str:
    """Return `given` if it is known; otherwise raise an `InputError` that names the nearest."""
    known = list(known)
    if given in known:
        return given
    raise InputError(
        f"unknown {what} {given!r}.{did_you_mean(given, known)} Known: {', '.join(known)}."
    )


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest known name, or nothing if none is near."""
    near = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def first_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0]
