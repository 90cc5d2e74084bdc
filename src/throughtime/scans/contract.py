"""What a backend of `scan` is: it prepares a problem, or gives the reason why it cannot run it.

`scans/__init__.py`, the stacks and `tt.nn` know no backend by name: a new one is a module with
`prepare`, and one line in `scans.BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from ..cells import Cell, Weights


class Problem(NamedTuple):
    """One scan: shapes as in `scan`, checked, time-major.

    `restart` is the state [B, n] that a `reset` goes to, where it is not zero. `streams` are the
    cell's inputs beside x in its order, [T, B, n] or 1 in place of a size: of x's dtype, or truths,
    which are read as 1 and 0. To ask whether a backend can run, `state` and what follows may be
    left out.
    """

    cell: Cell
    w: Weights
    x: Tensor
    state: Any = None
    lengths: Tensor | None = None
    reset: Tensor | None = None
    restart: Any = None
    streams: Sequence[Tensor] = ()


class Runnable(NamedTuple):
    """A problem's way through a backend.

    `run` gives y [T, B, n] and the final state. `cost` estimates its seconds from the sizes, for
    `auto`, which compares the backends with it; outside of graphs only, where sizes are numbers.
    `carries_float32`: beside half precision, a state in float32 is taken and given back as it is;
    elsewhere it is rounded at the door. `torchs` as `Backend.TORCHS`. `interpreted`: a loop in
    Python, several times slower than the others, which a person should know of.
    """

    run: Callable[[Problem], tuple[Tensor, Any]]
    cost: Callable[[Problem], float]
    carries_float32: bool = False
    torchs: bool = False
    interpreted: bool = False


class Backend(Protocol):
    """A way to run scans. A module with such a function is one.

    `prepare` may take time at its first use of a cell (tracing, compiling), little afterwards. A
    reason is one sentence; the first that holds. Several ways of one backend are its own affair:
    it prepares the one that it would take. The answer must not depend on the numbers in tensors.
    Inside a graph of torch.compile it is followed by torch; what cannot be is asked through
    `Cell.ask`. `TORCHS`: the kernels are those behind torch.nn's own layers, which `tt.nn` then
    calls themselves.
    """

    TORCHS: bool

    def prepare(self, problem: Problem, /) -> Runnable | str:
        """The way to run `problem`, or why there is none."""
        ...
