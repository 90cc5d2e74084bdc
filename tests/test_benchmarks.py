"""The benchmarks run, at sizes that measure nothing; their peers compute what our cells do."""

import dataclasses
import importlib
import json
import warnings
from pathlib import Path

import pytest
import torch

import throughtime as tt

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
HERE = ["lstm", "lstm-bfloat16", "gru-rnn", "loop", "cells", "threads", "bfloat16"]
"""The sections that need no compiler, no other package and no further process."""


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def layer(benchmark):
    """A layer by the cell's name, on the reference."""

    def make(name, shape=(3, 2, 5)):
        module = benchmark("layer")
        o = module.Options((shape,), 0.0, "reference", "cpu", 1)
        return module.Layer(module.CELLS[name], shape, o, torch.float64)

    return make


@pytest.mark.parametrize("name", ["SimpleGRU", "GRU", "PeepholeLSTM", "DecayUnit"])
def test_the_loops_are_the_cells(benchmark, layer, name):
    layer = layer(name)
    y = tt.scan(layer.cell, layer.w, layer.x, backend="reference")[0]
    peer = benchmark("peers").LOOPS[layer.cell](layer.w, layer.x)
    for a, b in [
        (peer, y),
        *zip(
            torch.autograd.grad(peer, layer.parameters, layer.dy),
            torch.autograd.grad(y, layer.parameters, layer.dy),
        ),
    ]:
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["LSTM", "RNN", "GRUResetAfter"])
def test_the_layers_are_the_cells(benchmark, layer, name):
    layer = layer(name)
    with torch.no_grad():
        layer.w.b.uniform_(-1, 1)
    y = tt.scan(layer.cell, layer.w, layer.x, backend="reference")[0]
    peer = benchmark("peers").torch_layer(layer.cell, layer.w)(layer.x)[0]
    torch.testing.assert_close(peer, y, rtol=1e-12, atol=1e-12)


def test_layers_runs(benchmark, tmp_path, capsys):
    found = tmp_path / "found.json"
    options = ["--shapes", "4,2,8", "--seconds", "0", "--threads", "1", "--json", str(found)]
    benchmark("layers").main(["--backend", "reference", "--section", *HERE, *options])
    sections = json.loads(found.read_text())["sections"]
    rows = {name: len(section["rows"]) for name, section in sections.items()}
    assert rows == {
        "lstm": 2, "lstm-bfloat16": 2, "gru-rnn": 4, "loop": 12, "cells": 16,
        "threads": 0, "bfloat16": 0,
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "| PeepholeLSTM" in out
    assert "geometric mean" in out


def test_what_a_backend_cannot_run_is_said(benchmark, capsys):
    options = ["--shapes", "4,2,8", "--seconds", "0", "--threads", "1"]
    benchmark("layers").main(["--backend", "native", "--section", "loop", *options])
    out = capsys.readouterr().out
    assert "SimpleGRU left out: native cannot run it" in out


@pytest.mark.parametrize("name", ["LSTM", "GRUResetAfter", "GRU"])
def test_onnx_runtime_computes_the_cells(benchmark, name):
    pytest.importorskip("onnx", reason="onnx is in the extra bench")
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra bench")
    layer, peers = benchmark("layer"), benchmark("peers")
    o = layer.Options((), 0.0, "reference", "cpu", 1)
    ours = layer.Layer(layer.CELLS[name], (5, 3, 7), o)
    with torch.no_grad():
        ours.w.b.uniform_(-1, 1)
    peer = peers.OnnxLayer(peers.onnx_model(ours.cell, ours.w, 5, 3), ours.x, 7, 1, False)
    peer()
    torch.testing.assert_close(peer.result(), ours.scan(ours.x).detach(), rtol=1e-5, atol=1e-5)


def test_language_runs(benchmark, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("THROUGHTIME_DATA", raising=False)
    options = ["--seconds", "0", "--threads", "1", "--sizes", "4,2,8", "--layers", "1"]
    benchmark("language").main([*options, "--json", str(tmp_path / "found.json")])
    sections = json.loads((tmp_path / "found.json").read_text())["sections"]
    assert [row["cell"] for row in sections["training"]["rows"]] == ["lstm", "gru-reset-after"]
    assert len(sections["generation"]["rows"]) == 1
    assert "random words" in capsys.readouterr().out


def test_tables_runs(benchmark, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tables.py", "--megabytes", "1", "--what", "speed", "memory"])
    benchmark("tables").main()
    out = capsys.readouterr().out
    assert "MB/s" in out
    assert "GB at most" in out


def test_tasks_runs(benchmark, monkeypatch, capsys):
    tasks = benchmark("tasks")
    rows = [name for name, row in tasks.ROWS.items() if row.task == "classify"]
    for name in rows:
        settings = tasks.ROWS[name].settings | {"model": {"hidden_size": 4, "backend": "reference"}}
        small = dataclasses.replace(tasks.ROWS[name], settings=settings, batch_size=2)
        monkeypatch.setitem(tasks.ROWS, name, small)
    tasks.main(["--rounds", "1", "--threads", "1", "--steps", "20", "--only", "classify"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(rows)
    for line, name in zip(lines[2:], rows):
        assert name in line
        assert float(line.split()[-2]) > 0


@pytest.fixture
def trial(benchmark, monkeypatch, tmp_path):
    """A section of the GPU's benchmark on the CPU, in the interpreter: what it wrote."""
    pytest.importorskip("triton")
    import interpreting  # noqa: F401  what the interpreter lacks

    monkeypatch.setenv("THROUGHTIME_GPU", "graph")
    gpu, file = benchmark("gpu"), tmp_path / "found.json"

    def run(section, *options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of what stands in padding
            gpu.main(["--try", "--one", section, *options, "--json", str(file)])
        return json.loads(file.read_text())

    return run


def test_the_gpu_benchmark_without_a_gpu_names_what_can_be_tried(benchmark, layer, monkeypatch):
    times = benchmark("gpu_times")
    for name in times.CELLS:
        made = layer(name)
        right = tt.scan(made.cell, made.w, made.x, backend="reference")[0]
        torch.testing.assert_close(times.loop(made.cell, made.w, made.x), right)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"needs a CUDA GPU.*--try"):
        benchmark("gpu").main([])


def test_ways_are_tried_and_become_the_table_of_auto(benchmark, trial):
    rows = trial("ways", "--cells", "LSTM", "--dtypes", "float32")["rows"]
    assert [row["way"] for row in rows] == ["block", "grid", "graph"]
    found = benchmark("gpu_times").measured(rows, "Card")
    assert {(row["way"], row["card"], row["n"]) for row in found} == {
        (way, "Card", 16) for way in ("block", "grid", "graph")
    }
    assert all(row["us"] > 0 and row["on paper"] > 0 for row in found)


def test_what_agrees_is_told_and_what_does_not(benchmark, trial, monkeypatch):
    options = ["--cells", "GRU", "--dtypes", "float32"]
    assert trial("agreement", *options)["notes"] == ["3 of 3 agree, 0 do not"]
    monkeypatch.setitem(benchmark("gpu_sections").ALLOWED, "float32", 0.0)
    found = trial("agreement", *options)
    assert found["notes"] == ["0 of 3 agree, 3 do not"]
    assert all(row["agrees"] == "NO" for row in found["rows"])


def test_a_row_that_fails_is_told_and_the_rest_goes_on(trial):
    found = trial("cudnn", "--cells", "LSTM", "--dtypes", "bfloat16", "float16")
    assert len(found["rows"]) == 2
    found = trial("steps", "--cells", "LSTM", "No")
    assert len(found["rows"]) == 2
    assert found["notes"][0].startswith("failed: step No 1 × 16: KeyError")


def test_a_section_that_ends_takes_no_other_with_it(benchmark):
    found = benchmark("gpu").apart("ways", 30, ["--try", "--cells", "No"])
    assert found["rows"] == []
    assert found["notes"] == ["it ended with 1: KeyError: 'No'"]
