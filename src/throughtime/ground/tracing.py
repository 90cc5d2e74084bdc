"""Whether tensors have numbers to look at now, or torch follows what is done with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

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


Way = Literal["", "loop", "unrolled"]
_PORTABLE: ContextVar[Way] = ContextVar("portable", default="")


@contextmanager
def portable(*, unrolled: bool = False) -> Iterator[None]:
    """Scans are torch's own operations here, so that a graph that is made needs no throughtime.

        with tt.portable():
            torch.onnx.export(stack, (x,), "stack.onnx", dynamo=True, dynamic_shapes=…)

    In `torch.export` and what stands on it the time loop is one operation, `scan`, of any number of
    steps. `unrolled` writes the steps one after another, as many as the example has: that is what
    `torch._inductor.aoti_compile_and_package` takes. In `torch.jit.trace` torch's own kernels stand
    where the cell is one of torch's; of others the steps are written one after another. Graphs
    alone change: outside of them nothing does.
    """
    before = _PORTABLE.set("unrolled" if unrolled else "loop")
    try:
        yield
    finally:
        _PORTABLE.reset(before)


def portable_now() -> Way:
    """How a graph that is being made carries a cell through time; "" as it runs here."""
    return _PORTABLE.get()


# What torch.compiler.assume_constant_result does; that imports all of torch._dynamo.
portable_now._dynamo_marked_constant = True  # type: ignore[attr-defined]
