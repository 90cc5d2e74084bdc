"""The kernels for GPUs in Triton's interpreter: every way against the float64 reference."""

import itertools

import pytest
import torch
from torch import sigmoid, tanh

import throughtime as tt
from cases import ALL_CELLS, NAMED, TwoMemories, assert_close, assert_same, outcome, problem
from compiling import Back, Slow, Timed
from throughtime.ground.errors import BackendUnavailable, InputError
from throughtime.scans.compiled import gpu, programs
from throughtime.scans.compiled.gpu import call, cards, choice, launching, memory, ways

pytest.importorskip("triton")
if torch.cuda.is_available():
    pytest.skip("the kernels run on the GPU here: tests/test_cuda.py", allow_module_level=True)
import interpreting

pytestmark = pytest.mark.filterwarnings(
    "ignore:overflow encountered", "ignore:invalid value encountered"
)  # of what stands in padding, which nobody reads

every_way = pytest.mark.parametrize("way", ways.WAYS)
KINDS = ["one step", "odd widths", "reset and ragged"]
LONGER = [kind for kind in NAMED if kind not in KINDS]


@pytest.fixture
def by(monkeypatch):
    """Compiled scans on the CPU run by a way of GPUs."""

    def by(way):
        monkeypatch.setenv(ways.VARIABLE, way)

    return by


class Levels(tt.Cell):
    """Three products, each of what the one before made; a state that products take."""

    gates = ("r", "q", "c")
    state = ("c", "d")

    def step(self, w, x, s):
        r = sigmoid(w.r(s.c, x))
        q = tanh(w.q(r * s.d, x))
        return self.State(c=tanh(w.c(q * s.c, x)) + 0.5 * s.c, d=q * r)


class Largest(tt.Cell):
    """The largest of a row, and then a sum over it."""

    gates = ("h",)
    state = ("a",)

    def step(self, w, x, s):
        h = w.h(s.a, x)
        h = h - h.amax(-1, keepdim=True)
        return self.State(a=tanh(h + h.exp().sum(-1, keepdim=True)))


class Rare(tt.Cell):
    """Operations that come from libdevice, and truths; it reads x itself."""

    gates = ("h",)
    state = ("a",)

    def step(self, w, x, s):
        h = w.h(s.a, x)
        rare = torch.atan(h) + torch.expm1(0.1 * h) + torch.log1p(h * h) + torch.asinh(h)
        kept = torch.where((h > 0) & ~(x > 1), h.clamp(-1, 1), x.minimum(h.abs()))
        return self.State(a=tanh(0.1 * rare + 0.1 * kept + 0.1 * torch.sign(x)))


def agrees(cell, kind, roundings=40):
    p = problem(cell, **kind)
    assert_close(outcome(p, "compiled", torch.float32), outcome(p), torch.float32, roundings)


def cases():
    """Every cell, kind and way; what has many launches a step and many steps is slow there."""
    for cell, kind, way in itertools.product(ALL_CELLS, KINDS, ways.WAYS):
        often = kind == "odd widths" or isinstance(cell, tt.LayerNormLSTM)
        slow = "LayerNorm" in repr(cell) and way != "block" and kind != "one step" and often
        marks = [pytest.mark.slow] if slow else []
        yield pytest.param(cell, kind, way, marks=marks, id=f"{cell!r}-{kind}-{way}")


@pytest.mark.parametrize(("cell", "kind", "way"), list(cases()))
def test_ways_agree_with_the_float64_reference(by, cell, kind, way):
    by(way)
    agrees(cell, NAMED[kind])


@pytest.mark.slow
@every_way
@pytest.mark.parametrize("kind", LONGER)
@pytest.mark.parametrize(
    "cell", [tt.LSTM(), tt.GRU(), tt.LayerNormLSTM(eps=0.1), TwoMemories()], ids=repr
)
def test_ways_agree_with_the_float64_reference_in_every_case(by, cell, kind, way):
    by(way)
    agrees(cell, NAMED[kind])


@every_way
@pytest.mark.parametrize("kind", ["plain", "reset and ragged"])
@pytest.mark.parametrize("cell", [Levels(), Rare(), Timed(), Largest()], ids=repr)
def test_levels_rare_operations_and_inputs_agree(by, cell, kind, way):
    by(way)
    shape = {"n": 4, "n_x": 4} if isinstance(cell, Rare) else {}
    agrees(cell, NAMED[kind] | shape, roundings=100)


@pytest.mark.parametrize(
    "cell",
    [tt.GRU(), pytest.param(tt.LayerNormGRU(eps=0.1), marks=pytest.mark.slow), Largest()],
    ids=repr,
)
def test_programs_that_wait_for_each_other_give_the_bits_of_those_that_do_not(
    by, monkeypatch, cell
):
    by("grid")
    p = problem(cell, T=3, B=2, n=20, n_x=3, lengths=[3, 2], reset=[(1, 0)])
    apart = outcome(p, "compiled", torch.float32)
    given = call.choose
    asked = []

    def together(*sizes, **more):
        asked.append(given(*sizes, **more)._replace(stepwise=False))
        return asked[-1]

    monkeypatch.setattr(call, "choose", together)
    monkeypatch.setattr(interpreting.interpreter, "GridExecutor", interpreting.Together)
    assert_same(outcome(p, "compiled", torch.float32), apart)
    assert all(way.programs(2, 20)[0] > 1 for way in asked)


@every_way
@pytest.mark.parametrize("cell", [tt.LSTM(), tt.GRU()], ids=repr)
def test_half_precision_is_near_the_reference(by, cell, way):
    by(way)  # the interpreter's products know no bfloat16; tests/test_cuda.py does
    p = problem(cell, **NAMED["reset and ragged"])
    right = outcome(p)
    for name, got in outcome(p, "compiled", torch.float16).items():
        allowed = 0.06 * max(1.0, float(right[name].abs().max()))
        assert float((got.double() - right[name]).abs().max()) < allowed, name


@every_way
def test_a_tile_has_more_rows_or_less_than_there_are(by, way):
    by(way)
    agrees(tt.GRU(), {"B": 19, "T": 3, "n": 20, "n_x": 3, "lengths": [3, 0, 2] * 6 + [1]}, 80)


@every_way
def test_without_gradients_time_is_cut_and_nothing_changes(by, monkeypatch, way):
    by(way)
    p = problem(tt.PeepholeLSTM("current"), lengths=[3, 0, 5], reset=[(2, 0), (4, 2)])
    vectors = {name: vector.float() for name, vector in p.w.vectors.items()}
    x, w = p.x.float(), tt.Weights(*(part.float() for part in p.w[:3]), vectors)
    state = type(p.state)(*(part.float() for part in p.state))

    def scan():
        with torch.no_grad():
            more = {"lengths": p.lengths, "reset": p.reset, "backend": "compiled"}
            y, final = tt.scan(p.cell, w, x, state, **more)
        return {"y": y, **final._asdict()}

    whole = scan()
    monkeypatch.setattr(call, "CHUNK", 1)  # a step at a time, and so the product of fewer rows
    torch.testing.assert_close(scan(), whole, rtol=1e-5, atol=1e-6)


@every_way
def test_the_same_bits_twice(by, way):
    by(way)
    p = problem(tt.LSTM(), **NAMED["reset and ragged"])
    assert_same(outcome(p, "compiled", torch.float32), outcome(p, "compiled", torch.float32))


def test_second_derivatives_go_through_the_equations(by):
    by("block")
    p = problem(tt.GRU(), T=2, B=1, n=2, n_x=2, state=False)
    x = p.x.float().requires_grad_()
    w = tt.Weights(*(part.float() for part in p.w[:3]), {})
    (dx,) = torch.autograd.grad(
        tt.scan(p.cell, w, x, backend="compiled")[0].sum(), x, create_graph=True
    )
    (ddx,) = torch.autograd.grad(dx.square().sum(), x)
    exact = p.x.clone().requires_grad_()
    y = tt.scan(p.cell, p.w, exact, backend="reference")[0]
    (dx,) = torch.autograd.grad(y.sum(), exact, create_graph=True)
    torch.testing.assert_close(
        ddx.double(), torch.autograd.grad(dx.square().sum(), exact)[0], rtol=1e-4, atol=1e-5
    )


def test_what_is_kept_has_the_size_that_is_told_in_graphs():
    program = programs.find(tt.LSTM(), "triton")
    for T, B, n in ((0, 1, 3), (5, 3, 7), (2, 16, 64)):
        sizes = memory.Sizes(program, T, B, n)
        size = memory.kept_size(program, T, B, n, torch.bfloat16, keep=True)
        kept = torch.zeros(size)
        found = memory.parts(kept, sizes, torch.bfloat16)
        assert {name: tuple(part.shape) for name, part in found.items()} == {
            name: shape for name, (shape, _) in sizes.buffers(torch.bfloat16).items()
        }
        for part in found.values():
            part += 1  # each has a place of its own
        assert all((part == 1).all() for part in found.values())


def test_more_numbers_than_the_kernels_count_are_refused():
    program = programs.find(tt.LSTM(), "triton")
    W_a = torch.empty(0)
    memory.check(memory.Sizes(program, 1, 2**16, 2**12), W_a)
    with pytest.raises(InputError, match=r"a step of the batch would have 2147483648 numbers"):
        memory.check(memory.Sizes(program, 1, 2**17, 2**12), W_a)
    with pytest.raises(InputError, match=r"the recurrent weights would have 4294967296 numbers"):
        memory.check(memory.Sizes(program, 1, 1, 8), torch.empty(2**16, 2**16, device="meta"))


@pytest.mark.parametrize(("name", "n"), [("grid", 512), ("block", 64)])
def test_only_programs_that_wait_must_be_on_the_device_together(name, n):
    asked = {}

    class Kernel:
        def __getitem__(self, programs):
            self.programs = programs
            return lambda *given, **options: asked.update(options)

    sizes = memory.Sizes(programs.find(tt.LSTM(), "triton"), 5, 16, n)
    way = ways.found(sizes.facts, 16, n, 2, cards.H100)[name]
    kernel, given = Kernel(), {"x": torch.zeros(5, 16, n), "lengths": None, "reset": None}
    launching.launch(kernel, way, sizes, given, range(0), {})
    assert asked.get("launch_cooperative_grid", False) == (kernel.programs[0] > 1)
    assert (kernel.programs[0] > 1) == (name == "grid")


# Which way, and why not


def chosen(cell, T, B, n, dtype=torch.bfloat16):
    facts = programs.facts(programs.find(cell, "triton"))
    return choice.choose(facts, T, B, n, dtype, torch.device("cpu"))


@pytest.mark.parametrize(
    ("cell", "sizes", "name", "resident"),
    [
        (tt.LSTM(), (100, 16, 64), "block", True),
        (tt.LSTM(), (100, 16, 128), "block", True),
        (tt.LSTM(), (100, 16, 768), "grid", True),
        (tt.GRU(), (100, 64, 512), "grid", True),
        (tt.LSTM(), (100, 128, 1024), "grid", False),
        (tt.LSTM(), (1, 16, 64), "graph", False),
        (tt.LSTM(), (100, 4096, 4096), "graph", False),
    ],
)
def test_the_way_follows_the_sizes(cell, sizes, name, resident):
    way = chosen(cell, *sizes)
    assert (way.name, way.resident) == (name, resident)


def test_a_grid_fits_on_the_device():
    facts = programs.facts(programs.find(tt.LSTM(), "triton"))
    for n in (64, 256, 768, 1024, 4096):
        for B in (1, 16, 64, 300, 4096):
            way = ways.grid(facts, B, n, 2, cards.H100)
            if isinstance(way, ways.Way):
                columns, tiles = way.programs(B, n)
                assert columns * tiles <= 132
                assert columns * way.BU >= n
                assert tiles * way.BM >= B
            else:
                assert "multiprocessors" in way


def test_a_way_asked_for_that_cannot_run_says_why(by):
    by("block")
    with pytest.raises(
        InputError, match=r"THROUGHTIME_GPU=block cannot run this scan: its weights"
    ):
        chosen(tt.LSTM(), 100, 16, 512)
    by("grit")
    with pytest.raises(InputError, match="grid"):
        chosen(tt.LSTM(), 100, 16, 64)


def test_reasons_why_there_are_no_kernels(by, monkeypatch):
    by("graph")
    x, w = torch.zeros(2, 1, 3, dtype=torch.float64), tt.LSTM().weights(3, 4, dtype=torch.float64)
    with pytest.raises(BackendUnavailable, match=r"float16; x is torch\.float64"):
        tt.scan(tt.LSTM(), w, x, backend="compiled")
    monkeypatch.setattr(gpu, "installed", lambda: False)
    assert "Triton" in str(gpu.why_not(tt.LSTM(), torch.device("cuda")))
    monkeypatch.setattr(gpu, "installed", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert "sm_80" in str(gpu.why_not(tt.LSTM(), torch.device("cuda")))


def test_devices_without_kernels_are_named():
    x = torch.zeros(2, 1, 3, device="meta")
    assert "the CPU and on CUDA; x is on meta" in str(tt.why_not("compiled", tt.LSTM(), x))


def test_sizes_of_their_own_agree_with_the_float64_reference(by):
    by("grid")
    agrees(Slow(), NAMED["reset and ragged"], roundings=200)


@pytest.mark.slow
@every_way
@pytest.mark.parametrize("cell", [tt.zoo.LSTMP(2), Slow(), Back()], ids=repr)
def test_every_way_takes_sizes_of_their_own(by, cell, way):
    by(way)
    agrees(cell, NAMED["reset and ragged"], roundings=200)
