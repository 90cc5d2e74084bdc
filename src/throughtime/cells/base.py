"""What a cell is: named gates, named states, named vectors, and `step`, its equations.

Notation. `x` is x<t>, `s` the state at t-1, the result of `step` the state at t. `w.g(v, x)` is
W_g [v, x] + b_g, `w.p` a vector of the cell, `w.M(v)` a matrix of it times v. The built-in cells
are in `built_in.py`; what a cell may say of sizes is looked at in `declared.py`.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.utils._pytree import _register_namedtuple

from ..ground.errors import InputError
from . import declared
from .initial import begin


class Weights(NamedTuple):
    """The parameters of one cell, the gates stacked in the order of `cell.gates`.

    W_x [G·n, n_x] acts on the input, W_a [G·n, n] on the carried state, b [G·n] is the bias:
    the rows of gate g are W_g = [W_ga, W_gx] and b_g. `vectors` holds each named vector, [n], or
    [1] where the cell names it among its `scalars`; `first`, where the first state is learned, what
    each part of it has beyond the cell's own, [n]; `matrices` each named matrix. Where a cell has
    sizes of its own, they take the place of n: `Cell.size`.
    """

    W_x: Tensor
    W_a: Tensor
    b: Tensor
    vectors: dict[str, Tensor]
    first: Mapping[str, Tensor] = MappingProxyType({})
    matrices: Mapping[str, Tensor] = MappingProxyType({})


class Gate:
    """One gate's affine map: `gate(v, x)` is W_g [v, x] + b_g; its halves can stand apart."""

    def __init__(self, W_x: Tensor, W_a: Tensor, b: Tensor) -> None:
        self.W_x, self.W_a, self.b = W_x, W_a, b

    def __call__(self, v: Tensor, x: Tensor) -> Tensor:
        return self.recurrent(v) + self.input(x)

    def input(self, x: Tensor) -> Tensor:
        """W_gx x + b_g."""
        return linear(x, self.W_x, self.b)

    def recurrent(self, v: Tensor) -> Tensor:
        """W_ga v."""
        return linear(v, self.W_a)


class Matrix:
    """A matrix that stands alone, of any size: `matrix(v)` is W v, of x or of a made value."""

    def __init__(self, W: Tensor) -> None:
        self.W = W

    def __call__(self, v: Tensor) -> Tensor:
        return linear(v, self.W)


_STATES: dict[str, Any] = {}
"""Classes of states by the name under which torch.export and pickle write them down."""


def _state_class(cls: type[Cell]) -> Any:
    """`cls.State`: a named tuple that can be exported, pickled and copied."""
    # built-in cells by their public home
    name = f"{cls.__module__.removesuffix('.built_in')}.{cls.__qualname__}.State"

    def reduced(state: Any) -> Any:
        return read_state, (name, cls.state, tuple(state))

    def copied(state: Any, memo: dict[int, Any]) -> Any:
        return type(state)(*(copy.deepcopy(part, memo) for part in state))

    none = (None,) * len(cls.lagged)  # `step` leaves them to `carrying`
    made = namedtuple(f"{cls.__name__}State", cls.state, module=cls.__module__, defaults=none)
    made.__qualname__ = f"{cls.__qualname__}.State"
    made.__reduce__, made.__deepcopy__ = reduced, copied  # pyright: ignore
    _register_namedtuple(made, serialized_type_name=name)
    _STATES[name] = made
    return made


def read_state(name: str, parts: tuple[str, ...], values: tuple[Tensor, ...]) -> Any:
    """A state as it was pickled. Where its cell is not imported, a named tuple of the same parts.

    Nothing is imported for it, so that a file of states runs no code: `torch.load` takes it.
    """
    known = _STATES.get(name)
    if known is None or known._fields != tuple(parts):
        known = namedtuple("State", parts)
    return known(*values)


torch.serialization.add_safe_globals([read_state])


class Bound:
    """A cell's weights by name: a `Gate` for each gate, a `Matrix`, a tensor for each vector."""

    def __init__(self, named: dict[str, Any]) -> None:
        for name, value in named.items():  # torch.compile follows no SimpleNamespace
            setattr(self, name, value)


def as_it_is(candidate: Tensor) -> Tensor:
    """What `step` passes its candidate through where no noise acts on it."""
    return candidate


class Cell:
    """Base of all cells. A subclass names its gates, its state and its vectors, and writes `step`.

        class Minimal(tt.Cell):
            gates = ("c", "u")                      # one W [n, n + n_x] and one b [n] for each
            state = ("c",)                          # the first name is a<t>, the layer's output
            def step(self, w, x, s):
                c_tilde = tanh(w.c.input(x))
                gate_u = sigmoid(w.u(s.c, x))
                return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)

    Shapes: x [B, n_x], each state and each gate [B, n]. Initial state: zeros, or what the cell's
    own `initial_state` gives. Initial weights: W and vectors uniform in ±1/√n, b zero, except where
    `initial` says otherwise (`initial.py` has what it can: `initial = {"f": {"bias": 1.0}}`;
    `initial_bias = {"f": 1.0}` is short for that). `chrono` names the gates whose biases chrono
    initialisation sets: 1 for those that keep, -1 for those that take in. `scalars` names those of
    the vectors that are one number for all units. `derived` may make the weights that `step` reads
    from the parameters, once a scan. `inputs` names what `step` reads at each step beside x, as
    `w.m`, [B, n]: masks, time stamps; `tt.scan` takes them. `constants` names those of them that do
    not change with time, a speaker or a condition, given as [B, n]. `candidate = "c_tilde"` lets
    recurrent dropout act on the candidate: `step` passes it through `w.c_tilde(…)`, which gives it
    back as it is elsewhere.

    Sizes other than n. `sizes = {"a": "projection"}` says that the state (vector, input) a has
    `self.projection` units, a number or a share of n; "x" is as many as x has. `matrices = {"R":
    ("projection", "n")}` names a matrix [projection, n] without a bias, read as `w.R(v)`, of x
    where it takes "x". The gates take what is as wide as the first state, or as `takes` says.
    `lags = {"x": 1, "c": 3}` lets `step` look further back: `s.x_1` is x<t-1>, `s.c_2` is c<t-2>,
    `s.c_3` is c<t-3>; the state has those parts too, and `step` leaves them out of what it returns.

    A malformed declaration raises `InputError` when the class is made; what `step` returns is
    looked at when the cell is first used, and must be `self.State(…)`.
    """

    gates: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[tuple[str, ...]] = ()
    vectors: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ()
    inputs: ClassVar[tuple[str, ...]] = ()
    constants: ClassVar[tuple[str, ...]] = ()
    candidate: ClassVar[str] = ""
    sizes: ClassVar[Mapping[str, str]] = {}
    matrices: ClassVar[Mapping[str, tuple[str, str]]] = {}
    takes: ClassVar[str] = ""
    lags: ClassVar[Mapping[str, int]] = {}
    lagged: ClassVar[tuple[str, ...]] = ()
    initial: ClassVar[Mapping[str, Any]] = {}
    initial_bias: ClassVar[Mapping[str, float]] = {}
    chrono: ClassVar[Mapping[str, int]] = {}
    State: ClassVar[Any]
    starts_at_zero: ClassVar[bool] = True
    start_reads_weights: ClassVar[bool] = False
    derives: ClassVar[bool] = False

    def __init_subclass__(cls, wraps: bool = False) -> None:
        """`wraps`: instances take what a class declares from the cell that they hold."""
        super().__init_subclass__()
        if wraps:
            return
        declared.look_at(cls)
        cls._look_at_step()
        cls._look_at_initial_state()
        cls.derives = bool(cls.scalars) or cls.derived is not Cell.derived
        cls.State = _state_class(cls)
        if cls.step is not Cell.step:
            declared.carry(cls)

    def step(self, w: Any, x: Tensor, s: Any) -> Any:
        """The equations: the state at t from x<t> and the state at t-1."""
        raise NotImplementedError(f"{type(self).__name__} does not define step(self, w, x, s).")

    def weights(
        self,
        input_size: int,
        hidden_size: int,
        *,
        initial: Iterable[Mapping[str, Any]] = (),
        **to: Any,
    ) -> Weights:
        """New weights with their initial values; `to` is passed to torch (dtype, device).

        `initial`: mappings as the cell's own, which count before it.
        """
        rows, n = len(self.gates) * hidden_size, hidden_size
        bound = 1 / math.sqrt(n) if n else 0.0

        def uniform(*shape: int) -> Tensor:
            with torch.no_grad():  # not `requires_grad_`, which torch.func refuses
                return torch.empty(*shape, requires_grad=True, **to).uniform_(-bound, bound)

        shapes = declared.shapes(self, n, input_size)
        w = Weights(
            uniform(rows, input_size),
            uniform(rows, shapes.taken),
            torch.zeros(rows, requires_grad=True, **to),
            {name: uniform(size) for name, size in shapes.parameters.items()},
            matrices={name: uniform(*shape) for name, shape in shapes.matrices.items()},
        )
        short = {gate: {"bias": value} for gate, value in self.initial_bias.items()}
        begin(self, w, (type(self).initial, short, *initial))
        return w

    def size(self, name: str, n: int, n_x: int) -> int:
        """The number behind the name of a size: "n", "x", or an attribute of the cell."""
        return declared.size(self, name, n, n_x)

    def width(self, w: Weights) -> int:
        """n, of these weights."""
        if self.takes or self.sizes.get(self.state[0]):
            return len(w.b) // len(self.gates)
        return w.W_a.shape[-1]

    def state_sizes(self, n: int, n_x: int) -> tuple[int, ...]:
        """How many units each part of the state has."""
        if not self.sizes:
            return (n,) * len(self.state)
        return tuple(self.size(self.sizes.get(part, "n"), n, n_x) for part in self.state)

    def derived(self, w: Weights) -> Weights:
        """The weights that `step` reads, made from the parameters w once a scan; shapes as w's.

        Scalars become vectors [n]. A cell may override it, for a matrix that is antisymmetric,
        normalised, of low rank: `return super().derived(w)._replace(W_a=w.W_a - w.W_a.T)`.
        """
        n, n_x = self.width(w), w.W_x.shape[-1]
        units = {name: self.size(self.sizes.get(name, "n"), n, n_x) for name in self.scalars}
        more = {name: w.vectors[name].expand(size) for name, size in units.items()}
        return w._replace(vectors={**w.vectors, **more})

    def initial_state(self, batch: int, hidden_size: int, *, w: Any = None, **to: Any) -> Any:
        """The state before the first step, and after a reset: zeros [B, n].

        A cell may override it: `self.State(…)` of [batch, hidden_size] each. `w`, the weights as
        `step` reads them or None, lets a state be learned: `w.p.expand(batch, -1)` for a vector p.
        `to` is passed to torch (dtype, device). An override without `w` is called without it. What
        it leaves out of `lags` is zero; `first_state` alone knows how wide x is.
        """
        sizes = self.state_sizes(hidden_size, hidden_size)
        return self.State(*(torch.zeros(batch, size, **to) for size in sizes))

    def first_state(self, w: Weights, batch: int, **to: Any) -> Any:
        """`initial_state` of a cell with these weights."""
        n, n_x = self.width(w), w.W_x.shape[-1]
        sizes = self.state_sizes(n, n_x)
        if self.starts_at_zero:
            return self.State(*(torch.zeros(batch, size, **to) for size in sizes))
        if self.start_reads_weights:
            state = self.initial_state(batch, n, w=self.bind(self.derived(w)), **to)
        else:
            state = self.initial_state(batch, n, **to)
        missing = {
            part: torch.zeros(batch, size, **to)
            for part, size in zip(self.state, sizes)
            if part in self.lagged and getattr(state, part, 0) is None
        }
        return state._replace(**missing) if missing else state

    @classmethod
    def _look_at_step(cls) -> None:
        """Raise `InputError` unless `step` takes what a step is given."""
        try:
            inspect.signature(cls.step).bind(cls, "w", "x", "s")
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{cls.__name__}.step must be callable as step(w, x, s): {error}."
            ) from error

    @classmethod
    def _look_at_initial_state(cls) -> None:
        """Whether `initial_state` is the cell's own, and whether it takes the weights."""
        cls.starts_at_zero = cls.initial_state is Cell.initial_state
        signature = inspect.signature(cls.initial_state)
        cls.start_reads_weights = not cls.starts_at_zero and "w" in signature.parameters
        try:
            signature.bind(cls, 1, 1, dtype=None, device=None)
        except TypeError as error:
            raise InputError(
                f"{cls.__name__}.initial_state must be callable as initial_state(batch, "
                f"hidden_size, w=None, **to), with dtype and device in `to`: {error}."
            ) from error

    def bind(self, w: Weights) -> Bound:
        """The weights as `step` reads them: `Gate`s, `Matrix`es, a tensor for each vector."""
        gates = zip(
            self.gates, *(part.chunk(len(self.gates)) for part in (w.W_x, w.W_a, w.b)), strict=True
        )
        marks = {self.candidate: as_it_is} if self.candidate else {}
        matrices = {name: Matrix(W) for name, W in w.matrices.items()}
        return Bound({g: Gate(*parts) for g, *parts in gates} | w.vectors | matrices | marks)

    def holds(self) -> list[Any]:
        """What its equations may depend on beside its class."""
        return list(vars(self).values())

    def ask(self, question: Callable[..., Any], *given: Any) -> Any:
        """`question(self, *given)`; for torch.compile its answer is a constant of the cell."""
        return question(self, *given)

    # What torch.compiler.assume_constant_result does; that imports all of torch._dynamo.
    ask._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *sorted(vars(self).items())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"
