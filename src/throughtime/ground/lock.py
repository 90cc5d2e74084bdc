"""One process at a time writes into a folder; who it is, is told to the others."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from . import terminal
from .errors import InputError
from .whole import refuse_special

NAME = ".lock"
"""The lock's file in its folder; what matters is who holds it, not that it is there."""


@contextlib.contextmanager
def locked(
    folder: Path, at_work: str, *, patience: float = 0.0, waiting: str = "", keep: bool = False
) -> Iterator[int]:
    """Hold the lock of a folder, and give its file.

    The kernel lets go of it with the last process that has it, however that ends: the file of a
    dead one is taken over. It is removed at the end unless `keep`, as where children inherit it and
    hold it longer. `patience` are seconds to wait, `waiting` what is said meanwhile. Errors:
    `InputError` with `at_work` and the other's process id, and for a link, a pipe, a device or a
    folder in the place of the lock's file. Where the file system knows no locks,
    that is said, and nothing is locked.
    """
    path = folder / NAME
    until, said = time.monotonic() + patience, False
    while (file := take(path)) is None:
        if time.monotonic() >= until:
            raise InputError(f"{at_work}{_holder(path)}.")
        if waiting and not said:
            terminal.say(waiting)
            said = True
        time.sleep(0.1)
    try:
        os.ftruncate(file, 0)
        os.write(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield file
    finally:
        if not keep:
            path.unlink(missing_ok=True)  # still held: who waits finds it gone, and makes another
        os.close(file)


def take(path: Path) -> int | None:
    """The open file, locked until it is closed; None while another has it."""
    try:
        refuse_special(path, links=False)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(path, flags, 0o666)
    except OSError as error:
        raise InputError(f"{path}: cannot be locked: {error.strerror}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is(file, path):
            return file
    except BlockingIOError:
        pass
    except OSError as error:
        terminal.warn(
            f"{path}: cannot be locked ({error.strerror}): see that no other process writes there."
        )
        return file
    os.close(file)
    return None


def _is(file: int, path: Path) -> bool:
    """Whether the open file is the one at `path`, not one that was removed since."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def _holder(path: Path) -> str:
    """` (process 12 on HOST)`, where the holder has come to write it."""
    try:
        said = json.loads(path.read_bytes()[:1000])
        return f" (process {int(said['pid'])} on {said['host']})"
    except (OSError, ValueError, TypeError, KeyError):
        return ""
