"""Against `jax.lax.scan` under jit: what one writes who has left torch for the sake of the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from layer import AMPLIFYING, CELLS, MODES, TRAINING, Layer, Options, Shape, agree, versus
from rows import bars, unable
from timing import Section, take_turns

SHAPES: tuple[Shape, ...] = (
    *((64, 16, 64), (64, 32, 128), (256, 1, 256)),
    *((64, 32, 256), (128, 32, 512), (64, 64, 650)),
)


def jax(o: Options) -> Section:
    """GRU and LayerNormLSTM; the scan is compiled before it is timed, for its shape alone."""
    section = Section("jax", "Against jax.lax.scan under jit, the input's product hoisted")
    try:
        import jax as library
    except ImportError as error:
        section.note(f"left out: {error.name} is not installed: pip install -e '.[bench]'")
        return section
    if o.device != "cpu":
        section.note("left out: CPU only")
        return section
    section.note(f"jax {library.__version__}, XLA's own threads")
    for cell, loop in (("GRU", gru), ("LayerNormLSTM", layer_norm_lstm)):
        for shape in SHAPES:
            layer = Layer(CELLS[cell], shape, o)
            if unable(section, layer):
                continue
            for mode in MODES:
                sides = {"ours": layer.ours(mode), "peer": jax_peer(layer, loop, mode)}
                steps = slice(8 if cell in AMPLIFYING else None)
                ours, peer = (sides[name]()[0] for name in ("ours", "peer"))
                agree(ours[steps], torch.tensor(np.asarray(peer))[steps], 1e-4, cell)
                section.add(**versus(layer, mode, take_turns(sides, o.seconds)))
    for mode in MODES:
        bars(section, mode, geometric=2.0)
    return section


def jax_peer(layer: Layer, loop: Callable[..., Any], mode: str) -> Callable[[], Any]:
    """A call of the loop with our weights, ended when its results are there."""
    import jax as library

    made = library.numpy.asarray
    v = {name: made(part.detach().numpy()) for name, part in layer.w.vectors.items()}
    W_x, W_a, b = (made(part.detach().numpy()) for part in layer.w[:3])
    x, dy = (made(part.numpy()) for part in (layer.x, layer.dy))
    if mode == TRAINING:

        @library.jit
        def train(x: Any, W_x: Any, W_a: Any, b: Any, v: Any, dy: Any) -> Any:
            y, back = library.vjp(loop, x, W_x, W_a, b, v)
            return y, *back(dy)

        return lambda: library.block_until_ready(train(x, W_x, W_a, b, v, dy))
    infer = library.jit(loop)
    return lambda: library.block_until_ready((infer(x, W_x, W_a, b, v),))


def gru(x: Any, W_x: Any, W_a: Any, b: Any, v: Any) -> Any:
    """`tt.GRU`: both gates see c and share a product; the candidate sees Γ_r * c, after it."""
    from jax import lax, nn
    from jax import numpy as jnp

    n = W_a.shape[1]

    def step(c: Any, z: Any) -> Any:
        gates = nn.sigmoid(z[:, n:] + c @ W_a[n:].T)
        gate_u, gate_r = gates[:, :n], gates[:, n:]
        c_tilde = jnp.tanh(z[:, :n] + (gate_r * c) @ W_a[:n].T)
        c = gate_u * c_tilde + (1 - gate_u) * c
        return c, c

    return lax.scan(step, jnp.zeros((x.shape[1], n), x.dtype), x @ W_x.T + b)[1]


def layer_norm_lstm(x: Any, W_x: Any, W_a: Any, b: Any, v: Any) -> Any:
    """`tt.LayerNormLSTM`: the input's half normalised for all steps at once."""
    from jax import lax, nn
    from jax import numpy as jnp

    n = W_a.shape[1]

    def normed(z: Any) -> Any:
        z = z - z.mean(-1, keepdims=True)
        return z * lax.rsqrt((z * z).mean(-1, keepdims=True) + 1e-5)

    alpha_x, alpha_a, beta = (
        jnp.concatenate([v[f"{name}{gate}"] for gate in "ufco"])
        for name in ("alpha_x", "alpha_a", "beta_")
    )

    def step(carry: Any, z: Any) -> Any:
        a, c = carry
        z = z + alpha_a * normed(a @ W_a.T)
        z_u, z_f, z_c, z_o = (z[:, k * n : (k + 1) * n] for k in range(4))
        c = nn.sigmoid(z_u) * jnp.tanh(z_c) + nn.sigmoid(z_f) * c
        a = nn.sigmoid(z_o) * jnp.tanh(normed(c) * v["alpha"] + v["beta"])
        return (a, c), a

    zero = jnp.zeros((x.shape[1], n), x.dtype)
    return lax.scan(step, (zero, zero), alpha_x * normed(x @ W_x.T) + beta + b)[1]
