"""Each cell once more, as plain NumPy equations written apart from the package.

One sequence at a time, one step at a time, gate by gate: x [n_x] and every state [n] are vectors,
`p.W[g]` is W_g = [W_ga, W_gx], a matrix [n, n + n_x]; `p.b[g]` is b_g and `p.v[name]` a vector.
A step takes the parameters, x<t> and the states at t-1 by name, and returns the states at t.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Array = np.ndarray
States = dict[str, Array]


class Parameters(NamedTuple):
    W: dict[str, Array]
    b: dict[str, Array]
    v: dict[str, Array]


Step = Callable[[Parameters, Array, States], States]


def sigma(z: Array) -> Array:
    return np.exp(-np.logaddexp(0, -z))


def affine(p: Parameters, gate: str, v: Array, x: Array) -> Array:
    return p.W[gate] @ np.concatenate([v, x]) + p.b[gate]


def rnn_tanh(p: Parameters, x: Array, s: States) -> States:
    return {"a": np.tanh(affine(p, "a", s["a"], x))}


def rnn_relu(p: Parameters, x: Array, s: States) -> States:
    return {"a": np.maximum(affine(p, "a", s["a"], x), 0)}


def simple_gru(p: Parameters, x: Array, s: States) -> States:
    c_tilde = np.tanh(affine(p, "c", s["c"], x))
    gate_u = sigma(affine(p, "u", s["c"], x))
    return {"c": gate_u * c_tilde + (1 - gate_u) * s["c"]}


def gru(p: Parameters, x: Array, s: States) -> States:
    gate_u = sigma(affine(p, "u", s["c"], x))
    gate_r = sigma(affine(p, "r", s["c"], x))
    c_tilde = np.tanh(p.W["c"] @ np.concatenate([gate_r * s["c"], x]) + p.b["c"])
    return {"c": gate_u * c_tilde + (1 - gate_u) * s["c"]}


def gru_reset_after(p: Parameters, x: Array, s: States) -> States:
    n = len(s["c"])
    W_cc, W_cx = p.W["c"][:, :n], p.W["c"][:, n:]
    gate_r = sigma(affine(p, "r", s["c"], x))
    gate_z = sigma(affine(p, "z", s["c"], x))
    c_tilde = np.tanh(W_cx @ x + p.b["c"] + gate_r * (W_cc @ s["c"] + p.v["d_c"]))
    return {"c": (1 - gate_z) * c_tilde + gate_z * s["c"]}


def lstm_tanh(p: Parameters, x: Array, s: States) -> States:
    c = lstm_memory(p, x, s)
    return {"a": sigma(affine(p, "o", s["a"], x)) * np.tanh(c), "c": c}


def lstm_identity(p: Parameters, x: Array, s: States) -> States:
    c = lstm_memory(p, x, s)
    return {"a": sigma(affine(p, "o", s["a"], x)) * c, "c": c}


def lstm_memory(p: Parameters, x: Array, s: States) -> Array:
    c_tilde = np.tanh(affine(p, "c", s["a"], x))
    return sigma(affine(p, "u", s["a"], x)) * c_tilde + sigma(affine(p, "f", s["a"], x)) * s["c"]


def peephole_previous(p: Parameters, x: Array, s: States) -> States:
    c = peephole_memory(p, x, s)
    gate_o = sigma(affine(p, "o", s["a"], x) + p.v["p_o"] * s["c"])
    return {"a": gate_o * np.tanh(c), "c": c}


def peephole_current(p: Parameters, x: Array, s: States) -> States:
    c = peephole_memory(p, x, s)
    gate_o = sigma(affine(p, "o", s["a"], x) + p.v["p_o"] * c)
    return {"a": gate_o * np.tanh(c), "c": c}


def peephole_memory(p: Parameters, x: Array, s: States) -> Array:
    gate_u = sigma(affine(p, "u", s["a"], x) + p.v["p_u"] * s["c"])
    gate_f = sigma(affine(p, "f", s["a"], x) + p.v["p_f"] * s["c"])
    return gate_u * np.tanh(affine(p, "c", s["a"], x)) + gate_f * s["c"]


def normal(v: Array, eps: float = 0.1) -> Array:
    return (v - v.mean()) / np.sqrt(v.var() + eps)


def normal_halves(
    p: Parameters, gates: str, v: Array, x: Array
) -> tuple[dict[str, Array], dict[str, Array]]:
    """By gate: α_x N(W_x x) + β + b and α_a N(W_a v), of all these gates together."""
    n = len(v)
    from_x = normal(np.concatenate([p.W[g][:, n:] @ x for g in gates])).reshape(len(gates), n)
    from_v = normal(np.concatenate([p.W[g][:, :n] @ v for g in gates])).reshape(len(gates), n)
    return (
        {g: p.v[f"alpha_x{g}"] * z + p.v[f"beta_{g}"] + p.b[g] for g, z in zip(gates, from_x)},
        {g: p.v[f"alpha_a{g}"] * z for g, z in zip(gates, from_v)},
    )


def layer_norm_lstm(p: Parameters, x: Array, s: States) -> States:
    from_x, from_a = normal_halves(p, "ufco", s["a"], x)
    z = {g: from_x[g] + from_a[g] for g in "ufco"}
    c = sigma(z["u"]) * np.tanh(z["c"]) + sigma(z["f"]) * s["c"]
    return {"a": sigma(z["o"]) * np.tanh(p.v["alpha"] * normal(c) + p.v["beta"]), "c": c}


def layer_norm_gru(p: Parameters, x: Array, s: States) -> States:
    from_x, from_c = normal_halves(p, "ur", s["c"], x)
    gate_u, gate_r = (sigma(from_x[g] + from_c[g]) for g in "ur")
    from_x, from_c = normal_halves(p, "c", s["c"], x)
    c_tilde = np.tanh(from_x["c"] + gate_r * (from_c["c"] + p.v["d_c"]))
    return {"c": gate_u * c_tilde + (1 - gate_u) * s["c"]}


def two_memories(p: Parameters, x: Array, s: States) -> States:
    """The cell of `cases.TwoMemories`: a quick state and a slow one."""
    n = len(s["quick"])
    candidate = np.tanh(p.W["h"][:, n:] @ x + p.b["h"])
    slow = p.v["keep"] * s["slow"] + candidate
    gate = sigma(affine(p, "m", slow, x))
    return {"quick": gate * candidate + (1 - gate) * (p.W["h"][:, :n] @ s["quick"]), "slow": slow}


def lstm_with_projection(
    x: Array, h: Array, c: Array, W_ih: Array, W_hh: Array, b: Array, W_hr: Array
) -> tuple[Array, Array, Array]:
    """x [T, n_x], gates stacked (i, f, g, o): every h<t> = W_hr (o * tanh(c<t>)), the last h, c."""
    hs = []
    for x_t in x:
        i, f, g, o = np.split(W_ih @ x_t + W_hh @ h + b, 4)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = W_hr @ (sigma(o) * np.tanh(c))
        hs.append(h)
    return np.array(hs), h, c


def unroll(
    step: Step,
    p: Parameters,
    x: Array,
    state: States,
    lengths: list[int] | None = None,
    reset: Array | None = None,
) -> tuple[Array, States]:
    """x [T, B, n_x], states [B, n]: y [T, B, n], zero past the length, and the final states."""
    T, B, _ = x.shape
    first = next(iter(state))
    y = np.zeros((T, *state[first].shape))
    final = {name: part.copy() for name, part in state.items()}
    for i in range(B):
        s = {name: part[i] for name, part in state.items()}
        for t in range(T if lengths is None else lengths[i]):
            if reset is not None and reset[t, i]:
                s = {name: np.zeros_like(part) for name, part in s.items()}
            s = step(p, x[t, i], s)
            y[t, i] = s[first]
        for name in final:
            final[name][i] = s[name]
    return y, final


def witten_bell(train, order, V):
    """Witten–Bell's P(w | h) by dictionaries, token by token; h is cut to what the order sees."""
    counts = defaultdict(Counter)
    for n in range(order):
        for i in range(n, len(train)):
            counts[tuple(train[i - n : i])][train[i]] += 1

    def p(w, h):
        lower = p(w, h[1:]) if h else 1 / V
        seen = counts.get(tuple(h))
        if not seen:
            return lower
        return (seen[w] + len(seen) * lower) / (seen.total() + len(seen))

    return lambda w, h: p(w, list(h)[max(0, len(h) - order + 1) :])
