"""The examples run, on recordings that are made up."""

import io
import subprocess
import sys
import tarfile

import numpy as np
import pytest

import throughtime as tt
from cases import ROOT
from throughtime.command.cli import main


def test_digits_become_a_spotter_that_answers_step_by_step(tmp_path, monkeypatch):
    wavfile = pytest.importorskip("scipy.io.wavfile", reason="scipy is in the extra music")
    draw = np.random.default_rng(0)
    with tarfile.open(tmp_path / "digits.tar.gz", "w:gz") as archive:
        for digit in range(3):
            for index in range(20):
                t = np.arange(1600 + 80 * index) / 8000
                sound = 8000 * np.sin(2 * np.pi * 300 * (digit + 1) * t) + draw.normal(size=len(t))
                wavfile.write(file := io.BytesIO(), 8000, sound.astype(np.int16))
                member = tarfile.TarInfo(f"recordings/{digit}_ada_{index}.wav")
                member.size = len(file.getvalue())
                file.seek(0)
                archive.addfile(member, file)
    program = [sys.executable, ROOT / "examples/digits/features.py", "digits.tar.gz", "digits"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "test.npz: 6 recordings" in done.stdout
    monkeypatch.chdir(tmp_path)
    spotter = ROOT / "examples/digits/spotter.yaml"
    words = [
        "--config",
        str(spotter),
        "--train",
        "digits/train.npz",
        "--out",
        "run",
        "--threads",
        "1",
    ]
    assert main(["train", "classify", *words, "--max-steps", "60", "--model.hidden_size", "8"]) == 0
    assert tt.evaluate("run", "digits/test.npz").accuracy == 1
    stream, archive = tt.Run.open("run").stream(), np.load("digits/test.npz")
    answers = [stream.push(step).values["label"] for step in archive["x"][: archive["lengths"][0]]]
    assert answers[-1] == str(archive["y"][0])
