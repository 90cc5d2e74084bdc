"""Stacks with random parameters, and data for them."""

import torch
from torch import Tensor

import throughtime as tt

T, B, N_X, N = 6, 4, 3, 5
LENGTHS = torch.tensor([4, 6, 0, 3])
RESET = torch.zeros(T, B, dtype=torch.bool)
for place in [(0, 1), (2, 0), (4, 1), (5, 1), (1, 3), (2, 3), (4, 3), (3, 2), (4, 0)]:
    RESET[place] = True  # the last four lie in the padding of LENGTHS


def make(cell=tt.LSTM, layers=2, *, seed=0, **options) -> tt.Stack:
    """A stack in float64, every parameter random, the biases too."""
    torch.manual_seed(seed)
    stack = tt.Stack(cell, N_X, N, layers, **options).double()
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.uniform_(-0.7, 0.7)
    return stack


def data(stack: tt.Stack, *, seed=1):
    """x [T, B, n_x] and a state that is not zero."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    K = stack.num_layers * stack.directions
    return normal(T, B, N_X), stack.cell.State(*(normal(K, B, N) for _ in stack.cell.state))


def named(y: Tensor, state) -> dict[str, Tensor]:
    """y and the parts of a state, those of each layer where layers differ."""
    if hasattr(state, "_asdict"):
        return {"y": y, **{f"final {name}": part for name, part in state._asdict().items()}}
    return {"y": y} | {
        f"final {name} of layer {layer}": part
        for layer, one in enumerate(state, 1)
        for name, part in one._asdict().items()
    }


def with_gradients(stack: tt.Stack, y: Tensor, state, *also: Tensor) -> dict[str, Tensor]:
    """y, the state and the gradients of a random function of both."""
    results = named(y, state)
    generator = torch.Generator().manual_seed(5)
    loss = torch.stack(
        [
            (r * torch.randn(r.shape, generator=generator, dtype=torch.float64)).sum()
            for r in results.values()
        ]
    ).sum()
    leaves = dict(stack.named_parameters()) | {f"input {i}": leaf for i, leaf in enumerate(also)}
    gradients = torch.autograd.grad(
        *(loss, list(leaves.values())),
        **{"allow_unused": True, "materialize_grads": True, "retain_graph": True},
    )
    return results | {f"d {name}": g for name, g in zip(leaves, gradients)}
