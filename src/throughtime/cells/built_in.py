"""The cells: each is its equations, written once, as in the notes.

`x` is x<t>, `s` the state at t-1, the result the state at t. `w.g(v, x)` is W_g [v, x] + b_g,
`w.p` a vector of the cell, `*` the elementwise product, σ the logistic function, Γ a gate.
Everything else in the package is derived from these equations. To write a cell of your own,
subclass `Cell` in the same way.
"""

from __future__ import annotations

from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, sigmoid, tanh

from ..ground.errors import one_of
from .base import Cell, Weights


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


class LayerNormLSTM(Cell):
    """LSTM whose sums are normalised over the units, as are the memory cells before the output.

        Γ_u, Γ_f, Γ_o = σ(z_•),  c̃ = tanh(z_c)
        z_•  = α_x• * N(W_•x x<t>) + α_a• * N(W_•a a<t-1>) + β_• + b_•
        c<t> = Γ_u * c̃ + Γ_f * c<t-1>
        a<t> = Γ_o * tanh(α * N(c<t>) + β)

    N(v) = (v − mean(v)) / √(var(v) + ε), over the units of all four gates together, with ε = `eps`.
    Initially each α is 1, each β 0, b_f = 1. Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450,
    equations 20 to 22; of its two shifts of the gates, which add up, there is one here.
    Oracle: NumPy float64 equations; a loop with torch's layer_norm.
    """

    gates = ("u", "f", "c", "o")
    state = ("a", "c")
    vectors = (
        *("alpha_xu", "alpha_xf", "alpha_xc", "alpha_xo"),
        *("alpha_au", "alpha_af", "alpha_ac", "alpha_ao"),
        *("beta_u", "beta_f", "beta_c", "beta_o", "alpha", "beta"),
    )
    initial: ClassVar = {
        **{name: float(name.startswith("alpha")) for name in vectors},
        "f": {"bias": 1.0},
    }
    chrono: ClassVar = {"f": 1, "u": -1}

    def __init__(self, eps: float = 1e-5) -> None:
        self.eps = eps

    def derived(self, w):
        return bias_after_norm(self, super().derived(w))

    def step(self, w, x, s):
        x_u, x_f, x_c, x_o = normalised(
            [w.u.input(x), w.f.input(x), w.c.input(x), w.o.input(x)], self.eps
        )
        a_u, a_f, a_c, a_o = normalised(
            [w.u.recurrent(s.a), w.f.recurrent(s.a), w.c.recurrent(s.a), w.o.recurrent(s.a)],
            self.eps,
        )
        gate_u = sigmoid(w.alpha_xu * x_u + w.alpha_au * a_u + w.beta_u)
        gate_f = sigmoid(w.alpha_xf * x_f + w.alpha_af * a_f + w.beta_f)
        gate_o = sigmoid(w.alpha_xo * x_o + w.alpha_ao * a_o + w.beta_o)
        c_tilde = tanh(w.alpha_xc * x_c + w.alpha_ac * a_c + w.beta_c)
        c = gate_u * c_tilde + gate_f * s.c
        (seen,) = normalised([c], self.eps)
        return self.State(a=gate_o * tanh(w.alpha * seen + w.beta), c=c)


class LayerNormGRU(Cell):
    """GRU whose sums are normalised over the units; reset after the product, a<t> = c<t>.

        Γ_u, Γ_r = σ(α_x• * N(W_•x x<t>) + α_a• * N(W_•c c<t-1>) + β_• + b_•)
        c̃    = tanh(α_xc * N(W_cx x<t>) + β_c + b_c + Γ_r * (α_ac * N(W_cc c<t-1>) + d_c))
        c<t> = Γ_u * c̃ + (1 − Γ_u) * c<t-1>

    N(v) = (v − mean(v)) / √(var(v) + ε), over the units of Γ_u and Γ_r together, of c̃ apart, with
    ε = `eps`. Initially each α is 1, each β and d_c 0. Source: Ba, Kiros & Hinton 2016,
    arXiv:1607.06450, equations 23 to 25; of its two shifts of the gates there is one here.
    Oracle: NumPy float64 equations; a loop with torch's layer_norm.
    """

    gates = ("c", "u", "r")
    state = ("c",)
    vectors = (
        *("alpha_xc", "alpha_xu", "alpha_xr", "alpha_ac", "alpha_au", "alpha_ar"),
        *("beta_c", "beta_u", "beta_r", "d_c"),
    )
    initial: ClassVar = {name: float(name.startswith("alpha")) for name in vectors}
    chrono: ClassVar = {"u": -1}

    def __init__(self, eps: float = 1e-5) -> None:
        self.eps = eps

    def derived(self, w):
        return bias_after_norm(self, super().derived(w))

    def step(self, w, x, s):
        x_u, x_r = normalised([w.u.input(x), w.r.input(x)], self.eps)
        c_u, c_r = normalised([w.u.recurrent(s.c), w.r.recurrent(s.c)], self.eps)
        (x_c,) = normalised([w.c.input(x)], self.eps)
        (c_c,) = normalised([w.c.recurrent(s.c)], self.eps)
        gate_u = sigmoid(w.alpha_xu * x_u + w.alpha_au * c_u + w.beta_u)
        gate_r = sigmoid(w.alpha_xr * x_r + w.alpha_ar * c_r + w.beta_r)
        c_tilde = tanh(w.alpha_xc * x_c + w.beta_c + gate_r * (w.alpha_ac * c_c + w.d_c))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)


def normalised(parts: list[Tensor], eps: float) -> list[Tensor]:
    """The parts as one vector with mean 0 and variance 1 over all of their units."""
    mean = reduce(torch.add, parts).mean(-1, keepdim=True) / len(parts)
    centred = [part - mean for part in parts]
    variance = reduce(torch.add, [p * p for p in centred]).mean(-1, keepdim=True) / len(parts)
    scale = torch.rsqrt(variance + eps)
    return [part * scale for part in centred]


def bias_after_norm(cell: Cell, w: Weights) -> Weights:
    """A gate's bias in its shift β, so that it is added to the norm, not inside it."""
    biases = zip(cell.gates, w.b.view(len(cell.gates), w.W_a.shape[1]))
    shifts = {f"beta_{gate}": w.vectors[f"beta_{gate}"] + b for gate, b in biases}
    return w._replace(b=torch.zeros_like(w.b), vectors={**w.vectors, **shifts})
