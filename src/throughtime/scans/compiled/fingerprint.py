"""What a cell's `step` computes, in a form to compare: the operations that it calls, in order.

Running `step` on stand-ins takes a millisecond, tracing a tenth of a second. So this log is the key
under which the traced program is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...cells import Cell
from ...ground.errors import ThroughtimeError
from .even import Even
from .stand_ins import STAND_INS, StandIn, given, step


class Opaque(ThroughtimeError):
    """A cell's equations cannot be followed; the message is the reason."""


class _Log(TorchFunctionMode):
    """Writes down each operation, its numbers, and which earlier results it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.numbers: dict[int, int] = {}
        self.alive: list[Tensor] = []  # so that no id is used twice

    def name(self, value: Any, made: bool = False) -> str:
        if isinstance(value, Tensor):
            if id(value) not in self.numbers and not made and value.numel() != 1:
                raise Opaque(
                    "its equations read a tensor that is not a parameter of the cell, or one from "
                    "a function that torch does not tell of (torch.jit, autograd.Function)."
                )
            if id(value) not in self.numbers:
                self.numbers[id(value)] = len(self.numbers)
                self.alive.append(value)
                if value.requires_grad:
                    raise Opaque("its equations read a parameter that the cell does not name.")
                if value.numel() == 1:
                    return f"%{self.numbers[id(value)]}={value.item()!r}"
            return f"%{self.numbers[id(value)]}"
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(self.name(v, made) for v in value)}]"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{k}: {self.name(v)}' for k, v in value.items())}}}"
        return repr(value)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            result = func(*args, **(kwargs or {}))
        if func is torch._C._set_grad_enabled:
            raise Opaque("its equations switch gradients off or on.")
        told = f"{getattr(func, '__module__', '')}.{getattr(func, '__name__', func)}"
        given = f"{self.name(args)}{self.name(kwargs or {})}"
        self.lines.append(f"{self.name(result, made=True)} = {told}{given}")
        return result


def fingerprint(cell: Cell) -> str:
    """What `cell.step` computes, as a log of operations on stand-ins of several sizes and kinds.

    Raises `Opaque`, and what `step` raises.
    """
    logs = [_logged(cell, stand_in) for stand_in in STAND_INS]
    named: list[Any] = [cell.gates, cell.state, cell.vectors, cell.inputs]
    if isinstance(cell, Even):
        inside = cell.cell
        named += [cell.whole, inside.sizes, inside.matrices, cell.taken]
    return "\n".join([repr((*named, torch.get_default_dtype())), *logs])


def _logged(cell: Cell, stand_in: StandIn) -> str:
    log = _Log()

    def half(which: str, v: Tensor, gate: str, size: int) -> Tensor:
        with torch._C.DisableTorchFunction():
            result = v.new_zeros(*v.shape[:-1], size)
        log.lines.append(f"{log.name(result, made=True)} = {which} {gate} {log.name(v)}")
        return result

    with torch.no_grad(), log:
        parts = given(cell, stand_in)
        log.lines.append(log.name(list(parts), made=True))
        log.lines.append(f"return {log.name(step(cell, stand_in, half, *parts))}")
    return "\n".join(log.lines)
