"""What tests of compiled scans share: cells of every operation, large problems, a fresh start."""

import os
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import sigmoid, tanh

import throughtime as tt
from cases import Problem
from throughtime.scans.compiled import call, programs

LARGE = {
    "T": 70,
    "B": 12,
    "n": 100,
    "n_x": 40,
    "lengths": [70, 0, 33, 70, 5, 69, 70, 12, 50, 70, 1, 64],
    "reset": [(0, 0), (9, 3), (40, 3), (63, 11), (64, 11), (30, 8)],
}

HALF = torch.bfloat16


def rounded(p: Problem) -> Problem:
    """The same problem with numbers that bfloat16 holds."""

    def near(part):
        return part.to(HALF).double()

    vectors, matrices = (
        {name: near(part) for name, part in parts.items()} for parts in (p.w.vectors, p.w.matrices)
    )
    w = tt.Weights(*map(near, p.w[:3]), vectors, matrices=matrices)
    state = None if p.state is None else p.cell.State(*map(near, p.state))
    inputs = {k: part if part.dtype == torch.bool else near(part) for k, part in p.inputs.items()}
    return replace(p, w=w, x=near(p.x), state=state, inputs=inputs)


def forget() -> None:
    """As in a new process."""
    programs.forget()
    call.native.cache_clear()
    call.layout.cache_clear()


SANITIZERS = os.environ.get("THROUGHTIME_SANITIZE", "")
sanitizers_only = pytest.mark.skipif(not SANITIZERS, reason="make sanitize runs these")


@pytest.fixture
def sanitized(monkeypatch):
    """The libraries of a test are built with the sanitizers, not those that collecting needs."""
    monkeypatch.setenv("THROUGHTIME_CXXFLAGS", SANITIZERS)
    forget()
    yield
    forget()


class Nine(tt.Cell):
    """Nine gates, so that many operations share one compilation; each sees its own number."""

    gates = tuple("abcdefghi")
    state = ("h",)

    def step(self, w, x, s):
        z = [getattr(w, gate)(s.h, x) for gate in self.gates]
        return self.State(tanh(0.3 * sum(self.terms(*z))))


class Activations(Nine):
    """torch's activation functions. (torch rounds 1 / alpha of celu to float32: 2 is exact.)"""

    def terms(self, a, b, c, d, e, f, g, h, i):
        yield from (sigmoid(a), tanh(b), torch.relu(c), F.softplus(d), F.silu(e), F.gelu(f))
        yield from (F.gelu(g, approximate="tanh"), F.leaky_relu(h, 0.2), F.elu(i, alpha=1.3))
        yield from (F.logsigmoid(a), F.hardtanh(b, -0.4, 0.6), F.mish(d))
        yield from (F.softplus(e, beta=2.0, threshold=1.0), F.relu6(5 * g), F.softshrink(f, 0.1))
        yield from (F.celu(h, alpha=0.5), F.softsign(i), F.tanhshrink(a), F.selu(b))


class Functions(Nine):
    """Elementary functions, where they are defined."""

    def terms(self, a, b, c, d, e, f, g, h, i):
        positive = 0.5 + a * a
        yield from (torch.exp(0.5 * a), torch.log(positive), torch.abs(b), torch.sqrt(positive))
        yield from (torch.rsqrt(positive), torch.sin(c), torch.cos(d), torch.erf(e), abs(f))
        yield from (torch.expm1(0.5 * f), torch.log1p(positive), torch.log2(positive), -g)
        yield from (torch.tan(0.3 * tanh(g)), torch.atan(h), torch.sinh(tanh(i)), torch.asinh(i))
        yield from (torch.reciprocal(positive), torch.square(b), torch.sign(c) * d, torch.erfc(e))
        yield from (torch.atan2(a, positive), torch.log10(positive), torch.exp2(tanh(b)))


class Powers(Nine):
    """Powers with numbers and tensors for the exponent, and for the base."""

    def terms(self, a, b, c, d, e, f, g, h, i):
        positive = 0.5 + a * a
        yield from (b**2, c**3, positive**0.5, positive**-1, positive**1.7, positive**-0.5)
        yield from (positive ** tanh(d), torch.pow(1.5, e), positive**-2, f**1, torch.pow(g, 4))
        yield from (h**0, i.pow(2.0), positive ** torch.tensor(1.3))


class Comparisons(Nine):
    """Choices: the numbers differ from one another, so that no tie has two right gradients."""

    def terms(self, a, b, c, d, e, f, g, h, i):
        yield from (torch.minimum(a, b), torch.maximum(c, d), torch.where(e > f, g, h * i))
        yield from (a.clamp(min=-0.3), b.clamp(max=0.4), c.clamp(-0.5, 0.5), d.clip(0.1))
        yield from (torch.where((a < b) & (c >= d) | ~(e <= f), g, 0.5), torch.clamp(g, a, a + 1))
        yield from ((h > 0) * i, (a != b).to(a.dtype) * c, torch.where(d == e, a, b))
        yield h.masked_fill(i > 0, 0.25)
        yield from (torch.where(torch.isnan(a), b, c), c.lt(0.2).logical_not() * d)
        yield from (((a > 0) + (b > 0)) * c, torch.maximum(d, torch.tensor(0.1)), e.bool() * f)


class Arithmetic(Nine):
    """Arithmetic, numbers of every kind, constants, in-place operations, attributes."""

    def __init__(self, scale=0.7, bounds=(0.2, 0.9)):
        self.scale, self.bounds = scale, bounds

    def terms(self, a, b, c, d, e, f, g, h, i):
        constant = torch.tensor(0.3, dtype=torch.float64)
        yield from (a + b, 1 - c, d * 3, 2 / (2 + e * e), f - g, h / (1 + i * i), self.scale * a)
        yield from (torch.lerp(a, b, 0.3), torch.lerp(c, d, sigmoid(e)), torch.addcmul(f, g, h))
        yield from (torch.addcmul(a, b, c, value=0.5), torch.addcdiv(d, e, 2 + f * f, value=-0.5))
        yield from (torch.add(g, h, alpha=0.1), torch.sub(i, a, alpha=2), torch.rsub(b, 1.5))
        yield from (constant * c, d + torch.tensor(2), e.mul(constant).sub(1), -f)
        yield from (torch.ones_like(g) * h, i + torch.zeros_like(i), torch.full_like(a, 0.5) * b)
        in_place = c.clone()
        in_place *= 0.5
        in_place.add_(d).clamp_(max=self.bounds[1]).sigmoid_()
        yield in_place
        total = torch.zeros_like(e)
        for k, part in enumerate((e, f, g)):
            total += part * (k + self.bounds[0])
        yield total


class Sums(Nine):
    """Reductions over the units that are made of sums, with and without the last dimension."""

    vectors = ("gain", "shift")

    def step(self, w, x, s):
        self.gain, self.shift = w.gain, w.shift
        return super().step(w, x, s)

    def terms(self, a, b, c, d, e, f, g, h, i):
        size = a.shape[-1:]
        yield from (a - a.mean(-1, keepdim=True), 0.1 * b.sum(dim=1, keepdim=True) * c)
        yield from (c * d.var(-1, correction=0, keepdim=True), c.mean(-1)[:, None] + g)
        yield from (
            e / (1 + e.norm(dim=-1, keepdim=True)),
            f / (1 + f.std(1, correction=0)[:, None]),
        )
        yield from (
            F.layer_norm(g, size, self.gain, self.shift, 0.1),
            F.layer_norm(h, size, eps=0.2),
        )
        yield from (F.rms_norm(i, size, self.gain, 0.125), a * self.gain.mean(-1, keepdim=True))
        variance, mean = torch.var_mean(b, -1, correction=0, keepdim=True)
        yield from (b / (1 + variance) - mean, torch.norm(d, p=1, dim=-1, keepdim=True) * 0.1 * e)
        yield from (h * (i > 0).sum(-1, keepdim=True) * 0.1, F.normalize(2 + tanh(f), dim=-1))


class Maxima(Nine):
    """Reductions over the units by the largest, and softmax."""

    def terms(self, a, b, c, d, e, f, g, h, i):
        yield from (a - a.amax(-1, keepdim=True), b.amin(dim=1, keepdim=True) * c)
        yield from (torch.softmax(d, -1) * e, torch.log_softmax(0.3 * f, 1), torch.softmax(g, 1))
        yield from (h * torch.logsumexp(i, -1, keepdim=True), a - torch.logsumexp(a, 1)[:, None])
        yield from (b / (1 + c.abs().amax(-1, keepdim=True)), F.softmin(e, -1))
        yield i / (1 + torch.linalg.vector_norm(i, float("inf"), -1, True))


REDUCING = [Sums(), Maxima()]
OPERATIONS = [Activations(), Functions(), Powers(), Comparisons(), Arithmetic(), *REDUCING]


class Hard(tt.Cell):
    """Alone, since the gradients of torch's own kernels hold 1/6 in float32 whatever the dtype."""

    gates = ("h",)
    state = ("a",)

    def step(self, w, x, s):
        return self.State(F.hardsigmoid(3 * w.h(s.a, x)) + F.hardswish(2 * w.h(s.a, x)))


class Through(tt.Cell):
    """x itself beside its products; no product takes it through W_x but one."""

    gates = ("h", "g")
    state = ("a",)

    def step(self, w, x, s):
        return self.State(tanh(w.h.recurrent(s.a)) * x + sigmoid(w.g.recurrent(x + s.a)))


class Still(tt.Cell):
    """No gate is read, and one state is a constant."""

    gates = ("h",)
    state = ("a", "b")

    def step(self, w, x, s):
        return self.State(0.5 * s.a, torch.ones_like(s.b))


class Timed(tt.Cell):
    """A step decays the memory with the time that has passed; reads inputs in both stages."""

    gates = ("c", "u")
    state = ("a", "c")
    vectors = ("rate",)
    inputs = ("drive", "keep", "time", "on")  # numbers, truths, one number a sequence, one mask

    def step(self, w, x, s):
        decayed = torch.exp(-(w.rate**2) * w.time**2) * s.c + 0.1 * w.drive
        gate_u = sigmoid(w.u(w.on * s.a, x) + w.drive)
        c = w.keep * s.c + (1 - w.keep) * (gate_u * tanh(w.c(gate_u * decayed, x)) + decayed)
        return self.State(a=tanh(c) * (w.on + w.keep * w.drive), c=c)


class Slow(tt.Cell):
    """A slow state wider than n, its own bias and its own mask; gates of low rank; a reduction."""

    gates = ("h",)
    state = ("h", "slow")
    vectors = ("b_s", "rate")
    inputs = ("m",)
    sizes: ClassVar = {"slow": "wide", "b_s": "wide", "m": "wide"}
    matrices: ClassVar = {
        "S": ("wide", "x"), "D": ("rank", "wide"), "L": ("rank", "n"), "U": ("n", "rank"),
    }  # fmt: skip

    def __init__(self, wide=7, rank=2):
        self.wide, self.rank = wide, rank

    def step(self, w, x, s):
        made = F.layer_norm(w.S(x) + w.b_s, (s.slow.shape[-1],), eps=0.1)
        slow = w.m * s.slow + (1 - w.m) * torch.log(1.5 + tanh(made))
        low = tanh(w.D(slow) + w.L(s.h)) / (1 + slow.abs().mean(-1, keepdim=True))
        gate = sigmoid(w.U(low) * w.rate)
        return self.State(h=gate * tanh(w.h(s.h, x)) + (1 - gate) * s.h, slow=slow)


class Back(tt.Cell):
    """Looks back at x and at a state, further than one step."""

    gates = ("c", "u")
    state = ("c",)
    lags: ClassVar = {"x": 2, "c": 3}
    matrices: ClassVar = {"V": ("n", "x")}

    def step(self, w, x, s):
        gate = sigmoid(w.u(s.c_2, x))
        return self.State(c=gate * tanh(w.c(s.c_3, x) + w.V(s.x_1) - w.V(s.x_2)) + 0.3 * s.c)


class Poles(tt.Cell):
    """Equations with no finite value or derivative at zero, where padding would be."""

    gates = ("h",)
    state = ("a", "c")
    sizes: ClassVar = {"a": "few"}
    matrices: ClassVar = {"r": ("few", "n")}
    vectors = ("p",)

    few = 2

    def step(self, w, x, s):
        z = w.h(s.a, x)
        c = tanh(torch.log(z.abs()) + w.p / w.p.abs())
        return self.State(a=tanh(w.r(c)) / (0.2 + w.r(c).abs().sqrt()), c=c)
