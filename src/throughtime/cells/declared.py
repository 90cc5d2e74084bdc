"""What a class of cells declares, looked at when it is made; sizes other than n; looking back.

A *size* has a name: "n", "x" (as many as x has), or an attribute of the cell, which is a number of
units or a share of n.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from keyword import iskeyword
from typing import Any, NamedTuple

from ..ground.errors import InputError
from .initial import check

LONGEST = 12
"""Steps that `lags` may look back."""


def is_name(name: Any) -> bool:
    """Whether a gate, a state or the like may be called so."""
    fits = isinstance(name, str) and name.isidentifier()
    return fits and name[0] != "_" and not iskeyword(name)


def look_at(cls: Any) -> None:
    """Raise `InputError` for a malformed declaration; add what `lags` asks to `state`, `sizes`."""
    for field in ("gates", "state", "vectors", "scalars", "inputs", "constants"):
        names = getattr(cls, field)
        if not isinstance(names, tuple) or not all(map(is_name, names)):
            raise InputError(
                f"{cls.__name__}.{field} must be a tuple of names such as ('u', 'c'), got "
                f"{names!r}."
            )
    for field, such in (("candidate", "c_tilde"), ("takes", "projection")):
        if (name := getattr(cls, field)) and not is_name(name):
            raise InputError(
                f"{cls.__name__}.{field} must be a name such as {such!r}, got {name!r}."
            )
    if not cls.gates or not cls.state:
        raise InputError(f"{cls.__name__} must name at least one gate and one state.")
    look_at_sizes(cls)
    look_at_lags(cls)
    marks = (cls.candidate,) if cls.candidate else ()
    read = (*cls.gates, *cls.vectors, *cls.inputs, *cls.matrices, *marks)
    if len(set(read)) < len(read) or len(set(cls.state)) < len(cls.state):
        raise InputError(
            f"{cls.__name__} names a gate, a vector, a matrix, an input or a state twice."
        )
    if unknown := set(cls.scalars) - set(cls.vectors):
        raise InputError(f"{cls.__name__}.scalars names no vector: {sorted(unknown)}.")
    if unknown := set(cls.constants) - set(cls.inputs):
        raise InputError(f"{cls.__name__}.constants names no input: {sorted(unknown)}.")
    for field in ("initial_bias", "chrono"):
        if unknown := set(getattr(cls, field)) - set(cls.gates):
            raise InputError(f"{cls.__name__}.{field} names no gate: {sorted(unknown)}.")
    check(cls, cls.initial, f"{cls.__name__}.initial")


def look_at_sizes(cls: Any) -> None:
    """Raise `InputError` unless `sizes` and `matrices` are mappings as `Cell` has them."""
    known = {*cls.state, *cls.vectors, *cls.inputs}
    fits = isinstance(cls.sizes, Mapping) and all(map(is_name, cls.sizes.values()))
    if not fits:
        raise InputError(
            f"{cls.__name__}.sizes must map names to names of sizes, as in "
            f"{{'a': 'projection'}}, got {cls.sizes!r}."
        )
    if unknown := set(cls.sizes) - known:
        raise InputError(
            f"{cls.__name__}.sizes names no state, vector or input: {sorted(unknown)}. A gate "
            "has n units; a map to any other size is one of its `matrices`."
        )
    fits = isinstance(cls.matrices, Mapping) and all(
        is_name(name)
        and isinstance(shape, tuple)
        and len(shape) == 2
        and all(map(is_name, shape))
        and shape[0] != "x"
        for name, shape in cls.matrices.items()
    )
    if not fits:
        raise InputError(
            f"{cls.__name__}.matrices must map names to what they give and what they take, as in "
            f"{{'R': ('projection', 'n')}}, got {cls.matrices!r}."
        )


def look_at_lags(cls: Any) -> None:
    """`lags` as parts of the state: x_1 is x<t-1>, c_2 is c<t-2>."""
    own = tuple(part for part in cls.state if part not in cls.lagged)
    fits = isinstance(cls.lags, Mapping) and all(
        (name == "x" or name in own)
        and isinstance(steps, int)
        and (1 if name == "x" else 2) <= steps <= LONGEST
        for name, steps in cls.lags.items()
    )
    if not fits:
        raise InputError(
            f"{cls.__name__}.lags must map x or a state to how many steps back step looks, as in "
            f"{{'x': 1, 'c': 2}}, at most {LONGEST}; got {cls.lags!r}. (One step back of a state "
            "is the state itself.)"
        )
    sizes = {name: size for name, size in cls.sizes.items() if name not in cls.lagged}
    more = {
        f"{name}_{k}": "x" if name == "x" else sizes.get(name, "n")
        for name, steps in cls.lags.items()
        for k in range(1 if name == "x" else 2, steps + 1)
    }
    if more or cls.lagged:
        cls.lagged, cls.state = tuple(more), own + tuple(more)
        cls.sizes = sizes | {name: size for name, size in more.items() if size != "n"}


def carry(cls: Any) -> None:
    """Let the `step` of a class with `lags` give them too."""
    if cls.lagged and not hasattr(cls.step, "carries"):
        cls.step = carrying(cls.step)


def carrying(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step` that also gives what `lags` asks for: c_3<t> = c_2<t-1>, c_2<t> = c<t-1>."""

    @functools.wraps(step)
    def carries(self: Any, w: Any, x: Any, s: Any) -> Any:
        after = step(self, w, x, s)
        if getattr(after, "_fields", None) != self.state:
            return after  # `check_made` says what is wrong
        before: dict[str, Any] = {}
        for name in self.lagged:
            of, _, k = name.rpartition("_")
            last = int(k) - 1
            if of == "x":
                before[name] = getattr(s, f"x_{last}") if last else x
            else:
                before[name] = getattr(s, f"{of}_{last}" if last > 1 else of)
        return after._replace(**before)

    carries.carries = True  # type: ignore[attr-defined]
    return carries


class Shapes(NamedTuple):
    """Of a cell's parameters for n and n_x: the width that gates take, vectors, matrices."""

    taken: int
    parameters: dict[str, int]
    matrices: dict[str, tuple[int, int]]


def shapes(cell: Any, n: int, n_x: int) -> Shapes:
    """What the parameters of a cell must be, beside the rows of the gates."""

    def units(name: str) -> int:
        return cell.size(cell.sizes.get(name, "n"), n, n_x)

    taken = cell.size(taken_by(cell), n, n_x)
    vectors = {name: 1 if name in cell.scalars else units(name) for name in cell.vectors}
    matrices = {
        name: (cell.size(gives, n, n_x), cell.size(takes, n, n_x))
        for name, (gives, takes) in cell.matrices.items()
    }
    return Shapes(taken, vectors, matrices)


def size(cell: Any, name: str, n: int, n_x: int) -> int:
    """The number behind a size's name; `InputError` where the cell has none."""
    if name in ("n", "x"):
        return n if name == "n" else n_x
    value = getattr(cell, name, None)
    if isinstance(value, float) and 0 < value < 1:
        return max(1, round(value * n))
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(
            f"{type(cell).__name__} has a size named {name}: self.{name} must be a number of "
            f"units, at least 1, or a share of n below 1; got {value!r}."
        )
    return value


def taken_by(cell: Any) -> str:
    """The name of the size that gates take."""
    return cell.takes or cell.sizes.get(cell.state[0], "n")


def names(cell: Any) -> tuple[str, ...]:
    """Every size that a cell has, by name, n first."""
    of_matrices = [size for shape in cell.matrices.values() for size in shape]
    takes = [cell.takes] if cell.takes else []
    return tuple(dict.fromkeys(["n", *cell.sizes.values(), *takes, *of_matrices]))
