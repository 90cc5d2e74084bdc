"""A step of a character LSTM on one core: the C of an export against ONNX Runtime's step model.

`python benchmarks/exported.py`. ONNX Runtime has its inputs and outputs bound, so that no time is
that of Python's dictionaries; its int8 model multiplies what it has made float32 again.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

import throughtime as tt
from throughtime import export
from throughtime.config import ModelConfig
from throughtime.data.vocabulary import Vocabulary
from throughtime.models.language import LanguageModel
from throughtime.tasks.exported import Exported

TEXT = "".join(map(chr, range(33, 94)))
FLAGS = ("-std=c99", "-O3", "-march=native", "-ffp-contract=fast")


def model(n: int) -> Exported:
    torch.manual_seed(0)
    vocabulary = Vocabulary.of_texts([TEXT], "char")
    made = LanguageModel(tt.LSTM, len(vocabulary), ModelConfig(hidden_size=n)).eval()
    return Exported(made.outline(), "token", vocabulary, opening=(2,), never=(0, 1, 2))


def microseconds_of_c(folder: Path) -> float:
    files = ("-Isrc", "src/m.c", "test/m_test.c", "-o", "t", "-lm")
    subprocess.run(["gcc", *FLAGS, *files], cwd=folder, check=True)
    runs = (subprocess.run([folder / "t"], capture_output=True, text=True) for _ in range(3))
    return min(float(done.stdout.split(", ")[1].split()[0]) for done in runs)


def microseconds_of_onnx(folder: Path) -> float:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "m.onnx"), options)
    bound = session.io_binding()
    token, *states = session.get_inputs()
    bound.bind_ortvalue_input(token.name, ort.OrtValue.ortvalue_from_numpy(np.array([7])))
    for bind, several in (
        (bound.bind_ortvalue_input, states),
        (bound.bind_ortvalue_output, session.get_outputs()),
    ):
        for one in several:
            zeros = np.zeros((1, one.shape[1]), np.float32)
            bind(one.name, ort.OrtValue.ortvalue_from_numpy(zeros))
    best = np.inf
    for _ in range(8):
        began = time.perf_counter()
        for _ in range(200):
            session.run_with_iobinding(bound)
        best = min(best, (time.perf_counter() - began) / 200)
    return best * 1e6


def main() -> None:
    print(f"{'':12}{'C':>10}{'ONNX':>10}{'ratio':>8}  microseconds a step")
    with tempfile.TemporaryDirectory() as made:
        for n in (64, 128, 512):
            for precision in ("float32", "int8"):
                found = []
                for to, timed in (("c", microseconds_of_c), ("onnx", microseconds_of_onnx)):
                    folder = Path(made, f"{to}{n}{precision}")
                    how = {"precision": precision, "form": "step"}
                    export.write(model(n), folder, to=to, name="m", **how)
                    found.append(timed(folder))
                c, onnx = found
                print(f"1 × {n} {precision:8}{c:10.2f}{onnx:10.2f}{onnx / c:8.1f}", flush=True)


if __name__ == "__main__":
    main()
