"""Noise in the recurrence: a cell around another, whose equations read masks beside x.

Every backend and target runs noise as it runs any equations. Where the masks come from is not
known here: they are inputs, truths [T, B, n], as are the numbers that depend on a rate, so that
one compiled program serves every rate. `layers/noise.py` draws them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .base import Bound, Cell, Gate
from .declared import taken_by

DECLARED = ("gates", "state", "vectors", "scalars", "constants", "candidate", "takes", "lagged",
            "State", "starts_at_zero", "start_reads_weights", "derives")  # fmt: skip
"""What a class of cells says of its instances, beside `sizes` and `matrices`."""


class Wrapped(Cell, wraps=True):
    """A cell that stands for another: its declarations, its first state, its derived weights."""

    def __init__(self, cell: Cell, *inputs: str) -> None:
        self.cell = cell
        vars(self).update({name: getattr(cell, name) for name in DECLARED})
        vars(self).update(inputs=(*cell.inputs, *inputs))

    @property
    def sizes(self) -> Any:  # type: ignore[override]  # mappings have no hash: not among `vars`
        return self.cell.sizes

    @property
    def matrices(self) -> Any:  # type: ignore[override]
        return self.cell.matrices

    def size(self, name: str, n: int, n_x: int) -> int:
        return self.cell.size(name, n, n_x)

    def derived(self, w: Any) -> Any:
        return self.cell.derived(w)

    def initial_state(self, batch: int, hidden_size: int, **to: Any) -> Any:
        return self.cell.initial_state(batch, hidden_size, **to)

    def holds(self) -> list[Any]:
        return [*super().holds(), *self.cell.holds()]


class Expected(Wrapped, wraps=True):
    """Zoneout at evaluation: the expectation of the state, with rate p of each part.

        s<t> = p s<t-1> + (1 − p) s̃<t>,  s̃<t> what the cell's own step makes

    Source: Krueger et al. 2017, arXiv:1606.01305. Oracle: the mean over many masks.
    """

    def __init__(self, cell: Cell, zoneout: tuple[tuple[str, float], ...]) -> None:
        super().__init__(cell)
        self.zoneout = zoneout

    def step(self, w: Any, x: Tensor, s: Any) -> Any:
        new = self.cell.step(w, x, s)._asdict()
        for part, p in self.zoneout:
            new[part] = p * getattr(s, part) + (1 - p) * new[part]
        return self.State(**new)

    def __repr__(self) -> str:
        rates = ", ".join(f"{part}={p:g}" for part, p in self.zoneout)
        return f"{self.cell!r} with zoneout {rates}"


class Noisy(Wrapped, wraps=True):
    """A cell with noise as in training; m are masks of ones and zeros, read at each step.

        zoneout of a part s:   s<t> = m * s<t-1> + (1 − m) * s̃<t>      m is 1 at the rate p
        candidate (thins):     c̃ becomes m * c̃ / (1 − p)               m is 0 at the rate p
        operand (masks):       W_g v becomes W_g (m * v / (1 − p))     the same m at every step;
                               matrices beside the gates see v as it is

    Inputs beside the cell's own: "zoneout.s" for each part; "candidate.kept", "candidate.scale";
    "operand.kept", "operand.scale", the scales being 1 / (1 − p).
    Source: Krueger et al. 2017, arXiv:1606.01305; Semeniuta et al. 2016, arXiv:1603.05118; Gal &
    Ghahramani 2016, arXiv:1512.05287. Oracle: a plain loop in float64 over the same masks.
    """

    def __init__(
        self, cell: Cell, zoneout: tuple[str, ...] = (), thins: bool = False, masks: bool = False
    ) -> None:
        more = [f"zoneout.{part}" for part in zoneout]  # with a dot: no name of a cell's own
        for place, wanted in (("candidate", thins), ("operand", masks)):
            more += [f"{place}.kept", f"{place}.scale"] if wanted else []
        super().__init__(cell, *more)
        self.zoneout, self.thins, self.masks = zoneout, thins, masks

    @property
    def sizes(self) -> Any:
        """Those of the cell, and of the masks."""
        of, masked = self.cell.sizes, {}
        taken = taken_by(self.cell)
        masked |= {f"zoneout.{part}": of[part] for part in self.zoneout if part in of}
        if self.masks and taken != "n":
            masked |= {"operand.kept": taken, "operand.scale": taken}
        return {**of, **masked} if masked else of

    def step(self, w: Any, x: Tensor, s: Any) -> Any:
        cell = self.cell
        names = (*cell.gates, *cell.vectors, *cell.matrices, *cell.inputs)
        seen = {name: getattr(w, name) for name in names}
        if cell.candidate:
            seen[cell.candidate] = getattr(w, cell.candidate)
        if self.thins:
            seen[cell.candidate] = _Thinned(w, "candidate")
        if self.masks:
            masked = _Thinned(w, "operand")
            seen |= {gate: _Masked(getattr(w, gate), masked) for gate in cell.gates}
        new = cell.step(Bound(seen), x, s)._asdict()
        for part in self.zoneout:
            m = getattr(w, f"zoneout.{part}")
            new[part] = m * getattr(s, part) + (1 - m) * new[part]
        return self.State(**new)

    def __repr__(self) -> str:
        names = {"recurrent dropout": self.thins, "variational dropout": self.masks}
        said = ["zoneout"] * bool(self.zoneout) + [name for name, on in names.items() if on]
        return f"{self.cell!r} with {', '.join(said)}"


class _Thinned:
    """Multiplies by a mask over what it keeps; what is given twice is one product."""

    def __init__(self, w: Any, place: str) -> None:
        self.factor = getattr(w, f"{place}.kept") * getattr(w, f"{place}.scale")
        self.known: list[tuple[Tensor, Tensor]] = []

    def __call__(self, v: Tensor) -> Tensor:
        for given, made in self.known:
            if given is v:
                return made
        self.known.append((v, v * self.factor))
        return self.known[-1][1]


class _Masked(Gate):
    """A gate whose recurrent half takes a masked operand."""

    def __init__(self, gate: Gate, masked: Callable[[Tensor], Tensor]) -> None:
        self.gate, self.masked = gate, masked

    def input(self, x: Tensor) -> Tensor:
        return self.gate.input(x)

    def recurrent(self, v: Tensor) -> Tensor:
        return self.gate.recurrent(self.masked(v))
