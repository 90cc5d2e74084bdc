"""Where derived files live, encoded corpora and compiled scans, and which of them are believed.

What is read from the cache is run, or trained on. So a folder of it is used only where this user
owns it and nobody else may write it; where that is not so, a private one is used, and that is said
once. Damage is another matter: who writes a file keeps its SHA-256 with it, and what does not fit
is made anew.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import terminal


def cache_folder() -> Path:
    """$THROUGHTIME_CACHE, or throughtime in the user's cache folder, or in the temporary one.

    The last where there is no home folder. A relative $THROUGHTIME_CACHE begins at the current
    folder; a relative $XDG_CACHE_HOME is none, by its standard.
    """
    if chosen := os.environ.get("THROUGHTIME_CACHE"):
        return Path(chosen).absolute()
    if os.path.isabs(chosen := os.environ.get("XDG_CACHE_HOME", "")):
        return Path(chosen) / "throughtime"
    try:
        return Path.home() / ".cache" / "throughtime"
    except RuntimeError:  # neither $HOME nor an entry for this user
        return temporary_folder()


def temporary_folder() -> Path:
    """A folder for this user's derived files among the temporary ones."""
    return Path(tempfile.gettempdir()) / f"throughtime-{_user()}"


def private(name: str) -> Path:
    """The folder `name` of the cache, made if need be, which this user owns and nobody else writes.

    Where the one in the cache is not so, the one in the temporary folder, else a fresh one; that is
    said once. Raises `OSError` where the cache cannot be read or made.
    """
    folder = cache_folder()
    make_folder(folder / name)
    reason = why_untrusted(folder / name)
    if reason is None:
        return folder / name
    instead = _stand_ins.get(str(folder / name))
    if instead is None or why_untrusted(instead) is not None:
        instead = temporary_folder() / name
        with contextlib.suppress(OSError):  # another's file may be in the way: it is not trusted
            make_folder(instead)
        if why_untrusted(instead) is not None:
            instead = Path(tempfile.mkdtemp(prefix="throughtime-")) / name
            make_folder(instead)
        _stand_ins[str(folder / name)] = instead
        terminal.warn(
            f"the cache is not trusted: {reason} {instead} is used instead. THROUGHTIME_CACHE "
            "chooses another folder."
        )
    return instead


_stand_ins: dict[str, Path] = {}
"""What is used in place of a folder that is not trusted."""


def why_untrusted(folder: Path) -> str | None:
    """Why others might have written what is in a folder of the cache, or None.

    Its parent must not let others put another folder in its place: theirs neither, unless it is
    a common one that keeps everybody's names apart, as /tmp does.
    """
    try:
        here, above = folder.stat(), folder.parent.stat()
    except OSError as error:
        return f"{folder} cannot be looked at: {error.strerror}."
    if not stat.S_ISDIR(here.st_mode):
        return f"{folder} is no folder."
    if here.st_uid != _user():
        return f"{folder} belongs to another user ({here.st_uid})."
    if here.st_mode & 0o022:
        return (
            f"others may write {folder} (mode {stat.S_IMODE(here.st_mode):o}); empty it, then: "
            f"chmod go-w {folder}."
        )
    if above.st_uid not in (0, _user()):
        return f"{folder.parent} belongs to another user ({above.st_uid})."
    if above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX:
        return (
            f"others may write {folder.parent} (mode {stat.S_IMODE(above.st_mode):o}); "
            f"chmod go-w {folder.parent}."
        )
    return None


def make_folder(folder: Path) -> None:
    """The folder and those above it, as far as they are missing, for this user alone."""
    if not folder.is_dir():
        if folder.parent != folder:
            make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; at the end of the block it becomes `path`, at once.

    Only this user may write the file, whatever the umask. Where the block fails nothing is left.
    """
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(number)
    try:
        yield Path(name)
        os.chmod(name, 0o600)  # who wrote it may have made it anew
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def own_bytes(path: Path) -> bytes | None:
    """What is in a file that this user wrote and nobody else may write; else None."""
    try:
        with open(path, "rb", opener=_no_link) as file:
            about = os.fstat(file.fileno())
            own = about.st_uid == _user() and not about.st_mode & 0o022
            return file.read() if own and stat.S_ISREG(about.st_mode) else None
    except OSError:
        return None


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0
