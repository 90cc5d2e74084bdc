"""What a cell is: named gates, named states, named vectors, and `step`, its equations.

Notation. `x` is x<t>, `s` the state at t-1, the result of `step` the state at t. `w.g(v, x)` is
W_g [v, x] + b_g and `w.p` a vector of the cell. The built-in cells are in `built_in.py`.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable
from keyword import iskeyword
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.utils._pytree import _register_namedtuple

from ..ground.errors import InputError


class Weights(NamedTuple):
    """The parameters of one cell, the gates stacked in the order of `cell.gates`.

    W_x [G·n, n_x] acts on the input, W_a [G·n, n] on the carried state, b [G·n] is the bias:
    the rows of gate g are W_g = [W_ga, W_gx] and b_g. `vectors` holds each named vector, [n].
    """

    W_x: Tensor
    W_a: Tensor
    b: Tensor
    vectors: dict[str, Tensor]


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


class Cell:
    """Base of all cells. A subclass names its gates, its state and its vectors, and writes `step`.

        class Minimal(tt.Cell):
            gates = ("c", "u")                      # one W [n, n + n_x] and one b [n] for each
            state = ("c",)                          # the first name is a<t>, the layer's output
            def step(self, w, x, s):
                c_tilde = tanh(w.c.input(x))
                gate_u = sigmoid(w.u(s.c, x))
                return self.State(c=gate_u * c_tilde + (1 - gate_u) * s.c)

    Shapes: x [B, n_x], each state and each gate [B, n]. Initial state: zeros. Initial weights:
    W uniform in ±1/√n, b zero except where `initial_bias` names a gate, vectors uniform in ±1/√n.
    A malformed declaration raises `InputError` when the class is made.
    """

    gates: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[tuple[str, ...]] = ()
    vectors: ClassVar[tuple[str, ...]] = ()
    initial_bias: ClassVar[dict[str, float]] = {}
    State: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for field in ("gates", "state", "vectors"):
            names = getattr(cls, field)
            if not isinstance(names, tuple) or not all(
                isinstance(n, str) and n.isidentifier() and n[0] != "_" and not iskeyword(n)
                for n in names
            ):
                raise InputError(
                    f"{cls.__name__}.{field} must be a tuple of names such as ('u', 'c'), "
                    f"got {names!r}."
                )
        if not cls.gates or not cls.state:
            raise InputError(f"{cls.__name__} must name at least one gate and one state.")
        parameters = cls.gates + cls.vectors
        if len(set(parameters)) < len(parameters) or len(set(cls.state)) < len(cls.state):
            raise InputError(f"{cls.__name__} names a gate, a vector or a state twice.")
        if unknown := set(cls.initial_bias) - set(cls.gates):
            raise InputError(f"{cls.__name__}.initial_bias names no gate: {sorted(unknown)}.")
        cls.State = namedtuple(f"{cls.__name__}State", cls.state)
        # So that torch.export can write a model's state down; built-in cells by their public home.
        home = cls.__module__.removesuffix(".built_in")
        _register_namedtuple(cls.State, serialized_type_name=f"{home}.{cls.__qualname__}.State")

    def step(self, w: Any, x: Tensor, s: Any) -> Any:
        """The equations: the state at t from x<t> and the state at t-1."""
        raise NotImplementedError(f"{type(self).__name__} does not define step(self, w, x, s).")

    def weights(self, input_size: int, hidden_size: int, **to: Any) -> Weights:
        """New weights with their initial values; `to` is passed to torch (dtype, device)."""
        G, n = len(self.gates), hidden_size
        bound = 1 / math.sqrt(n) if n else 0.0

        def uniform(*shape: int) -> Tensor:
            return torch.empty(*shape, **to).uniform_(-bound, bound).requires_grad_()

        b = torch.zeros(G * n, **to)
        for gate, value in self.initial_bias.items():
            start = self.gates.index(gate) * n
            b[start : start + n] = value
        return Weights(
            uniform(G * n, input_size),
            uniform(G * n, n),
            b.requires_grad_(),
            {name: uniform(n) for name in self.vectors},
        )

    def initial_state(self, batch: int, hidden_size: int, **to: Any) -> Any:
        """The state before the first step: zeros [B, n]."""
        return self.State(*(torch.zeros(batch, hidden_size, **to) for _ in self.state))

    def bind(self, w: Weights) -> SimpleNamespace:
        """The weights as `step` reads them: a `Gate` for each gate, a tensor for each vector."""
        gates = zip(
            self.gates, *(part.chunk(len(self.gates)) for part in (w.W_x, w.W_a, w.b)), strict=True
        )
        return SimpleNamespace(**{g: Gate(*parts) for g, *parts in gates}, **w.vectors)

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
