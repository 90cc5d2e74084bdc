"""How composed operations are made of simple ones: torch's table, and reductions over the units.

Whatever reduces the last dimension is made of two operations, `sum` and `amax` with keepdim. How
many units there are is the sum of as many ones, since a program serves every width: so it stands
in the graph as a value, not as the width of a stand-in. A reduction of anything else stays as it
is and is refused by name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


@functools.cache
def decompositions() -> dict[Any, Callable[..., Any]]:
    """By operation, what it is made of."""
    from torch._decomp import core_aten_decompositions, get_decompositions

    composed = [
        aten.sigmoid_backward, aten.tanh_backward, aten.threshold_backward, aten.silu,
        aten.silu_backward, aten.gelu, aten.gelu_backward, aten.softplus, aten.softplus_backward,
        aten.log_sigmoid_forward, aten.log_sigmoid_backward, aten.elu, aten.elu_backward,
        aten.leaky_relu, aten.leaky_relu_backward, aten.hardtanh, aten.hardtanh_backward,
        aten.hardsigmoid, aten.hardsigmoid_backward, aten.hardswish, aten.hardswish_backward,
        aten.mish, aten.mish_backward, aten.lerp, aten.addcmul, aten.addcdiv, aten.rsub,
        aten.square, aten.celu, aten.softshrink, aten.hardshrink, aten.relu6, aten.threshold,
    ]  # fmt: skip
    return {**core_aten_decompositions(), **get_decompositions(composed), **REDUCTIONS}


def over_units(x: Tensor, dim: int | Sequence[int] | None) -> bool:
    """Whether `dim` names the last dimension and no other."""
    dims = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    return x.dim() > 0 and [d % x.dim() for d in dims] == [x.dim() - 1]


def units(x: Tensor) -> Tensor:
    """How many there are."""
    return torch.ones_like(x).sum(-1, keepdim=True)


def root(square: Tensor) -> Tensor:
    """√, whose derivative at zero is taken as zero, as torch takes it for norms."""
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def mean(x: Tensor, dim: Any, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Over the units."""
    if dtype is not None or not over_units(x, dim):
        return NotImplemented
    return whole(x.sum(-1, keepdim=True) / units(x), keepdim)


def whole(row: Tensor, keepdim: bool) -> Tensor:
    """A value for each row, [B, 1], in the shape that was asked for."""
    return row if keepdim else row.squeeze(-1)


def moments(x: Tensor, correction: float | None) -> tuple[Tensor, Tensor]:
    """Variance and mean; n - 1 is what the sum is divided by unless said otherwise."""
    middle = x.sum(-1, keepdim=True) / units(x)
    square = (x - middle).square().sum(-1, keepdim=True)
    fewer = 1 if correction is None else correction
    return square / ((units(x) - fewer).clamp(min=0) if fewer else units(x)), middle


def var(x: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """Over the units."""
    if not over_units(x, dim):
        return NotImplemented
    return whole(moments(x, correction)[0], keepdim)


def var_mean(x: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """Both moments over the units."""
    if not over_units(x, dim):
        return NotImplemented
    return tuple(whole(moment, keepdim) for moment in moments(x, correction))


def std(x: Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """√ of the variance over the units."""
    if not over_units(x, dim):
        return NotImplemented
    return whole(root(moments(x, correction)[0]), keepdim)


def amin(x: Tensor, dim: Any = (), keepdim: bool = False) -> Any:
    """Over the units."""
    return -aten.amax(-x, dim, keepdim) if over_units(x, dim) else NotImplemented


def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """Of order 1, 2 or ∞, over the units."""
    if dtype is not None or not over_units(x, dim):
        return NotImplemented
    if ord == 1:
        return whole(x.abs().sum(-1, keepdim=True), keepdim)
    if ord == 2:
        return whole(root((x * x).sum(-1, keepdim=True)), keepdim)
    if ord == float("inf"):
        return aten.amax(x.abs(), [-1], keepdim)
    return NotImplemented


def layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Any:
    """Over the units, with torch's two further results."""
    if len(shape) != 1:
        return NotImplemented
    variance, middle = moments(x, 0)
    scale = torch.rsqrt(variance + eps)
    normal = (x - middle) * scale
    normal = normal if weight is None else normal * weight
    return normal if bias is None else normal + bias, middle, scale


def logsumexp(x: Tensor, dim: Any, keepdim: bool = False) -> Any:
    """Over the units; an infinite maximum is not taken out."""
    if not over_units(x, dim):
        return NotImplemented
    highest = aten.amax(x, [-1], True).detach()
    highest = torch.where(highest.abs() == float("inf"), 0.0, highest)
    return whole((x - highest).exp().sum(-1, keepdim=True).log() + highest, keepdim)


def softmax(x: Tensor, dim: int, half_to_float: bool) -> Any:
    """Over the units."""
    if half_to_float or not over_units(x, dim):
        return NotImplemented
    e = (x - aten.amax(x, [-1], True).detach()).exp()
    return e / e.sum(-1, keepdim=True)


def log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Any:
    """Over the units."""
    if half_to_float or not over_units(x, dim):
        return NotImplemented
    lower = x - aten.amax(x, [-1], True).detach()
    return lower - lower.exp().sum(-1, keepdim=True).log()


REDUCTIONS: dict[Any, Callable[..., Any]] = {
    aten.mean.dim: mean,
    aten.var.correction: var,
    aten.var_mean.correction: var_mean,
    aten.std.correction: std,
    aten.amin.default: amin,
    aten.linalg_vector_norm.default: vector_norm,
    aten.native_layer_norm.default: layer_norm,
    aten.logsumexp.default: logsumexp,
    aten._softmax.default: softmax,
    aten._log_softmax.default: log_softmax,
}
"""What reduces, made of `sum` and `amax`."""
