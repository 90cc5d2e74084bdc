"""Making and keeping compiled scans: the cache, its damage, its keys, the lack of a compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import throughtime as tt
from cases import assert_close, outcome, problem
from compiling import forget
from throughtime.ground.errors import BackendUnavailable
from throughtime.scans.compiled import build, programs

SCAN = """
import sys, torch, throughtime as tt
torch.manual_seed(0)
w = tt.SimpleGRU().weights(3, 4)
y, _ = tt.scan(tt.SimpleGRU, w, torch.ones(5, 2, 3))
print(float(y.detach().sum()), tt.why_not("compiled", tt.SimpleGRU))
print("tracer" if "throughtime.scans.compiled.trace" in sys.modules else "no tracer")
"""


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder that nobody shares; compiled without optimisation, to be quick."""
    folder = tmp_path / "own"
    monkeypatch.setenv("THROUGHTIME_CACHE", str(folder))
    monkeypatch.setenv("THROUGHTIME_CXXFLAGS", "-O0")
    forget()
    yield folder / "scans"
    forget()


@pytest.fixture
def compilations(tmp_path, monkeypatch):
    """A compiler that counts."""
    real = build.compiler()
    count, script = tmp_path / "count", tmp_path / "counting"
    script.write_text(f'#!/bin/sh\necho once >> {count}\nexec {" ".join(real)} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    return lambda: count.read_text().count("once") if count.exists() else 0


def python(script: str, **more: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | more
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def library(cache: Path) -> Path:
    (path,) = cache.glob("*.so")
    return path


def replaced(path: Path, content: bytes) -> None:
    """As another process would: the file in use stays as it was."""
    path.unlink()
    path.write_bytes(content)


def test_a_damaged_library_is_built_anew(cache, compilations):
    p = problem(tt.SimpleGRU())
    right = outcome(p)
    assert_close(outcome(p, "compiled"), right)
    path = library(cache)
    good = path.read_bytes()
    damage = {
        "truncated": lambda: replaced(path, good[: len(good) // 2]),
        "empty": lambda: replaced(path, b""),
        "garbage": lambda: replaced(path, b"\x7fELF" + bytes(len(good) - 4)),
        "one bit": lambda: replaced(path, good[:-1] + bytes([good[-1] ^ 1])),
        "gone": path.unlink,
        "no checksum": path.with_suffix(".sha256").unlink,
        "wrong checksum": lambda: path.with_suffix(".sha256").write_text("0" * 64),
    }
    for number, (kind, spoil) in enumerate(damage.items()):
        assert compilations() == 1 + number, kind
        spoil()
        forget()
        assert_close(outcome(p, "compiled"), right)
    assert compilations() == 1 + len(damage)
    forget()
    assert_close(outcome(p, "compiled"), right)
    assert compilations() == 1 + len(damage)  # an intact one is not


def test_a_damaged_program_is_traced_anew(cache):
    program = programs.find(tt.SimpleGRU())
    (path,) = cache.glob("*.h")
    for damaged in (program[: len(program) // 2], ""):
        path.write_text(damaged)
        forget()
        assert programs.find(tt.SimpleGRU()) == program
        assert path.read_text() == program


def test_what_a_library_is_made_of_names_it(cache, compilations, monkeypatch):
    p = problem(tt.SimpleGRU())
    outcome(p, "compiled")
    for number, (name, value) in enumerate(
        [("THROUGHTIME_CXXFLAGS", "-O0 -g0"), ("CXX", os.environ["CXX"] + " -DANOTHER")]
    ):
        monkeypatch.setenv(name, value)
        forget()
        outcome(p, "compiled")
        assert compilations() == 2 + number
    outcome(p, "compiled")
    assert compilations() == 3
    assert len(list(cache.glob("*.so"))) == 3


def test_two_processes_at_once_compile_once_and_a_third_not_at_all(cache, compilations):
    both = [python(SCAN), python(SCAN)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert compilations() == 1
    notices = "".join(errors for _, errors in said)
    assert notices.count("compiled SimpleGRU() for this processor, once") == 1
    assert str(cache) in notices.replace("\n", "")
    later = python(SCAN)
    out, errors = later.communicate()
    assert errors == ""
    assert compilations() == 1
    assert out.splitlines()[0] == said[0][0].splitlines()[0]
    assert out.splitlines()[0].endswith(" None")
    assert out.splitlines()[1] == "no tracer"


NO_COMPILER = {
    "there is no C\\+\\+ compiler: none of .*CXX.*Debian: apt install g\\+\\+": {
        "CXX": "no-such-compiler"
    },
    "CXX cannot be read: No closing quotation": {"CXX": "g++ 'x"},
    "the compiler .*/false failed on": {"CXX": "false"},
    "the compiler .*/true failed on": {"CXX": "true"},
}


@pytest.mark.parametrize("said", NO_COMPILER)
def test_without_a_compiler_auto_goes_on_and_the_reason_is_clear(cache, said, monkeypatch):
    for name, value in NO_COMPILER[said].items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BackendUnavailable, match=said):
        tt.scan(tt.GRU, *data(), backend="compiled")
    p = problem(tt.GRU())
    assert_close(outcome(p, "auto"), outcome(p))
    assert not list(cache.glob("*.so"))


def data():
    p = problem(tt.GRU())
    return p.w, p.x


def test_no_compiler_is_told_in_one_line_of_warning(cache):
    script = SCAN + "for cell in (tt.LSTM, tt.GRU, tt.SimpleGRU) * 2:\n"
    script += "    tt.scan(cell, cell().weights(3, 4), torch.ones(5, 2, 3))\n"
    nowhere = python(script, PATH="/nonexistent", CXX="")
    out, errors = nowhere.communicate()
    assert nowhere.returncode == 0, errors
    assert errors.count("warning:") == 1
    assert "there is no C++ compiler" in errors
    assert len(errors.splitlines()) == 1
    assert "there is no C++ compiler" in out


def test_a_cache_that_cannot_be_written_is_named(cache):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    reason = tt.why_not("compiled", tt.SimpleGRU)
    assert reason.startswith("the cache cannot be written:")
    assert str(cache) in reason
    assert "THROUGHTIME_CACHE moves it" in reason
    p = problem(tt.SimpleGRU())
    assert_close(outcome(p, "auto"), outcome(p))


def test_the_cache_is_where_it_is_asked_for(cache, tmp_path, monkeypatch):
    outcome(problem(tt.SimpleGRU()), "compiled")
    kinds = sorted(path.suffix for path in cache.iterdir())
    assert kinds == [".cpp", ".h", ".lock", ".sha256", ".so"]
    assert "struct Cell" in next(cache.glob("*.cpp")).read_text()
    monkeypatch.setenv("THROUGHTIME_CACHE", str(tmp_path / "elsewhere"))
    forget()
    outcome(problem(tt.SimpleGRU()), "compiled")
    assert len(list((tmp_path / "elsewhere" / "scans").glob("*.so"))) == 1
