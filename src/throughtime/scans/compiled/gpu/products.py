"""The large products around the time loop: z of all steps before it, the gradients after it.

No atomics: the same bits twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ....ground import lengths as ragged
from ..inputs import Inputs
from .memory import Sizes


def inputs_first(z: Tensor, inputs: Inputs, sizes: Sizes) -> None:
    """z [T, B, inputs, n] = b + W_x x, in the slots that x feeds."""
    x = inputs.x.view(sizes.T * sizes.B, -1)
    if sizes.inputs:
        W_in, b_in = of_slots(inputs, sizes)
        torch.addmm(b_in, x, W_in.t(), out=z.view(len(x), -1))


def of_slots(inputs: Inputs, sizes: Sizes) -> tuple[Tensor, Tensor]:
    """The rows of W_x and b by slot, as x feeds them."""
    order = sizes.gates[: sizes.inputs]
    W_x, b = inputs.W_x, inputs.b.to(inputs.x.dtype)
    n = sizes.n
    if order == list(range(W_x.shape[0] // max(n, 1))):
        return W_x, b
    rows, biases = W_x.view(-1, n, W_x.shape[-1]), b.view(-1, n)  # no list as an index: it would
    none = rows[:0].flatten(0, 1)  # be copied to the device at each call
    W_in = torch.cat([none, *(rows[gate] for gate in order)])
    return W_in, torch.cat([biases[:0].flatten(), *(biases[gate] for gate in order)])


def gradients(
    dz: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Inputs, sizes: Sizes,
    wanted: list[bool],
) -> list[Tensor | None]:  # fmt: skip
    """By x, W_x, W_a and b; `dz` holds zx, zr and, where x is read itself, x."""
    x, W_a = inputs.x, inputs.W_a
    rows = dz["zx"].view(sizes.T * sizes.B, -1)
    dx = dW_x = dW_a = db = None
    if wanted[0]:
        dx = (rows @ of_slots(inputs, sizes)[0]).view(x.shape)
        dx = dx + dz["x"] if "x" in dz else dx
    if wanted[1]:
        of_each = (rows.t() @ x.view(len(rows), -1)).view(sizes.inputs, sizes.n, -1)
        dW_x = by_gate(of_each, sizes, 0, W_a)
    if wanted[2]:
        dW_a = recurrent_weights(dz, buffers, inputs, sizes)
    if wanted[3]:
        sums = rows.sum(0, dtype=torch.float32).view(sizes.inputs, sizes.n, 1)
        db = by_gate(sums, sizes, 0, W_a)[:, 0]
    return [dx, dW_x, dW_a, db]


def by_column(W_a: Tensor) -> Tensor:
    """The block n × n of each gate, transposed."""
    n = W_a.shape[1]
    return W_a.view(-1, n, n).transpose(1, 2).contiguous()


def by_gate(of_slots: Tensor, sizes: Sizes, first: int, W_a: Tensor) -> Tensor:
    """[slots, n, …] from slot `first` on as [gates·n, …]: what belongs to one gate is added."""
    gates = sizes.gates[first : first + len(of_slots)]
    G = W_a.shape[0] // sizes.n
    if gates == list(range(G)):
        return of_slots.flatten(0, 1)
    total = of_slots.new_zeros(G, *of_slots.shape[1:])
    for gate, part in zip(gates, of_slots):
        total[gate] += part
    return total.flatten(0, 1)


def recurrent_weights(
    dz: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Inputs, sizes: Sizes
) -> Tensor:
    """dW_a: of each product dz of its slots times its operand."""
    n = sizes.n
    total = torch.zeros_like(inputs.W_a)
    operands: dict[int, Tensor] = {}
    for _, j, slot, count in sizes.facts["products"]:
        if j not in operands:
            operands[j] = operand(j, buffers, inputs, sizes)
        name, at = ("zx", slot) if slot < sizes.inputs else ("zr", slot - sizes.inputs)
        rows = dz[name][:, :, at : at + count].reshape(-1, count * n)
        total += by_gate((rows.t() @ operands[j]).view(count, n, n), sizes, slot, inputs.W_a)
    return total


def operand(j: int, buffers: dict[str, Tensor], inputs: Inputs, sizes: Sizes) -> Tensor:
    """Operand j of all steps [T·B, n], as the products took it: a state at t-1, or a value."""
    if j >= sizes.K:
        taken = buffers["values"][j - sizes.K]
    else:
        states = buffers["y"] if j == 0 else buffers["states"][j - 1]
        taken = states[:-1].to(inputs.x.dtype)
    if inputs.lengths is not None:  # what was never written
        taken = ragged.zero_padding(taken, inputs.lengths)
    if j < sizes.K and inputs.reset is not None:
        taken = taken.masked_fill(inputs.reset.view(torch.bool)[..., None], 0)
    return taken.reshape(-1, sizes.n)
