"""Gated units with one memory, as the GRU is: c<t> is both the memory and the output a<t>."""

from __future__ import annotations

from typing import ClassVar

from torch import relu, sigmoid, tanh
from torch.nn.functional import softplus

from ..base import Cell


class UGRNN(Cell):
    """Update gate RNN: one gate, which keeps.

        c̃    = tanh(W_c [c<t-1>, x<t>] + b_c)
        Γ_f  = σ(W_f [c<t-1>, x<t>] + b_f)
        c<t> = Γ_f * c<t-1> + (1 − Γ_f) * c̃

    `tt.SimpleGRU` with Γ_u = 1 − Γ_f. Source: Collins, Sohl-Dickstein & Sussillo 2016, Capacity and
    Trainability in Recurrent Neural Networks, arXiv:1611.09913. Oracle: torchrecurrent.
    """

    gates = ("c", "f")
    state = ("c",)
    candidate = "c_tilde"
    chrono: ClassVar = {"f": 1}

    def step(self, w, x, s):
        c_tilde = w.c_tilde(tanh(w.c(s.c, x)))
        gate_f = sigmoid(w.f(s.c, x))
        return self.State(c=gate_f * s.c + (1 - gate_f) * c_tilde)


class MGU(Cell):
    """Minimal gated unit: one gate both resets and updates.

        Γ_f  = σ(W_f [c<t-1>, x<t>] + b_f)
        c̃    = tanh(W_c [Γ_f * c<t-1>, x<t>] + b_c)
        c<t> = Γ_f * c̃ + (1 − Γ_f) * c<t-1>

    The paper calls the gate f, though what it lets through is the new. Source: Zhou, Wu, Zhang &
    Zhou 2016, Minimal Gated Unit for Recurrent Neural Networks, arXiv:1603.09420.
    Oracle: torchrecurrent.
    """

    gates = ("c", "f")
    state = ("c",)
    candidate = "c_tilde"
    chrono: ClassVar = {"f": -1}

    def step(self, w, x, s):
        gate_f = sigmoid(w.f(s.c, x))
        c_tilde = w.c_tilde(tanh(w.c(gate_f * s.c, x)))
        return self.State(c=gate_f * c_tilde + (1 - gate_f) * s.c)


class MinimalRNN(Cell):
    """The memory is moved only within what the input is mapped to.

        z<t> = tanh(W_zx x<t> + b_z)
        Γ_u  = σ(W_uc c<t-1> + W_vz z<t> + p_u)
        c<t> = Γ_u * c<t-1> + (1 − Γ_u) * z<t>

    Γ_u keeps. p_u [n] is the gate's bias. Source: Chen 2017, MinimalRNN: Toward More Interpretable
    and Trainable Recurrent Neural Networks, arXiv:1711.06788. Oracle: torchrecurrent.
    """

    gates = ("z", "u", "v")
    state = ("c",)
    vectors = ("p_u",)
    initial: ClassVar = {"p_u": 0.0}

    def step(self, w, x, s):
        z = tanh(w.z.input(x))
        gate_u = sigmoid(w.u.recurrent(s.c) + w.v.recurrent(z) + w.p_u)
        return self.State(c=gate_u * s.c + (1 - gate_u) * z)


class LiGRU(Cell):
    """Light GRU: no reset gate, and relu.

        Γ_f  = σ(W_f [c<t-1>, x<t>] + b_f)
        c̃    = relu(W_c [c<t-1>, x<t>] + b_c)
        c<t> = Γ_f * c<t-1> + (1 − Γ_f) * c̃

    The paper also normalises W_gx x<t> over the batch, which keeps relu from growing; here, as in
    torchrecurrent, it does not. Source: Ravanelli, Brakel, Omologo & Bengio 2018, Light Gated
    Recurrent Units for Speech Recognition, arXiv:1803.10225. Oracle: torchrecurrent.
    """

    gates = ("f", "c")
    state = ("c",)
    candidate = "c_tilde"
    chrono: ClassVar = {"f": 1}

    def step(self, w, x, s):
        gate_f = sigmoid(w.f(s.c, x))
        c_tilde = w.c_tilde(relu(w.c(s.c, x)))
        return self.State(c=gate_f * s.c + (1 - gate_f) * c_tilde)


class LightRU(Cell):
    """Light recurrent unit: the candidate sees the input alone.

        c̃    = tanh(W_cx x<t> + b_c)
        Γ_u  = σ(W_u [c<t-1>, x<t>] + b_u)
        c<t> = Γ_u * c̃ + (1 − Γ_u) * c<t-1>

    Source: Ye et al. 2024, Light Recurrent Unit, Electronics 13(16), 3204. Oracle: torchrecurrent.
    """

    gates = ("c", "u")
    state = ("c",)
    candidate = "c_tilde"
    chrono: ClassVar = {"u": -1}

    def step(self, w, x, s):
        c_tilde = w.c_tilde(tanh(w.c.input(x)))
        gate_u = sigmoid(w.u(s.c, x))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)


class MiRU1(Cell):
    """A reset gate, and a constant λ in place of the update gate.

        Γ_r  = σ(W_r [c<t-1>, x<t>] + b_r)
        c̃    = tanh(W_c [Γ_r * c<t-1>, x<t>] + b_c)
        c<t> = λ c<t-1> + (1 − λ) c̃

    `keep` is λ. Source: doi:10.1016/j.neucom.2026.132847, as torchrecurrent gives it.
    Oracle: torchrecurrent.
    """

    gates = ("r", "c")
    state = ("c",)
    candidate = "c_tilde"

    def __init__(self, keep: float = 0.5) -> None:
        self.keep = keep

    def step(self, w, x, s):
        gate_r = sigmoid(w.r(s.c, x))
        c_tilde = w.c_tilde(tanh(w.c(gate_r * s.c, x)))
        return self.State(c=self.keep * s.c + (1 - self.keep) * c_tilde)


class MiRU2(Cell):
    """Constants in place of both gates: λ keeps, θ resets.

        c̃    = tanh(W_c [θ c<t-1>, x<t>] + b_c)
        c<t> = λ c<t-1> + (1 − λ) c̃

    `keep` is λ, `reset` is θ. Source: doi:10.1016/j.neucom.2026.132847, as torchrecurrent gives it.
    Oracle: torchrecurrent.
    """

    gates = ("c",)
    state = ("c",)
    candidate = "c_tilde"

    def __init__(self, keep: float = 0.5, reset: float = 0.5) -> None:
        self.keep, self.reset = keep, reset

    def step(self, w, x, s):
        c_tilde = w.c_tilde(tanh(w.c(self.reset * s.c, x)))
        return self.State(c=self.keep * s.c + (1 - self.keep) * c_tilde)


class MUT1(Cell):
    """First of three units that a search over GRU's mutations found.

        Γ_u  = σ(W_ux x<t> + b_u)
        Γ_r  = σ(W_r [c<t-1>, x<t>] + b_r)
        c̃    = tanh(W_vc (Γ_r * c<t-1>) + tanh(W_cx x<t> + b_c) + p_c)
        c<t> = Γ_u * c̃ + (1 − Γ_u) * c<t-1>

    p_c [n] is the bias of c̃. The paper has tanh(x<t>) for tanh(W_cx x<t> + b_c), so that x must be
    as wide as the state; a matrix, as in torchrecurrent, takes any width. Source: Jozefowicz,
    Zaremba & Sutskever 2015, An Empirical Exploration of Recurrent Network Architectures.
    Oracle: torchrecurrent.
    """

    gates = ("u", "r", "c", "v")
    state = ("c",)
    vectors = ("p_c",)
    candidate = "c_tilde"
    initial: ClassVar = {"p_c": 0.0}
    chrono: ClassVar = {"u": -1}

    def step(self, w, x, s):
        gate_u = sigmoid(w.u.input(x))
        gate_r = sigmoid(w.r(s.c, x))
        c_tilde = w.c_tilde(tanh(w.v.recurrent(gate_r * s.c) + tanh(w.c.input(x)) + w.p_c))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)


class MUT2(Cell):
    """Second of three units that a search over GRU's mutations found.

        Γ_u  = σ(W_u [c<t-1>, x<t>] + b_u)
        Γ_r  = σ(W_r [c<t-1>, x<t>] + b_r)
        c̃    = tanh(W_c [Γ_r * c<t-1>, x<t>] + b_c)
        c<t> = Γ_u * c̃ + (1 − Γ_u) * c<t-1>

    The paper has x<t> for W_rx x<t> in Γ_r; with a matrix there, as in torchrecurrent, for an x of
    any width, it is `tt.GRU`. Source: Jozefowicz, Zaremba & Sutskever 2015, An Empirical
    Exploration of Recurrent Network Architectures. Oracle: torchrecurrent.
    """

    gates = ("u", "r", "c")
    state = ("c",)
    candidate = "c_tilde"
    chrono: ClassVar = {"u": -1}

    def step(self, w, x, s):
        gate_u = sigmoid(w.u(s.c, x))
        gate_r = sigmoid(w.r(s.c, x))
        c_tilde = w.c_tilde(tanh(w.c(gate_r * s.c, x)))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)


class MUT3(Cell):
    """Third of three units that a search over GRU's mutations found.

        Γ_u  = σ(W_u [tanh(c<t-1>), x<t>] + b_u)
        Γ_r  = σ(W_r [c<t-1>, x<t>] + b_r)
        c̃    = tanh(W_c [Γ_r * c<t-1>, x<t>] + b_c)
        c<t> = Γ_u * c̃ + (1 − Γ_u) * c<t-1>

    Source: Jozefowicz, Zaremba & Sutskever 2015, An Empirical Exploration of Recurrent Network
    Architectures. Oracle: torchrecurrent.
    """

    gates = ("u", "r", "c")
    state = ("c",)
    candidate = "c_tilde"
    chrono: ClassVar = {"u": -1}

    def step(self, w, x, s):
        gate_u = sigmoid(w.u(tanh(s.c), x))
        gate_r = sigmoid(w.r(s.c, x))
        c_tilde = w.c_tilde(tanh(w.c(gate_r * s.c, x)))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)


class SGU(Cell):
    """Simple gated unit: what x selects of the memory gates the memory.

        z<t> = tanh(W_vc ((W_zx x<t> + b_z) * c<t-1>))
        c̃    = softplus(z<t> * c<t-1>)
        Γ_u  = σ̂(W_u [c<t-1>, x<t>] + b_u)
        c<t> = Γ_u * c̃ + (1 − Γ_u) * c<t-1>

    σ̂(v) = v / 6 + 1/2 between 0 and 1 is torch's hard sigmoid. torchrecurrent adds a bias within
    the tanh. Source: Gao & Glowacka 2016, Deep Gate Recurrent Neural Network, arXiv:1604.02910.
    Oracle: torchrecurrent.
    """

    gates = ("z", "v", "u")
    state = ("c",)
    candidate = "c_tilde"

    def step(self, w, x, s):
        z = tanh(w.v.recurrent(w.z.input(x) * s.c))
        c_tilde = w.c_tilde(softplus(z * s.c))
        gate_u = hard_sigmoid(w.u(s.c, x))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)


class DSGU(Cell):
    """Deep simple gated unit: SGU with one more matrix, and σ.

        z<t> = tanh(W_vc ((W_zx x<t> + b_z) * c<t-1>))
        c̃    = σ(W_oc (z<t> * c<t-1>))
        Γ_u  = σ̂(W_u [c<t-1>, x<t>] + b_u)
        c<t> = Γ_u * c̃ + (1 − Γ_u) * c<t-1>

    σ̂ as in SGU. torchrecurrent adds a bias within the tanh. Source: Gao & Glowacka 2016, Deep Gate
    Recurrent Neural Network, arXiv:1604.02910. Oracle: torchrecurrent.
    """

    gates = ("z", "v", "o", "u")
    state = ("c",)
    candidate = "c_tilde"

    def step(self, w, x, s):
        z = tanh(w.v.recurrent(w.z.input(x) * s.c))
        c_tilde = w.c_tilde(sigmoid(w.o.recurrent(z * s.c)))
        gate_u = hard_sigmoid(w.u(s.c, x))
        return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)


def hard_sigmoid(v):
    """v / 6 + 1/2 between 0 and 1. torch's own holds 1/6 in float32 whatever the dtype."""
    return (v / 6 + 0.5).clamp(0, 1)
