"""Oracles of the zoo: how the package torchrecurrent has each cell, or NumPy equations.

`PEERS` tells whose rows of the package's parameters are which gates. Its biases that only add to
another are left at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

import throughtime as tt
from oracles import Array, Parameters, States, affine, sigma


@dataclass(frozen=True)
class Peer:
    """A cell of the package: its class, and what its parameters are of ours.

    `ih`, `hh`: the gates whose input and recurrent halves are stacked in weight_ih and weight_hh;
    `bias`: those whose biases are in bias_ih, `ih` where not given; `more`: recurrent halves in
    other parameters, `inputs`: input halves there; `vectors`: vectors in parameters;
    `state`: the parts of our state that its state is, in order; `output`: what it returns apart
    from the state, where it does; `free`: gates whose bias it does not have.
    """

    name: str
    ih: Sequence[str]
    hh: Sequence[str] = ()
    bias: Sequence[str] | None = None
    more: dict[str, Sequence[str]] = field(default_factory=dict)
    vectors: dict[str, Sequence[str]] = field(default_factory=dict)
    state: Sequence[str] = ("c",)
    output: str | None = None
    free: Sequence[str] = ()
    options: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Sequence[str]] = field(default_factory=dict)


AC = ("a", "c")
PEERS: dict[tt.Cell, Peer] = {
    tt.zoo.AntisymmetricRNN(0.3, 0.1): Peer(
        "AntisymmetricRNN", "a", "a", state="a", options={"epsilon": 0.3, "gamma": 0.1}
    ),
    tt.zoo.GatedAntisymmetricRNN(0.3, 0.1): Peer(
        "GatedAntisymmetricRNN", "ua", "a", state="a", options={"epsilon": 0.3, "gamma": 0.1}
    ),
    tt.zoo.ATR(): Peer("ATR", "c", "c"),
    tt.zoo.BR(): Peer("BR", "rfc", vectors={"weight_hh": ("p_r", "p_f")}),
    tt.zoo.NBR(): Peer("NBR", "rfc", "rf"),
    tt.zoo.CFN(): Peer("CFN", "fuc", "fu"),
    tt.zoo.CoRNN(0.2, 0.9, 0.8): Peer(
        "coRNN",
        "a",
        "a",
        more={"weight_ch": "v"},
        state="av",
        options={"dt": 0.2, "gamma": 0.9, "epsilon": 0.8},
        free="v",
    ),
    tt.zoo.FastRNN(): Peer("FastRNN", "c", "c", vectors={"alpha": ["alpha"], "beta": ["beta"]}),
    tt.zoo.FastGRNN(): Peer(
        "FastGRNN",
        "c",
        "c",
        bias="cc",
        vectors={"zeta": ["zeta"], "nu": ["nu"], "bias_hh": ("p_f", "")},
        options={"nonlinearity": "sigmoid"},
    ),
    tt.zoo.IndRNN(): Peer(
        "IndRNN", "a", vectors={"vector_u": "u"}, state="a", options={"nonlinearity": "relu"}
    ),
    tt.zoo.IndRNN("tanh"): Peer("IndRNN", "a", vectors={"vector_u": "u"}, state="a"),
    tt.zoo.IntersectionRNN(): Peer("IntersectionRNN", "ahpq", "ahpq", state="h", output="a"),
    tt.zoo.JANET(0.7): Peer("JANET", "fc", "fc", state=("c", "c"), options={"beta": 0.7}),
    tt.zoo.LiGRU(): Peer("LiGRU", "fc", "fc"),
    tt.zoo.LightRU(): Peer("LightRU", "cu", "u"),
    tt.zoo.MCLSTM(): Peer("MCLSTM", "fuomc", "fuomc", state=("v", "c"), output="a"),
    tt.zoo.MGU(): Peer("MGU", "fc", "fc"),
    tt.zoo.MinimalRNN(): Peer(
        "MinimalRNN", "z", "u", more={"weight_mm": "v"}, vectors={"bias_hh": ["p_u"]}, free="uv"
    ),
    tt.zoo.MiRU1(0.3): Peer("MiRU1", "rc", "rc", options={"update_coefficient": 0.3}),
    tt.zoo.MiRU2(0.3, 0.6): Peer(
        "MiRU2", "c", "c", options={"update_coefficient": 0.3, "reset_coefficient": 0.6}
    ),
    tt.zoo.MultiplicativeLSTM(): Peer(
        "MultiplicativeLSTM", "mufco", "m", more={"weight_mh": "ufco"}, state=AC
    ),
    tt.zoo.MUT1(): Peer("MUT1", "urc", "rv", vectors={"bias_hh": ("", "p_c")}, free="v"),
    tt.zoo.MUT2(): Peer("MUT2", "urc", "urc"),
    tt.zoo.MUT3(): Peer("MUT3", "urc", "urc"),
    tt.zoo.NAS(): Peer("NAS", tt.zoo.NAS.gates, tt.zoo.NAS.gates, state=AC),
    tt.zoo.OriginalLSTM(): Peer("OriginalLSTM", "uco", "uco", state=AC),
    tt.zoo.RAN(): Peer("RAN", "cuf", "uf", bias="uf", state=AC, free="c"),
    tt.zoo.ResLSTM(): Peer(
        "ResLSTM",
        "ufco",
        "ufco",
        more={"weight_proj": "r"},
        inputs={"weight_res": "r"},
        vectors={"weight_ph": ("p_u", "p_f", "p_o")},
        state=AC,
        free="r",
    ),
    tt.zoo.SGRN(): Peer("SGRN", "c", "c"),
    tt.zoo.SGU(): Peer("SGU", "zu", "vu", free="v"),
    tt.zoo.DSGU(): Peer("DSGU", "zu", "vu", more={"weight_ho": "o"}, free="vo"),
    tt.zoo.STAR(): Peer("STAR", "zu", "u"),
    tt.zoo.TauGRU(): Peer("tauGRU", "uzga", "uzga"),
    tt.zoo.TRNN(): Peer("TRNN", "zf"),
    tt.zoo.TGRU(): Peer("TGRU", "zfo"),
    tt.zoo.TLSTM(): Peer("TLSTM", "zfo", output="a"),
    tt.zoo.UGRNN(): Peer("UGRNN", "cf", "cf"),
    tt.zoo.UnICORNN(0.2, 0.4): Peer(
        "UnICORNN",
        "a",
        vectors={"weight_hh": "u", "weight_ch": "k"},
        state="av",
        options={"dt": 0.2, "alpha": 0.4},
    ),
    tt.zoo.WMCLSTM(): Peer(
        "WMCLSTM",
        "ufco",
        "ufco",
        more={"weight_mh": "igq"},
        vectors={"bias_mh": ("p_u", "p_f", "p_o")},
        state=AC,
        free="igq",
    ),
    tt.PeepholeLSTM("current"): Peer(
        "PeepholeLSTM", "ufco", "ufco", vectors={"weight_ph": ("p_u", "p_f", "p_o")}, state=AC
    ),
}
"""Cells with options off their defaults, so that an option that is not read would show."""


def peer_weights(cell: tt.Cell, w: tt.Weights) -> dict[str, Tensor]:
    """The package's parameters from ours; biases that are not there are left out."""
    peer = PEERS[cell]
    G = len(cell.gates)
    W_x, W_a, b = (dict(zip(cell.gates, part.chunk(G))) for part in w[:3])
    found = {"weight_ih": torch.cat([W_x[g] for g in peer.ih])}
    found["bias_ih"] = torch.cat([b[g] for g in peer.bias or peer.ih])
    if peer.hh:
        found["weight_hh"] = torch.cat([W_a[g] for g in peer.hh])
    found |= {name: torch.cat([W_a[g] for g in gates]) for name, gates in peer.more.items()}
    found |= {name: torch.cat([W_x[g] for g in gates]) for name, gates in peer.inputs.items()}
    zero = b[cell.gates[0]] * 0
    for name, vectors in peer.vectors.items():
        found[name] = torch.cat([w.vectors[v] if v else zero for v in vectors])
    if peer.name in ("TGRU", "TLSTM"):
        found["weight_hh"] = torch.cat([W_x[g] for g in ("V_z", "V_f", "V_o")])
        found["bias_hh"] = torch.cat([b[g] for g in ("V_z", "V_f", "V_o")])
    return found


def make_peer(package: Any, cell: tt.Cell, w: tt.Weights) -> torch.nn.Module:
    """The package's cell with our weights, float64; each parameter of it is set."""
    peer = PEERS[cell]
    n_x, n = w.W_x.shape[1], w.W_a.shape[1]
    module = getattr(package, f"{peer.name}Cell")(n_x, n, dtype=torch.float64, **peer.options)
    module = module.double()
    given = peer_weights(cell, w)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in given:
                assert parameter.shape == given[name].shape, name
                parameter.copy_(given.pop(name))
            elif name.startswith("bias_"):
                parameter.zero_()
            else:
                assert name == "beta", name  # JANET's, set by its option
                parameter.fill_(peer.options["beta"])
    assert not given, list(given)
    return module


def unroll_peer(package: Any, cell: tt.Cell, w: tt.Weights, x: Tensor, state: Any) -> Any:
    """y and the final state's parts by the package, x [T, B, n_x]; `state` ours."""
    module, peer = make_peer(package, cell, w), PEERS[cell]
    if peer.name == "tauGRU":
        past = list(state)
        for x_t in x:
            past = [module(x_t, past[0], past[-1]), *past[:-1]]
        return past[0], dict(zip(cell.state, past))
    s = tuple(getattr(state, part) for part in peer.state)
    if peer.name in ("TGRU", "TLSTM"):
        return unroll_typed(module, cell, w, x, state)
    s = s if len(s) > 1 else s[0]
    y = None
    for x_t in x:
        made = module(x_t, s)
        y, s = made if peer.output else (made, made)
    parts = s if isinstance(s, tuple) else (s,)
    final = dict(zip(peer.state, parts)) | ({peer.output: y} if peer.output else {})
    return final[cell.state[0]], final


def unroll_typed(module: Any, cell: tt.Cell, w: tt.Weights, x: Tensor, state: Any) -> Any:
    """T-GRU and T-LSTM, which carry x<t-1>: x[0] is before the first step."""
    before, memory, y = x[0], state.c, None
    for x_t in x[1:]:
        made = module(x_t, (memory, before))
        if PEERS[cell].output:
            y, (memory, before) = made
        else:
            memory, before = made
            y = memory
    return y, {"c": memory} | ({"a": y} if PEERS[cell].output else {})


# ---- NumPy, where the package differs from the paper or has none --------------------------------


def recurrent(p: Parameters, gate: str, v: Array) -> Array:
    return p.W[gate][:, : len(v)] @ v


def of_input(p: Parameters, gate: str, x: Array) -> Array:
    return p.W[gate][:, -len(x) :] @ x + p.b[gate]


def lem(p: Parameters, x: Array, s: States) -> States:
    """Δt = 0.5."""
    step_a = 0.5 * sigma(affine(p, "p", s["a"], x))
    step_c = 0.5 * sigma(affine(p, "q", s["a"], x))
    c = s["c"] - step_c * (s["c"] - np.tanh(affine(p, "c", s["a"], x)))
    return {"a": s["a"] - step_a * (s["a"] - np.tanh(affine(p, "a", c, x))), "c": c}


def scrn(p: Parameters, x: Array, s: States) -> States:
    """α = 0.8."""
    slow = 0.2 * of_input(p, "s", x) + 0.8 * s["s"]
    h = sigma(affine(p, "h", s["h"], x) + recurrent(p, "p", slow))
    return {"a": recurrent(p, "u", h) + recurrent(p, "v", slow), "h": h, "s": slow}


def lstmp(p: Parameters, x: Array, s: States) -> States:
    gate_u, gate_f, gate_o = (sigma(affine(p, gate, s["a"], x)) for gate in "ufo")
    c = gate_u * np.tanh(affine(p, "c", s["a"], x)) + gate_f * s["c"]
    return {"a": p.v["r"] @ (gate_o * np.tanh(c)), "c": c}


def rhn(p: Parameters, x: Array, s: States) -> States:
    a = s["a"]
    for level in (1, 2, 3):
        if level == 1:
            h, t = affine(p, "h1", a, x), affine(p, "t1", a, x)
        else:
            h = recurrent(p, f"h{level}", a) + p.v[f"p_h{level}"]
            t = recurrent(p, f"t{level}", a) + p.v[f"p_t{level}"]
        a = a + sigma(t) * (np.tanh(h) - a)
    return {"a": a}


IN_NUMPY: dict[tt.Cell, Callable[[Parameters, Array, States], States]] = {
    tt.zoo.LEM(0.5): lem,
    tt.zoo.LSTMP(2): lstmp,
    tt.zoo.SCRN(0.8): scrn,
    tt.zoo.RHN(): rhn,
}
CELLS: list[tt.Cell] = [*PEERS, *IN_NUMPY]
