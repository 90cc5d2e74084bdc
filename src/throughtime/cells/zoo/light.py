"""Light units: few matrices, and memories that the units keep each for itself."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import sigmoid, tanh

from ...ground.errors import one_of
from ..base import Cell


class FastRNN(Cell):
    """A residual connection, weighted by two numbers for all units.

        c̃    = tanh(W_c [c<t-1>, x<t>] + b_c)
        c<t> = σ(α) c̃ + σ(β) c<t-1>

    α, β are scalars that are trained. Initially α = −3, β = 3, so that a step changes little;
    torchrecurrent begins the other way round. Source: Kusupati et al. 2018, FastGRNN: A Fast,
    Accurate, Stable and Tiny Kilobyte Sized Gated Recurrent Neural Network, arXiv:1901.02358.
    Oracle: torchrecurrent.
    """

    gates = ("c",)
    state = ("c",)
    vectors = scalars = ("alpha", "beta")
    candidate = "c_tilde"
    initial: ClassVar = {"alpha": -3.0, "beta": 3.0}

    def step(self, w, x, s):
        c_tilde = w.c_tilde(tanh(w.c(s.c, x)))
        return self.State(c=sigmoid(w.alpha) * c_tilde + sigmoid(w.beta) * s.c)


class FastGRNN(Cell):
    """FastRNN with a gate that shares the candidate's matrices.

        z<t> = W_c [c<t-1>, x<t>] + b_c
        Γ_f  = σ(z<t> + p_f)
        c<t> = (σ(ζ) (1 − Γ_f) + σ(ν)) * tanh(z<t>) + Γ_f * c<t-1>

    p_f [n] is what the gate's bias has beyond b_c; ζ, ν are scalars that are trained, initially 1
    and −4. torchrecurrent's gate is tanh unless it is asked for σ. Source: Kusupati et al. 2018,
    FastGRNN: A Fast, Accurate, Stable and Tiny Kilobyte Sized Gated Recurrent Neural Network,
    arXiv:1901.02358. Oracle: torchrecurrent.
    """

    gates = ("c",)
    state = ("c",)
    vectors = ("p_f", "zeta", "nu")
    scalars = ("zeta", "nu")
    initial: ClassVar = {"p_f": 0.0, "zeta": 1.0, "nu": -4.0}

    def step(self, w, x, s):
        z = w.c(s.c, x)
        gate_f = sigmoid(z + w.p_f)
        mixed = sigmoid(w.zeta) * (1 - gate_f) + sigmoid(w.nu)
        return self.State(c=mixed * tanh(z) + gate_f * s.c)


class IndRNN(Cell):
    """Independently recurrent: each unit sees itself alone, through a vector u [n].

        a<t> = g(W_ax x<t> + u * a<t-1> + b_a), g = relu or tanh

    torchrecurrent's default is tanh. Source: Li, Li, Cook, Zhu & Gao 2018, Independently Recurrent
    Neural Network, arXiv:1803.04831. Oracle: torchrecurrent.
    """

    gates = ("a",)
    state = ("a",)
    vectors = ("u",)

    def __init__(self, nonlinearity: str = "relu") -> None:
        self.nonlinearity = one_of("nonlinearity", nonlinearity, ("relu", "tanh"))

    def step(self, w, x, s):
        g = tanh if self.nonlinearity == "tanh" else torch.relu
        return self.State(a=g(w.a.input(x) + w.u * s.a))


class STAR(Cell):
    """Stackable recurrent cell: one gate, and tanh of the mixture, which keeps gradients in depth.

        z<t> = tanh(W_zx x<t> + b_z)
        Γ_u  = σ(W_u [c<t-1>, x<t>] + b_u)
        c<t> = tanh((1 − Γ_u) * c<t-1> + Γ_u * z<t>)

    Source: Turkoglu, D'Aronco, Wegner & Schindler 2019, Gating Revisited: Deep Multi-layer RNNs
    That Can Be Trained, arXiv:1911.11033. Oracle: torchrecurrent.
    """

    gates = ("z", "u")
    state = ("c",)
    chrono: ClassVar = {"u": -1}

    def step(self, w, x, s):
        z = tanh(w.z.input(x))
        gate_u = sigmoid(w.u(s.c, x))
        return self.State(c=tanh((1 - gate_u) * s.c + gate_u * z))


class SGRN(Cell):
    """Simple gated recurrent network: gate and candidate share the input's matrix.

        z<t> = W_cx x<t> + b_c
        Γ_f  = σ(W_cc c<t-1> + z<t>)
        c<t> = tanh((1 − Γ_f) * z<t> + Γ_f * c<t-1>)

    torchrecurrent adds one more bias within σ. Source: doi:10.1049/gtd2.12056, as torchrecurrent
    gives it. Oracle: torchrecurrent.
    """

    gates = ("c",)
    state = ("c",)

    def step(self, w, x, s):
        z = w.c.input(x)
        gate_f = sigmoid(w.c.recurrent(s.c) + z)
        return self.State(c=tanh((1 - gate_f) * z + gate_f * s.c))


class ATR(Cell):
    """Addition-subtraction twin gates: sum and difference of the same two maps.

        p<t> = W_cx x<t> + b_c;   q<t> = W_cc c<t-1>
        Γ_u  = σ(p<t> + q<t>);    Γ_f = σ(p<t> − q<t>)
        c<t> = Γ_u * p<t> + Γ_f * c<t-1>

    torchrecurrent adds one more bias to q. Source: Zhang, Xiong, Su, Lin & Zhang 2018, Simplifying
    Neural Machine Translation with Addition-Subtraction Twin-Gated Recurrent Networks,
    arXiv:1810.12546. Oracle: torchrecurrent.
    """

    gates = ("c",)
    state = ("c",)

    def step(self, w, x, s):
        p, q = w.c.input(x), w.c.recurrent(s.c)
        return self.State(c=sigmoid(p + q) * p + sigmoid(p - q) * s.c)


class CFN(Cell):
    """Chaos-free network: without input every orbit falls to zero.

        Γ_f  = σ(W_f [c<t-1>, x<t>] + b_f)
        Γ_u  = σ(W_u [c<t-1>, x<t>] + b_u)
        c<t> = Γ_f * tanh(c<t-1>) + Γ_u * tanh(W_cx x<t> + b_c)

    Source: Laurent & von Brecht 2016, A recurrent neural network without chaos, arXiv:1612.06212.
    Oracle: torchrecurrent.
    """

    gates = ("f", "u", "c")
    state = ("c",)
    chrono: ClassVar = {"f": 1, "u": -1}

    def step(self, w, x, s):
        gate_f, gate_u = sigmoid(w.f(s.c, x)), sigmoid(w.u(s.c, x))
        return self.State(c=gate_f * tanh(s.c) + gate_u * tanh(w.c.input(x)))


class BR(Cell):
    """Bistable recurrent cell: a unit whose own feedback exceeds one holds either of two values.

        Γ_r  = 1 + tanh(W_rx x<t> + p_r * c<t-1> + b_r)
        Γ_f  = σ(W_fx x<t> + p_f * c<t-1> + b_f)
        c<t> = Γ_f * c<t-1> + (1 − Γ_f) * tanh(W_cx x<t> + Γ_r * c<t-1> + b_c)

    p_r, p_f [n] are vectors: units see no others. Source: Vecoven, Ernst & Drion 2021, A
    bio-inspired bistable recurrent cell allows for long-lasting memory, PLOS ONE 16(6).
    Oracle: torchrecurrent.
    """

    gates = ("r", "f", "c")
    state = ("c",)
    vectors = ("p_r", "p_f")

    def step(self, w, x, s):
        gate_r = 1 + tanh(w.r.input(x) + w.p_r * s.c)
        gate_f = sigmoid(w.f.input(x) + w.p_f * s.c)
        return self.State(c=gate_f * s.c + (1 - gate_f) * tanh(w.c.input(x) + gate_r * s.c))


class NBR(Cell):
    """Neuromodulated bistable recurrent cell: BR whose gates see all units.

        Γ_r  = 1 + tanh(W_r [c<t-1>, x<t>] + b_r)
        Γ_f  = σ(W_f [c<t-1>, x<t>] + b_f)
        c<t> = Γ_f * c<t-1> + (1 − Γ_f) * tanh(W_cx x<t> + Γ_r * c<t-1> + b_c)

    Source: Vecoven, Ernst & Drion 2021, A bio-inspired bistable recurrent cell allows for
    long-lasting memory, PLOS ONE 16(6). Oracle: torchrecurrent.
    """

    gates = ("r", "f", "c")
    state = ("c",)

    def step(self, w, x, s):
        gate_r = 1 + tanh(w.r(s.c, x))
        gate_f = sigmoid(w.f(s.c, x))
        return self.State(c=gate_f * s.c + (1 - gate_f) * tanh(w.c.input(x) + gate_r * s.c))


class TRNN(Cell):
    """Strongly typed RNN: no matrix acts on the memory.

        z<t> = W_zx x<t> + b_z
        Γ_f  = σ(W_fx x<t> + b_f)
        c<t> = Γ_f * c<t-1> + (1 − Γ_f) * z<t>

    Source: Balduzzi & Ghifary 2016, Strongly-Typed Recurrent Neural Networks, arXiv:1602.02218.
    Oracle: torchrecurrent.
    """

    gates = ("z", "f")
    state = ("c",)
    chrono: ClassVar = {"f": 1}

    def step(self, w, x, s):
        gate_f = sigmoid(w.f.input(x))
        return self.State(c=gate_f * s.c + (1 - gate_f) * w.z.input(x))


class TGRU(Cell):
    """Strongly typed GRU: its gates see this input and the one before.

        z<t> = W_zx x<t> + b_z + v_z<t-1>;        Γ_f = σ(W_fx x<t> + b_f + v_f<t-1>)
        o<t> = tanh(W_ox x<t> + b_o + v_o<t-1>);  c<t> = Γ_f * c<t-1> + z<t> * o<t>
        v_•<t> = V_•x x<t> + d_•

    The v are states: what the matrices V make of x<t-1> is made when it is x<t>, so that x may have
    any width. They begin at zero, as if before the first step there were no input and no d. The
    biases d_• come on top of b_•; the paper has one. Source: Balduzzi & Ghifary 2016,
    Strongly-Typed Recurrent Neural Networks, arXiv:1602.02218. Oracle: torchrecurrent.
    """

    gates = ("z", "f", "o", "V_z", "V_f", "V_o")
    state = ("c", "v_z", "v_f", "v_o")
    chrono: ClassVar = {"f": 1}

    def step(self, w, x, s):
        z = w.z.input(x) + s.v_z
        gate_f = sigmoid(w.f.input(x) + s.v_f)
        o = tanh(w.o.input(x) + s.v_o)
        after = (w.V_z.input(x), w.V_f.input(x), w.V_o.input(x))
        return self.State(gate_f * s.c + z * o, *after)


class TLSTM(Cell):
    """Strongly typed LSTM: its gates see this input and the one before.

        z<t> = W_zx x<t> + b_z + v_z<t-1>;        Γ_f = σ(W_fx x<t> + b_f + v_f<t-1>)
        o<t> = tanh(W_ox x<t> + b_o + v_o<t-1>)
        c<t> = Γ_f * c<t-1> + (1 − Γ_f) * z<t>;   a<t> = c<t> * o<t>
        v_•<t> = V_•x x<t> + d_•

    The v are states, as in TGRU, and begin at zero. Source: Balduzzi & Ghifary 2016, Strongly-Typed
    Recurrent Neural Networks, arXiv:1602.02218. Oracle: torchrecurrent.
    """

    gates = ("z", "f", "o", "V_z", "V_f", "V_o")
    state = ("a", "c", "v_z", "v_f", "v_o")
    chrono: ClassVar = {"f": 1}

    def step(self, w, x, s):
        z = w.z.input(x) + s.v_z
        gate_f = sigmoid(w.f.input(x) + s.v_f)
        o = tanh(w.o.input(x) + s.v_o)
        c = gate_f * s.c + (1 - gate_f) * z
        return self.State(c * o, c, w.V_z.input(x), w.V_f.input(x), w.V_o.input(x))
