"""What int8 and int8-full cost of a metric: each export compiled, asked about held-out data.

`python benchmarks/exported_metrics.py RUN…`: bits per token of a language model, accuracy of a
classifier, scaled squared error of a forecaster (the middle quantile), on what `evaluate` measures
(--part test where a forecaster has one), at most so many steps.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import throughtime as tt
from throughtime.config.forecast import ForecastScoringOptions

FLAGS = ("-std=c99", "-O2", "-march=native", "-shared", "-fPIC")
MOST = 30_000
PRECISIONS = ("float32", "int8", "int8-full")


def compiled(run: tt.Run, precision: str, folder: Path) -> Any:
    out = run.export(folder / precision, name="m", precision=precision, yes=True)
    command = ["gcc", *FLAGS, "-Isrc", "src/m.c", "-o", "m.so", "-lm"]
    subprocess.run(command, cwd=out, check=True)
    return ctypes.CDLL(str(out / "m.so"))


def floats(values: Any) -> Any:
    return np.ascontiguousarray(values, np.float32).ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def bits(run: tt.Run, library: Any) -> float:
    """Per token."""
    ids = run.task.running_text(None, quiet=True).ids[:MOST]
    V, state = len(run.task.vocabulary), ctypes.create_string_buffer(1 << 20)
    logits, total = np.zeros(V, np.float32), 0.0
    given = floats(logits)
    library.m_init(state)
    library.m_open(state, given)
    for token in ids.tolist():
        most = logits.max()
        total += most + np.log(np.exp(logits - most, dtype=np.float64).sum()) - logits[token]
        library.m_step(state, token, given)
    return float(total / len(ids) / np.log(2))


def accuracy(run: tt.Run, library: Any) -> float:
    task, state = run.task, ctypes.create_string_buffer(1 << 20)
    raw = task.raw_to_measure(None)
    examples = task.encode(raw)
    p = np.zeros(len(task.labels), np.float32)
    right, text = 0, hasattr(task.source, "vocabulary")
    for i, (label, one) in enumerate(zip(examples.labels, raw)):
        sequence = examples.sequences[i] if text else one.content
        steps = [int(s) if text else floats(s) for s in sequence]
        if hasattr(library, "m_classify"):
            kind = np.int32 if text else np.float32
            whole = np.ascontiguousarray(sequence, kind)
            work = np.zeros(2048 * (1 + len(steps)), np.float32)
            library.m_classify(
                whole.ctypes.data_as(ctypes.c_void_p), len(steps), floats(work), floats(p)
            )
        else:
            library.m_init(state)
            for step in steps:
                library.m_step(state, step)
            library.m_result(state, floats(p))
        right += int(p.argmax()) == int(label)
    return right / len(examples.labels)


def squared_error(run: tt.Run, library: Any) -> float:
    task = run.task
    stretches = task.raw_to_measure(None, ForecastScoringOptions(part="test"))
    windows = task.encode(stretches, stride=4)
    about = task.exported(run.model).outline.window
    center, unit = next(iter(task.exported(run.model).series.values()))
    L, H, k, Q = about.length, about.horizon, about.targets, max(1, len(about.quantiles))
    work, made = np.zeros(1 << 18, np.float32), np.zeros(H * k * Q, np.float32)
    total = 0.0
    days = np.datetime64("1970-01-01")
    for i in range(len(windows)):
        past, *_, targets = windows.pad(np.array([i]))
        raw = past[:L, 0].numpy()[:, :k] * unit + center
        series = stretches[0].series
        first = series.stamps(int(windows.origins[i]) - L, int(windows.origins[i]) - L + 1)[0]
        given = []
        if task.learned.calendar:
            given.append(ctypes.c_double((first - days) / np.timedelta64(1, "D")))
        library.m_forecast(*given, floats(raw), floats(work), floats(made))
        point = made.reshape(H, k, Q)[..., Q // 2]
        total += float((((point - center) / unit - targets[:, 0].numpy()) ** 2).mean())
    return total / len(windows)


METRICS: dict[str, tuple[str, Callable[[tt.Run, Any], float]]] = {
    "lm": ("bits per token", bits),
    "classify": ("accuracy", accuracy),
    "forecast": ("scaled MSE", squared_error),
}


def main() -> None:
    print("| run | metric | " + " | ".join(PRECISIONS) + " | int8 | int8-full |")
    print("|---|---|" + "---|" * (len(PRECISIONS) + 2))
    for path in sys.argv[1:]:
        run = tt.Run.open(path)
        name, measure = METRICS[run.kind]
        with tempfile.TemporaryDirectory() as folder:
            found = [measure(run, compiled(run, one, Path(folder))) for one in PRECISIONS]
        change = [f"{one / found[0] - 1:+.2%}" for one in found[1:]]
        print(f"| {Path(path).name} | {name} | ", end="")
        print(" | ".join([*(f"{one:.4f}" for one in found), *change]) + " |", flush=True)


if __name__ == "__main__":
    main()
