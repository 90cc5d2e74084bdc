"""Compiled scans as nodes of torch's graphs: torch.compile, torch.export, the operators' laws."""

import io

import pytest
import torch

import throughtime as tt
from cases import TwoMemories, assert_same, problem
from compiling import Timed
from throughtime.scans.compiled import operator, programs  # noqa: F401 - defines the operators

T, B, N_X, N = 6, 3, 4, 5


@pytest.fixture(autouse=True)
def graphs_forgotten():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def stack_and_data(cell=TwoMemories, **options):
    torch.manual_seed(0)
    stack = tt.Stack(cell, N_X, N, 2, **options)
    state = stack.cell.State(*(torch.randn_like(part) for part in stack.initial_state(B)))
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[2, 0] = reset[4, 1] = True
    return stack, (torch.randn(T, B, N_X), state, torch.tensor([6, 2, 4]), reset)


def results(stack, module, x, state, lengths, reset):
    y, final = module(x, state, lengths=lengths, reset=reset)
    loss = (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum() + final[-1].square().sum()
    gradients = torch.autograd.grad(loss, list(stack.parameters()))
    named = {f"d {name}": g for (name, _), g in zip(stack.named_parameters(), gradients)}
    return {"y": y.detach(), **{f: part.detach() for f, part in final._asdict().items()}, **named}


@pytest.mark.parametrize("whole", [True, False], ids=["state, lengths, reset", "x alone"])
@pytest.mark.parametrize("cell", [tt.LSTM, tt.PeepholeLSTM, TwoMemories])
def test_a_stack_in_one_graph_of_torch_compile_equals_itself(cell, whole):
    stack, (x, *rest) = stack_and_data(cell)
    rest = rest if whole else [None] * 3
    graph = torch.compile(stack, fullgraph=True, backend="aot_eager")
    assert_same(results(stack, graph, x, *rest), results(stack, stack, x, *rest))


def test_a_scan_compiled_for_any_length_is_not_compiled_anew():
    stack, _ = stack_and_data()
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph

    graph = torch.compile(stack, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad():
        for steps in (7, 9, 11):  # no other size, or it would be taken for that
            x = torch.randn(steps, B, N_X)
            assert torch.equal(graph(x)[0], stack(x)[0])
    assert len(compiled) == 1
    called = [str(node.target) for node in compiled[0].graph.nodes]
    assert called.count("throughtime.scan.default") + called.count("throughtime.scan") == 2


class Outputs(torch.nn.Module):
    def __init__(self, stack):
        super().__init__()
        self.stack = stack

    def forward(self, x):
        return self.stack(x)[0]


# torch 2.11's own reader of programs warns of the buffer that it reads them into
@pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")
@pytest.mark.parametrize("strict", [False, True], ids=["not strict", "strict"])
def test_an_exported_stack_gives_the_same_also_from_a_file(strict):
    stack, (x, *_) = stack_and_data()
    model = Outputs(stack)
    sizes = ({0: torch.export.Dim("T"), 1: torch.export.Dim("B")},)
    with torch.no_grad():
        program = torch.export.export(model, (x,), strict=strict, dynamic_shapes=sizes)
        called = [str(node.target) for node in program.graph.nodes]
        assert called.count("throughtime.scan.default") == 2
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        loaded = torch.export.load(file)
        for other in (x, torch.randn(9, 5, N_X)):
            right = model(other)
            assert torch.equal(program.module()(other), right)
            assert torch.equal(loaded.module()(other), right)


def arguments(cell, keep: bool, n: int, **kind):
    p = problem(cell, n=n, **kind)
    vectors = [p.w.vectors[name] for name in cell.vectors]
    streams = [part.expand(*p.x.shape[:2], n) for part in p.inputs.values()]
    leaves = [p.x, *p.w[:3], *vectors, *p.state, *(s for s in streams if s.dtype != torch.bool)]
    if keep:
        for leaf in leaves:
            leaf.requires_grad_()
    inputs = (p.x, *p.w[:3], vectors, list(p.state), streams, p.lengths, p.reset)
    return (programs.find(cell), *inputs, keep)


@pytest.mark.parametrize("cell", [tt.GRU(), tt.PeepholeLSTM(), TwoMemories(), Timed()], ids=repr)
def test_the_operators_keep_the_laws_of_torch(cell):
    # n fills the vectors of any processor and no sequence ends early: what lies beyond is not
    # written, so that two runs of the same differ there.
    laws = torch.library.opcheck(
        torch.ops.throughtime.scan.default, arguments(cell, True, 16, reset=[(2, 1)])
    )
    assert set(laws.values()) == {"SUCCESS"}
    laws = torch.library.opcheck(
        torch.ops.throughtime.scan.default, arguments(cell, False, 5, lengths=[5, 0, 3])
    )
    assert set(laws.values()) == {"SUCCESS"}


def test_a_length_beyond_the_end_reaches_no_further_in_a_graph():
    """Nothing looks at the numbers there; the scan must not write outside its buffers."""
    stack, (x, *_) = stack_and_data()
    graph = torch.compile(stack, fullgraph=True, backend="eager")
    with torch.no_grad():
        y, _ = graph(x, lengths=torch.tensor([6, 10_000, -3]))
        right, _ = stack(x, lengths=torch.tensor([6, 6, 0]))
    assert torch.equal(y, right)


def test_checkpointing_and_hooks_on_saved_tensors():
    stack, (x, *_) = stack_and_data()
    right = torch.autograd.grad(stack(x)[0].sum(), list(stack.parameters()))
    y, _ = torch.utils.checkpoint.checkpoint(stack, x, use_reentrant=False)
    found = torch.autograd.grad(y.sum(), list(stack.parameters()))
    assert_same(dict(enumerate(found)), dict(enumerate(right)))
    with torch.autograd.graph.save_on_cpu():
        y, _ = stack(x)
    found = torch.autograd.grad(y.sum(), list(stack.parameters()))
    assert_same(dict(enumerate(found)), dict(enumerate(right)))
