"""Run folders with damaged files: opened and used, or told by one line; nothing is run."""

import io
import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import strategies as st

import mutations
import throughtime as tt
from throughtime.checkpoint import RunFolder
from throughtime.config import MusicConfig, from_dict
from throughtime.tasks import entry

RUNS = Path(__file__).parents[1] / "runs_of_0_1"
ODD_TENSORS = (
    *(
        torch.zeros(0),
        torch.zeros(3, 5),
        torch.tensor(float("nan")),
        torch.zeros(2, dtype=torch.int8),
    ),
    torch.zeros(1).expand(2**20, 2**20),
)


def use(path):
    """Each verb that the run has, little of each."""
    run = tt.Run(path, device="cpu", threads=1)
    config = entry(run.kind).config
    if config.generate_options and config is not MusicConfig:
        run.generate(max_new_tokens=5, seed=0)
    if config.predict_options and getattr(run.config, "level", "word") != "numbers":
        list(run.predict(lines=["the dog\tx", ""]))
    run.evaluate()


def resume(path):
    """Train on from it: two steps more."""
    task, values = RunFolder(path).load_config()
    config = from_dict(entry(task).config, values)
    config.out, config.max_steps = str(path), 10
    tt.train(config, resume=True)


@st.composite
def damaged_file(draw, file):
    """The file of a run with changes of its bytes, or of what is in it."""
    run = mutations.one_of(draw, [name for name, has in FILES if has == file])
    data = (RUNS / run / file).read_bytes()
    change = CHANGES.get(Path(file).suffix) if draw(st.integers(0, 3)) else None
    return mutations.Input(file, {"run": run, file: (change or mutations.damaged)(draw, data)})


def change_yaml(draw, data):
    values = mutations.changed(draw, yaml.safe_load(data))
    return yaml.dump(values, allow_unicode=True).encode("utf-8", "surrogatepass")


def change_json(draw, data):
    return json.dumps(mutations.changed(draw, json.loads(data), JSON)).encode()


def change_header(draw, data):
    size = struct.unpack("<Q", data[:8])[0]
    made = change_json(draw, data[8 : 8 + size])
    return struct.pack("<Q", len(made)) + made + data[8 + size :]


def change_checkpoint(draw, data):
    values, made = torch.load(io.BytesIO(data), weights_only=True), io.BytesIO()
    torch.save(mutations.changed(draw, values, (*mutations.ODD, *ODD_TENSORS)), made)
    return made.getvalue()


CHANGES = {
    ".yaml": change_yaml,
    ".json": change_json,
    ".safetensors": change_header,
    ".pt": change_checkpoint,
}
"""How what is in a file is changed, its form kept."""
JSON = tuple(value for value in mutations.ODD if not isinstance(value, bytes))
"""What a file of JSON can hold."""
FILES = sorted((path.parent.name, path.name) for path in RUNS.glob("*/*[!l]"))
FILES = [(run, file) for run, file in FILES if run != "data"]
"""Runs, and what is in them that they cannot do without."""


@pytest.mark.parametrize("file", sorted({file for _, file in FILES}))
def test_damaged_file(file, rounds, tmp_path, monkeypatch, capsys):
    shutil.copytree(RUNS, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def opened(example):
        shutil.rmtree("run", ignore_errors=True)
        shutil.copytree(example.files["run"], "run")
        Path("run", file).write_bytes(example.files[file])
        (resume if file == "trainer.pt" else use)("run")

    for name, has in FILES:  # they are valid
        if has == file:
            opened(mutations.Input(file, {"run": name, file: (RUNS / name / file).read_bytes()}))
    rounds(damaged_file(file), opened)
