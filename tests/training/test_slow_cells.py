"""A cell that only runs as a loop in Python: said where it is trained, compared, looked at."""

import json
from types import SimpleNamespace

import pytest
import torch

import throughtime as tt
from throughtime.command.cli import main
from throughtime.compare import table
from throughtime.compare.outcome import Finding, VariantRow

SOURCE = """
import throughtime as tt
import torch
class Mixing(tt.Cell):
    gates, state = ("h",), ("h",)
    def step(self, w, x, s):
        z = w.h(s.h, x)
        return self.State(h=torch.tanh(z - z.cumsum(-1)))
"""
SAID = "Mixing() runs as a loop in Python, several times slower than compiled: "
REASON = "the operation cumsum cannot be compiled."


@pytest.fixture
def mixing(tmp_path):
    (tmp_path / "mine.py").write_text(SOURCE)
    return f"{tmp_path / 'mine.py'}:Mixing"


@pytest.fixture
def run(mixing, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 40)
    config = tt.LanguageConfig(
        train=[str(tmp_path / "text.txt")], out=str(tmp_path / "run"), max_steps=2, cell=mixing
    )
    config.loop.batch_size, config.loop.window, config.model.hidden_size = 2, 8, 8
    tt.train(config)
    return tmp_path / "run"


def test_training_says_so_once_with_the_reason(run, capsys):
    err = capsys.readouterr().err
    assert err.count(SAID + REASON) == 1
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert [line["text"] for line in lines if line["kind"] == "slow"] == [SAID + REASON]


def test_the_table_of_a_comparison_notes_it(run, tmp_path):
    result = tmp_path / "result.json"
    values = {"unit": "tokens", "jobs": 1, "threads": 1, "steps": 2, "seconds": 1.0}
    result.write_text(json.dumps(values))
    row = VariantRow("mixing", "", None, findings=[Finding.read(result, run, 1)])
    comparison = SimpleNamespace(equal="width", seeds=1, levels=[])
    assert SAID + REASON in table.notes_of("", comparison, [row], 2, {})


def test_doctor_tells_of_the_cell_that_is_asked_for(mixing, capsys):
    assert main(["doctor", "--cell", mixing]) == 0
    assert SAID + REASON in capsys.readouterr().out
    found = dict(tt.doctor(cell=mixing))
    assert found[f"compiled: {mixing}"] == f"no: {REASON}"
    assert found[f"slow: {mixing}"] == SAID + REASON
    assert not any(name.startswith(("slow: lstm", "native: lstm")) for name in found)
    assert not any(name.startswith("slow") for name, _ in tt.doctor())


def test_a_cell_that_is_compiled_or_whose_loop_was_asked_for_is_not_slow(mixing):
    from throughtime.cells.names import find_cell

    cell = find_cell(mixing)
    assert tt.Stack(tt.GRU, 3, 4).why_slow() is None
    assert tt.Stack(cell, 3, 4).why_slow() == SAID + REASON
    assert tt.Stack(cell, 3, 4, backend="reference").why_slow() is None
    stack = tt.Stack(tt.GRU, 3, 4).half()
    assert "x is torch.float16" in stack.why_slow()
    with torch.autocast("cpu", torch.bfloat16):
        assert tt.Stack(tt.GRU, 3, 4).why_slow() is None
