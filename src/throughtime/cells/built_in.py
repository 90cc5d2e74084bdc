"""The cells: each is its equations, written once, as in the notes.

`x` is x<t>, `s` the state at t-1, the result the state at t. `w.g(v, x)` is W_g [v, x] + b_g,
`w.p` a vector of the cell, `*` the elementwise product, σ the logistic function, Γ a gate.
Everything else in the package is derived from these equations. To write a cell of your own,
subclass `Cell` in the same way.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import sigmoid, tanh

from ..ground.errors import one_of
from .base import Cell


class RNN(Cell):
    """Basic RNN: a<t> = g(W_a [a<t-1>, x<t>] + b_a), g = tanh or relu.

    Source: Elman 1990; the notes. Oracle: NumPy float64 equations; torch.nn.RNN.
    """

    gates = ("a",)
    state = ("a",)

    def __init__(self, nonlinearity: str = "tanh") -> None:
        self.nonlinearity = one_of("nonlinearity", nonlinearity, ("tanh", "relu"))

    def step(self, w, x, s):
        g = tanh if self.nonlinearity == "tanh" else torch.relu
        return self.State(a=g(w.a(s.a, x)))


class SimpleGRU(Cell):
    """Simplified GRU, one gate; a<t> = c<t>.

        c̃    = tanh(W_c [c<t-1>, x<t>] + b_c)
        Γ_u  = σ(W_u [c<t-1>, x<t>] + b_u)
        c<t> = Γ_u * c̃ + (1 − Γ_u) * c<t-1>

    Source: the notes. Oracle: NumPy float64 equations.
    """

    gates = ("c", "u")
    state = ("c",)
    candidate = "c_tilde"
    chrono: ClassVar = {"u": -1}

    def step(self, w, x, s):
        c_tilde = w.c_tilde(tanh(w.c(s.c, x)))
        gate_u = sigmoid(w.u(s.c, x))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)


class GRU(Cell):
    """Full GRU, the relevance gate applied *before* the product (torch's GRU: `GRUResetAfter`).

        Γ_r  = σ(W_r [c<t-1>, x<t>] + b_r)
        Γ_u  = σ(W_u [c<t-1>, x<t>] + b_u)
        c̃    = tanh(W_c [Γ_r * c<t-1>, x<t>] + b_c)
        c<t> = Γ_u * c̃ + (1 − Γ_u) * c<t-1>

    Source: Cho et al. 2014, arXiv:1406.1078; the notes. Oracle: NumPy float64 equations.
    """

    gates = ("c", "u", "r")
    state = ("c",)
    candidate = "c_tilde"
    chrono: ClassVar = {"u": -1}

    def step(self, w, x, s):
        gate_r = sigmoid(w.r(s.c, x))
        gate_u = sigmoid(w.u(s.c, x))
        c_tilde = w.c_tilde(tanh(w.c(gate_r * s.c, x)))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)


class GRUResetAfter(Cell):
    """The GRU of torch and cuDNN: reset *after* the product, Γ_z keeps the *old* state.

        Γ_r  = σ(W_r [c<t-1>, x<t>] + b_r)
        Γ_z  = σ(W_z [c<t-1>, x<t>] + b_z)
        c̃    = tanh(W_cx x<t> + b_c + Γ_r * (W_cc c<t-1> + d_c))
        c<t> = (1 − Γ_z) * c̃ + Γ_z * c<t-1>

    The gates stand in torch's order (r, z, n); d_c is the part of torch's bias_hh that does not
    merge with bias_ih. Source: torch.nn.GRU. Oracle: NumPy float64 equations; torch.nn.GRU.
    """

    gates = ("r", "z", "c")
    state = ("c",)
    vectors = ("d_c",)
    candidate = "c_tilde"
    chrono: ClassVar = {"z": 1}

    def step(self, w, x, s):
        gate_r = sigmoid(w.r(s.c, x))
        gate_z = sigmoid(w.z(s.c, x))
        c_tilde = w.c_tilde(tanh(w.c.input(x) + gate_r * (w.c.recurrent(s.c) + w.d_c)))
        return self.State(c=(1 - gate_z) * c_tilde + gate_z * s.c)


class LSTM(Cell):
    """LSTM with update, forget and output gates.

        Γ_u, Γ_f, Γ_o = σ(W_• [a<t-1>, x<t>] + b_•)
        c̃    = tanh(W_c [a<t-1>, x<t>] + b_c)
        c<t> = Γ_u * c̃ + Γ_f * c<t-1>
        a<t> = Γ_o * tanh(c<t>)        output="tanh", the common form
        a<t> = Γ_o * c<t>              output="identity", the notes

    The gates stand in torch's order (i, f, g, o). Initially b_f = 1, so that memory is kept
    (Gers et al. 2000; Jozefowicz et al. 2015). Source: Hochreiter & Schmidhuber 1997.
    Oracle: NumPy float64 equations; torch.nn.LSTM.
    """

    gates = ("u", "f", "c", "o")
    state = ("a", "c")
    candidate = "c_tilde"
    initial: ClassVar = {"f": {"bias": 1.0}}
    chrono: ClassVar = {"f": 1, "u": -1}

    def __init__(self, output: str = "tanh") -> None:
        self.output = one_of("output", output, ("tanh", "identity"))

    def step(self, w, x, s):
        gate_u = sigmoid(w.u(s.a, x))
        gate_f = sigmoid(w.f(s.a, x))
        gate_o = sigmoid(w.o(s.a, x))
        c_tilde = w.c_tilde(tanh(w.c(s.a, x)))
        c = gate_u * c_tilde + gate_f * s.c
        return self.State(a=gate_o * (tanh(c) if self.output == "tanh" else c), c=c)


class PeepholeLSTM(Cell):
    """LSTM whose gates also see the memory cell, through diagonal weights p [n].

        Γ_u  = σ(W_u [a<t-1>, x<t>] + p_u * c<t-1> + b_u)        Γ_f alike
        c̃    = tanh(W_c [a<t-1>, x<t>] + b_c)
        c<t> = Γ_u * c̃ + Γ_f * c<t-1>
        Γ_o  = σ(W_o [a<t-1>, x<t>] + p_o * c<t-1> + b_o)        output_gate_sees="previous"
        Γ_o  = σ(W_o [a<t-1>, x<t>] + p_o * c<t> + b_o)          output_gate_sees="current"
        a<t> = Γ_o * tanh(c<t>)

    Initially b_f = 1. Source: "previous" the notes; "current" Gers & Schmidhuber 2000 and ONNX.
    Oracle: NumPy float64 equations.
    """

    gates = ("u", "f", "c", "o")
    state = ("a", "c")
    vectors = ("p_u", "p_f", "p_o")
    candidate = "c_tilde"
    initial: ClassVar = {"f": {"bias": 1.0}}
    chrono: ClassVar = {"f": 1, "u": -1}

    def __init__(self, output_gate_sees: str = "previous") -> None:
        self.output_gate_sees = one_of(
            "output_gate_sees", output_gate_sees, ("previous", "current")
        )

    def step(self, w, x, s):
        gate_u = sigmoid(w.u(s.a, x) + w.p_u * s.c)
        gate_f = sigmoid(w.f(s.a, x) + w.p_f * s.c)
        c_tilde = w.c_tilde(tanh(w.c(s.a, x)))
        c = gate_u * c_tilde + gate_f * s.c
        seen = s.c if self.output_gate_sees == "previous" else c
        gate_o = sigmoid(w.o(s.a, x) + w.p_o * seen)
        return self.State(a=gate_o * tanh(c), c=c)
