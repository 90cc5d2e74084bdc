"""How weights begin, gate by gate, where a cell or who makes a stack says so.

A gate has the halves `recurrent` (W_ga), `input` (W_gx) and `bias` (b_g), a vector or a matrix is a
whole:

    initial = {"f": {"bias": 1.0}, "c": {"recurrent": "orthogonal"}, "p_o": 0.0}

A value is a number, or one of

    "zeros"       0
    "uniform"     U[-1/√n, 1/√n], as matrices and vectors begin where nothing is said
    "identity"    1 on the diagonal, else 0; a matrix (Le et al. 2015, with relu)
    "orthogonal"  a random orthogonal matrix (Saxe et al. 2014)
    "chrono:T"    b = log u, u from U[1, T - 1], unit by unit, for gates that keep; "-chrono:T" is
                  -b of the same draw, for those that take in (Tallec & Ollivier 2018): what is kept
                  lasts between 1 and T - 1 steps at first
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..ground.errors import InputError, did_you_mean

HALVES = ("recurrent", "input", "bias")
MATRICES = ("identity", "orthogonal")
NAMED = ("zeros", "uniform", *MATRICES)


def check(cell: Any, initial: Any, where: str) -> None:
    """Raise `InputError` unless `initial` says how gates and vectors of the cell begin.

    `where` is what the message calls it.
    """
    if not isinstance(initial, Mapping):
        raise InputError(f"{where} must be a mapping such as {{'f': {{'bias': 1.0}}}}.")
    for name, said in initial.items():
        if name in cell.vectors:
            check_value(said, f"{where}[{name!r}]", "a vector")
        elif name in cell.matrices:
            check_value(said, f"{where}[{name!r}]", "a matrix")
        elif name not in cell.gates:
            known = (*cell.gates, *cell.vectors, *cell.matrices)
            near = did_you_mean(str(name), known)
            raise InputError(f"{where} names no gate or vector: {name!r}.{near}")
        elif not isinstance(said, Mapping) or not said.keys() <= set(HALVES):
            raise InputError(
                f"{where}[{name!r}] must be a mapping of {', '.join(HALVES)}; got {said!r}."
            )
        else:
            for half, value in said.items():
                kind = "a bias" if half == "bias" else "a matrix"
                check_value(value, f"{where}[{name!r}][{half!r}]", kind)


def check_value(value: Any, where: str, kind: str) -> None:
    """Raise `InputError` unless a matrix, a bias or a vector can begin with the value."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return
    if value in NAMED and (kind == "a matrix" or value not in MATRICES):
        return
    if kind == "a bias" and chrono_steps(value) is not None:
        return
    able = [name for name in NAMED if kind == "a matrix" or name not in MATRICES]
    able += ["chrono:T or -chrono:T with T of at least 3"] * (kind == "a bias")
    raise InputError(f"{where} must be a number, {', '.join(able)} for {kind}; got {value!r}.")


def chrono_steps(value: Any) -> int | None:
    """T of "chrono:T" or "-chrono:T", at least 3; None for anything else."""
    word, _, steps = str(value).removeprefix("-").partition(":")
    if word != "chrono" or not steps.isdecimal() or not 3 <= int(steps) < 10**9:
        return None
    return int(steps)


@torch.no_grad()
def begin(cell: Any, w: Any, initial: Iterable[Mapping[str, Any]]) -> None:
    """Write the initial values into new weights of the cell; what is said later counts."""
    n = cell.width(w)
    draws: dict[int, Tensor] = {}
    for said in initial:
        for name, value in said.items():
            if name in cell.vectors or name in cell.matrices:
                fill((w.vectors if name in cell.vectors else w.matrices)[name], value, n, draws)
                continue
            start = cell.gates.index(name) * n
            parts = {"recurrent": w.W_a, "input": w.W_x, "bias": w.b}
            for half, one in value.items():
                fill(parts[half][start : start + n], one, n, draws)


def fill(part: Tensor, value: float | str, n: int, draws: dict[int, Tensor]) -> None:
    """One part's initial values; `draws` keeps b = log u of each T, so that all gates share it."""
    if not isinstance(value, str):
        part.fill_(value)
    elif value == "zeros":
        part.zero_()
    elif value == "uniform":
        bound = 1 / math.sqrt(n) if n else 0.0
        part.uniform_(-bound, bound)
    elif value == "identity":
        torch.nn.init.eye_(part)
    elif value == "orthogonal":
        precise = torch.promote_types(part.dtype, torch.float32)
        part.copy_(torch.nn.init.orthogonal_(torch.empty_like(part, dtype=precise)))
    else:
        T = chrono_steps(value)
        assert T is not None
        if T not in draws:
            draws[T] = torch.empty_like(part).uniform_(1, T - 1).log_()
        part.copy_(-draws[T] if value.startswith("-") else draws[T])


def read(text: str) -> str | dict[str, Any]:
    """One word of the command line: orthogonal, chrono:T, or GATE.HALF=VALUE, VECTOR=VALUE.

    A way for all gates stays a text (`for_cells` knows whose); one for a gate becomes a mapping.
    """
    name, equals, value = text.partition("=")
    if not equals:
        if text != "orthogonal" and (text.startswith("-") or chrono_steps(text) is None):
            raise InputError(
                f"initial weights must be orthogonal, chrono:T with T of at least 3, or for one "
                f"gate GATE.HALF=VALUE, as f.bias=1; got {text!r}."
            )
        return text
    try:
        number: float | str = float(value)
    except ValueError:
        number = value
    gate, dot, half = name.partition(".")
    return {gate: {half: number}} if dot else {gate: number}


def for_cells(
    initial: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None,
    cells: Sequence[Any],
) -> list[list[dict[str, Any]]]:
    """What is said of a stack's weights, for each of its cells.

    "orthogonal" is every gate's recurrent matrix; "chrono:T" the biases that a cell names in its
    `chrono`. Errors: `InputError` for what no cell of the stack has.
    """
    if initial is None:
        return [[] for _ in cells]
    given = [initial] if isinstance(initial, (str, Mapping)) else list(initial)
    found: list[list[dict[str, Any]]] = [[] for _ in cells]
    for one in given:
        meant = read(one) if isinstance(one, str) else one
        for k, cell in enumerate(cells):
            said = of_cell(meant, cell)
            check(cell, said, "initial")
            found[k].append(said)
        if not any(of[-1] for of in found):
            of = ", ".join(dict.fromkeys(map(repr, cells)))
            if isinstance(meant, str):
                raise InputError(f"{of} names no gates whose biases {meant} could set (`chrono`).")
            check(cells[0], meant, "initial")
    return found


def of_cell(meant: str | Mapping[str, Any], cell: Any) -> dict[str, Any]:
    """The part of it that concerns one cell."""
    if not isinstance(meant, str):
        known = (*cell.gates, *cell.vectors, *cell.matrices)
        return {name: value for name, value in meant.items() if name in known}
    if meant == "orthogonal":
        return {gate: {"recurrent": meant} for gate in cell.gates}
    return {gate: {"bias": meant if s > 0 else f"-{meant}"} for gate, s in cell.chrono.items()}
