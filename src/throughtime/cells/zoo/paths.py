"""Units of dynamical systems and of highways: what a step adds to the state, and by which way."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import relu, sigmoid, tanh

from ..base import Cell


def antisymmetric(cell, w, gamma):
    """The weights with W − Wᵀ − γ I for each gate's recurrent matrix W."""
    n = w.W_a.shape[-1]
    W = w.W_a.unflatten(0, (len(cell.gates), n))
    I = torch.eye(n, dtype=W.dtype, device=W.device)  # noqa: E741 - the identity
    return w._replace(W_a=(W - W.mT - gamma * I).flatten(0, 1))


class AntisymmetricRNN(Cell):
    """A step of an ordinary differential equation that neither grows nor falls.

        a<t> = a<t-1> + ε tanh((W_aa − W_aaᵀ − γ I) a<t-1> + W_ax x<t> + b_a)

    The antisymmetric matrix is made once a scan. `epsilon` is the step ε, `gamma` ≥ 0 the damping.
    Source: Chang, Chen, Haber & Chi 2019, AntisymmetricRNN: A Dynamical System View on Recurrent
    Neural Networks, arXiv:1902.09689. Oracle: torchrecurrent.
    """

    gates = ("a",)
    state = ("a",)

    def __init__(self, epsilon: float = 1.0, gamma: float = 0.0) -> None:
        self.epsilon, self.gamma = epsilon, gamma

    def derived(self, w):
        return antisymmetric(self, w, self.gamma)

    def step(self, w, x, s):
        return self.State(a=s.a + self.epsilon * tanh(w.a(s.a, x)))


class GatedAntisymmetricRNN(Cell):
    """AntisymmetricRNN with an input gate, which shares the recurrent matrix.

        z<t> = (W_aa − W_aaᵀ − γ I) a<t-1>
        Γ_u  = σ(z<t> + W_ux x<t> + b_u)
        a<t> = a<t-1> + ε Γ_u * tanh(z<t> + W_ax x<t> + b_a)

    `epsilon`, `gamma` as there. torchrecurrent's recurrent bias acts within tanh only. Source:
    Chang, Chen, Haber & Chi 2019, AntisymmetricRNN: A Dynamical System View on Recurrent Neural
    Networks, arXiv:1902.09689. Oracle: torchrecurrent.
    """

    gates = ("a", "u")
    state = ("a",)

    def __init__(self, epsilon: float = 1.0, gamma: float = 0.0) -> None:
        self.epsilon, self.gamma = epsilon, gamma

    def derived(self, w):
        return antisymmetric(self, w, self.gamma)

    def step(self, w, x, s):
        z = w.a.recurrent(s.a)
        gate_u = sigmoid(z + w.u.input(x))
        return self.State(a=s.a + self.epsilon * gate_u * tanh(z + w.a.input(x)))


class CoRNN(Cell):
    """Coupled oscillators: positions a, velocities v, forced by the input.

        v<t> = v<t-1> + Δt (tanh(W_a [a<t-1>, x<t>] + W_vv v<t-1> + b_a) − γ a<t-1> − ε v<t-1>)
        a<t> = a<t-1> + Δt v<t>

    `dt`, `gamma`, `epsilon` are the constants Δt, γ, ε. Of the paper's two forms this is the one
    that damps by v<t-1>. Source: Rusch & Mishra 2021, Coupled Oscillatory Recurrent Neural Network
    (coRNN), arXiv:2010.00951. Oracle: torchrecurrent.
    """

    gates = ("a", "v")
    state = ("a", "v")

    def __init__(self, dt: float = 0.1, gamma: float = 1.0, epsilon: float = 1.0) -> None:
        self.dt, self.gamma, self.epsilon = dt, gamma, epsilon

    def step(self, w, x, s):
        force = tanh(w.a(s.a, x) + w.v.recurrent(s.v))
        v = s.v + self.dt * (force - self.gamma * s.a - self.epsilon * s.v)
        return self.State(a=s.a + self.dt * v, v=v)


class UnICORNN(Cell):
    """Undamped independent oscillators: each unit sees itself alone, at its own pace.

        v<t> = v<t-1> − Δt σ(k) * (tanh(W_ax x<t> + u * a<t-1> + b_a) + α a<t-1>)
        a<t> = a<t-1> + Δt σ(k) * v<t>

    u, k [n] are vectors; `dt`, `alpha` the constants Δt, α. Initially u and k are as any vector;
    torchrecurrent begins with u in [0, 1] and k in ±0.1. Source: Rusch & Mishra 2021, UnICORNN: A
    recurrent model for learning very long time dependencies, arXiv:2103.05487.
    Oracle: torchrecurrent.
    """

    gates = ("a",)
    state = ("a", "v")
    vectors = ("u", "k")

    def __init__(self, dt: float = 0.1, alpha: float = 0.0) -> None:
        self.dt, self.alpha = dt, alpha

    def step(self, w, x, s):
        pace = self.dt * sigmoid(w.k)
        v = s.v - pace * (tanh(w.a.input(x) + w.u * s.a) + self.alpha * s.a)
        return self.State(a=s.a + pace * v, v=v)


class LEM(Cell):
    """Long expressive memory: two states, each with time steps of its own, unit by unit.

        Γ_a  = Δt σ(W_p [a<t-1>, x<t>] + b_p);   Γ_c = Δt σ(W_q [a<t-1>, x<t>] + b_q)
        c<t> = (1 − Γ_c) * c<t-1> + Γ_c * tanh(W_c [a<t-1>, x<t>] + b_c)
        a<t> = (1 − Γ_a) * a<t-1> + Γ_a * tanh(W_a [c<t>, x<t>] + b_a)

    `dt` is the constant Δt. torchrecurrent has c<t-1> for c<t> in the last line. Source: Rusch,
    Mishra, Erichson & Mahoney 2022, Long Expressive Memory for Sequence Modeling,
    arXiv:2110.04744. Oracle: NumPy float64 equations.
    """

    gates = ("p", "q", "c", "a")
    state = ("a", "c")

    def __init__(self, dt: float = 1.0) -> None:
        self.dt = dt

    def step(self, w, x, s):
        gate_a, gate_c = self.dt * sigmoid(w.p(s.a, x)), self.dt * sigmoid(w.q(s.a, x))
        c = (1 - gate_c) * s.c + gate_c * tanh(w.c(s.a, x))
        return self.State(a=(1 - gate_a) * s.a + gate_a * tanh(w.a(c, x)), c=c)


class TauGRU(Cell):
    """GRU with weighted feedback from some steps back; d = 4.

        u    = tanh(W_u [c<t-1>, x<t>] + b_u)
        z    = tanh(W_z [c<t-1-d>, x<t>] + b_z)
        Γ_g, Γ_a = σ(W_• [c<t-1>, x<t>] + b_•)
        c<t> = (1 − Γ_g) * c<t-1> + Γ_g * (u + Γ_a * z)

    c_k<t> = c<t-k> are states; zero before the first step. d is their number: for another, subclass
    with `state = ("c", "c_1", …)`; a compiled scan takes up to 15. Source: Erichson, Lim & Mahoney
    2022, Gated Recurrent Neural Networks with Weighted Time-Delay Feedback, arXiv:2212.00228.
    Oracle: torchrecurrent.
    """

    gates = ("u", "z", "g", "a")
    state = ("c", "c_1", "c_2", "c_3", "c_4")

    def step(self, w, x, s):
        u, z = tanh(w.u(s.c, x)), tanh(w.z(s[-1], x))
        gate_g, gate_a = sigmoid(w.g(s.c, x)), sigmoid(w.a(s.c, x))
        return self.State((1 - gate_g) * s.c + gate_g * (u + gate_a * z), *s[:-1])


class IntersectionRNN(Cell):
    """Intersection RNN (+RNN): one gate for the way in depth, one for the way in time.

        ã    = relu(W_a [h<t-1>, x<t>] + b_a);   h̃ = tanh(W_h [h<t-1>, x<t>] + b_h)
        Γ_a, Γ_h = σ(W_• [h<t-1>, x<t>] + b_•)
        a<t> = Γ_a * x<t> + (1 − Γ_a) * ã
        h<t> = Γ_h * h<t-1> + (1 − Γ_h) * h̃

    Gates p, q are Γ_a, Γ_h. x must be as wide as the state. Source: Collins, Sohl-Dickstein &
    Sussillo 2016, Capacity and Trainability in Recurrent Neural Networks, arXiv:1611.09913.
    Oracle: torchrecurrent.
    """

    gates = ("a", "h", "p", "q")
    state = ("a", "h")

    def step(self, w, x, s):
        gate_a, gate_h = sigmoid(w.p(s.h, x)), sigmoid(w.q(s.h, x))
        a = gate_a * x + (1 - gate_a) * relu(w.a(s.h, x))
        return self.State(a=a, h=gate_h * s.h + (1 - gate_h) * tanh(w.h(s.h, x)))


class RHN(Cell):
    """Recurrent highway network of depth 3, the carry coupled to the transform gate.

        a_0  = a<t-1>
        h_1  = tanh(W_h1 [a_0, x<t>] + b_h1);        Γ_1 = σ(W_t1 [a_0, x<t>] + b_t1)
        h_k  = tanh(W_hk a_{k-1} + p_hk);            Γ_k = σ(W_tk a_{k-1} + p_tk), k = 2, 3
        a_k  = Γ_k * h_k + (1 − Γ_k) * a_{k-1};      a<t> = a_3

    p_hk, p_tk [n] are biases: from the second level on nothing sees the input. Initially b_t1 and
    p_tk are −2, so that the highway carries. torchrecurrent has a file of this
    cell that it neither exports nor can import.
    Source: Zilly, Srivastava, Koutník & Schmidhuber 2016, Recurrent Highway Networks,
    arXiv:1607.03474. Oracle: NumPy float64 equations.
    """

    gates = ("h1", "t1", "h2", "t2", "h3", "t3")
    state = ("a",)
    vectors = ("p_h2", "p_t2", "p_h3", "p_t3")
    initial: ClassVar = {
        "t1": {"bias": -2.0},
        **{"p_h2": 0.0, "p_t2": -2.0, "p_h3": 0.0, "p_t3": -2.0},
    }

    def step(self, w, x, s):
        h, gate = tanh(w.h1(s.a, x)), sigmoid(w.t1(s.a, x))
        a = gate * h + (1 - gate) * s.a
        h, gate = tanh(w.h2.recurrent(a) + w.p_h2), sigmoid(w.t2.recurrent(a) + w.p_t2)
        a = gate * h + (1 - gate) * a
        h, gate = tanh(w.h3.recurrent(a) + w.p_h3), sigmoid(w.t3.recurrent(a) + w.p_t3)
        return self.State(a=gate * h + (1 - gate) * a)
