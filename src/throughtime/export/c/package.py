"""The files around the C: README, CMake, an Arduino library, a program that writes."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

CMAKE = """cmake_minimum_required(VERSION 3.10)
project(name C)
add_library(name STATIC src/NAME.c)
target_include_directories(name PUBLIC src)
set_target_properties(name PROPERTIES C_STANDARD 99)
if(CMAKE_C_COMPILER_ID MATCHES "GNU|Clang")
  target_compile_options(name PRIVATE -O3 -ffp-contract=fast)
  find_library(NAME_LIBM m)
  if(NAME_LIBM)
    target_link_libraries(name PUBLIC ${NAME_LIBM})
  endif()
endif()
enable_testing()
add_executable(name_test test/NAME_test.c)
target_link_libraries(name_test PRIVATE name)
add_test(NAME name_test COMMAND name_test)
"""

PROPERTIES = """name=name
version=1.0.0
author=throughtime
maintainer=throughtime
sentence={sentence}
paragraph=Exported by throughtime: no dependencies, no heap, the caller owns the state.
category=Data Processing
architectures=*
includes=NAME.h
"""


def properties(what: str) -> str:
    """The Arduino library's."""
    return PROPERTIES.format(sentence=what)


CORES = {
    "Cortex-M4F": ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-mthumb"),
    "Cortex-M55": ("-mcpu=cortex-m55", "-mfloat-abi=hard", "-mthumb"),
}
CROSS = "arm-none-eabi-gcc"


def measured(files: dict[str, str], name: str) -> list[str]:
    """Rows of a table: code and constants for each core, where the cross compiler is there."""
    if not (shutil.which(CROSS) and shutil.which("arm-none-eabi-size")):
        return []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            if path.startswith("src/"):
                Path(folder, Path(path).name).write_text(text, encoding="utf-8")
        for core, flags in CORES.items():
            made = Path(folder, "model.o")
            told = [
                CROSS,
                *flags,
                "-std=c99",
                "-Os",
                "-fstack-usage",
                "-c",
                f"{name}.c",
                "-o",
                str(made),
            ]
            if subprocess.run(told, cwd=folder, capture_output=True).returncode:
                continue
            said = subprocess.run(
                ["arm-none-eabi-size", "-A", str(made)], capture_output=True, text=True
            ).stdout
            code = total(said, r"\.text")
            constants = total(said, r"\.rodata")
            memory = total(said, r"\.(?:data|bss)")
            frames = Path(folder, "model.su").read_text().strip().split("\n")
            stack = max(int(line.split("\t")[1]) for line in frames)
            rows.append(f"| {core}, -Os | {code:,} | {constants:,} | {memory:,} | {stack:,} |")
    return rows


def total(said: str, sections: str) -> int:
    """The bytes of sections in what `size -A` says."""
    found = re.findall(rf"^{sections}\S*\s+(\d+)", said, re.M)
    return sum(map(int, found))
