"""Files that are there whole or not at all, and are what they seem: no link, no pipe, no device."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError, ThroughtimeError, first_line

RESUME = "go on with --resume"
"""What to do when there is room on the disk again."""


def write_text(path: Path, text: str, then: str = RESUME) -> None:
    """A text file, whole or not at all."""
    with atomically(path, then) as temporary:
        temporary.write_text(text, "utf-8")


@contextlib.contextmanager
def atomically(path: Path, then: str = RESUME, also: type[Exception] = OSError) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    The file is on the disk before it takes the old one's place: a kill or a full disk at any moment
    leaves the old file or the new one, never a part. A link at `path` is replaced, never followed.
    `then` is what to do after making room; `also` is an error that means the same as an `OSError`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # nothing is written through what may lie there
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # safetensors makes files that only their owner can read
        os.replace(temporary, path)
    except (OSError, also) as error:
        temporary.unlink(missing_ok=True)
        raise ThroughtimeError(
            f"cannot save {path}: {first_line(error)}. What was saved before is untouched; make "
            f"room and {then}."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_temporary(path: Path) -> bool:
    """Whether `atomically` made this file."""
    return path.name.startswith(".") and path.suffix == ".tmp"


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left in a run folder."""
    for path in filter(is_temporary, folder.iterdir()):
        path.unlink(missing_ok=True)


def refuse_special(path: Path, *, links: bool) -> None:
    """Raise `InputError` if there is a pipe, a device or a folder at `path`, or a link unless
    `links`: reading would wait for ever, writing would reach what the link points to."""
    try:
        mode = path.stat().st_mode if links else path.lstat().st_mode
    except OSError:
        return  # what is not there is told by who needs it
    if not stat.S_ISREG(mode):
        kinds = {
            stat.S_IFLNK: "a symbolic link",
            stat.S_IFIFO: "a pipe",
            stat.S_IFDIR: "a folder",
            stat.S_IFSOCK: "a socket",
        }
        what = kinds.get(stat.S_IFMT(mode), "a device")
        raise InputError(f"{path} is {what}; a run has a file there. Remove it, or copy the run.")


def read_text(path: Path) -> str:
    """The text of a run's file; `InputError` names the file that cannot be read."""
    refuse_special(path, links=True)
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: damaged: not UTF-8 at byte {error.start}. Restore the file from a copy of "
            "the run, or train anew."
        ) from error
