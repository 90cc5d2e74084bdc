"""What a model that writes is made of, as the engine runs it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor, nn


class Map(NamedTuple):
    """y = then(W x + b), W [m, n], b [m]; `then` is "", "relu" or "tanh"."""

    W: Tensor
    b: Tensor
    then: str = ""


class Parts(NamedTuple):
    """Tokens are looked up in `table [V, n_e]`, go through `stack`, and what comes out through
    `maps`, the last of which gives logits [V].

    `extra` numbers of each sequence join x<t> at every step, behind the token's: a condition.
    """

    table: Tensor
    stack: Any
    maps: tuple[Map, ...]
    extra: int = 0


def map_of(linear: Any, then: str = "") -> Map:
    """Of anything with `weight` and `bias`, None for no bias."""
    W = linear.weight
    return Map(W, W.new_zeros(len(W)) if linear.bias is None else linear.bias, then)


def maps_of(modules: Iterable[nn.Module]) -> tuple[Map, ...] | str:
    """Of modules in a row, each with what comes between: relu, dropout, nothing; or why not."""
    found: list[Map] = []
    for module in modules:
        if isinstance(module, nn.Linear):
            found.append(map_of(module))
        elif isinstance(module, nn.ReLU) and found:
            found[-1] = found[-1]._replace(then="relu")
        elif not isinstance(module, (nn.Dropout, nn.Identity)):
            return f"its output layers hold {type(module).__name__}, which has no native step."
    return tuple(found)
