import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import throughtime as tt
from cases import ROOT
from throughtime.tasks import TASKS


def test_the_public_names_are_all_there():
    names = {
        "Cell", "GRU", "GRUResetAfter", "InputError", "LSTM", "LayerNormGRU", "LayerNormLSTM",
        "PeepholeLSTM", "RNN", "Run",
        "Comparison", "SimpleGRU", "Stack", "ThroughtimeError", "Vocabulary", "Weights",
        "agreement", "check", "compare", "doctor", "inspect",
        "evaluate", "generate", "load", "nn", "portable", "predict",
        "scan", "train", "tune", "Tuning",
        "why_not", "zoo",
        *(task.config.__name__ for task in TASKS.values()),
    }  # fmt: skip
    assert set(tt.__all__) == names
    for name in names:
        assert getattr(tt, name) is not None
        assert name in dir(tt)
    assert {"RNN", "LSTM", "GRU"} == set(tt.nn.faces.__all__)


def test_functions_stay_functions_whatever_is_imported_first():
    program = (
        "import throughtime.scans, throughtime.training.trainer, throughtime.decoding; "
        "import throughtime as tt; "
        "assert callable(tt.scan) and callable(tt.train) and callable(tt.generate)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(tt, "Nothing")


def test_old_import_paths_give_the_moved_modules():
    from throughtime.ground.moved import MOVED

    for old, new in MOVED.items():
        with pytest.deprecated_call(match=f"is now throughtime.{new};"):
            sys.modules.pop(f"throughtime.{old}", None)
            importlib.import_module(f"throughtime.{old}")
        assert sys.modules[f"throughtime.{old}"] is sys.modules[f"throughtime.{new}"]


def test_the_tests_have_the_folders_of_the_source():
    tests, source = ROOT / "tests", ROOT / "src" / "throughtime"
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    folders.remove(Path("fuzz"))  # of the whole program
    assert len(folders) > 10
    assert [folder for folder in folders if not (source / folder).is_dir()] == []


def test_no_file_of_the_source_is_two_and_few_lie_loose():
    source = ROOT / "src" / "throughtime"
    files = [path for path in source.rglob("*") if path.suffix in (".py", ".h")]
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in files}
    assert len(lengths) > 100
    assert {name: n for name, n in lengths.items() if n > 400} == {}
    assert len([path for path in files if path.parent == source]) <= 12


def test_no_test_imports_from_a_test():
    named = re.compile(r"^\s*(from|import) (tests\.)?(\w+\.)*test_", re.M)
    tests = [*(ROOT / "tests").rglob("*.py")]
    assert len(tests) > 60
    assert [path.name for path in tests if named.search(path.read_text("utf-8"))] == []
