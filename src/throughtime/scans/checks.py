"""What `scan` and the stacks look at before they run: kinds, shapes, states, numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..cells import Cell, Weights
from ..cells import declared as declarations
from ..cells.failures import told
from ..cells.names import find_cell
from ..ground import lengths as ragged
from ..ground.errors import InputError, NonFiniteError, ShapeError
from ..ground.tracing import numbers_hidden
from .steps import check_made


def as_cell(cell: Cell | type[Cell] | str) -> Cell:
    """A cell from a cell, from a class of cells with its default options, or from a name."""
    if isinstance(cell, str):
        return find_cell(cell)
    if isinstance(cell, type) and issubclass(cell, Cell):
        return cell()
    if not isinstance(cell, Cell):
        raise InputError(
            f"cell must be a tt.Cell such as tt.LSTM or tt.LSTM(), or a name such as 'lstm'; got "
            f"{cell!r}."
        )
    return cell


def check_shapes(cell: Cell, w: Weights, x: Tensor) -> tuple[int, int, int]:
    """Raise `ShapeError` unless x and w fit the cell; return T, B, n."""
    check_kind(x, w.W_x.dtype)
    if x.dim() != 3:
        raise ShapeError(f"x must be [T, B, n_x], three dimensions; got {list(x.shape)}.")
    n, n_x = cell.width(w), x.shape[-1]
    rows, shapes = len(cell.gates) * n, declarations.shapes(cell, n, n_x)
    expected = {"W_x": (rows, n_x), "W_a": (rows, shapes.taken), "b": (rows,)}
    given = {"W_x": w.W_x.shape, "W_a": w.W_a.shape, "b": w.b.shape}
    for name, size in shapes.parameters.items():
        expected[name] = (size,)
        if name not in w.vectors:
            raise ShapeError(f"{cell!r} needs the vector {name} [{size}]; the weights have none.")
        given[name] = w.vectors[name].shape
    for name, shape in shapes.matrices.items():
        expected[name] = shape
        if name not in w.matrices:
            raise ShapeError(
                f"{cell!r} needs a matrix {name} {list(shape)}; the weights have none."
            )
        given[name] = w.matrices[name].shape
    if w.first and w.first.keys() != set(cell.state):
        raise ShapeError(
            f"a learned first state of {cell!r} has the parts {', '.join(cell.state)}; got "
            f"{', '.join(w.first)}."
        )
    sizes = dict(zip(cell.state, cell.state_sizes(n, n_x)))
    for name, part in w.first.items():
        expected[f"first {name}"], given[f"first {name}"] = (sizes[name],), part.shape
    for name, shape in expected.items():
        if tuple(given[name]) != shape:
            raise ShapeError(
                f"{name} must be {list(shape)} for {cell!r} with n = {n} and x of width {n_x}; "
                f"got {list(given[name])}."
            )
    return x.shape[0], x.shape[1], n


def derived(cell: Cell, w: Weights) -> Weights:
    """The weights that the cell's `step` reads, made from w where the cell makes them.

    Raises `ShapeError` where they are not shaped as step needs them.
    """
    if not cell.derives:
        return w
    with told():
        made = cell.derived(w)
    n, n_x = cell.width(w), w.W_x.shape[-1]
    expected = [("W_x", w.W_x.shape), ("W_a", w.W_a.shape), ("b", w.b.shape)]
    given = [made.W_x.shape, made.W_a.shape, made.b.shape]
    for name in cell.vectors:
        size = cell.size(cell.sizes.get(name, "n"), n, n_x)
        expected.append((name, torch.Size((size,))))
        given.append(made.vectors[name].shape)
    for name in cell.matrices:
        expected.append((name, w.matrices[name].shape))
        given.append(made.matrices[name].shape)
    for (name, shape), came in zip(expected, given):
        if came != shape:
            raise ShapeError(
                f"{type(cell).__name__}.derived must give {name} {list(shape)}; it came as "
                f"{list(came)}."
            )
    return made


def check_kind(x: Any, dtype: torch.dtype) -> None:
    """Raise `InputError` unless x is a tensor of the weights' dtype (autocast converts)."""
    if not isinstance(x, Tensor):
        raise InputError(f"x must be a tensor, got {type(x).__name__}.")
    if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
        raise InputError(f"x must be {dtype}, as the weights are; got {x.dtype}.")


def check_state(
    cell: Cell, state: Any, rows: tuple[int, ...], sizes: Sequence[int], of: str = ""
) -> Any:
    """The state as `cell.State`; raise `ShapeError` unless its parts are [*rows, their size].

    `of` is said of it where there are several: " of layer 2".
    """
    parts = (state,) if isinstance(state, Tensor) else tuple(state)
    names = getattr(state, "_fields", None)
    if len(parts) != len(cell.state) or names not in (None, cell.state):
        came = ", ".join(names) if names else f"{len(parts)} without names"
        raise ShapeError(
            f"the state of {cell!r}{of} has the parts {', '.join(cell.state)}; got {came}."
        )
    for name, part, size in zip(cell.state, parts, sizes):
        shape = (*rows, size)
        if tuple(part.shape) != shape:
            raise ShapeError(f"state {name}{of} must be {list(shape)}; got {list(part.shape)}.")
    return cell.State(*parts)


def starts_at_zero(cell: Cell, w: Weights) -> bool:
    """Whether the first state is zero: neither the cell's own nor learned."""
    return cell.starts_at_zero and not w.first


def first_state(cell: Cell, w: Weights, B: int, dtype: torch.dtype, device: torch.device) -> Any:
    """The state [B, n] before the first step: the cell's own, and what is learned added to it.

    It is checked where the cell itself says what it is.
    """
    n, n_x = cell.width(w), w.W_x.shape[-1]
    sizes = cell.state_sizes(n, n_x)
    if starts_at_zero(cell, w):
        return cell.State(*(torch.zeros(B, size, dtype=dtype, device=device) for size in sizes))
    with told():
        state = cell.first_state(w, B, dtype=dtype, device=device)
    if not cell.starts_at_zero:
        check_made("initial_state", cell, state, B, sizes, (dtype, w.W_a.dtype))
    if not w.first:
        return state
    learned = (w.first[name].to(part.dtype) for name, part in zip(cell.state, state))
    return cell.State(*(part + more for part, more in zip(state, learned)))


def check_reset(reset: Tensor | None, T: int, B: int, device: torch.device) -> Tensor | None:
    """Raise `ShapeError` unless reset is None or boolean [T, B]."""
    if reset is None:
        return None
    if reset.dtype != torch.bool or tuple(reset.shape) != (T, B):
        raise ShapeError(
            f"reset must be boolean [{T}, {B}]; got {reset.dtype} {list(reset.shape)}."
        )
    return reset.to(device)


def check_inputs(
    cell: Cell, inputs: Mapping[str, Tensor] | None, x: Tensor, width: int
) -> list[Tensor]:
    """What the cell reads at each step beside x, in its order.

    What it names among its `constants` is [B, n], and becomes [1, B, n]. Raises `InputError` for
    one that is missing, unknown or of another kind, `ShapeError` unless it is [T, B, n] or has 1 in
    place of a size.
    """
    inputs = inputs or {}
    if inputs.keys() != set(cell.inputs):
        expected = ", ".join(cell.inputs) or "none"
        raise InputError(
            f"{cell!r} reads these inputs beside x: {expected}; got {', '.join(inputs) or 'none'}."
        )
    T, B, n_x = x.shape
    for name, stream in inputs.items():
        n = cell.size(cell.sizes.get(name, "n"), width, n_x)
        shape = (B, n) if name in cell.constants else (T, B, n)
        fits = stream.dim() == len(shape) and all(
            came in (size, 1) for came, size in zip(stream.shape, shape)
        )
        if not fits:
            raise ShapeError(
                f"input {name} must be {list(shape)}, or 1 in place of a size; got "
                f"{list(stream.shape)}."
            )
        if stream.dtype not in (x.dtype, torch.bool) or stream.device != x.device:
            raise InputError(
                f"input {name} must be {x.dtype} as x is, or boolean, on {x.device}; got "
                f"{stream.dtype} on {stream.device}."
            )
    return [inputs[name][None] if name in cell.constants else inputs[name] for name in cell.inputs]


def check_finite(x: Tensor, lengths: Tensor | None) -> None:
    """Raise `NonFiniteError` for NaN or infinity in data: on the CPU, without a gradient.

    Activations are left alone: a network that explodes in training is the trainer's to detect.
    """
    if x.requires_grad or not x.is_cpu or numbers_hidden():
        return
    if x.numel() == 0 or math.isfinite(x.sum()):
        return
    bad = ~torch.isfinite(x)
    if lengths is not None:
        bad &= ragged.mask(lengths, x.shape[0])[..., None]
    if bad.any():
        t, b, i = bad.nonzero()[0].tolist()
        raise NonFiniteError(
            f"x holds {int(bad.sum())} values that are NaN or infinite, the first at "
            f"t = {t}, sequence {b}, feature {i}: {float(x[t, b, i])}. Clean the data, or mask it "
            "with lengths."
        )
