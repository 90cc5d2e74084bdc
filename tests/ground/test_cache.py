"""The cache's folders and files: whom they belong to, who may write them, what is damaged."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import throughtime as tt
from cases import assert_close, outcome, problem
from compiling import forget
from throughtime.ground import cache, terminal
from throughtime.scans.compiled import build, programs


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A cache folder of its own, and temporary files beside it; compiled to be quick."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("THROUGHTIME_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("THROUGHTIME_CXXFLAGS", "-O0")
    monkeypatch.setattr(cache, "_stand_ins", {})
    forget()
    yield tmp_path / "own"
    forget()


@pytest.fixture
def said(monkeypatch) -> list[str]:
    lines = []
    monkeypatch.setattr(terminal, "warn", lines.append)
    return lines


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_the_same_folder_from_any_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THROUGHTIME_CACHE", "own")
    found = cache.cache_folder()
    monkeypatch.chdir("/")
    assert found == tmp_path / "own"
    monkeypatch.delenv("THROUGHTIME_CACHE")
    for given, expected in (("/big", "/big"), ("relative", "/home/me/.cache")):
        monkeypatch.setenv("HOME", "/home/me")
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache.cache_folder() == Path(expected) / "throughtime"


def test_whatever_the_umask_nobody_else_may_write(folder, said):
    before = os.umask(0)
    try:
        assert tt.why_not("compiled", tt.SimpleGRU) is None
    finally:
        os.umask(before)
    written = [folder, *folder.rglob("*")]
    assert len(written) == 7
    assert not [path for path in written if mode(path) & 0o022]
    assert cache.why_untrusted(folder / "scans") is None
    assert not said


def untrusted_by_mode(scans: Path, monkeypatch) -> None:
    scans.chmod(0o775)


def untrusted_by_its_parent(scans: Path, monkeypatch) -> None:
    scans.parent.chmod(0o777)


def untrusted_by_owner(scans: Path, monkeypatch) -> None:
    there, user, stat_of = scans.stat(), cache._user(), Path.stat

    def another(path, **options):
        found = stat_of(path, **options)
        if path == scans:
            return os.stat_result((*found[:4], user + 1, *found[5:]))
        return found

    assert there.st_uid == user
    monkeypatch.setattr(Path, "stat", another)


UNTRUSTED = {
    "others may write .*/scans \\(mode 775\\).*chmod go-w": untrusted_by_mode,
    "others may write .*/own \\(mode 777\\).*chmod go-w": untrusted_by_its_parent,
    ".*/scans belongs to another user": untrusted_by_owner,
}


@pytest.mark.parametrize("reason", UNTRUSTED)
def test_a_folder_that_others_may_have_written_is_not_used(folder, said, reason, monkeypatch):
    """What is planted there is a library with its checksum, and a program with its own."""
    program = programs.find(tt.SimpleGRU())
    assert build.load(program, "float32", "it")
    scans = folder / "scans"
    planted = {path.name: path for path in scans.iterdir()}
    UNTRUSTED[reason](scans, monkeypatch)
    forget()
    read = []
    monkeypatch.setattr(
        programs, "read", lambda path, read_=programs.read: read.append(path) or read_(path)
    )
    p = problem(tt.SimpleGRU())
    assert_close(outcome(p, "compiled"), outcome(p))
    (line,) = said
    assert re.search(reason, line), line
    (instead,) = {path.parent for path in read}
    assert instead != scans
    assert str(instead) in line
    assert cache.why_untrusted(instead) is None
    assert mode(instead) == 0o700
    assert {path.name for path in scans.iterdir()} == set(planted)
    assert len(list(instead.glob("*.so"))) == 1
    forget()
    assert tt.why_not("compiled", tt.SimpleGRU) is None
    assert len(said) == 1  # said once


def test_where_the_temporary_folder_is_anothers_too_a_fresh_one_is_used(folder, said):
    (folder / "scans").mkdir(parents=True)
    (folder / "scans").chmod(0o777)
    (cache.temporary_folder() / "scans").mkdir(parents=True)
    (cache.temporary_folder() / "scans").chmod(0o777)
    first = cache.private("scans")
    assert cache.why_untrusted(first) is None
    assert first == cache.private("scans")
    assert first.parent.parent == folder.parent / "tmp"
    assert len(said) == 1


@pytest.mark.parametrize("kind", ["another's", "a link", "writable", "a FIFO"])
def test_a_file_that_others_may_have_written_is_not_read(folder, kind, monkeypatch):
    path = cache.private("scans") / "entry"
    with cache.writing(path) as fresh:
        fresh.write_bytes(b"content")
    assert cache.own_bytes(path) == b"content"
    if kind == "another's":
        monkeypatch.setattr(cache, "_user", lambda: os.geteuid() + 1)
    elif kind == "a link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "writable":
        path.chmod(0o620)
    else:
        path.unlink()
        os.mkfifo(path)
    assert cache.own_bytes(path) is None


def test_a_file_is_written_whole_or_not_at_all(folder):
    path = cache.private("scans") / "entry"
    with pytest.raises(FileNotFoundError), cache.writing(path) as fresh:
        fresh.with_name("nothing").rename(path)
    assert not list(path.parent.iterdir())


DAMAGE = {
    "another slot": lambda text: text.replace("z[1]", "z[3]", 1),
    "one bit": lambda text: text[:200] + chr(ord(text[200]) ^ 1) + text[201:],
    "another checksum": lambda text: text[:-3] + "00\n",
    "no checksum": lambda text: text[: text.index("// sha256")],
    "more behind": lambda text: text + "// more\n",
    "an earlier form": lambda text: text[: text.index("// sha256")] + "// end\n",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_program_is_traced_anew_and_gives_right_numbers(folder, kind, monkeypatch):
    right = programs.find(tt.LSTM())
    (path,) = (folder / "scans").glob("*.h")
    damaged = DAMAGE[kind](right)
    assert damaged != right
    path.write_text(damaged)
    forget()
    assert programs.find(tt.LSTM()) == right
    assert path.read_text() == right


def test_bytes_that_are_no_text_are_traced_anew(folder):
    right = programs.find(tt.LSTM())
    (path,) = (folder / "scans").glob("*.h")
    path.write_bytes(right.encode()[:300] + b"\xff\xfe")
    forget()
    assert programs.find(tt.LSTM()) == right


def test_a_library_under_another_name_is_not_taken_for_it(folder):
    for cell in (tt.RNN(), tt.SimpleGRU()):
        assert tt.why_not("compiled", cell) is None
    one, other = (folder / "scans").glob("*.so")
    for end in (".so", ".sha256"):
        other.with_suffix(end).unlink()
        other.with_suffix(end).write_bytes(one.with_suffix(end).read_bytes())
        other.with_suffix(end).chmod(0o600)
    assert build.intact(one)
    assert not build.intact(other)


def python(script: str, **environment: str) -> subprocess.CompletedProcess:
    kept = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-c", script], env=kept | environment, capture_output=True, text=True
    )


def test_without_a_home_the_temporary_folder_serves(tmp_path):
    script = """
import os, pwd, pathlib
def nobody(*_): raise KeyError
pwd.getpwuid = nobody
from throughtime.ground import cache
print(cache.private("scans"))
"""
    done = python(script, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == tmp_path / f"throughtime-{os.geteuid()}" / "scans"
    assert done.stderr == ""
