"""`throughtime.portable()`: graphs of torch's own operations, for any length and any cell."""

import numpy as np
import pytest
import torch

import throughtime as tt
from cases import TwoMemories
from throughtime.ground.errors import BackendUnavailable
from throughtime.ground.tracing import portable_now

N_X, N = 4, 5
STEPS, ROWS = torch.export.Dim("T"), torch.export.Dim("B")


class Layers(torch.nn.Module):
    """y and the first part of the state, of sequences of any length."""

    def __init__(self, cell, **settings):
        super().__init__()
        torch.manual_seed(0)
        self.stack = tt.Stack(cell, N_X, N, **settings).eval()

    def forward(self, x, lengths):
        y, state = self.stack(x, lengths=lengths)
        return y, state[0]


class Face(torch.nn.Module):
    def __init__(self, face):
        super().__init__()
        torch.manual_seed(0)
        self.layer = face(N_X, N).eval()

    def forward(self, x, lengths):
        return self.layer(x)


def given(T, lengths):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(T, len(lengths), N_X, generator=generator), torch.tensor(lengths)


def exported(module, **options):
    with tt.portable(), torch.no_grad():
        return torch.export.export(
            module, given(5, [3, 5]),
            dynamic_shapes={"x": {0: STEPS, 1: ROWS}, "lengths": {0: ROWS}},
            **options,
        )  # fmt: skip


def operations(program):
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


def same(found, right):
    for one, other in zip(
        torch.utils._pytree.tree_leaves(found), torch.utils._pytree.tree_leaves(right)
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "module",
    [
        Layers(tt.GRU, bidirectional=True, learned_initial_state=True),
        Layers(TwoMemories()),
        Face(tt.nn.LSTM),
    ],
    ids=["stack", "a cell of one's own", "nn.LSTM"],
)
def test_a_graph_has_torchs_operations_and_takes_other_lengths(module):
    program = exported(module)
    assert not any("throughtime" in name for name in operations(program))
    for T, lengths in ((5, [3, 5]), (8, [0, 8, 2])):
        x = given(T, lengths)
        same(program.module()(*x), module(*x))


def test_unrolled_holds_the_steps_of_its_example():
    module = Layers(tt.GRU)
    with tt.portable(unrolled=True), torch.no_grad():
        program = torch.export.export(module, given(5, [3, 5]))
    assert not any("throughtime" in name or "scan" in name for name in operations(program))
    same(program.module()(*given(5, [3, 5])), module(*given(5, [3, 5])))


def test_it_ends_where_the_block_does():
    def fails():
        with tt.portable():
            assert portable_now() == "loop"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert portable_now() == ""
    module = Layers(tt.GRU)
    program = torch.export.export(module, given(5, [3, 5]))
    assert any("throughtime" in name for name in operations(program))


def test_outside_of_graphs_nothing_changes():
    module = Layers(tt.GRU)
    right = module(*given(5, [3, 5]))
    with tt.portable():
        found = module(*given(5, [3, 5]))
        assert tt.why_not("compiled", tt.GRU) is None
    assert all(torch.equal(one, other) for one, other in zip(found, right))


def test_compiled_asked_for_by_name_is_told_what_to_do():
    with pytest.raises(BackendUnavailable, match="let backend be auto"):
        exported(Layers(tt.GRU, backend="compiled"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_onnx_by_torchs_exporter(tmp_path):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    module, path = Layers(tt.GRU), str(tmp_path / "m.onnx")
    with tt.portable(), torch.no_grad():
        torch.onnx.export(
            module, given(5, [3, 5]), path, dynamo=True, verbose=False,
            dynamic_shapes={"x": {0: STEPS, 1: ROWS}, "lengths": {0: ROWS}},
        )  # fmt: skip
    x, lengths = given(8, [0, 8, 2])
    made = onnxruntime.InferenceSession(path)
    found = made.run(None, {"x": x.numpy(), "lengths": lengths.numpy()})
    for one, right in zip(found, module(x, lengths)):
        assert np.abs(one - right.detach().numpy()).max() < 1e-5
