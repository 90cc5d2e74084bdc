"""The peers of the layer benchmark, over our weights: torch's layers, plain loops, ONNX Runtime.

Each is written as well as one would in earnest: the loops hoist the input's product out of time,
have one product for all gates that share a vector, and use torch's fused pointwise functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, addmm, nn, sigmoid, tanh
from torch.nn.functional import layer_norm, linear, softplus

import throughtime as tt
from throughtime.cells import Cell, Weights


class DecayUnit(tt.Cell):
    """A cell that no library has: a minimal gated unit whose gate is a decay, its rate learned.

        Γ_f  = exp(−softplus(p) * softplus(W_f [c<t-1>, x<t>] + b_f))
        c̃    = tanh(W_c [Γ_f * c<t-1>, x<t>] + b_c)
        c<t> = Γ_f * c<t-1> + (1 − Γ_f) * c̃

    After Zhou et al. 2016, arXiv:1603.09420.
    """

    gates = ("f", "c")
    state = ("c",)
    vectors = ("p",)

    def step(self, w, x, s):
        gate_f = torch.exp(-softplus(w.p) * softplus(w.f(s.c, x)))
        c_tilde = tanh(w.c(gate_f * s.c, x))
        return self.State(c=gate_f * s.c + (1 - gate_f) * c_tilde)


# ---- torch's layers ---------------------------------------------------------------------------


def torch_layer(cell: Cell, w: Weights) -> nn.RNNBase:
    """torch's layer with our weights; its second bias is zero but for the GRU's d_c."""
    n_x, n = w.W_x.shape[1], w.W_a.shape[1]
    kind = {tt.LSTM: nn.LSTM, tt.GRUResetAfter: nn.GRU, tt.RNN: nn.RNN}[type(cell)]
    layer = kind(n_x, n).to(w.W_x.device, w.W_x.dtype)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(w.W_x)
        layer.weight_hh_l0.copy_(w.W_a)
        layer.bias_ih_l0.copy_(w.b)
        layer.bias_hh_l0.zero_()
        if "d_c" in w.vectors:
            layer.bias_hh_l0[2 * n :] = w.vectors["d_c"]
    return layer


# ---- plain loops ------------------------------------------------------------------------------


def lstm(w: Weights, x: Tensor) -> Tensor:
    """`tt.LSTM`: one product a step."""
    a = c = x.new_zeros(x.shape[1], w.W_a.shape[1])
    W_a, ys = w.W_a.t(), []
    for z in linear(x, w.W_x, w.b).unbind(0):
        z_u, z_f, z_c, z_o = addmm(z, a, W_a).chunk(4, 1)
        c = torch.addcmul(sigmoid(z_u) * tanh(z_c), sigmoid(z_f), c)
        a = sigmoid(z_o) * tanh(c)
        ys.append(a)
    return torch.stack(ys)


def rnn(w: Weights, x: Tensor) -> Tensor:
    """`tt.RNN`: one product and one function a step."""
    a = x.new_zeros(x.shape[1], w.W_a.shape[1])
    W_a, ys = w.W_a.t(), []
    for z in linear(x, w.W_x, w.b).unbind(0):
        a = tanh(addmm(z, a, W_a))
        ys.append(a)
    return torch.stack(ys)


def gru_reset_after(w: Weights, x: Tensor) -> Tensor:
    """`tt.GRUResetAfter`: one product a step, the reset applied to its candidate's part."""
    n = w.W_a.shape[1]
    c = x.new_zeros(x.shape[1], n)
    W_a, d_c, ys = w.W_a.t(), w.vectors["d_c"], []
    z = linear(x, w.W_x, w.b)
    for z_r, z_z, z_c in zip(*(part.unbind(0) for part in z.chunk(3, 2))):
        a_r, a_z, a_c = torch.mm(c, W_a).chunk(3, 1)
        gate_r, gate_z = sigmoid(z_r + a_r), sigmoid(z_z + a_z)
        c = torch.lerp(tanh(z_c + gate_r * (a_c + d_c)), c, gate_z)
        ys.append(c)
    return torch.stack(ys)


def simple_gru(w: Weights, x: Tensor) -> Tensor:
    """`tt.SimpleGRU`: one product a step."""
    c = x.new_zeros(x.shape[1], w.W_a.shape[1])
    W_a, ys = w.W_a.t(), []
    for z in linear(x, w.W_x, w.b).unbind(0):
        z_c, z_u = addmm(z, c, W_a).chunk(2, 1)
        c = torch.lerp(c, tanh(z_c), sigmoid(z_u))
        ys.append(c)
    return torch.stack(ys)


def gru(w: Weights, x: Tensor) -> Tensor:
    """`tt.GRU`: both gates see c and share a product; the candidate sees Γ_r * c, after it."""
    n = w.W_a.shape[1]
    c = x.new_zeros(x.shape[1], n)
    W_c, W_gates, ys = w.W_a[:n].t(), w.W_a[n:].t(), []
    z = linear(x, w.W_x, w.b)
    for z_c, z_gates in zip(z[..., :n].unbind(0), z[..., n:].unbind(0)):
        gate_u, gate_r = sigmoid(addmm(z_gates, c, W_gates)).chunk(2, 1)
        c_tilde = tanh(addmm(z_c, gate_r * c, W_c))
        c = torch.lerp(c, c_tilde, gate_u)
        ys.append(c)
    return torch.stack(ys)


def peephole_lstm(w: Weights, x: Tensor) -> Tensor:
    """`tt.PeepholeLSTM`, the output gate seeing the previous memory cell."""
    a = c = x.new_zeros(x.shape[1], w.W_a.shape[1])
    p_u, p_f, p_o = (w.vectors[name] for name in ("p_u", "p_f", "p_o"))
    W_a, ys = w.W_a.t(), []
    for z in linear(x, w.W_x, w.b).unbind(0):
        z_u, z_f, z_c, z_o = addmm(z, a, W_a).chunk(4, 1)
        gate_u = sigmoid(torch.addcmul(z_u, p_u, c))
        gate_f = sigmoid(torch.addcmul(z_f, p_f, c))
        gate_o = sigmoid(torch.addcmul(z_o, p_o, c))
        c = torch.addcmul(gate_u * tanh(z_c), gate_f, c)
        a = gate_o * tanh(c)
        ys.append(a)
    return torch.stack(ys)


def normed(z: Tensor, alphas: Tensor) -> Tensor:
    """The gates normalised together, times their gains [G·n]."""
    return layer_norm(z, z.shape[-1:], alphas, None, 1e-5)


def layer_norm_lstm(w: Weights, x: Tensor) -> Tensor:
    """`tt.LayerNormLSTM`: the input's half normalised for all steps at once."""
    v, n = w.vectors, w.W_a.shape[1]
    a = c = x.new_zeros(x.shape[1], n)
    alpha_x, alpha_a, beta = (
        torch.cat([v[f"{name}{gate}"] for gate in "ufco"])
        for name in ("alpha_x", "alpha_a", "beta_")
    )
    W_a, ys = w.W_a.t(), []
    for z in (normed(linear(x, w.W_x), alpha_x) + (beta + w.b)).unbind(0):
        z_u, z_f, z_c, z_o = (z + normed(torch.mm(a, W_a), alpha_a)).chunk(4, 1)
        c = torch.addcmul(sigmoid(z_u) * tanh(z_c), sigmoid(z_f), c)
        a = sigmoid(z_o) * tanh(layer_norm(c, (n,), v["alpha"], v["beta"]))
        ys.append(a)
    return torch.stack(ys)


def layer_norm_gru(w: Weights, x: Tensor) -> Tensor:
    """`tt.LayerNormGRU`: gates in the order c, u, r; c̃ is normalised apart."""
    v, n = w.vectors, w.W_a.shape[1]
    c = x.new_zeros(x.shape[1], n)
    gains_x, gains_c, beta = (
        torch.cat([v[f"{name}{gate}"] for gate in "ur"]) for name in ("alpha_x", "alpha_a", "beta_")
    )
    W_a, ys = w.W_a.t(), []
    z = linear(x, w.W_x)
    z_gates = normed(z[..., n:], gains_x) + (beta + w.b[n:])
    z_c = normed(z[..., :n], v["alpha_xc"]) + (v["beta_c"] + w.b[:n])
    for gates, candidate in zip(z_gates.unbind(0), z_c.unbind(0)):
        recurrent = torch.mm(c, W_a)
        gate_u, gate_r = sigmoid(gates + normed(recurrent[:, n:], gains_c)).chunk(2, 1)
        kept = normed(recurrent[:, :n], v["alpha_ac"]) + v["d_c"]
        c = torch.lerp(c, tanh(torch.addcmul(candidate, gate_r, kept)), gate_u)
        ys.append(c)
    return torch.stack(ys)


def decay_unit(w: Weights, x: Tensor) -> Tensor:
    """`DecayUnit`: two products a step, one after the other."""
    n = w.W_a.shape[1]
    c = x.new_zeros(x.shape[1], n)
    rate = -softplus(w.vectors["p"])
    W_f, W_c, ys = w.W_a[:n].t(), w.W_a[n:].t(), []
    z = linear(x, w.W_x, w.b)
    for z_f, z_c in zip(z[..., :n].unbind(0), z[..., n:].unbind(0)):
        gate_f = torch.exp(rate * softplus(addmm(z_f, c, W_f)))
        kept = gate_f * c
        c_tilde = tanh(addmm(z_c, kept, W_c))
        c = kept + torch.addcmul(c_tilde, gate_f, c_tilde, value=-1)
        ys.append(c)
    return torch.stack(ys)


LOOPS: dict[Cell, Callable[[Weights, Tensor], Tensor]] = {
    tt.LSTM(): lstm,
    tt.RNN(): rnn,
    tt.GRUResetAfter(): gru_reset_after,
    tt.SimpleGRU(): simple_gru,
    tt.GRU(): gru,
    tt.PeepholeLSTM(): peephole_lstm,
    tt.LayerNormLSTM(): layer_norm_lstm,
    tt.LayerNormGRU(): layer_norm_gru,
    DecayUnit(): decay_unit,
}
"""Cells, and their loops."""


# ---- ONNX Runtime -----------------------------------------------------------------------------

ONNX_ORDER = {tt.LSTM: "uofc", tt.GRUResetAfter: "zrc", tt.GRU: "urc"}
"""Our gates in the order of ONNX's operators: i, o, f, c and z, r, h."""


def onnx_model(cell: Cell, w: Weights, T: int, B: int) -> bytes:
    """A model of one operator with our weights as constants: X [T, B, n_x] → Y [T, 1, B, n]."""
    from onnx import TensorProto, checker, helper, numpy_helper

    n_x, n = w.W_x.shape[1], w.W_a.shape[1]
    W_x, W_a, b = in_onnx_order(cell, w)
    d = torch.zeros_like(b)
    if "d_c" in w.vectors:
        d[2 * n :] = w.vectors["d_c"]
    constants = {"W": W_x[None], "R": W_a[None], "B": torch.cat([b, d])[None]}
    operator, attributes = "LSTM", {}
    if not isinstance(cell, tt.LSTM):
        operator = "GRU"
        attributes = {"linear_before_reset": int(isinstance(cell, tt.GRUResetAfter))}
    node = helper.make_node(operator, ["X", *constants], ["Y"], hidden_size=n, **attributes)
    graph = helper.make_graph(
        [node],
        operator,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [T, B, n_x])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [T, 1, B, n])],
        [numpy_helper.from_array(v.detach().numpy(), k) for k, v in constants.items()],
    )
    # versions that every onnxruntime of the last years reads
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


def in_onnx_order(cell: Cell, w: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """W_x, W_a and b with the gates as ONNX has them; its z keeps the old state: z = 1 − Γ_u."""
    parts = []
    for part in (w.W_x, w.W_a, w.b):
        gates = dict(zip(cell.gates, part.detach().chunk(len(cell.gates)), strict=True))
        if isinstance(cell, tt.GRU):
            gates["u"] = -gates["u"]
        parts.append(torch.cat([gates[name] for name in ONNX_ORDER[type(cell)]]))
    return parts[0], parts[1], parts[2]


class OnnxLayer:
    """One layer in ONNX Runtime, its input and output bound once: a call copies nothing."""

    def __init__(self, model: bytes, x: Tensor, n: int, threads: int, spinning: bool) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        options.add_session_config_entry("session.force_spinning_stop", "1")  # after each call
        providers = ["CPUExecutionProvider"]
        self.session: Any = onnxruntime.InferenceSession(model, options, providers=providers)
        self.binding = self.session.io_binding()
        self.x, self.y = x, torch.empty(x.shape[0], 1, x.shape[1], n)
        self.binding.bind_cpu_input("X", x.numpy())
        y = onnxruntime.OrtValue.ortvalue_from_numpy(self.y.numpy())
        self.binding.bind_ortvalue_output("Y", y)
        self.output = y

    def __call__(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def result(self) -> Tensor:
        """y [T, B, n] of the last call."""
        return torch.from_numpy(self.output.numpy())[:, 0]
