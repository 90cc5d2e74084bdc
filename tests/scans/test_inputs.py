"""What a cell reads at each step beside x: streams of numbers and of truths."""

from dataclasses import replace

import pytest
import torch
from torch import tanh

import throughtime as tt
from cases import NAMED, assert_close, assert_same, outcome, problem
from compiling import LARGE, Timed
from throughtime.ground.errors import InputError, ShapeError


class AsOperand(tt.Cell):
    """The recurrent product takes an input itself; a state is one."""

    gates = ("c",)
    state = ("c", "m")
    inputs = ("m",)

    def step(self, w, x, s):
        return self.State(c=tanh(w.c(w.m, x) + s.c), m=w.m)


CELLS = [Timed(), AsOperand()]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("kind", [*NAMED, "large"])
@every_cell
def test_inputs_agree_with_the_float64_reference(cell, kind, dtype):
    p = problem(cell, **(LARGE if kind == "large" else NAMED[kind]))
    roundings = 400 if kind == "large" else 40
    assert tt.why_not("compiled", cell) is None
    assert_close(outcome(p, "compiled", dtype), outcome(p), dtype, roundings)


@pytest.mark.parametrize("backend", ["reference", "compiled"])
@every_cell
def test_gradients_by_inputs_are_the_differences_of_the_outputs(cell, backend):
    p = problem(cell, T=3, n=2, n_x=2, lengths=[3, 0, 2], reset=[(1, 0), (2, 1), (1, 2)])
    leaves = {name: part for name, part in p.inputs.items() if part.dtype != torch.bool}

    def results(*given):
        inputs = p.inputs | dict(zip(leaves, given))
        more = {"lengths": p.lengths, "reset": p.reset, "inputs": inputs, "backend": backend}
        y, final = tt.scan(cell, p.w, p.x, p.state, **more)
        return (y, *final)

    given = [leaf.requires_grad_() for leaf in leaves.values()]
    assert torch.autograd.gradcheck(results, given)
    if backend == "compiled":
        assert torch.autograd.gradgradcheck(results, given)


@every_cell
def test_inputs_in_the_padding_are_inert(cell):
    p = problem(cell, B=4, lengths=[3, 5, 0, 4])
    filled = {name: part.clone() for name, part in p.inputs.items()}
    for part in filled.values():
        if part.dtype != torch.bool and part.shape[0] == 5:
            part[p.padding] = float("nan")
    for backend in ("reference", "compiled"):
        right = outcome(p, backend)
        got = outcome(replace(p, inputs=filled), backend)
        assert_same(got, right)
        for name, part in filled.items():
            if part.dtype != torch.bool:
                assert not got[f"d {name}"][p.padding].any()


class Begins(Timed):
    def initial_state(self, batch, hidden_size, **to):
        return self.State(*(torch.full((batch, hidden_size), 0.3, **to) for _ in self.state))


def test_inputs_follow_their_sequences_through_resets_to_a_state_that_is_not_zero():
    p = problem(Begins(), T=7, lengths=[3, 0, 7], reset=[(2, 0), (0, 2), (4, 2), (5, 2)])
    assert_close(outcome(p, "compiled"), outcome(p))


def test_threads_change_no_bit():
    p, before = problem(Timed(), **LARGE), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(outcome(p, "compiled", torch.float32))
    finally:
        torch.set_num_threads(before)
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])


def test_bfloat16_carries_inputs_as_floats():
    p = problem(Timed(), T=6, n=20)
    got = outcome(p, "compiled", torch.bfloat16)
    for name, right in outcome(p).items():
        assert torch.allclose(got[name].double(), right, rtol=0.1, atol=0.15), name


def test_a_graph_and_an_export_take_inputs():
    p = problem(Timed(), T=6)
    w = tt.Weights(*p.w[:3], p.w.vectors, {})

    class Module(torch.nn.Module):
        def forward(self, x, drive, keep, time, on):
            inputs = {"drive": drive, "keep": keep, "time": time, "on": on}
            return tt.scan(Timed(), w, x, p.state, inputs=inputs, backend="compiled")

    given = (p.x, *p.inputs.values())
    right = Module()(*given)
    made = torch.export.export(Module(), given).module()(*given)
    assert_same({"y": made[0]}, {"y": right[0]})
    leaves = [part.requires_grad_() for part in given if part.dtype != torch.bool]
    graph = torch.compile(Module(), backend="aot_eager", fullgraph=True)
    found, expected = (
        dict(enumerate(torch.autograd.grad(module(*given)[0].square().sum(), leaves)))
        for module in (graph, Module())
    )
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"time": None}, InputError, "reads these inputs beside x: drive, keep, time, on; got"),
        ({"other": torch.zeros(5, 3, 3)}, InputError, "got drive, keep, time, on, other"),
        ({"time": torch.zeros(5, 2, 1)}, ShapeError, r"input time must be \[5, 3, 3\], or 1 in"),
        ({"drive": torch.zeros(5, 3)}, ShapeError, r"got \[5, 3\]"),
        ({"drive": torch.zeros(5, 3, 3)}, InputError, "must be torch.float64 as x is, or boolean"),
    ],
)
def test_what_inputs_cannot_be(change, error, said):
    p = problem(Timed())
    inputs = {name: part for name, part in (p.inputs | change).items() if part is not None}
    with pytest.raises(error, match=said):
        tt.scan(Timed(), p.w, p.x, inputs=inputs)


def test_native_has_no_inputs_and_auto_takes_compiled():
    assert "torch has no kernel for Timed()" in tt.why_not("native", Timed())
    p = problem(Timed())
    assert_same(outcome(p, "auto"), outcome(p, "compiled"))


def test_a_name_is_a_gate_or_an_input_not_both():
    with pytest.raises(InputError, match="a vector, a matrix, an input or a state twice"):

        class Twice(tt.Cell):
            gates = ("m",)
            state = ("c",)
            inputs = ("m",)


# What does not change with time


class Spoken(tt.Cell):
    """A vector for each sequence, [B, n], and one truth for each, beside a stream."""

    gates = ("c",)
    state = ("c",)
    inputs = ("speaker", "shift", "on")
    constants = ("speaker", "on")

    def step(self, w, x, s):
        return self.State(c=tanh(w.c(w.speaker * s.c, x) + w.on * w.shift) + 0.1 * w.speaker)


@pytest.mark.parametrize("kind", ["one step", "reset and ragged", "wider than a vector register"])
def test_a_constant_is_a_stream_that_stays_the_same(kind):
    p = problem(Spoken(), **NAMED[kind])
    p = replace(p, inputs=p.inputs | {"on": p.inputs["on"] > 0})
    T, B, _ = p.x.shape
    assert p.inputs["speaker"].shape == (B, p.w.W_a.shape[1])
    right = outcome(p)
    assert_close(outcome(p, "compiled"), right)

    class Streamed(Spoken):
        constants = ()

    streams = {name: p.inputs[name].expand(T, *p.inputs[name].shape) for name in Spoken.constants}
    same = outcome(replace(p, cell=Streamed(), inputs=p.inputs | streams))
    same["d speaker"] = same["d speaker"].sum(0)  # every step has its part in it
    assert_close(same, right)


def test_constants_are_inputs_and_have_no_steps():
    with pytest.raises(InputError, match=r"Broken.constants names no input: \['q'\]"):
        type("Broken", (tt.Cell,), {"gates": ("a",), "state": ("a",), "constants": ("q",)})
    p = problem(Spoken())
    wrong = p.inputs | {"speaker": p.inputs["shift"]}
    with pytest.raises(ShapeError, match=r"input speaker must be \[3, 3\], or 1 in place"):
        tt.scan(p.cell, p.w, p.x, inputs=wrong)
