"""The verb: what it writes, and what it refuses in one line."""

import ctypes

import numpy as np
import pytest

import throughtime as tt
from exporting import Text, compiled, language, needs_gcc
from runs import small_run
from throughtime import export
from throughtime.command.cli import main
from throughtime.ground.errors import InputError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    config = small_run("lm", folder, max_steps=1)
    tt.train(config)
    return config.out


def test_a_run_becomes_a_folder(run, tmp_path, capsys):
    out = tmp_path / "made" / "folder"
    assert main(["export", run, "--out", str(out), "--name", "cat"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {
        "CMakeLists.txt", "README.md", "library.properties", "src/cat.c", "src/cat.h",
        "src/cat_vocabulary.h", "test/cat_test.c",
    }  # fmt: skip
    everything = "".join((out / path).read_text() for path in found)
    assert "NAME" not in everything.replace("add_test(NAME", "")
    assert "name_" not in everything


def test_integers_are_calibrated_on_the_runs_own_data(run, tmp_path):
    out = str(tmp_path / "new")
    assert main(["export", run, "--out", out, "--name", "m", "--precision", "int8-full"]) == 0
    assert "steps of the training data" in (tmp_path / "new" / "README.md").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--out is a new folder"),
        (["--out", "{there}"], "exists and is not overwritten"),
        (["--out", "{new}", "--name", "2 cats"], "is no name in C"),
        (["--out", "{new}", "--to", "cobol"], "cobol"),
        (["--out", "{new}", "--precision", "int3"], "int3"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(run, options, said, tmp_path, capsys):
    names = {"there": tmp_path, "new": tmp_path / "new"}
    assert main(["export", run, *(option.format(**names) for option in options)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert said in error[-1]
    assert not (tmp_path / "new").exists()


def test_a_task_that_is_not_exported_yet_says_so(tmp_path, capsys):
    config = small_run("adding", tmp_path, max_steps=1)
    tt.train(config)
    assert main(["export", config.out, "--out", str(tmp_path / "new")]) == 2
    assert "is not exported yet" in capsys.readouterr().err


def test_many_weights_need_a_yes(tmp_path, monkeypatch):
    _, exported = language(tt.RNN())
    monkeypatch.setattr(export, "LARGE", 4 * export.numbers_in(exported) - 1)
    with pytest.raises(InputError, match="--yes"):
        export.write(exported, tmp_path / "a", name="m")
    export.write(exported, tmp_path / "a", name="m", precision="int8")
    export.write(exported, tmp_path / "b", name="m", yes=True)


def test_a_fixed_window_and_an_adaptive_softmax_are_refused():
    for settings in ({"context": 3}, {"head": "adaptive", "cutoffs": [8], "hidden_size": 16}):
        with pytest.raises(InputError, match="not exported"):
            language(tt.RNN(), **settings)


def test_numbers_are_counted_once_where_they_are_tied():
    of = {t: language(tt.RNN(), tied=t, embedding_size=9)[1] for t in (False, True)}
    table = len(of[True].vocabulary) * 9
    assert export.numbers_in(of[False]) - export.numbers_in(of[True]) == table
    assert np.isclose(of[True].outline.outputs[-1].W, of[True].outline.inputs.table).all()


@needs_gcc
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_the_c_writes_what_generate_writes(run, temperature, tmp_path):
    opened = tt.Run.open(run)
    right = opened.generate(
        "the cat", temperature=temperature, seed=11, num_samples=2, max_new_tokens=60
    )
    opened.export(tmp_path / "m", name="m")
    library, v = compiled(tmp_path / "m"), opened.task.vocabulary
    library.m_chance.restype = ctypes.c_double
    how = (ctypes.c_float * 1)(temperature), ctypes.c_int(0), ctypes.c_float(1), ctypes.c_float(0)
    sampling = b"".join(bytes(part) for part in how)
    for sample in range(2):
        text = Text(library, opened.task.exported(opened.model))
        text.read(opened.task.opening())
        ids = v.encode("the cat").tolist()
        text.read(ids[:-1])
        logits = text.step(ids[-1])
        for t in range(60):
            given = (ctypes.c_float * len(v))(*logits)
            seed = ctypes.c_uint64(11)
            share = library.m_chance(seed, ctypes.c_uint32(sample), ctypes.c_uint32(t))
            ids.append(library.m_draw(given, sampling, ctypes.c_double(share)))
            logits = text.step(ids[-1])
        assert v.decode(ids) == right[sample]
