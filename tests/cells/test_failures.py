"""A fault in a user's own cell is told by file, line, class and names, the exception its cause."""

from pathlib import Path

import pytest
import torch

import throughtime as tt
from throughtime.cells.names import find_cell
from throughtime.command.cli import main
from throughtime.ground.errors import CellError, InputError

HEAD = """import throughtime as tt
import torch
from torch import sigmoid, tanh

class Mine(tt.Cell):
    gates = ("c", "u")
    state = ("c", "d")
    vectors = ("p",)
"""
LINE = HEAD.count("\n") + 2
"""That of the first line of a body."""

STEPS = {
    "a gate that is not there": (
        "return self.State(c=w.q.input(x), d=s.d)",
        "Mine.step: no gate or vector 'q'. Mine has the gates c and u, the vector p, the states c "
        "and d.",
        AttributeError,
    ),
    "a state that is not there": (
        "return self.State(c=s.h, d=s.d)",
        "Mine.step: no state 'h'. Mine has ",
        AttributeError,
    ),
    "half of a gate that is not there": (
        "return self.State(c=w.c.inputs(x), d=s.d)",
        "Mine.step: AttributeError: 'Gate' object has no attribute 'inputs'",
        AttributeError,
    ),
    "a name": (
        "return self.State(c=sigmod(w.c.input(x)), d=s.d)",
        "Mine.step: NameError: name 'sigmod' is not defined",
        NameError,
    ),
    "widths": (
        "return self.State(c=w.c(x, s.c), d=s.d)",
        "Mine.step: RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x4 and 3x3); x is "
        "[2, 4], s.c is [2, 3], s.d is [2, 3]. Mine has the gates c and u",
        RuntimeError,
    ),
    "another width of state": (
        "return self.State(c=w.c.input(x).mean(0), d=s.d)",
        "Mine.step must return self.State(c=…, d=…): state c must be [2, 3], [batch, n]; it came "
        "as [3].",
        None,
    ),
    "arguments of State": (
        "return self.State(c=s.c)",
        "Mine.step: TypeError: ",
        TypeError,
    ),
    "only with numbers": (
        "return self.State(c=x.nope if x.any() else w.c(s.c, x), d=s.d)",
        "Mine.step: AttributeError: 'Tensor' object has no attribute 'nope'",
        AttributeError,
    ),
    "an error of many lines": (
        "raise ValueError('one' + chr(10) + 'two' * 1000)",
        "Mine.step: ValueError: one two",
        ValueError,
    ),
}


def written(tmp_path, text, name="cells.py"):
    path = tmp_path / name
    path.write_text(text)
    return path


def with_step(tmp_path, body):
    return written(tmp_path, f"{HEAD}    def step(self, w, x, s):\n        {body}\n")


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("kind", STEPS)
def test_a_fault_in_step_is_told_by_file_line_and_class(tmp_path, kind, backend):
    body, said, cause = STEPS[kind]
    path = with_step(tmp_path, body)
    stack = tt.Stack(find_cell(f"{path}:Mine"), 4, 3, backend=backend)
    with pytest.raises(InputError) as caught:
        stack(torch.randn(5, 2, 4))
    line = LINE if cause else LINE - 1
    assert str(caught.value).startswith(f"{path}:{line}: {said}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    if cause is not None:
        assert type(caught.value) is CellError
        assert type(caught.value.__cause__) is cause


def test_the_cause_keeps_the_users_line(tmp_path):
    path = with_step(tmp_path, "return self.State(c=w.q, d=s.d)")
    with pytest.raises(CellError) as caught:
        tt.Stack(find_cell(f"{path}:Mine"), 4, 3)(torch.randn(5, 2, 4))
    cause, last = caught.value.__cause__, None
    assert cause is not None
    trace = cause.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            last = trace.tb_lineno
        trace = trace.tb_next
    assert last == LINE


def test_a_fault_in_a_function_that_the_cell_calls_is_told_by_its_own_line(tmp_path):
    more = "\ndef helped(x):\n    1 / 0\n"
    path = written(
        tmp_path, f"{HEAD}    def step(self, w, x, s):\n        return helped(x)\n{more}"
    )
    with pytest.raises(CellError, match=rf":{LINE + 3}: Mine.step: ZeroDivisionError"):
        tt.Stack(find_cell(f"{path}:Mine"), 4, 3)(torch.randn(5, 2, 4))


def test_faults_before_the_first_step(tmp_path):
    step = "    def step(self, w, x, s):\n        return s\n"
    path = written(
        tmp_path,
        f"{HEAD}{step}    def initial_state(self, batch, n, **to):\n        return 1 / 0\n",
    )
    with pytest.raises(CellError, match=r"cells.py:\d+: Mine.initial_state: ZeroDivisionError"):
        tt.Stack(find_cell(f"{path}:Mine"), 4, 3)(torch.randn(5, 2, 4))
    path = written(tmp_path, f"{HEAD}{step}    def weights(self, *sizes, **to):\n        1 / 0\n")
    with pytest.raises(CellError, match=r"cells.py:\d+: Mine.weights: ZeroDivisionError"):
        tt.Stack(find_cell(f"{path}:Mine"), 4, 3)
    path = written(tmp_path, f"{HEAD}{step}    def __init__(self):\n        1 / 0\n")
    with pytest.raises(CellError, match=r"cells.py:\d+: Mine.__init__: ZeroDivisionError"):
        find_cell(f"{path}:Mine")
    path = written(tmp_path, f"{HEAD}{step}    def __init__(self, k):\n        self.k = len(k)\n")
    with pytest.raises(InputError, match="missing 1 required positional argument: 'k'"):
        find_cell(f"{path}:Mine")
    with pytest.raises(CellError, match=r"__init__: TypeError: object of type 'int' has no len"):
        find_cell(f"{path}:Mine(k=3)")


FILES = {
    "syntax": ("class A(\n", "cells.py:1: SyntaxError: "),
    "import": ("x = 1\nimport no_such_module\n", "cells.py:2: ModuleNotFoundError: No module"),
    "json": ("import json\njson.loads('{')\n", "cells.py:2: json.decoder.JSONDecodeError: "),
    "exit": ("import sys\n\nsys.exit(3)\n", "cells.py:3: SystemExit: 3."),
    "NUL": ("x = '\0'\n", "cells.py: SyntaxError: source code string cannot contain null bytes"),
    "arity": (
        HEAD + "    def step(self, w, x):\n        return x\n",
        "cells.py:5: Mine.step must be callable as step(w, x, s): too many positional arguments",
    ),
    "no step": (HEAD, "cells.py: Mine does not define step(self, w, x, s)."),
    "empty": ("", "cells.py has no cell: no class that inherits from throughtime.Cell."),
    "no cell": (
        HEAD.replace("Mine", "Other") + "class Mine:\n    pass\n",
        "cells.py: Mine is no cell: it does not inherit from throughtime.Cell. Cells there: Other.",
    ),
    "another name": (
        HEAD.replace("Mine", "Mime"),
        "cells.py has no cell 'Mine'. Did you mean 'Mime'? It has: Mime.",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_cannot_be_used_is_told_by_its_line(tmp_path, kind):
    text, said = FILES[kind]
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        find_cell(f"{path}:Mine")
    assert str(caught.value).startswith(f"{tmp_path}/{said}")
    assert "\n" not in str(caught.value)


def test_training_with_a_typo_leaves_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with_step(tmp_path, "return self.State(c=w.q.input(x), d=s.d)")
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 200)
    words = "train lm --train text.txt --out run --cell cells.py:Mine --max-steps 2 --device cpu"
    assert main([*words.split(), "--model.hidden_size", "4"]) == 2
    said = capsys.readouterr().err
    assert f"throughtime: error: cells.py:{LINE}: Mine.step: no gate or vector 'q'" in said
    assert "Traceback" not in said
    assert not Path("run").exists()


def test_recomputing_stops_early_as_ever(tmp_path):
    """torch.utils.checkpoint ends a recomputation by an exception of its own, inside of `step`."""
    path = with_step(
        tmp_path, "return self.State(c=tanh(w.c(s.c, x)) * w.p, d=sigmoid(w.u(s.d, x)))"
    )
    stack = tt.Stack(find_cell(f"{path}:Mine"), 4, 3, backend="reference")
    x = torch.randn(5, 2, 4, requires_grad=True)
    y, _ = torch.utils.checkpoint.checkpoint(stack, x, use_reentrant=False)
    y.sum().backward()
    assert x.grad is not None
