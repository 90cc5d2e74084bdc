"""What a cell's own methods return, looked at once: names, shapes and dtypes of the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ..cells import Bound, Cell, Weights, declared
from ..cells.failures import defined
from ..cells.noisy import Noisy, Wrapped
from ..ground import terminal
from ..ground.errors import InputError, ShapeError
from .identity import key_of

_known: set[Any] = set()
"""Cells, widths and dtypes whose `step` has been looked at."""

_told: set[Any] = set()
"""Cells of which it was said that they do not read all their parameters."""


def check_step(cell: Cell, n_x: int, n: int, dtype: torch.dtype) -> None:
    """Run `step` once on zeros, at the first use of a cell at these widths.

    Raises `InputError` or `ShapeError` where it does not return the state; warns of gates and
    vectors that it does not read. What `step` itself raises is left to the scan, which says where.
    """
    thins = isinstance(cell, Noisy) and cell.thins
    cell = cell.cell if isinstance(cell, Wrapped) else cell  # what is the user's own
    key = (key_of(cell) or type(cell), n_x, n, dtype, thins)
    if key in _known:
        return
    B = next(B for B in (2, 3, 4, 5) if B not in (n, *cell.state_sizes(n, n_x)))  # no units
    bound = cell.bind(_zero_weights(cell, n_x, n, dtype))
    for name in cell.inputs:
        size = cell.size(cell.sizes.get(name, "n"), n, n_x)
        setattr(bound, name, torch.zeros(B, size, dtype=dtype, device="cpu"))
    w, sizes = _Reads(bound), cell.state_sizes(n, n_x)
    quiet = (torch.no_grad(), torch.autocast("cpu", enabled=False), torch.random.fork_rng([]))
    with _disable_current_modes(), quiet[0], quiet[1], quiet[2]:
        try:
            made = cell.step(
                w,
                torch.zeros(B, n_x, dtype=dtype, device="cpu"),
                cell.State(*(torch.zeros(B, size, dtype=dtype, device="cpu") for size in sizes)),
            )
            if cell.start_reads_weights:
                cell.initial_state(B, n, w=w, dtype=dtype, device="cpu")
        except Exception:  # noqa: BLE001  the user's own equations: the scan meets it too
            return
    check_made("step", cell, made, B, sizes, (dtype,))
    if thins and cell.candidate not in w.read:
        name = cell.candidate
        raise InputError(
            f"{defined(type(cell).step)}{type(cell).__name__}.step must pass its candidate through "
            f"w.{name}, as in {name} = w.{name}(tanh(…)): recurrent dropout acts there."
        )
    _known.add(key)
    names = (*cell.gates, *cell.vectors, *cell.matrices, *cell.inputs)
    unread = [name for name in names if name not in w.read]
    if unread and key[0] not in _told:
        _told.add(key[0])
        terminal.warn(
            f"{cell!r} names {', '.join(unread)}, which its step does not read: parameters that "
            "nothing trains."
        )


def check_made(
    method: str,
    cell: Cell,
    made: Any,
    B: int,
    sizes: Sequence[int],
    dtypes: tuple[torch.dtype, ...],
) -> None:
    """Raise `InputError` or `ShapeError` unless `made`, by a method of the cell, is its state."""
    if getattr(made, "_fields", None) != cell.state:
        came = type(made).__name__ if made is not None else "None"
        came = "a plain tuple" if type(made) is tuple else came
        raise InputError(f"{_must_return(method, cell)}; it returned {came}.")
    for name, part, size in zip(cell.state, made, sizes):
        if not isinstance(part, Tensor):
            came = f"{name} is of type {type(part).__name__}"
            raise InputError(f"{_must_return(method, cell)}, tensors; {came}.")
        if tuple(part.shape) != (B, size):
            units = cell.sizes.get(name, "n")
            raise ShapeError(
                f"{_must_return(method, cell)}: state {name} must be {[B, size]}, [batch, "
                f"{units}]; it came as {list(part.shape)}."
            )
        if part.dtype not in dtypes:
            raise InputError(
                f"{_must_return(method, cell)}: state {name} must be {dtypes[0]}, as x is; it came "
                f"as {part.dtype}."
            )


def _must_return(method: str, cell: Cell) -> str:
    """Where the method is written, and what it must return."""
    of = f"{defined(getattr(type(cell), method))}{type(cell).__name__}.{method}"
    own = (name for name in cell.state if name not in cell.lagged)
    return f"{of} must return self.State({', '.join(f'{name}=…' for name in own)})"


def _zero_weights(cell: Cell, n_x: int, n: int, dtype: torch.dtype) -> Weights:
    """Weights of zeros that take no memory."""
    zero, rows = torch.zeros((), dtype=dtype, device="cpu"), len(cell.gates) * n
    shapes = declared.shapes(cell, n, n_x)
    sizes = {name: cell.size(cell.sizes.get(name, "n"), n, n_x) for name in cell.vectors}
    return Weights(
        zero.expand(rows, n_x),
        zero.expand(rows, shapes.taken),
        zero.expand(rows),
        {name: zero.expand(size) for name, size in sizes.items()},
        matrices={name: zero.expand(shape) for name, shape in shapes.matrices.items()},
    )


class _Reads:
    """Bound weights that remember which of them were read."""

    def __init__(self, bound: Bound) -> None:
        self.bound, self.read = bound, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self.bound, name)
