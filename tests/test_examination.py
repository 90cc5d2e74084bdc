"""What `throughtime check` finds of a cell: nothing of sound ones, each fault of broken ones."""

import json

import pytest
import torch
from torch import sigmoid, tanh

import throughtime as tt
from cases import ALL_CELLS, MINIMAL
from compiling import Timed
from throughtime import examination
from throughtime.command.cli import main
from throughtime.scans import compiled

TYPO = """
class Typo(Minimal):
    def step(self, w, x, s):
        return self.State(c=tanh(w.q(s.c, x)))
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.py").write_text(MINIMAL + TYPO)
    return str(tmp_path / "mine.py")


def found(cell):
    return {finding.name: finding for finding in tt.check(cell).findings}


def broken(step, gates=("c", "u"), vectors=()):
    made = {"gates": gates, "state": ("c",), "vectors": vectors}
    return type("Broken", (tt.Cell,), made | {"step": step})


def wrong(cell):
    return {name: f.said for name, f in found(cell).items() if not f.fine}


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_nothing_is_wrong_with_a_sound_cell(cell, monkeypatch):
    monkeypatch.setattr(examination, "ROUNDS", 1)
    checked = tt.check(cell)
    assert checked.fine, checked.report()
    names = [finding.name for finding in checked.findings]
    assert names == [
        *("step", "function", "gradients", "parameters", "compiled", "native", "speed")
    ]
    said = {finding.name: finding.said for finding in checked.findings}
    assert said["compiled"].startswith("agrees with the reference, gradients too")
    native = "does not run it" if tt.why_not("native", cell) else "agrees with the reference"
    assert said["native"].startswith(native)


def test_it_is_one_screen_and_its_exit_code_tells(file, capsys):
    assert main(["check", f"{file}:Minimal"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Minimal()"
    assert out[-1] == "nothing wrong"
    assert len(out) < 24
    assert "c: no recurrent" in "".join(out)
    assert main(["check", f"{file}:Minimal", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["fine"] is True
    assert {"name", "said", "fine"} == values["findings"][0].keys()
    assert main(["check", f"{file}:Typo"]) == 1
    out = capsys.readouterr().out
    assert "WRONG step" in out
    assert "mine.py:16: Typo.step: no gate or vector 'q'" in out
    assert out.endswith("1 wrong\n")
    for words, said in ((["nope"], "unknown cell"), ([], "required: CELL")):
        assert main(["check", *words]) == 2
        assert said in capsys.readouterr().err


def test_a_step_that_gives_no_number_is_wrong():
    with_log = broken(lambda self, w, x, s: self.State(c=torch.log(w.c(s.c, x) * w.u(s.c, x))))
    assert "NaN or infinite on small numbers" in wrong(with_log)["step"]


def test_what_draws_or_keeps_something_of_its_own_is_wrong():
    def draws(self, w, x, s):
        return self.State(c=torch.dropout(tanh(w.c(s.c, x) + w.u(s.c, x)), 0.5, True))

    assert "step keeps or draws something of its own" in wrong(broken(draws))["function"]


def test_sequences_that_change_each_other_are_wrong():
    def mixes(self, w, x, s):
        z = w.c(s.c, x) + w.u(s.c, x)
        return self.State(c=tanh(z - z.mean(0)))

    assert "step mixes rows" in wrong(broken(mixes))["function"]


def test_a_gradient_that_is_cut_is_wrong():
    def cuts(self, w, x, s):
        return self.State(c=tanh(w.c(s.c.detach(), x)) * sigmoid(w.u(s.c, x)))

    assert "not those of finite differences" in wrong(broken(cuts))["gradients"]


def test_parameters_that_nothing_trains_are_wrong():
    def idle(self, w, x, s):
        return self.State(c=tanh(w.c(s.c, x)) + 0 * w.u(s.c, x))

    said = wrong(broken(idle, vectors=("p",)))
    assert said == {
        "parameters": "the gate u, the vector p changes nothing: parameters that nothing trains"
    }


def test_a_vector_of_the_first_state_is_trained():
    class Ready(tt.Cell):
        gates = ("a",)
        state = ("a",)
        vectors = ("p",)

        def initial_state(self, batch, hidden_size, *, w=None, **to):
            start = super().initial_state(batch, hidden_size, **to)
            return start if w is None else self.State(a=w.p.expand(batch, -1))

        def step(self, w, x, s):
            return self.State(a=tanh(w.a(s.a, x)))

    assert wrong(Ready) == {}


def test_a_cell_that_reads_x_itself_is_looked_at_with_an_x_as_wide():
    def reads(self, w, x, s):
        return self.State(c=sigmoid(w.c(s.c, x)) * x + sigmoid(w.u(s.c, x)) * s.c)

    cell = broken(reads)
    assert wrong(cell) == {}
    assert "must be as wide as the state" in found(cell)["step"].said


@pytest.mark.parametrize("part", [0, -1], ids=["y", "a gradient"])
def test_a_backend_that_differs_is_wrong(part, monkeypatch):
    right = compiled.run

    def off(problem):
        y, final = right(problem)
        if part == 0:
            return y + 1e-9, final
        y.register_hook(lambda g: g * (1 + 1e-9)) if y.requires_grad else None
        return y, final

    monkeypatch.setattr(compiled, "run", off)
    said = wrong(tt.GRU)["compiled"]
    assert ("y is off by" if part == 0 else "gradient of ") in said


def test_a_cell_with_inputs_is_looked_over_with_some():
    report = tt.check(Timed())
    assert report.fine, report
    assert {"compiled", "speed"} <= {finding.name for finding in report.findings}
