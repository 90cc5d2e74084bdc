"""What the tests of the scan share: every cell with its oracle, problems, outcomes, closeness."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor, sigmoid, tanh

import oracles
import throughtime as tt
from throughtime.cells import declared
from throughtime.config import ModelConfig
from throughtime.models.language import LanguageModel
from throughtime.scans import BACKENDS

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""


class TwoMemories(tt.Cell):
    """A cell as a user writes one: two states, one vector, halves of a gate apart."""

    gates = ("m", "h")
    state = ("quick", "slow")
    vectors = ("keep",)

    def step(self, w, x, s):
        candidate = tanh(w.h.input(x))
        slow = w.keep * s.slow + candidate
        gate = sigmoid(w.m(slow, x))
        return self.State(quick=gate * candidate + (1 - gate) * w.h.recurrent(s.quick), slow=slow)


MINIMAL = """
import throughtime as tt
from torch import sigmoid, tanh

class Minimal(tt.Cell):
    gates = ("c", "u")
    state = ("c",)

    def step(self, w, x, s):
        c_tilde = tanh(w.c.input(x))
        gate_u = sigmoid(w.u(s.c, x))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)
"""
"""A file with a user's own cell, `Minimal`."""


ORACLES: dict[tt.Cell, oracles.Step] = {
    tt.RNN(): oracles.rnn_tanh,
    tt.RNN("relu"): oracles.rnn_relu,
    tt.SimpleGRU(): oracles.simple_gru,
    tt.GRU(): oracles.gru,
    tt.GRUResetAfter(): oracles.gru_reset_after,
    tt.LSTM(): oracles.lstm_tanh,
    tt.LSTM("identity"): oracles.lstm_identity,
    tt.PeepholeLSTM(): oracles.peephole_previous,
    tt.PeepholeLSTM("current"): oracles.peephole_current,
    tt.LayerNormLSTM(eps=0.1): oracles.layer_norm_lstm,
    tt.LayerNormGRU(eps=0.1): oracles.layer_norm_gru,
    TwoMemories(): oracles.two_memories,
}
ALL_CELLS = list(ORACLES)
PAIRS = [(cell, name) for cell in ALL_CELLS for name in BACKENDS if tt.why_not(name, cell) is None]
"""Every cell with every backend that can run it."""

modest = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Problem:
    """One scan. Tensors are float64 but hold float32 numbers, so both precisions start alike."""

    cell: tt.Cell
    w: tt.Weights
    x: Tensor
    state: Any = None
    lengths: Tensor | None = None
    reset: Tensor | None = None
    layout: str = "contiguous"
    inputs: dict[str, Tensor] = field(default_factory=dict)

    @property
    def padding(self) -> Tensor:
        """[T, B], true at the steps beyond a sequence's length."""
        T, B, _ = self.x.shape
        lengths = torch.full((B,), T) if self.lengths is None else self.lengths
        return torch.arange(T)[:, None] >= lengths


def random_weights(cell: tt.Cell, n_x: int, n: int, generator: torch.Generator) -> tt.Weights:
    """Every parameter random, the biases too."""

    def random(*shape: int) -> Tensor:
        return normal(generator, *shape) / max(n, 1) ** 0.5

    rows, shapes = len(cell.gates) * n, declared.shapes(cell, n, n_x)
    vectors = {name: random(size) for name, size in shapes.parameters.items()}
    W_x, W_a, b = random(rows, n_x), random(rows, shapes.taken), random(rows)
    matrices = {name: random(*shape) for name, shape in shapes.matrices.items()}
    return tt.Weights(W_x, W_a, b, vectors, matrices=matrices)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator).double()


def problem(
    cell: tt.Cell,
    *,
    T: int = 5,
    B: int = 3,
    n_x: int = 4,
    n: int = 3,
    lengths: Any = None,
    reset: Any = None,
    state: bool = True,
    layout: str = "contiguous",
    seed: int = 0,
) -> Problem:
    """A random problem; `reset` may be a tensor [T, B] or a list of (t, b)."""
    generator = torch.Generator().manual_seed(seed)
    w = random_weights(cell, n_x, n, generator)
    x = normal(generator, T, B, n_x)
    sizes = cell.state_sizes(n, n_x)
    start = cell.State(*(normal(generator, B, size) for size in sizes)) if state else None
    if isinstance(reset, list):
        where = torch.zeros(T, B, dtype=torch.bool)
        for t, b in reset:
            where[t, b] = True
        reset = where
    lengths = None if lengths is None else torch.as_tensor(lengths, dtype=torch.int64)
    kinds = ((T, B, 0), False), ((T, B, 0), True), ((T, B, 1), False), ((min(T, 1), B, 0), True)
    inputs = {}
    for name, (shape, truths) in zip(cell.inputs, kinds * 4):
        units = cell.size(cell.sizes.get(name, "n"), n, n_x)
        stream = normal(generator, *shape[name in cell.constants : 2], shape[2] or units)
        inputs[name] = stream > 0 if truths else stream
    return Problem(cell, w, x, start, lengths, reset, layout, inputs)


NAMED: dict[str, dict[str, Any]] = {
    "plain": {},
    "no steps": {"T": 0},
    "one step": {"T": 1},
    "one step, no state": {"T": 1, "state": False},
    "batch of one": {"B": 1},
    "odd widths": {"n": 17, "n_x": 7, "B": 5},
    "width one": {"n": 1, "n_x": 1},
    "wider than a vector register": {"n": 40, "n_x": 33, "T": 12, "B": 9},
    "no state": {"state": False},
    "ragged": {"lengths": [2, 5, 3]},
    "ragged, sorted, none full": {"lengths": [4, 3, 1]},
    "zero length": {"lengths": [0, 5, 2]},
    "all of zero length": {"lengths": [0, 0, 0]},
    "transposed": {"layout": "transposed"},
    "strided": {"layout": "strided", "lengths": [2, 5, 3]},
    "reset": {"reset": [(2, 0), (4, 1)]},
    "reset of all at once": {"reset": [(3, 0), (3, 1), (3, 2)]},
    "reset at the first step": {"reset": [(0, 0), (0, 2), (1, 2)]},
    "reset at every step": {"reset": [(t, 1) for t in range(5)]},
    "reset and ragged": {"lengths": [3, 0, 5], "reset": [(2, 0), (0, 1), (4, 0), (4, 2)]},
    "reset in the padding only": {"lengths": [3, 4, 2], "reset": [(3, 0), (4, 1), (2, 2)]},
}


@st.composite
def drawn(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `problem` beyond the named ones."""
    T, B = draw(st.integers(0, 6)), draw(st.integers(1, 4))
    some_lengths = st.lists(st.integers(0, T), min_size=B, max_size=B)
    places = [(t, b) for t in range(T) for b in range(B)]
    some_resets = st.lists(st.sampled_from(places), max_size=5) if places else st.just([])
    return {
        "T": T,
        "B": B,
        "n": draw(st.sampled_from([1, 2, 5, 8, 13])),
        "n_x": draw(st.sampled_from([1, 3, 8])),
        "lengths": draw(st.none() | some_lengths),
        "reset": draw(st.none() | some_resets),
        "state": draw(st.booleans()),
        "layout": draw(st.sampled_from(["contiguous", "transposed", "strided"])),
        "seed": draw(st.integers(0, 2**31)),
    }


def laid_out(tensor: Tensor, layout: str) -> Tensor:
    """The same numbers over another stretch of memory."""
    if layout == "contiguous" or tensor.dim() == 0:
        return tensor
    if layout == "strided":
        return torch.stack([tensor, torch.full_like(tensor, 7)], -1)[..., 0]
    if tensor.dim() < 2:
        return tensor
    return tensor.transpose(0, 1).contiguous().transpose(0, 1)


def outcome(
    p: Problem,
    backend: str = "reference",
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> dict[str, Tensor]:
    """y, the final state, and the gradient of a random function of both by every input.

    Only the scan is on `device`; the leaves and the results are on the CPU.
    """
    leaves = {"x": p.x, "W_x": p.w.W_x, "W_a": p.w.W_a, "b": p.w.b, **p.w.vectors, **p.w.matrices}
    if p.state is not None:
        leaves |= {f"initial {name}": part for name, part in p.state._asdict().items()}
    truths = {name: part for name, part in p.inputs.items() if part.dtype == torch.bool}
    leaves |= {name: part for name, part in p.inputs.items() if name not in truths}
    leaves = {name: leaf.detach().to(dtype).requires_grad_() for name, leaf in leaves.items()}
    at = {name: laid_out(leaf.to(device), p.layout) for name, leaf in leaves.items()}
    vectors, matrices = ({name: at[name] for name in of} for of in (p.w.vectors, p.w.matrices))
    w = tt.Weights(at["W_x"], at["W_a"], at["b"], vectors, matrices=matrices)
    state = None
    if p.state is not None:
        state = p.cell.State(*(at[f"initial {name}"] for name in p.cell.state))
    at |= {name: laid_out(part.to(device), p.layout) for name, part in truths.items()}
    inputs = {name: at[name] for name in p.inputs}
    options = {"lengths": p.lengths, "reset": p.reset, "inputs": inputs, "backend": backend}
    y, final = tt.scan(p.cell, w, at["x"], state, **options)
    results = {"y": y, **{f"final {name}": part for name, part in final._asdict().items()}}
    results = {name: result.cpu() for name, result in results.items()}
    generator = torch.Generator().manual_seed(99)
    loss = sum((r * normal(generator, *r.shape).to(dtype)).sum() for r in results.values())
    gradients = [torch.zeros_like(leaf) for leaf in leaves.values()]
    if loss.requires_grad:
        gradients = torch.autograd.grad(
            loss, list(leaves.values()), allow_unused=True, materialize_grads=True
        )
    results |= {f"d {name}": g for name, g in zip(leaves, gradients)}
    return {name: r.detach() for name, r in results.items()}


ROUNDINGS = 40
"""How many units of rounding a result may differ by: 9e-15 and 5e-6 at magnitude one.

Three times the greatest difference of any backend, cell and named problem over a dozen seeds.
"""


def assert_close(
    got: dict[str, Tensor],
    expected: dict[str, Tensor],
    dtype: torch.dtype = torch.float64,
    roundings: int = ROUNDINGS,
) -> None:
    """Each result within a few roundings of `dtype`, at the magnitude of the expected tensor."""
    assert got.keys() == expected.keys()
    for name, right in expected.items():
        right = right.detach()
        assert got[name].shape == right.shape, name
        if not right.numel():
            continue
        allowed = roundings * torch.finfo(dtype).eps * max(1.0, float(right.abs().max()))
        error = float((got[name].detach().double() - right.double()).abs().max())
        assert error <= allowed, f"{name}: off by {error:.1e}, allowed {allowed:.1e}"  # NaN fails


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same bits."""
    assert got.keys() == expected.keys()
    for name, right in expected.items():
        assert torch.equal(got[name], right), name


def in_numpy(cell: tt.Cell, w: tt.Weights) -> oracles.Parameters:
    """The weights as the oracles take them: W_g = [W_ga, W_gx] and b_g by the gate's name."""
    n = cell.width(w)
    rows = {gate: slice(g * n, (g + 1) * n) for g, gate in enumerate(cell.gates)}
    W = np.concatenate([w.W_a.detach().numpy(), w.W_x.detach().numpy()], axis=1)
    return oracles.Parameters(
        {gate: W[r] for gate, r in rows.items()},
        {gate: w.b.detach().numpy()[r] for gate, r in rows.items()},
        {name: v.detach().numpy() for name, v in (*w.vectors.items(), *w.matrices.items())},
    )


def by_oracle(p: Problem) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """y and the final states from the NumPy equations."""
    _, B, _ = p.x.shape
    sizes = zip(p.cell.state, p.cell.state_sizes(p.cell.width(p.w), p.x.shape[-1]))
    zeros = {name: np.zeros((B, size)) for name, size in sizes}
    state = zeros if p.state is None else {k: v.numpy() for k, v in p.state._asdict().items()}
    return oracles.unroll(
        ORACLES[p.cell],
        in_numpy(p.cell, p.w),
        p.x.numpy(),
        state,
        None if p.lengths is None else p.lengths.tolist(),
        None if p.reset is None else p.reset.numpy(),
    )


# ---- a small language model ---------------------------------------------------------------------

V, n = 9, 6
"""Tokens, and the width of the model below."""


def language_model(cell=tt.GRU):
    config = ModelConfig(hidden_size=n, embedding_size=4, num_layers=2)
    model = LanguageModel(cell, V, config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1)
    model.stack.backend = "reference"
    return model.eval()


def log_probabilities(model, tokens, state=None):
    """After the last of tokens [T], one step at a time."""
    state = model.initial_state(1) if state is None else state
    for token in tokens:
        logits, state = model.step(token[None], state)
    return logits.log_softmax(1)[0].detach()


WIDE = {"T": 4, "B": 20, "n": 200, "n_x": 256, "lengths": [4, 2, 0, 3] * 5}
"""A wide problem, for several threads."""
