"""Units with a memory cell beside their output, as the LSTM is: states a<t> and c<t>."""

from __future__ import annotations

from typing import ClassVar

from torch import relu, sigmoid, tanh

from ..base import Cell


class OriginalLSTM(Cell):
    """The LSTM of 1997: no forget gate, so that the memory only adds.

        Γ_u, Γ_o = σ(W_• [a<t-1>, x<t>] + b_•)
        c̃    = tanh(W_c [a<t-1>, x<t>] + b_c)
        c<t> = c<t-1> + Γ_u * c̃
        a<t> = Γ_o * tanh(c<t>)

    The paper squashes with scaled logistic functions; tanh, as in torchrecurrent, is today's form.
    Source: Hochreiter & Schmidhuber 1997, Long Short-Term Memory. Oracle: torchrecurrent.
    """

    gates = ("u", "c", "o")
    state = ("a", "c")
    chrono: ClassVar = {"u": -1}

    def step(self, w, x, s):
        gate_u, gate_o = sigmoid(w.u(s.a, x)), sigmoid(w.o(s.a, x))
        c = s.c + gate_u * tanh(w.c(s.a, x))
        return self.State(a=gate_o * tanh(c), c=c)


class LSTMP(Cell):
    """LSTM with a projection: what is put out and seen at the next step has a size of its own.

        Γ_u, Γ_f, Γ_o = σ(W_• [a<t-1>, x<t>] + b_•)
        c̃    = tanh(W_c [a<t-1>, x<t>] + b_c)
        c<t> = Γ_u * c̃ + Γ_f * c<t-1>
        a<t> = W_r (Γ_o * tanh(c<t>))

    `projection` is the size of a<t>, a number of units or a share of n. Initially b_f = 1. The
    paper also has peepholes; torch.nn.LSTM with `proj_size` has not. Source: Sak, Senior & Beaufays
    2014, Long Short-Term Memory Based Recurrent Neural Network Architectures for Large Vocabulary
    Speech Recognition, arXiv:1402.1128. Oracle: NumPy float64 equations.
    """

    gates = ("u", "f", "c", "o")
    state = ("a", "c")
    sizes: ClassVar = {"a": "projection"}
    matrices: ClassVar = {"r": ("projection", "n")}
    candidate = "c_tilde"
    initial: ClassVar = {"f": {"bias": 1.0}}
    chrono: ClassVar = {"f": 1, "u": -1}

    def __init__(self, projection: float = 0.5) -> None:
        self.projection = projection

    def step(self, w, x, s):
        gate_u, gate_f = sigmoid(w.u(s.a, x)), sigmoid(w.f(s.a, x))
        gate_o = sigmoid(w.o(s.a, x))
        c = gate_u * w.c_tilde(tanh(w.c(s.a, x))) + gate_f * s.c
        return self.State(a=w.r(gate_o * tanh(c)), c=c)


class JANET(Cell):
    """Just another network: an LSTM of which the forget gate alone is left.

        z<t> = W_f [c<t-1>, x<t>] + b_f
        c̃    = tanh(W_c [c<t-1>, x<t>] + b_c)
        c<t> = σ(z<t>) * c<t-1> + (1 − σ(z<t> − β)) * c̃

    `beta` is the constant β, 1 in the paper; torchrecurrent trains it. Initial weights: the paper's
    are `initial="chrono:T"`. Source: van der Westhuizen & Lasenby 2018, The unreasonable
    effectiveness of the forget gate, arXiv:1804.04849. Oracle: torchrecurrent.
    """

    gates = ("f", "c")
    state = ("c",)
    candidate = "c_tilde"
    chrono: ClassVar = {"f": 1}

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    def step(self, w, x, s):
        z = w.f(s.c, x)
        c_tilde = w.c_tilde(tanh(w.c(s.c, x)))
        return self.State(c=sigmoid(z) * s.c + (1 - sigmoid(z - self.beta)) * c_tilde)


class RAN(Cell):
    """Recurrent additive network: the memory is a weighted sum of inputs.

        c̃    = W_cx x<t> + b_c
        Γ_u, Γ_f = σ(W_• [a<t-1>, x<t>] + b_•)
        c<t> = Γ_u * c̃ + Γ_f * c<t-1>
        a<t> = tanh(c<t>)

    torchrecurrent has no b_c. Source: Lee, Levy & Zettlemoyer 2017, Recurrent Additive Networks,
    arXiv:1705.07393. Oracle: torchrecurrent.
    """

    gates = ("c", "u", "f")
    state = ("a", "c")
    chrono: ClassVar = {"f": 1, "u": -1}

    def step(self, w, x, s):
        gate_u, gate_f = sigmoid(w.u(s.a, x)), sigmoid(w.f(s.a, x))
        c = gate_u * w.c.input(x) + gate_f * s.c
        return self.State(a=tanh(c), c=c)


class MultiplicativeLSTM(Cell):
    """LSTM whose gates see, in place of a<t-1>, what the input makes of it.

        m<t> = (W_mx x<t> + b_m) * (W_ma a<t-1>)
        Γ_u, Γ_f, Γ_o = σ(W_• [m<t>, x<t>] + b_•)
        c̃    = tanh(W_c [m<t>, x<t>] + b_c)
        c<t> = Γ_u * c̃ + Γ_f * c<t-1>
        a<t> = Γ_o * tanh(c<t>)

    Initially b_f = 1, as in `tt.LSTM`. torchrecurrent has one more bias, in W_ma a<t-1>. Source:
    Krause, Lu, Murray & Renals 2016, Multiplicative LSTM for sequence modelling, arXiv:1609.07959.
    Oracle: torchrecurrent.
    """

    gates = ("m", "u", "f", "c", "o")
    state = ("a", "c")
    initial: ClassVar = {"f": {"bias": 1.0}}
    chrono: ClassVar = {"f": 1, "u": -1}

    def step(self, w, x, s):
        m = w.m.input(x) * w.m.recurrent(s.a)
        gate_u, gate_f, gate_o = sigmoid(w.u(m, x)), sigmoid(w.f(m, x)), sigmoid(w.o(m, x))
        c = gate_u * tanh(w.c(m, x)) + gate_f * s.c
        return self.State(a=gate_o * tanh(c), c=c)


class MCLSTM(Cell):
    """Memory-controller LSTM: what the gates see is gated apart from what is put out.

        Γ_f, Γ_u, Γ_o, Γ_m = σ(W_• [v<t-1>, x<t>] + b_•)
        c̃    = tanh(W_c [v<t-1>, x<t>] + b_c)
        c<t> = Γ_f * c<t-1> + Γ_u * c̃
        a<t> = Γ_o * tanh(c<t>);   v<t> = Γ_m * tanh(c<t>)

    a<t-1> plays no part. Initially b_f = 1, as in `tt.LSTM`. Source: a workshop paper of NIPS 2017
    on sequence modelling by Intel, as torchrecurrent gives it. Oracle: torchrecurrent.
    """

    gates = ("f", "u", "o", "m", "c")
    state = ("a", "v", "c")
    initial: ClassVar = {"f": {"bias": 1.0}}
    chrono: ClassVar = {"f": 1, "u": -1}

    def step(self, w, x, s):
        gate_f, gate_u = sigmoid(w.f(s.v, x)), sigmoid(w.u(s.v, x))
        gate_o, gate_m = sigmoid(w.o(s.v, x)), sigmoid(w.m(s.v, x))
        c = gate_f * s.c + gate_u * tanh(w.c(s.v, x))
        return self.State(a=gate_o * tanh(c), v=gate_m * tanh(c), c=c)


class WMCLSTM(Cell):
    """LSTM with working memory connections: its gates see the memory through a matrix and tanh.

        Γ_u  = σ(W_u [a<t-1>, x<t>] + tanh(W_ic c<t-1> + p_u) + b_u)
        Γ_f  = σ(W_f [a<t-1>, x<t>] + tanh(W_gc c<t-1> + p_f) + b_f)
        c<t> = Γ_f * c<t-1> + Γ_u * tanh(W_c [a<t-1>, x<t>] + b_c)
        Γ_o  = σ(W_o [a<t-1>, x<t>] + tanh(W_qc c<t> + p_o) + b_o)
        a<t> = Γ_o * tanh(c<t>)

    W_i, W_g, W_q and p [n] are the connections of the gates u, f, o. Initially b_f = 1. Source:
    Landi, Baraldi, Cornia & Cucchiara 2021, Working Memory Connections for LSTM, arXiv:2109.00020.
    Oracle: torchrecurrent.
    """

    gates = ("u", "f", "c", "o", "i", "g", "q")
    state = ("a", "c")
    vectors = ("p_u", "p_f", "p_o")
    initial: ClassVar = {"f": {"bias": 1.0}, "p_u": 0.0, "p_f": 0.0, "p_o": 0.0}
    chrono: ClassVar = {"f": 1, "u": -1}

    def step(self, w, x, s):
        gate_u = sigmoid(w.u(s.a, x) + tanh(w.i.recurrent(s.c) + w.p_u))
        gate_f = sigmoid(w.f(s.a, x) + tanh(w.g.recurrent(s.c) + w.p_f))
        c = gate_f * s.c + gate_u * tanh(w.c(s.a, x))
        gate_o = sigmoid(w.o(s.a, x) + tanh(w.q.recurrent(c) + w.p_o))
        return self.State(a=gate_o * tanh(c), c=c)


class ResLSTM(Cell):
    """Residual LSTM: peepholes, a projection of the output, and the input beside it.

        Γ_u  = σ(W_u [a<t-1>, x<t>] + p_u * c<t-1> + b_u)        Γ_f alike
        c<t> = Γ_f * c<t-1> + Γ_u * tanh(W_c [a<t-1>, x<t>] + b_c)
        Γ_o  = σ(W_o [a<t-1>, x<t>] + p_o * c<t> + b_o)
        a<t> = Γ_o * (W_r [tanh(c<t>), x<t>] + b_r)

    Initially b_f = 1. torchrecurrent has no b_r. Source: Kim, El-Khamy & Lee 2017, Residual LSTM:
    Design of a Deep Recurrent Architecture for Distant Speech Recognition, arXiv:1701.03360.
    Oracle: torchrecurrent.
    """

    gates = ("u", "f", "c", "o", "r")
    state = ("a", "c")
    vectors = ("p_u", "p_f", "p_o")
    initial: ClassVar = {"f": {"bias": 1.0}}
    chrono: ClassVar = {"f": 1, "u": -1}

    def step(self, w, x, s):
        gate_u = sigmoid(w.u(s.a, x) + w.p_u * s.c)
        gate_f = sigmoid(w.f(s.a, x) + w.p_f * s.c)
        c = gate_f * s.c + gate_u * tanh(w.c(s.a, x))
        gate_o = sigmoid(w.o(s.a, x) + w.p_o * c)
        return self.State(a=gate_o * w.r(tanh(c), x), c=c)


class NAS(Cell):
    """The cell that a search by reinforcement learning found; z_g = W_g [a<t-1>, x<t>] + b_g.

        l    = tanh(σ(z_g0) * relu(z_g1));      k = tanh(σ(z_g2) + relu(z_g3))
        m    = tanh(tanh(z_g4) * σ(z_g5));      q = σ(tanh(z_g6) + σ(z_g7))
        c<t> = tanh(l + c<t-1>) * k
        a<t> = tanh(c<t> * tanh(m + q))

    Source: Zoph & Le 2016, Neural Architecture Search with Reinforcement Learning,
    arXiv:1611.01578. Oracle: torchrecurrent.
    """

    gates = ("g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7")
    state = ("a", "c")

    def step(self, w, x, s):
        l = tanh(sigmoid(w.g0(s.a, x)) * relu(w.g1(s.a, x)))  # noqa: E741 - the tree's left leaf
        k = tanh(sigmoid(w.g2(s.a, x)) + relu(w.g3(s.a, x)))
        m = tanh(tanh(w.g4(s.a, x)) * sigmoid(w.g5(s.a, x)))
        q = sigmoid(tanh(w.g6(s.a, x)) + sigmoid(w.g7(s.a, x)))
        c = tanh(l + s.c) * k
        return self.State(a=tanh(c * tanh(m + q)), c=c)


class SCRN(Cell):
    """Structurally constrained network: a slow context beside a simple recurrent layer.

        s<t> = (1 − α) W_sx x<t> + α s<t-1>
        h<t> = σ(W_h [h<t-1>, x<t>] + W_ps s<t>)
        a<t> = W_uh h<t> + W_vs s<t>

    The paper's softmax of a<t> is what stands after the layer. The biases b_s and b_h are ours.
    `alpha` is the constant α, 0.95 in the paper. torchrecurrent trains α, and carries
    tanh(a<t>) in place of h<t>. Source: Mikolov, Joulin, Chopra, Mathieu & Ranzato 2014, Learning
    Longer Memory in Recurrent Neural Networks, arXiv:1412.7753. Oracle: NumPy float64 equations.
    """

    gates = ("s", "h", "p", "u", "v")
    state = ("a", "h", "s")

    def __init__(self, alpha: float = 0.95) -> None:
        self.alpha = alpha

    def step(self, w, x, s):
        slow = (1 - self.alpha) * w.s.input(x) + self.alpha * s.s
        h = sigmoid(w.h(s.h, x) + w.p.recurrent(slow))
        return self.State(a=w.u.recurrent(h) + w.v.recurrent(slow), h=h, s=slow)
