"""What can go wrong, as types. Every message says what was expected, what came, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ThroughtimeError(Exception):
    """Base of all errors raised on purpose. The command line prints it as one line."""

    exit_code = 1


class InputError(ThroughtimeError, ValueError):
    """Something the user gave cannot be used: a file, an option, a name, a run folder."""

    exit_code = 2


class ShapeError(InputError):
    """A tensor has another shape than the equations need."""


class NonFiniteError(InputError):
    """Input data holds NaN or infinity."""


class BackendUnavailable(ThroughtimeError, RuntimeError):
    """A scan backend asked for by name cannot run this scan here; the message is the reason."""

    exit_code = 2


class TrainingDiverged(ThroughtimeError, RuntimeError):
    """Several training steps in a row had a non-finite loss or gradient."""


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
