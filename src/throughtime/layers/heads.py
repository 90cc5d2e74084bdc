"""From the state to the next token: full softmax in chunks, adaptive softmax, output layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..ground.errors import InputError

LOGITS_AT_ONCE = 1 << 23
"""Logits computed at a time: 32 MB in float32."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Mean of −Σ_k q_k log softmax(W h + b)_k over rows, without ever holding all logits.

    q = (1 − ε) [k = y] + ε / V with the smoothing ε.
    A chunk of rows at a time: logits, loss, and at once the gradients, in the same buffer.
    """

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, W: Tensor, b: Tensor, y: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        device = h.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else h.dtype
        precise = torch.promote_types(dtype, torch.float32)
        N, V = len(h), len(W)
        needs_grad = any(ctx.needs_input_grad)
        h_, W_ = h.detach().to(dtype), W.detach().to(dtype)
        grad_h = torch.empty_like(h_) if needs_grad else None
        grad_W, grad_b = (
            (torch.zeros_like(W, dtype=precise), torch.zeros_like(b, dtype=precise))
            if (needs_grad)
            else (None, None)
        )
        total = torch.zeros((), dtype=torch.float64, device=h.device)
        rows = max(1, min(N, LOGITS_AT_ONCE // V))
        buffer = torch.empty(rows, V, dtype=dtype, device=h.device)
        with torch.autocast(device, enabled=False):
            for start in range(0, N, rows):
                part, target = h_[start : start + rows], y[start : start + rows, None]
                logits = torch.addmm(b.detach().to(dtype), part, W_.t(), out=buffer[: len(part)])
                p = logits.to(precise)
                p -= p.amax(1, keepdim=True)
                chosen = p.gather(1, target)
                if smoothing:
                    chosen = (1 - smoothing) * chosen + smoothing * p.mean(1, keepdim=True)
                norm = p.exp_().sum(1, keepdim=True)
                total += (norm.log() - chosen).sum(dtype=torch.float64)
                if grad_h is not None and grad_W is not None and grad_b is not None:
                    p /= norm * N
                    if smoothing:
                        p -= smoothing / (V * N)
                    p.scatter_add_(1, target, p.new_full(target.shape, (smoothing - 1) / N))
                    grad_b += p.sum(0)
                    g = p.to(dtype)
                    torch.mm(g, W_, out=grad_h[start : start + rows])
                    if dtype == precise:
                        grad_W.addmm_(g.t(), part)
                    else:
                        grad_W += g.t() @ part
        ctx.save_for_backward(grad_h, grad_W, grad_b)
        ctx.dtypes = h.dtype, W.dtype, b.dtype
        return (total / N).to(precise)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        parts = [part.to(dtype) for part, dtype in zip(ctx.saved_tensors, ctx.dtypes)]
        if grad.is_cuda or grad != 1:  # to ask a GPU is to wait for it
            parts = [part * grad.to(part.dtype) for part in parts]
        return *parts, None, None


class Softmax(nn.Module):
    """Full softmax: ŷ<t> = softmax(W h<t> + b), W [V, n].

    `forward(h [N, n], y [N])` is the mean loss in nats; logits are computed in chunks, so the
    [N, V] matrix never exists whole. `tied` shares W with an embedding of the same shape.
    With `smoothing` ε the target is (1 − ε) on y and ε / V on every token (Szegedy et al. 2016).
    Oracle: torch.nn.functional.cross_entropy over the whole matrix, to 1e-6.
    """

    def __init__(self, size: int, vocabulary: int, tied: nn.Parameter | None = None) -> None:
        super().__init__()
        if tied is None:
            linear = nn.Linear(size, vocabulary)
            self.weight, self.bias = linear.weight, linear.bias
        else:
            self.weight, self.bias = tied, nn.Parameter(torch.zeros(vocabulary))

    def forward(self, h: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
        """Mean nats."""
        return _ChunkedCrossEntropy.apply(h, self.weight, self.bias, y, smoothing)  # type: ignore[return-value]

    def nats(self, h: Tensor, y: Tensor) -> Tensor:
        """Nats of each token [N], for evaluation."""
        rows = max(1, LOGITS_AT_ONCE // len(self.weight))
        return torch.cat(
            [
                F.cross_entropy(
                    self.logits(h[i : i + rows]).float(), y[i : i + rows], reduction="none"
                )
                for i in range(0, len(h), rows)
            ]
        )

    def logits(self, h: Tensor) -> Tensor:
        """[N, V]."""
        return F.linear(h, self.weight, self.bias)


class AdaptiveSoftmax(nn.Module):
    """Adaptive softmax over a vocabulary sorted by frequency: rare words share small clusters.

    Source: Grave et al. 2017, arXiv:1609.04309; torch.nn.AdaptiveLogSoftmaxWithLoss does the work.
    """

    def __init__(self, size: int, vocabulary: int, cutoffs: list[int] | None = None) -> None:
        super().__init__()
        cutoffs = cutoffs or [c for c in (2_000, 10_000) if c < vocabulary // 2]
        if not cutoffs or sorted(set(cutoffs)) != cutoffs or cutoffs[-1] >= vocabulary:
            raise InputError(
                f"model.cutoffs must rise and stay below the vocabulary of {vocabulary}; got "
                f"{cutoffs}. A vocabulary this small needs no adaptive softmax: --model.head full."
            )
        smallest = 4 ** len(cutoffs)  # each cluster is a quarter as wide as the one before
        if size < smallest:
            raise InputError(
                f"{len(cutoffs)} cutoffs need a width of at least {smallest} before the adaptive "
                f"softmax; got {size}."
            )
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(size, vocabulary, cutoffs, head_bias=True)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        """Mean nats."""
        return self.softmax(h, y).loss

    def nats(self, h: Tensor, y: Tensor) -> Tensor:
        """Nats of each token [N]."""
        return -self.softmax(h, y).output

    def logits(self, h: Tensor) -> Tensor:
        """Log-probabilities [N, V]."""
        return self.softmax.log_prob(h)


class OutputLayers(nn.Sequential):
    """The deep output network: ordinary layers at each y<t>, without connections across time.

    h<0> = a<t>;  h<k> = dropout(relu(W_k h<k-1> + b_k)).
    """

    def __init__(self, size: int, widths: list[int], dropout: float) -> None:
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout)]
            size = width
        super().__init__(*layers)
        self.output_size = size
