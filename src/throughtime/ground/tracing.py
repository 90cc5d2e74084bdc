"""Whether tensors have numbers to look at now, or torch follows what is done with them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor  # pyright: ignore[reportMissingImports]
from torch.autograd import forward_ad


def transformed() -> bool:
    """Whether torch.func (vmap, grad, jvp, …), batched gradients or forward derivatives are on."""
    return not torch.compiler.is_compiling() and (
        torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    )


def batched(tensor: Tensor | None) -> bool:
    """Whether a gradient is many at once: `is_grads_batched`, `jacobian(vectorize=True)`."""
    return tensor is not None and is_legacy_batchedtensor(tensor)


def jit_tracing() -> bool:
    """Whether torch.jit.trace records."""
    return torch._C._get_tracing_state() is not None


def faked() -> bool:
    """Whether tensors have shapes and no numbers (torch's `FakeTensorMode`)."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


def numbers_hidden() -> bool:
    """Whether a question to a tensor's numbers would fail, or be fixed in a graph."""
    return torch.compiler.is_compiling() or jit_tracing() or transformed() or faked()


def followed() -> bool:
    """Whether torch follows what is done with tensors now, or changes what operations do."""
    return (
        numbers_hidden()
        or torch.is_autocast_enabled("cpu")
        or torch._C._len_torch_dispatch_stack() > 0
    )
