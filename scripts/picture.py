"""docs/images/demo.svg from what `make demo` printed.

    make demo 2>&1 | tee demo.log;  .venv/bin/python scripts/picture.py demo.log

Lines are shown as they were printed, long ones folded; samples but the first and the last two are
left out, marked with an ellipsis.
"""

from __future__ import annotations

import io
import re
import sys
import textwrap
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

WIDTH = 104
TARGET = Path(__file__).resolve().parent.parent / "docs/images/demo.svg"


def main() -> None:
    """Read the log, choose the lines, draw them."""
    lines = Path(sys.argv[1]).read_text("utf-8").splitlines()
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text("$ make demo", style="bold green"))
    for line in shorten(lines):
        for part in fold(line):
            console.print(Text(part, style=style(line)), soft_wrap=True)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    # the reader's own monospaced font: a picture that fetches nothing
    plain = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.S)
    console.save_svg(str(TARGET), title="throughtime", code_format=plain)
    print(TARGET)


def shorten(lines: list[str]) -> list[str]:
    """The interesting lines: no pip, no file sizes, three samples of at most nine lines."""
    start = next(i for i, line in enumerate(lines) if "training tokens" in line)
    blocks: list[list[str]] = []
    for line in lines[start:]:
        is_sample = line.startswith("  │")
        if blocks and is_sample == blocks[-1][0].startswith("  │"):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    samples = [block for block in blocks if block[0].startswith("  │")]
    kept = [samples[0], *samples[-2:]] if len(samples) > 3 else samples
    shown: list[str] = []
    for block in blocks:
        if block in samples and block not in kept:
            if shown[-1] != "  ⋮":
                shown.append("  ⋮")
            continue
        shown += block[:9] if block in samples else block
    shown = [line for line in shown if not re.match(r"(encoding|building) the|real|user|sys", line)]
    # of two progress lines with nothing between them, the first is enough
    return [
        line
        for before, line in zip(["", *shown], shown)
        if not (re.match(r" *\d+%", line) and re.match(r" *\d+%|  ⋮", before))
    ]


def fold(line: str) -> list[str]:
    """A line in pieces that the picture is wide enough for, the later ones indented."""
    if len(line) <= WIDTH:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def style(line: str) -> str:
    """Samples dim, validation and summary bright."""
    if line.startswith("  │"):
        return "italic #9aa5b1"
    if "validation" in line or "bits per character" in line:
        return "bold #e6edf3"
    return "#c9d1d9"


if __name__ == "__main__":
    main()
