"""What may come of an input: it is fine, or one line says what is wrong; soon, in little room."""

import contextlib
import resource
import signal
import unicodedata
from pathlib import Path

from throughtime.ground.errors import ThroughtimeError

SECONDS = 10
"""Of the processor that an example may take."""
ROOM = 2**31
"""Bytes of address space that examples may take beside what is there already."""
LONGEST = 2000
"""Characters of an error."""


class Runaway(BaseException):
    """An example took too long."""


def fine_or_told(call):
    """Call; what comes is an answer, or a `ThroughtimeError` of one line. All else is raised."""
    try:
        with limited_time():
            call()
    except ThroughtimeError as error:
        one_line(str(error))


def one_line(message):
    """Assert that it is one, of a length that a person reads, and changes no terminal."""
    assert message.strip(), "an error without a word"
    assert len(message) <= LONGEST, message
    controls = [c for c in message if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")]
    assert not controls, message


@contextlib.contextmanager
def limited_time():
    """Inside, `Runaway` is raised after so many seconds of the processor."""

    def too_long(number, frame):
        raise Runaway(f"more than {SECONDS} s of the processor")

    before = signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def limited_memory():
    """Inside, memory beyond `ROOM` more than now is refused: a `MemoryError`, which is a fault."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
