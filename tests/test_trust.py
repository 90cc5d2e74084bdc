"""Loading a run is not running code: a cell's file in a run folder waits for --trust."""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

import throughtime as tt
from runs import RUNS, small_run
from throughtime.cells.names import find_cell
from throughtime.checkpoint import RunFolder
from throughtime.command.cli import main
from throughtime.compare import compare
from throughtime.config import Comparison
from throughtime.ground.errors import InputError
from throughtime.verbs import agreement, export, inspect_run, stream

SOURCE = """
import pathlib, throughtime as tt
from torch import sigmoid, tanh
with pathlib.Path({trace!r}).open("a") as file:
    file.write("ran ")
class Minimal(tt.Cell):
    gates, state = ("c", "u"), ("c",)
    def step(self, w, x, s):
        gate_u = sigmoid(w.u(s.c, x))
        return self.State(c=gate_u * tanh(w.c.input(x)) + (1 - gate_u) * s.c)
"""


@pytest.fixture
def mine(tmp_path):
    """A user's file, which leaves a trace where it is run."""
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.format(trace=str(tmp_path / "trace")))
    return path


def trained(name, mine):
    """A small run with that cell, whose file ran; the trace begins anew."""
    plain = {"backend": "reference", "zoneout": "0", "recurrent_dropout": 0.0}
    plain |= {"bidirectional": False} if "numbers" in name else {}
    config = small_run(name, mine.parent, cell=f"{mine}:Minimal", max_steps=2, model=plain)
    tt.train(config)
    assert ran(mine)
    return config


def ran(mine):
    """How often the file was run since this was asked last."""
    trace = mine.parent / "trace"
    count = len(trace.read_text().split()) if trace.exists() else 0
    trace.unlink(missing_ok=True)
    return count


def pairs_beside(run):
    path = Path(run).with_name("pairs.tsv")
    path.write_text("the cat saw a dog\tthe cat met a dog\n")
    return str(path)


VERBS = {
    "evaluate": ("lm", tt.evaluate),
    "generate": ("lm", lambda run, **more: tt.generate(run, max_new_tokens=2, **more)),
    "predict": ("classify", lambda run, **more: list(tt.predict(run, lines=["the cat"], **more))),
    "inspect": ("lm", lambda run, **more: inspect_run(run, positions=2, **more)),
    "agreement": ("lm, full BPTT", lambda run, **more: agreement(run, pairs_beside(run), **more)),
    "load": ("adding", tt.load),
    "open": ("adding", tt.Run.open),
    "score": ("lm", lambda run, **more: list(tt.Run(run, **more).score(["the cat"]))),
    "export": ("lm", lambda run, **more: export(run, tempfile.mkdtemp() + "/new", **more)),
    "stream": ("classify numbers", lambda run, **more: list(stream(run, lines=["1,2,3"], **more))),
}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_runs_a_runs_file_until_it_is_trusted(verb, mine, capsys):
    name, ask = VERBS[verb]
    run = trained(name, mine).out
    for _ in range(2):  # nothing is remembered
        with pytest.raises(InputError, match=rf"{run}/mine\.py\. Look at it.*--trust.*trust=True"):
            ask(run)
        assert not ran(mine)
        ask(run, trust=True)
        assert ran(mine) == 1
        assert f"running the cell's file {run}/mine.py" in capsys.readouterr().err


@pytest.mark.parametrize("words", [
    ["evaluate", "RUN"], ["generate", "RUN"], ["inspect", "RUN"], ["inspect", "agreement", "RUN"],
    ["score", "RUN"], ["export", "RUN", "--out", "new"],
    ["train", "lm", "--resume", "--out", "RUN", "--max-steps", "3"],
    *([verb, task, "--init-from", "RUN", "--train", "t", "--out", "new", *more]
      for verb, task, more in (("train", "lm", ()), ("train", "classify", ()),
                               ("compare", "lm", ("--cells", "lstm")),
                               ("tune", "lm", ("--search", "optim.lr=log(1e-4,1e-2)")))),
])  # fmt: skip
def test_the_command_line_refuses_with_one_line(words, mine, capsys):
    run = trained("lm", mine).out
    capsys.readouterr()
    assert main([run if word == "RUN" else word for word in words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{run}/mine.py" in said
    assert "--trust" in said
    assert ("--init-from" in said) == ("--init-from" in words)
    assert not ran(mine)


def test_a_run_with_a_cell_of_its_own_may_be_started_from(mine, capsys):
    """It is loaded twice, as the run's cell and as the new one's, and stays the same cell."""
    run = trained("lm", mine).out
    config = small_run("classify", mine.parent, "next")
    words = ["train", "classify", "--train", *config.train, "--max-steps", "1", "--device", "cpu",
             "--out", config.out, "--init-from", run, "--trust"]  # fmt: skip
    assert main(words) == 0, capsys.readouterr().err
    Path(run, "mine.py").write_text(mine.read_text().replace("(1 - gate_u)", "gate_u"))
    words = [*words, "--cell", f"{mine}:Minimal", "--overwrite"]
    capsys.readouterr()
    assert main(words) == 2
    assert "has layers of [8, 8] (Minimal() …), this run of [8, 8]" in capsys.readouterr().err


def test_resuming_asks_too(mine):
    config = trained("lm", mine)
    config.max_steps = 4
    with pytest.raises(InputError, match="--trust"):
        tt.train(config, resume=True)
    assert not ran(mine)
    assert tt.train(config, resume=True, trust=True).steps == 4
    assert (
        main(["train", "lm", "--resume", "--trust", "--out", config.out, "--max-steps", "5"]) == 0
    )


def test_built_in_cells_need_no_trust(tmp_path):
    config = small_run("adding", tmp_path, cell="lstm(output=identity)", max_steps=1)
    tt.train(config)
    tt.load(config.out)


def test_a_runs_settings_name_no_file_outside_it(mine, tmp_path):
    config = trained("adding", mine)
    other = tmp_path / "other.py"
    other.write_text(mine.read_text())
    text = (Path(config.out) / "config.yaml").read_text()
    for named in (other, "../other.py", "json:JSONDecoder", "os.system"):
        said = text.replace(f"cell: {mine}:Minimal", f"cell: '{named}:Minimal'")
        assert said != text
        (Path(config.out) / "config.yaml").write_text(said)
        with pytest.raises(InputError, match=r"has no file other|unknown cell"):
            tt.load(config.out, trust=True)
    assert not ran(mine)
    (Path(config.out) / "config.yaml").write_text(text)
    (Path(config.out) / "mine.py").unlink()
    (Path(config.out) / "mine.py").symlink_to(other)
    with pytest.raises(InputError, match=r"has no file mine\.py"):
        tt.load(config.out, trust=True)


def test_what_is_shown_is_what_runs(mine, tmp_path):
    """A compiled file beside the source is not what is run."""
    run = Path(trained("adding", mine).out)
    code = "import py_compile, sys; py_compile.compile(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, run / "mine.py"], check=True)
    (compiled,) = (run / "__pycache__").iterdir()
    other = tmp_path / "pathless.py"
    other.write_text(mine.read_text().replace('"ran "', '"evil"'))
    times = (run / "mine.py").stat()
    shutil.copystat(run / "mine.py", other)
    assert other.stat().st_size == times.st_size
    code = "import py_compile, sys; py_compile.compile(sys.argv[1], sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, other, compiled], check=True)
    tt.load(run, trust=True)
    assert (tmp_path / "trace").read_text() == "ran "


def test_settings_from_a_file_name_no_code_either(mine, capsys, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"cell: {mine}:Minimal\nlength: 5\nheld_out: 20\nmax_steps: 1\n")
    words = ["train", "adding", "--config", str(settings), "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "--config names the cell" in capsys.readouterr().err
    assert not ran(mine)
    assert main([*words, "--cell", f"{mine}:Minimal"]) == 0
    assert main([*words, "--trust", "--overwrite"]) == 0


def test_a_users_file_is_the_users():
    with pytest.raises(InputError, match=r"No such file.*FILE\.py:Class"):
        find_cell("nowhere.py:Cell")


@pytest.mark.slow
def test_a_comparison_goes_on_with_the_files_it_is_given(mine, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "side"
    words = ["compare", "adding", "--cells", "mine.py:Minimal", "--seeds", "1", "--max-steps", "4",
             "--length", "5", "--held-out", "20", "--model.hidden_size", "4", "--device", "cpu",
             "--threads", "1", "--out", str(out)]  # fmt: skip
    assert main(words) == 0
    (result,) = (out / "results").iterdir()
    result.unlink()  # as if it were half-finished
    assert main(words) == 0  # the copy is the user's own file
    result.unlink()
    copy = out / "Minimal-1" / "mine.py"
    copy.write_text(copy.read_text() + "# another's\n")
    capsys.readouterr()
    assert main(words) == 1
    assert "--trust" in capsys.readouterr().err
    assert main([*words, "--trust"]) == 0


def test_a_cell_may_be_named_by_another_way_to_the_same_file(mine, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    quiet = {"zoneout": "0", "recurrent_dropout": 0.0}
    config = small_run("lm", Path(), cell="mine.py:Minimal", max_steps=2, model=quiet)
    tt.train(config)
    monkeypatch.chdir("other")
    again = replace(tt.Run("../run").config, out="../run", max_steps=4)
    for cell in ("mine.py:Minimal", "../mine.py:Minimal"):  # as it was typed, and as it is found
        again.cell, again.max_steps = cell, again.max_steps + 1
        assert tt.train(again, resume=True, trust=True).steps == again.max_steps
    (tmp_path / "other" / "mine.py").write_text(mine.read_text() + "# another's\n")
    (tmp_path / "other" / "same.py").write_text(mine.read_text())
    for cell in ("./mine.py:Minimal", "../mine.py:Other", "same.py:Minimal", "lstm"):
        again.cell = cell
        with pytest.raises(InputError, match=r"other settings: cell \("):
            tt.train(again, resume=True, trust=True)


def test_a_finished_comparison_is_not_that_of_another_file(mine, tmp_path, monkeypatch, here):
    monkeypatch.chdir(tmp_path)
    config = small_run("adding", tmp_path, "side", max_steps=2)
    plan = Comparison(cells=["mine.py:Minimal"], seeds=1, equal="width")
    compare(config, plan)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    plan.cells = ["../mine.py:Minimal"]
    compare(config, plan)
    mine.write_text(mine.read_text() + "# changed\n")
    with pytest.raises(InputError, match=r"another file of the cell .*mine\.py:Minimal.*--trust"):
        compare(config, plan)
    monkeypatch.chdir(tmp_path)
    plan.cells, plan.trust = ["mine.py:Minimal"], True
    assert not compare(config, plan).failures


def test_two_cells_files_of_one_name_are_refused(mine, tmp_path):
    other = tmp_path / "elsewhere" / "mine.py"
    other.parent.mkdir()
    other.write_text(mine.read_text())
    config = small_run("translate", tmp_path, cell=f"{mine}:Minimal", max_steps=1,
                       model={"decoder_cell": f"{other}:Minimal"})  # fmt: skip
    with pytest.raises(InputError, match="different names"):
        tt.train(config)


def test_every_task_asks(mine):
    """Each finds its cells in one place."""
    for name in RUNS:
        config = small_run(name, mine.parent, out=f"run-{len(name)}", cell=f"{mine}:Minimal")
        folder = RunFolder(config.out)
        folder.path.mkdir(exist_ok=True)
        (folder.path / "mine.py").write_text(mine.read_text())
        task = next(task for task, line in tt.tasks.TASKS.items() if type(config) is line.config)
        folder.save_config(task, config)
        folder.model.touch()
        with pytest.raises(InputError, match="--trust"):
            tt.load(config.out)
    assert not ran(mine)


def test_settings_that_the_weights_have_not_are_told_as_for_a_built_in_cell(mine):
    config = trained("lm", mine)
    path = Path(config.out) / "config.yaml"
    size = "hidden_size: 8"
    assert size in path.read_text()
    path.write_text(path.read_text().replace(size, "hidden_size: 9"))
    with pytest.raises(InputError, match=r"does not fit config\.yaml: .* would be \[.*9.*by the s"):
        tt.load(config.out, trust=True)
