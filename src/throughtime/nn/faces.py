"""The faces of torch.nn.RNN, LSTM and GRU.

Signatures, defaults, semantics, parameter names and shapes are torch's, since each class is a
torch.nn class; `load_state_dict(strict=True)` works both ways. Two keywords are added: `backend`
when a layer is made, and `lengths` [B] when it is called, in place of a PackedSequence: integers,
zero allowed, in any order, on any device; outputs beyond a sequence's length are zero.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .. import scans
from ..cells import Cell, Weights
from ..cells import built_in as cells
from ..cells.zoo.memory import LSTMP
from ..ground import lengths as ragged
from ..ground.errors import InputError, one_of
from ..ground.tracing import transformed
from ..layers.depth import scan_layers
from ..layers.states import Layout
from ..scans.contract import Problem

__all__ = ["GRU", "LSTM", "RNN"]


class _Face(torch.nn.RNNBase):
    """What the three classes add to torch's: `backend`, `lengths`, and the way to our scans."""

    def __init__(self, *args: Any, backend: str = "auto", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backend = one_of("backend", backend, ("auto", *scans.BACKENDS))

    def forward(self, input: Any, hx: Any = None, *, lengths: Tensor | None = None) -> Any:
        """Shapes and results as torch's; `lengths` needs a batch of three dimensions."""
        if lengths is not None:
            if isinstance(input, PackedSequence):
                raise InputError("a PackedSequence holds its own lengths; leave out lengths=.")
            if input.dim() != 3:
                raise InputError(f"lengths need a batch [T, B, n_x]; got {list(input.shape)}.")
            batch = 0 if self.batch_first else 1
            T, B = input.shape[1 - batch], input.shape[batch]
            lengths = ragged.check(lengths, T, B, input.device)
        by_scan = self._by_scan(input)
        if by_scan or lengths is not None:
            self._check(input)
        if by_scan:
            return self._forward_by_scan(input, hx, lengths)
        if lengths is not None:
            return self._forward_packed(input, hx, lengths)
        return super().forward(input, hx)  # type: ignore[misc]

    def _by_scan(self, input: Any) -> bool:
        """Whether our scans run this, and not torch's own layer: asked for, or faster."""
        if self.backend in scans.torchs():
            return False
        if self.backend != "auto":
            return True
        x = self._shaped(input)
        way = scans.choose("auto", Problem(self._cell(), self._weights("_l0", False), x))
        # of projections torch has the layer but no kernel that scans could take: it beats a loop
        return not (way.torchs or (self.proj_size and way.interpreted and not transformed()))

    def _shaped(self, input: Any) -> Tensor:
        """A view with the sizes [T, B, n_x] of the input, whatever its form; not its numbers."""
        if isinstance(input, PackedSequence):
            T, B = len(input.batch_sizes), int(input.batch_sizes[0])
            return input.data[:1].expand(T, B, -1)
        if input.dim() == 2:
            return input[:, None]
        return input.transpose(0, 1) if self.batch_first and input.dim() == 3 else input

    def _check(self, input: Any) -> None:
        """torch's own checks of the input, with its errors."""
        if isinstance(input, PackedSequence):
            self.check_input(input.data, input.batch_sizes)
        elif input.dim() not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D instead"
            )
        else:
            self.check_input(input if input.dim() == 3 else input[:, None], None)

    def _forward_packed(self, x: Tensor, hx: Any, lengths: Tensor) -> tuple[Tensor, Any]:
        """torch's forward over the sequences that are not empty, which it cannot take."""
        batch = 0 if self.batch_first else 1
        kept = lengths.nonzero()[:, 0]
        states = self._states(hx, x, x.shape[batch])
        y = x.new_zeros(*x.shape[:2], self.directions * (self.proj_size or self.hidden_size))
        if len(kept):
            packed = pack_padded_sequence(
                x.index_select(batch, kept),
                lengths[kept].cpu(),
                batch_first=self.batch_first,
                enforce_sorted=False,
            )
            some = self._as_hx([part.index_select(1, kept) for part in states])
            packed, new = super().forward(packed, some)  # type: ignore[misc]
            out, _ = pad_packed_sequence(
                packed, batch_first=self.batch_first, total_length=x.shape[1 - batch]
            )
            y = y.to(out.dtype).index_copy(batch, kept, out)
            new = new if isinstance(new, tuple) else (new,)
            states = [old.to(n.dtype).index_copy(1, kept, n) for old, n in zip(states, new)]
        return y, self._as_hx(states)

    def _forward_by_scan(self, input: Any, hx: Any, lengths: Tensor | None) -> tuple[Any, Any]:
        """The same from the equations, layer by layer through `scan`."""
        if isinstance(input, PackedSequence):
            x, on_cpu = pad_packed_sequence(input)
            y, states = self._layers(x, self._states(hx, x, x.shape[1]), on_cpu.to(x.device))
            order = input.sorted_indices
            if order is not None:
                y, on_cpu = y[:, order], on_cpu[order.cpu()]
            data = pack_padded_sequence(y, on_cpu).data
            packed = PackedSequence(data, input.batch_sizes, order, input.unsorted_indices)
            return packed, self._as_hx(states)
        unbatched = input.dim() == 2
        if unbatched:
            x = input[:, None]
            hx = hx[:, None] if isinstance(hx, Tensor) else hx and tuple(h[:, None] for h in hx)
        else:
            x = input.transpose(0, 1) if self.batch_first else input
        y, states = self._layers(x, self._states(hx, x, x.shape[1]), lengths)
        if unbatched:
            return y[:, 0], self._as_hx([part[:, 0] for part in states])
        return (y.transpose(0, 1) if self.batch_first else y), self._as_hx(states)

    def _layers(
        self, x: Tensor, states: list[Tensor], lengths: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        cell = self._cell()
        suffixes = ("", "_reverse")[: self.directions]
        weights = [
            self._weights(f"_l{layer}{suffix}")
            for layer in range(self.num_layers)
            for suffix in suffixes
        ]

        def between(layer: int, y: Tensor, x: Tensor) -> Tensor:
            last = layer == self.num_layers - 1
            return y if last else F.dropout(y, self.dropout, self.training)

        sizes = [self.hidden_size] * self.num_layers
        layout = Layout([cell] * self.num_layers, sizes, x.shape[-1], self.directions)
        y, finals = scan_layers(
            *(layout.cells, weights, x, layout.apart(states)),
            *(lengths, None, self.backend, self.directions, between),
        )
        return y, list(layout.together(finals))

    @property
    def directions(self) -> int:
        """2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    def _states(self, hx: Any, x: Tensor, B: int) -> list[Tensor]:
        """h_0 (and c_0), [num_layers·D, B, n] each, checked as torch does; zeros for None."""
        widths = [self.proj_size or self.hidden_size]
        widths += [self.hidden_size] if self.mode == "LSTM" else []
        shapes = [(self.num_layers * self.directions, B, width) for width in widths]
        if hx is None:
            return [x.new_zeros(shape) for shape in shapes]
        states = list(hx) if isinstance(hx, (tuple, list)) else [hx]
        if len(states) != len(shapes):
            expected = "(h_0, c_0)" if len(shapes) > 1 else "h_0"
            raise InputError(f"hx must be {expected}; got {len(states)} tensors.")
        for state, shape in zip(states, shapes):
            self.check_hidden_size(state, shape, "Expected hidden size {}, got {}")
        return states

    def _as_hx(self, states: list[Tensor]) -> Any:
        return tuple(states) if len(states) > 1 else states[0]

    def _cell(self) -> Cell:
        raise NotImplementedError

    def _weights(self, suffix: str, summed: bool = True) -> Weights:
        """The parameters of one layer and direction as our cells take them: one bias, not two.

        Without `summed` the bias is only as long as it is.
        """
        W_x, W_a = getattr(self, "weight_ih" + suffix), getattr(self, "weight_hh" + suffix)
        if not summed:
            return Weights(W_x, W_a, W_x, {})
        if not self.bias:
            return Weights(W_x, W_a, W_x.new_zeros(len(W_x)), {})
        return Weights(
            W_x, W_a, getattr(self, "bias_ih" + suffix) + getattr(self, "bias_hh" + suffix), {}
        )


class RNN(_Face, torch.nn.RNN):
    """torch.nn.RNN: h<t> = g(W_ih x<t> + b_ih + W_hh h<t-1> + b_hh), g = tanh or relu.

    Oracle: torch.nn.RNN, to 1e-10 in float64.
    """

    def _cell(self) -> Cell:
        return cells.RNN(self.nonlinearity)


class LSTM(_Face, torch.nn.LSTM):
    """torch.nn.LSTM, projections (`proj_size`) included: `tt.zoo.LSTMP`.

    Oracle: torch.nn.LSTM, to 1e-10 in float64.
    """

    def _cell(self) -> Cell:
        return LSTMP(self.proj_size) if self.proj_size else cells.LSTM()

    def _weights(self, suffix: str, summed: bool = True) -> Weights:
        """With the projection's matrix, where there is one."""
        w = super()._weights(suffix, summed)
        return (
            w._replace(matrices={"r": getattr(self, "weight_hr" + suffix)}) if self.proj_size else w
        )


class GRU(_Face, torch.nn.GRU):
    """torch.nn.GRU, which resets *after* the product: `tt.GRUResetAfter`, not the notes' `tt.GRU`.

    Oracle: torch.nn.GRU, to 1e-10 in float64.
    """

    def _cell(self) -> Cell:
        return cells.GRUResetAfter()

    def _weights(self, suffix: str, summed: bool = True) -> Weights:
        """b_hh of the candidate stays apart, since the reset gate multiplies it: d_c."""
        w = super()._weights(suffix, summed)
        n = self.hidden_size
        if not summed:
            return w
        if not self.bias:
            return w._replace(vectors={"d_c": w.b.new_zeros(n)})
        b_ih, b_hh = getattr(self, "bias_ih" + suffix), getattr(self, "bias_hh" + suffix)
        b = torch.cat([b_ih[: 2 * n] + b_hh[: 2 * n], b_ih[2 * n :]])
        return w._replace(b=b, vectors={"d_c": b_hh[2 * n :]})
