"""What steps cost by each way of a GPU, and which way that makes a scan take."""

import pytest
import torch

import throughtime as tt
from throughtime import findings
from throughtime.cells.names import CELLS
from throughtime.ground.errors import InputError
from throughtime.scans.compiled import gpu, programs
from throughtime.scans.compiled.gpu import cards, choice, cost, ways

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def facts_of(cell):
    return programs.facts(programs.find(cell, "triton"))


def paper(name, cell=None, B=16, n=768, back=False, size=2):
    facts = facts_of(cell or tt.LSTM())
    way = ways.found(facts, B, n, size, cards.H100)[name]
    return cost.of_step(facts, way, B, n, size, cards.H100, back)


def test_a_step_of_an_lstm_on_paper():
    """96 programs of 16 rows and 8 units read h, back dz of four gates; one barrier a step."""
    forward, back = paper("grid"), paper("grid", back=True)
    own = 16 * 768 * (2 * 4 * 2 + 8 * 2)
    assert forward.bytes == 96 * 16 * 768 * 2 + own
    assert back.bytes == 4 * 96 * 16 * 768 * 2 + own
    assert forward.operations == back.operations == 2 * 16 * 768 * 768 * 4
    assert forward.meetings == back.meetings == 1
    assert forward.us == pytest.approx(3.6, abs=0.2)


def test_levels_and_sums_over_a_row_are_meetings():
    assert paper("grid", tt.GRU()).meetings == 2
    assert paper("graph", tt.GRU()).meetings == 2
    assert paper("graph", tt.LSTM(), back=True).meetings == 2
    assert paper("grid", tt.LayerNormLSTM()).meetings > 2
    assert paper("block", n=64).meetings == 0


def test_more_of_anything_costs_more():
    assert paper("grid", n=512).us < paper("grid", n=768).us < paper("graph", n=768).us
    assert paper("graph", B=16).us < paper("graph", B=512).us
    assert paper("grid", size=2).us < paper("grid", size=4).us


def test_the_table_of_measured_steps_is_of_this_model():
    assert cost.measured()
    for row in cost.measured():
        found = paper(row["way"], CELLS[row["cell"].lower()](), row["B"], row["n"], row["back"],
                      DTYPES[row["dtype"]].itemsize)  # fmt: skip
        assert found.us == pytest.approx(row["on paper"], abs=1e-3), row


def test_what_was_measured_stretches_the_paper(monkeypatch):
    rows = [
        {"card": "A", "way": "grid", "back": False, "us": 4.0, "on paper": 2.0},
        {"card": "A", "way": "grid", "back": False, "us": 9.0, "on paper": 2.0},
        {"card": "B", "way": "block", "back": False, "us": 5.0, "on paper": 1.0},
    ]
    monkeypatch.setattr(cost, "measured", lambda: rows)
    cost.longer.cache_clear()
    try:
        assert cost.longer("A", "grid", False) == pytest.approx(3.0)
        assert cost.longer("A", "block", False) == pytest.approx(3.0)  # as the worst there
        assert cost.longer("C", "block", False) == pytest.approx(5.0)  # another card: all count
        assert cost.longer("A", "grid", True) == 1.0
    finally:
        cost.longer.cache_clear()


def test_the_way_is_the_one_of_least_time(monkeypatch):
    facts = facts_of(tt.LSTM())
    found = ways.found(facts, 16, 128, 2, cards.H100)
    for best in ways.WAYS:
        monkeypatch.setattr(cost, "longer", lambda card, way, back, b=best: 1 if way == b else 9)
        assert choice.cheapest(found, facts, 100, 16, 128, 2, cards.H100).name == best


def test_why_not_tells_why_a_way_cannot_run(monkeypatch):
    monkeypatch.setattr(gpu, "interpreted", lambda device: True)
    cell = tt.LSTM()
    w, x = cell.weights(3, 512), torch.zeros(9, 4, 3)
    assert tt.why_not("compiled", cell, x, w, way="grid") is None
    reason = tt.why_not("compiled", cell, x, w, way="block")
    assert reason is not None
    assert "KiB, and a multiprocessor holds 227" in reason
    many = torch.zeros(9, 4096, 3)
    assert "132 multiprocessors" in str(tt.why_not("compiled", cell, many, w, way="grid"))
    assert "has one way alone" in str(tt.why_not("reference", cell, x, w, way="grid"))
    with pytest.raises(InputError, match="block"):
        tt.why_not("compiled", cell, x, w, way="blok")


def test_on_the_cpu_there_are_no_ways_of_a_gpu():
    assert "x is on cpu" in str(tt.why_not("compiled", tt.LSTM(), way="grid"))


# What doctor tells


def test_doctor_tells_how_scans_would_run_on_a_named_card():
    told = dict(findings.doctor("lstm", gpu="H100"))
    assert "NVIDIA H100" in told["gpu ways"]
    narrow, middle, wide = told["gpu way: lstm"].split("; n = ")
    assert narrow.startswith("n = 128: block, some ")
    assert middle.startswith("512: grid, some ")
    assert "µs a step (no block: its weights" in wide
    with pytest.raises(InputError, match="a100"):
        findings.doctor("lstm", gpu="h10")


def test_without_a_gpu_and_a_name_doctor_tells_no_ways(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not any(name.startswith("gpu") for name, _ in findings.doctor("lstm"))


def test_doctor_tells_of_the_card_that_is_here(monkeypatch):
    class Told:
        name, multi_processor_count, shared_memory_per_block_optin = "Small", 20, 99 * 1024

    stand_ins = {
        "is_available": lambda: True, "device_count": lambda: 2, "get_device_name": lambda: "Small",
        "get_device_capability": lambda device=None: (8, 9),
        "get_device_properties": lambda device: Told,
    }  # fmt: skip
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    told = dict(findings.doctor("lstm"))
    assert told["cuda"] == "Small (sm_89, one of 2)"
    assert told["gpu ways"].startswith("on Small")
    assert "a multiprocessor holds 99" in told["gpu way: lstm"]


def test_apples_gpu_runs_the_reference(monkeypatch):
    monkeypatch.setattr(torch.mps, "is_available", lambda: True)
    assert "reference" in findings.mps()


def test_a_card_without_the_figure_of_shared_memory_has_the_least(monkeypatch):
    class Told:
        name, multi_processor_count = "AMD", 304

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Told)
    assert cards.card_of(torch.device("cuda")).shared == 64 * 1024
