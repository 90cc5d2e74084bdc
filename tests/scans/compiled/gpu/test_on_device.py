"""What only a CUDA GPU can show of the kernels: barriers, bfloat16, graphs, streams."""

import pytest
import torch

import throughtime as tt
from cases import NAMED, assert_close, assert_same, outcome, problem
from throughtime.scans.compiled.gpu import ways

if not torch.cuda.is_available():
    pytest.skip("no CUDA GPU here", allow_module_level=True)

every_way = pytest.mark.parametrize("way", ways.WAYS)
CELLS = [tt.LSTM(), tt.GRU(), tt.PeepholeLSTM("current")]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)


def some(cell, **more):
    lengths, reset = [5, 0, 3, 5] * 5, [(2, 0), (4, 3), (1, 2), (0, 5)]
    return problem(cell, T=5, B=20, n=72, n_x=24, lengths=lengths, reset=reset, **more)


@every_way
@every_cell
def test_ways_agree_with_the_float64_reference(monkeypatch, cell, way):
    monkeypatch.setenv(ways.VARIABLE, way)
    shape = {"n": 32} if way == "block" else {}
    p = some(cell) if way != "block" else problem(cell, **NAMED["reset and ragged"] | shape)
    assert_close(outcome(p, "compiled", torch.float32, "cuda"), outcome(p), torch.float32, 200)


@every_way
@every_cell
def test_bfloat16_is_near_the_float64_reference(monkeypatch, cell, way):
    monkeypatch.setenv(ways.VARIABLE, way)
    p = some(cell)
    right = outcome(p)
    for name, got in outcome(p, "compiled", torch.bfloat16, "cuda").items():
        allowed = 0.06 * max(1.0, float(right[name].abs().max()))
        assert float((got.double() - right[name]).abs().max()) < allowed, name


@every_cell
def test_barriers_change_no_bit(monkeypatch, cell):
    monkeypatch.setenv(ways.VARIABLE, "grid")
    p = some(cell)
    together = outcome(p, "compiled", torch.bfloat16, "cuda")
    grid = ways.grid
    monkeypatch.setattr(ways, "grid", lambda *given: grid(*given)._replace(stepwise=True))
    apart = outcome(p, "compiled", torch.bfloat16, "cuda")
    for name in cell.vectors:  # sums over time, where the compiler may join a product and a sum
        torch.testing.assert_close(apart.pop(f"d {name}"), together.pop(f"d {name}"))
    assert_same(apart, together)


@pytest.mark.parametrize("n", [64, 256])
def test_a_scan_in_a_cuda_graph(n):
    cell = tt.GRU()
    w = cell.weights(n, n, device="cuda")
    x = torch.randn(6, 3, n, device="cuda")

    def scan():
        with torch.no_grad():
            return tt.scan(cell, w, x, backend="compiled")[0]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        right = scan()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = scan()
    graph.replay()
    torch.testing.assert_close(y, right, rtol=0, atol=0)
    x.copy_(torch.randn_like(x))
    graph.replay()
    torch.testing.assert_close(y, scan(), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_a_compiled_graph_of_torch_has_the_scan_as_one_node():
    torch._dynamo.reset()
    stack = tt.Stack(tt.GRU, 8, 16).to("cuda")
    x = torch.randn(5, 3, 8, device="cuda")
    right = stack(x)[0]
    got = torch.compile(stack, fullgraph=True, backend="aot_eager")(x)[0]
    torch.testing.assert_close(got, right)
    got.sum().backward()
    assert all(p.grad is not None for p in stack.parameters())


@pytest.mark.parametrize("cell", [tt.GRU, tt.LSTM, tt.LayerNormLSTM])
@pytest.mark.parametrize("inference", [False, True])
def test_frozen_steps_are_a_graph_and_the_steps(cell, inference):
    stack = tt.Stack(cell, 24, 64, 2).to("cuda").eval()
    x = torch.randn(8, 3, 24, device="cuda")

    def steps():
        ys, state = [], None
        for x_t in x:
            y, state = stack.step(x_t, state)
            ys.append(y)
        return torch.stack(ys), *state

    with torch.inference_mode(inference), torch.no_grad():
        right = steps()
        with stack.frozen() as held:
            got = steps()
            assert len(held.graphs.kept) == 1
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                again = steps()
            torch.cuda.current_stream().wait_stream(aside)
    for a, b, c in zip(got, right, again):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
        torch.testing.assert_close(c, b, rtol=0, atol=0)
