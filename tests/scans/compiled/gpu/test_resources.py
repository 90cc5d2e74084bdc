"""The kernels for GPUs as the compiler makes them, without a GPU: `benchmarks/gpu_resources.py`."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import throughtime as tt
from throughtime.cells.names import CELLS
from throughtime.scans.compiled import programs
from throughtime.scans.compiled.gpu import cards, ways

triton = pytest.importorskip("triton")
BENCHMARKS = Path(__file__).resolve().parents[4] / "benchmarks"
TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"
if not (TOOLS / "nvdisasm").exists():
    pytest.skip("this Triton brings no compiler for NVIDIA's GPUs", allow_module_level=True)


def resources(tmp_path, *options):
    """The rows of the table; in a process of its own, since Triton here is the interpreter."""
    found = tmp_path / "found.json"
    command = [sys.executable, BENCHMARKS / "gpu_resources.py", *options, "--json", found]
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path / "triton")}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(found.read_text())["rows"]


def assert_lean(row):
    """Nothing is spilled, the weights that stay are loaded once, and the reckoning holds."""
    assert row["spills"] == 0, row
    assert row["W before"] > 0, row
    assert row["W inside"] == 0, row
    assert row["shared KiB"] <= row["reckoned"], row


def test_recurrent_weights_are_loaded_before_the_time_loop(tmp_path):
    rows = resources(tmp_path, "--architectures", "90", "--cells", "GRU", "--widths", "256")
    assert [(row["kernel"], row["way"]) for row in rows] == [
        ("forward", "grid"), ("backward", "grid"),
    ]  # fmt: skip
    for row in rows:
        assert_lean(row)


@pytest.mark.slow
def test_weights_that_are_read_anew_are_seen_in_the_loop(tmp_path):
    options = ["--architectures", "90", "--cells", "ThreeLevels", "--widths", "1024"]
    rows = resources(tmp_path, *options, "--batch", "128")
    assert all("anew" in row["way"] and row["W inside"] > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["80", "90", "100"])
def test_nothing_spills_at_the_shapes_of_block_and_grid(tmp_path, architecture):
    options = ["--architectures", architecture, "--cells", "LSTM", "GRU", "ThreeLevels"]
    rows = resources(tmp_path, *options, "--dtypes", "bfloat16")
    assert len(rows) == 30
    for row in rows:
        if "anew" not in row["way"]:
            assert_lean(row)


# Shared memory, reckoned


SMALL = cards.Card(108, 99 * 1024)


def facts_of(cell):
    return programs.facts(programs.find(cell, "triton"))


@pytest.mark.parametrize("name", ["lstm", "gru", "layer-norm-lstm", "nas", "wmclstm", "indrnn"])
def test_no_way_asks_for_more_than_the_card_has(name):
    facts = facts_of((CELLS | tt.zoo.ZOO)[name]())
    widths, batches = (16, 64, 100, 128, 256, 512, 1024, 2048), (1, 32, 300)
    some = SMALL, cards.CARDS["a100"], cards.H100
    for n, B, size, card in itertools.product(widths, batches, (2, 4), some):
        for way in ways.found(facts, B, n, size, card).values():
            if isinstance(way, str):
                assert "KiB" in way or "multiprocessors" in way or "mix" in way
            else:
                assert ways.shared(facts, way, size) <= card.shared
                assert way.warps <= 32


def test_a_card_with_less_shared_memory_takes_another_way_and_says_why():
    found = ways.found(facts_of(tt.LSTM()), 16, 128, 2, SMALL)
    assert found["block"] == ("its weights and operands are 180 KiB, and a multiprocessor holds 99")
    assert isinstance(found["grid"], ways.Way)
    assert isinstance(ways.found(facts_of(tt.LSTM()), 16, 128, 2, cards.H100)["block"], ways.Way)


def test_units_that_know_nothing_of_each_other_are_split_at_any_width():
    way = ways.found(facts_of(tt.zoo.ZOO["indrnn"]()), 16, 512, 2, cards.H100)["block"]
    assert way.programs(16, 512) == (8, 1)
    assert way.warps <= 32
