"""A program becomes a library: compiled with the system's compiler on first use, then cached.

The cache, `scans` in the cache folder, is keyed by the text of the program, the headers that it
includes, the compiler and the processor. Each entry is the library, its C++ to read, and a
checksum; an entry that does not fit its checksum is built anew. A lock makes concurrent first
uses wait for one build. A library is run: the folder is one that nobody else may write.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...ground import terminal
from ...ground.cache import own_bytes, private, writing
from ...ground.errors import ThroughtimeError
from ...ground.machine import why_no_tiles

RUNTIME = Path(__file__).parent / "runtime"
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fno-math-errno",
         "-fno-trapping-math", "-fvisibility=hidden", "-ffp-contract=fast")  # fmt: skip
STORED = "float32, weights in bfloat16"
KINDS = {
    "float32": ("float", 1, 0, 0),
    "float64": ("double", 0, 0, 0),
    "bfloat16": ("float", 1, 1, 0),
    STORED: ("float", 1, 0, 1),
}
"""Of a tensor's dtype, and how weights are packed beside it: what `real` is in C++, REAL_IS_FLOAT,
ITEM_IS_HALF and STORED_HALF."""
TILES = {
    "none": "",
    "amx": "#define TILES 1\n",
    "portable": "#define TILES 2\n#define VECTOR_BYTES 64\n",
}
"""Of the tiles that bfloat16 is multiplied by: what a program begins with. The portable ones stand
in for the processor's in tests."""


SHORT_OF = ("killed", "memory exhausted", "cannot allocate", "out of memory", "no space left",
            "resource temporarily unavailable", "cannot fork", "quota exceeded")  # fmt: skip
"""What a compiler says where the machine lacked something, not the program."""


class BuildFailed(ThroughtimeError):
    """No library could be made of a program; the message is the reason.

    `passing`: the machine lacked something just now; another try may do.
    """

    def __init__(self, reason: str, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


def compiler() -> list[str] | None:
    """The C++ compiler: $CXX with its options, or the first of c++, g++, clang++ that exists.

    Raises `BuildFailed` where $CXX is no list of words.
    """
    try:
        chosen = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:  # an open quote
        raise BuildFailed(f"$CXX cannot be read: {error}: {os.environ['CXX']!r}.") from error
    for command in [chosen] if chosen else [["c++"], ["g++"], ["clang++"]]:
        if path := shutil.which(command[0]):
            return [path, *command[1:]]
    return None


def needed_compiler() -> list[str]:
    """`compiler()`; raises `BuildFailed` where there is none."""
    command = compiler()
    if command is None:
        raise BuildFailed(
            "there is no C++ compiler: none of $CXX, c++, g++, clang++ was found. Install one "
            "(Debian: apt install g++; macOS: xcode-select --install)."
        )
    return command


def flags() -> list[str]:
    """Ours, for this processor, and those of $THROUGHTIME_CXXFLAGS (`make sanitize`)."""
    return [*FLAGS, native_flag(), *shlex.split(os.environ.get("THROUGHTIME_CXXFLAGS", ""))]


class Frame(NamedTuple):
    """What a program stands between: the runtime's headers before it and after it.

    `folder`: what else of the runtime they include.
    """

    before: str
    after: str
    folder: str = ""


SCAN = Frame("products.h", "entry.h")


def head(dtype: str, frame: Frame = SCAN) -> str:
    """How a translation unit begins: what `real` and `item` are, and what pieces are made of."""
    real, is_float, is_half, stored = KINDS[dtype]
    tiled = TILES[tiles()] if is_half else ""
    return (
        f"typedef {real} real;\n#define REAL_IS_FLOAT {is_float}\n"
        f"#define ITEM_IS_HALF {is_half}\n#define STORED_HALF {stored}\n"
        f'{tiled}#include "{frame.before}"\n'
    )


def tiles() -> str:
    """By which tiles bfloat16 is multiplied here: "amx", or "none"."""
    return "none" if why_no_tiles() else "amx"


def source(program: str, dtype: str, frame: Frame = SCAN) -> str:
    """The translation unit: the program between the runtime's headers."""
    return f'{head(dtype, frame)}{program}#include "{frame.after}"\n'


@functools.lru_cache
def headers(folder: str = "") -> bytes:
    """What every program includes, and of `folder` what those of its frame do."""
    more = sorted((RUNTIME / folder).glob("*.h")) if folder else []
    return b"".join(path.read_bytes() for path in [*sorted(RUNTIME.glob("*.h")), *more])


@functools.lru_cache
def processor() -> str:
    """What the compiler's -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("flags", "Features", "model name", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def multiplies_halves() -> bool:
    """Whether this processor multiplies pairs of bfloat16 (AVX512_BF16, ARM's BF16)."""
    return _multiplies_halves()  # apart: torch.compile warns of a cached function that it meets


@functools.lru_cache
def _multiplies_halves() -> bool:
    return bool({"avx512_bf16", "bf16"} & set(processor().split()))


# What torch.compiler.assume_constant_result does, without importing the compiler for it.
multiplies_halves._dynamo_marked_constant = True  # type: ignore[attr-defined]


def native_flag() -> str:
    """The option that lets the compiler use all that this processor has."""
    return "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"


def key(text: str, command: list[str], frame: Frame = SCAN) -> str:
    """The name of a program's entry in the cache."""
    binary = Path(command[0]).resolve().stat()
    told = (*command, *flags(), str(binary.st_size), str(binary.st_mtime_ns), processor(), text)
    known = "\0".join(told).encode() + headers(frame.folder)
    return hashlib.sha256(known).hexdigest()[:32]


@functools.cache
def load(program: str, dtype: str, name: str, frame: Frame = SCAN) -> ctypes.CDLL:
    """The library of a program, from the cache or compiled now; raise `BuildFailed`.

    `name` is what the notice calls it. OpenMP is torch's: its runtime is loaded already.
    """
    command = needed_compiler()
    text = source(program, dtype, frame)
    try:
        path = private("scans") / f"{key(text, command, frame)}.so"
        if not intact(path):
            with locked(path.with_suffix(".lock")):
                if not intact(path):  # nobody built it while we waited
                    build(text, path, command, name)
    except OSError as error:
        raise BuildFailed(
            f"the cache cannot be written: {error}. THROUGHTIME_CACHE moves it.", passing=True
        ) from error
    share_openmp()
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildFailed(f"the compiled library does not load: {error}") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else is inside at the same time, in any process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@functools.cache
def share_openmp() -> None:
    """Let the names of the OpenMP runtime that torch has loaded be found by ours."""
    try:
        mapped = Path("/proc/self/maps").read_text().split()
    except OSError:  # not Linux: its loader finds them or says what it lacks
        return
    for path in sorted({p for p in mapped if re.search(r"/lib(gomp|omp|iomp5)[^/]*\.so", p)}):
        ctypes.CDLL(path, ctypes.RTLD_GLOBAL)


def intact(path: Path) -> bool:
    """Whether the library at `path` is what was built, by this user."""
    library, checksum = own_bytes(path), own_bytes(path.with_suffix(".sha256"))
    return library is not None and checksum == digest(path, library)


def digest(path: Path, library: bytes) -> bytes:
    """The checksum of a library under its name."""
    return hashlib.sha256(path.stem.encode() + library).hexdigest().encode()


def build(text: str, path: Path, command: list[str], name: str) -> None:
    """Compile beside `path`, then put everything in its place at once."""
    started = time.monotonic()
    program = path.with_suffix(".cpp")
    with writing(program) as fresh:
        fresh.write_text(text)
    with writing(path) as fresh:
        compile_to(fresh, program, command)
        with writing(path.with_suffix(".sha256")) as checksum:
            checksum.write_bytes(digest(path, fresh.read_bytes()))
    terminal.say(
        f"compiled {name} for this processor, once, in {time.monotonic() - started:.1f} s "
        f"({path.parent})"
    )


def compile_to(library: Path, program: Path, command: list[str]) -> None:
    """Run the compiler; raise `BuildFailed` with what it said, or why it did not run."""
    library.unlink()  # what is there afterwards, the compiler made
    told = [*command, *flags(), f"-I{RUNTIME}", str(program), "-o", str(library)]
    try:
        done = subprocess.run(told, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise BuildFailed(
            f"the compiler {command[0]} could not be started: {error}.", passing=True
        ) from error
    if done.returncode == 0 and library.exists():
        return
    said = done.stderr.strip().splitlines()
    short = [line for line in said if any(word in line.lower() for word in SHORT_OF)]
    if done.returncode < 0:
        short.append(f"it was killed by {signal.Signals(-done.returncode).name}")
    errors = [line for line in said if "error" in line]
    first = (short or errors or said or ["no message"])[0]
    raise BuildFailed(
        f"the compiler {command[0]} failed on {program}: {first}", passing=bool(short)
    )
