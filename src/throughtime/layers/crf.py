"""A linear-chain conditional random field: P(a whole sequence of tags | scores of each)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ground import lengths as ragged

IMPOSSIBLE = -1e4
"""Score of what may not be, in the likelihood: exp of it is exactly 0. Viterbi has −∞."""


class CRF(nn.Module):
    """log P(y | s) = score(y) − log Σ_y' exp score(y').

        score(y) = start[y<1>] + Σ_t s<t>[y<t>] + Σ_t>1 transitions[y<t-1>, y<t>] + end[y<T>]

    The sum over all y' is the forward algorithm in log space, in float32 whatever the scores are:
    α<t>[k] = s<t>[k] + log Σ_j exp(α<t-1>[j] + transitions[j, k]), less its own log Σ exp at each
    step, so that nothing is lost in long sequences. What `legal` (boolean [K], [K, K], [K], for
    start, transitions and end) does not allow is impossible.

    Shapes: scores [T, B, K], tags [T, B], lengths [B], zero allowed: an empty sequence has log P 0.
    Initial values: zero. Source: Lafferty et al. 2001; Lample et al. 2016.
    Oracle: all sequences enumerated in float64, values and gradients.
    """

    forbidden_start: Tensor
    forbidden: Tensor
    forbidden_end: Tensor

    def __init__(self, tags: int, legal: tuple[Tensor, Tensor, Tensor] | None = None) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(tags))
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.end = nn.Parameter(torch.zeros(tags))
        shapes = ((tags,), (tags, tags), (tags,))
        allowed = legal or tuple(torch.ones(shape, dtype=torch.bool) for shape in shapes)
        for name, may in zip(("forbidden_start", "forbidden", "forbidden_end"), allowed):
            self.register_buffer(name, ~may, persistent=False)

    def weights(self, impossible: float) -> tuple[Tensor, Tensor, Tensor]:
        """start, transitions and end, `impossible` where forbidden."""
        return (
            self.start.masked_fill(self.forbidden_start, impossible),
            self.transitions.masked_fill(self.forbidden, impossible),
            self.end.masked_fill(self.forbidden_end, impossible),
        )

    def forward(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """−log P of each sequence [B], in nats."""
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        with torch.autocast(scores.device.type, enabled=False):
            return self._nats(scores, tags, lengths)

    def _nats(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        T = len(scores)
        start, transitions, end = self.weights(IMPOSSIBLE)
        inside = ragged.mask(lengths, T)
        tags = tags.masked_fill(~inside, 0)
        path = scores.gather(2, tags[..., None])[..., 0]
        before = torch.cat([start[tags[:1]], transitions[tags[:-1], tags[1:]]])
        path = (path + before).masked_fill(~inside, 0.0)
        alpha, surplus = start + scores[0], []
        for t in range(T):
            if t:
                new = torch.logsumexp(alpha[:, :, None] + transitions, 1) + scores[t]
                alpha = torch.where(inside[t, :, None], new, alpha)
            total = alpha.logsumexp(1).masked_fill(~inside[t], 0.0)
            surplus.append(total)
            alpha = alpha - total[:, None]
        last = tags.gather(0, (lengths - 1).clamp(min=0)[None])[0]
        rest = torch.logsumexp(alpha + end, 1) - end[last]
        nats = (torch.stack(surplus) - path).sum(0)
        return nats + rest.masked_fill(lengths == 0, 0.0)

    @torch.no_grad()
    def decode(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """The most probable legal tags [T, B] (Viterbi); 0 beyond the lengths."""
        T, B, K = scores.shape
        start, transitions, end = self.weights(-torch.inf)
        inside = ragged.mask(lengths, T)
        stay = torch.arange(K, device=scores.device).expand(B, K)
        best, pointers = start + scores[0], []
        for t in range(1, T):
            value, pointer = (best[:, :, None] + transitions).max(1)
            value = value + scores[t]
            value = value - value.amax(1, keepdim=True)  # long sequences keep their precision
            best = torch.where(inside[t, :, None], value, best)
            pointers.append(torch.where(inside[t, :, None], pointer, stay))
        tags = [(best + end).argmax(1)]
        for pointer in reversed(pointers):
            tags.append(pointer.gather(1, tags[-1][:, None])[:, 0])
        return torch.stack(tags[::-1]).masked_fill(~inside, 0)
