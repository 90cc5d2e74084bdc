"""Reading tables of numbers: speed of one core and the most memory beyond mapped files.

    python benchmarks/tables.py --megabytes 300
    python benchmarks/tables.py --megabytes 2000 --what memory

A made-up CSV, twelve numbers a row with six decimals, a hundred rows a sequence, a label,
is written into a temporary folder. `speed` reads it as `classify --level numbers` does and counts
the processor's time; `memory` prepares that whole training (reading, splitting, scaling, encoding)
and looks at what the process holds that is no mapped file (RssAnon) every 20 ms.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import throughtime as tt
from throughtime.data.columns import Columns
from throughtime.data.numbers import read_numbers
from throughtime.tasks import task_class

COLUMNS, ROWS, BLOCK = 12, 100, 20_000


def write(path: Path, size: float) -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=(BLOCK, COLUMNS)) * 50
    rows = [",".join(f"{x:.6f}" for x in row) for row in numbers.tolist()]
    sequence = 0
    with open(path, "w") as file:
        file.write(",".join(["sequence", *(f"x{k}" for k in range(COLUMNS)), "label"]) + "\n")
        while file.tell() < size:
            for start in range(0, BLOCK, ROWS):
                label = "ab"[sequence % 2]
                lines = (f"s{sequence},{row},{label}\n" for row in rows[start : start + ROWS])
                file.write("".join(lines))
                sequence += 1


def speed(path: Path) -> str:
    began = time.process_time()
    count = len(read_numbers([str(path)], Columns("sequence", "label")))
    took = time.process_time() - began
    return f"{count:,} sequences, {took:.1f} s, {path.stat().st_size / 1e6 / took:.1f} MB/s"


def held() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def memory(path: Path) -> str:
    most, done, before = [held()], threading.Event(), held()

    def look() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], held())

    watch = threading.Thread(target=look)
    watch.start()
    config = tt.ClassifierConfig(train=[str(path)], level="numbers", out="nowhere")
    task = task_class("classify").prepare(config)
    done.set()
    watch.join()
    return f"{task.summary()}; {most[0] / 1e9:.2f} GB at most, {before / 1e9:.2f} GB before"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=300)
    parser.add_argument("--what", nargs="*", choices=("speed", "memory"), default=["speed"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "numbers.csv"
        write(path, options.megabytes * 1e6)
        for name in options.what:
            print(f"{name}: {(speed if name == 'speed' else memory)(path)}", flush=True)


if __name__ == "__main__":
    main()
