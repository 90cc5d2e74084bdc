"""`make demo`: a character LSTM learns to write Python from the standard library's own source.

Then it is looked into: a page shows what it remembers, and for how long.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sysconfig
from pathlib import Path

from throughtime.command.cli import prepare_environment

prepare_environment()

import numpy as np
import torch

import throughtime as tt
from throughtime.config import from_dict, load_yaml
from throughtime.data import corpus as corpora
from throughtime.data.text import Text
from throughtime.data.vocabulary import Vocabulary
from throughtime.ground import terminal
from throughtime.ground.interrupts import Interrupted
from throughtime.ngram import witten_bell_nats
from throughtime.verbs import inspect_run

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "encodings", "site-packages", "dist-packages"}
VALID_SHARE = 0.05


def main() -> int:
    """Gather the text, train, compare with counting, say how to go on, look inside."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-time", default=None, help="instead of the preset's two minutes")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run goes")
    options = parser.parse_args()
    train, valid = gather(options.runs / "stdlib")
    out = unused(options.runs / "demo")
    settings = load_yaml(ROOT / "configs/demo.yaml")
    settings |= {"train": [str(train)], "valid": [str(valid)], "out": str(out)}
    if options.max_time:
        settings["max_time"] = options.max_time
    try:
        result = tt.train(from_dict(tt.LanguageConfig, settings))
    except Interrupted:
        terminal.say(f"saved. Go on with: throughtime train lm --resume --out {out}")
        return 130
    order, floor = ngram_floor(train, valid, out / "tokenizer.json")
    bits = result.metrics["bits_per_char"]
    print(f"""
validation, on files that were not trained on
  {f"this LSTM after {result.seconds:.0f} s":26} {bits:.3f} bits per character
  {f"{order}-gram (Witten-Bell)":26} {floor / math.log(2):.3f} bits per character
{"" if bits < floor / math.log(2) else slow()}
the run is in {out}; go on with
  .venv/bin/throughtime generate {out} --prime "def main(" --temperature 0.7
  .venv/bin/throughtime evaluate {out} --data {valid}
  .venv/bin/throughtime train lm --resume --out {out} --max-time 10m
""")
    terminal.say("looking inside; Ctrl-C leaves this out")
    try:
        inside = inspect_run(out, untrained=True)
    except KeyboardInterrupt:
        return 130
    print("\n".join(f"  {finding}" for finding in inside.report.findings))
    print(f"\ngradients through time, gates, influence on the text, in a browser: {inside.path}")
    return 0


def slow() -> str:
    """What to say where so short a training did not come below the n-gram."""
    return (
        f"  {torch.get_num_threads()} threads of this machine were too slow to beat counting in "
        "this time; the last command below gives them more.\n"
    )


def gather(folder: Path) -> tuple[Path, Path]:
    """Write the modules of the standard library into train.txt and valid.txt, split by file.

    A file goes to validation if the hash of its name says so: the same files on every machine
    with the same Python. Each begins with a line that names it.
    """
    library = Path(sysconfig.get_path("stdlib"))
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"train": folder / "train.txt", "valid": folder / "valid.txt"}
    texts: dict[str, list[str]] = {"train": [], "valid": []}
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library)
        if LEFT_OUT & set(name.parts):
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a few old modules declare another encoding
        digest = hashlib.sha256(name.as_posix().encode()).digest()
        part = "valid" if digest[0] < 256 * VALID_SHARE else "train"
        texts[part].append(f"# ---- {name.as_posix()} ----\n{text.rstrip()}\n\n")
    for part, path in paths.items():
        joined = "".join(texts[part])
        if not path.exists() or path.read_text("utf-8") != joined:
            path.write_text(joined, "utf-8")
        terminal.say(f"{path}: {len(texts[part])} modules, {len(joined):,} characters")
    return paths["train"], paths["valid"]


def unused(path: Path) -> Path:
    """`path`, or path-2, path-3 … if it is taken: an earlier run stays."""
    numbered = path
    n = 1
    while numbered.exists():
        n += 1
        numbered = path.with_name(f"{path.name}-{n}")
    return numbered


def ngram_floor(train: Path, valid: Path, tokenizer: Path) -> tuple[int, float]:
    """The best n-gram order by counting, and its nats per character."""
    vocabulary = Vocabulary.load(tokenizer, "char")
    ids = [
        np.asarray(corpora.encode(Text.of([str(path)]), vocabulary, "none").ids, np.int64)
        for path in (train, valid)
    ]
    nats = witten_bell_nats(*ids, 6, len(vocabulary))
    return nats.index(min(nats)) + 1, min(nats)


if __name__ == "__main__":
    raise SystemExit(main())
