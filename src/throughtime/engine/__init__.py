"""The engine: a step of a whole model for any rows of a batch, in one native call.

    x<t> = table[token]; layers; maps; a token drawn from the logits: x<t+1>

A program is made of the equations of the model's cells, as compiled scans are, once for any sizes
and any depth; weights come by pointer. `Engine.write` runs texts for hundreds of tokens a call:
reading what they are given, drawing as `decoding.Sampling` says by the chance of
`ground.chance.shares`, to their ends. `Engine.step` is one step with states in and out, for who
decides the next token elsewhere. States lie in slots of one buffer of the caller's; a row is a text
in a slot, and rows may begin, wait or end at any step. Every sum of a row is made in one order: its
result is the same bits whoever stands beside it, and on any number of threads.

Why it is so: docs/decisions/native-writing.md. Oracle: the float64 reference; torch's own path.
"""

from .engine import Engine, engine_of, why_not
from .parts import Map, Parts, map_of, maps_of

__all__ = ["Engine", "Map", "Parts", "engine_of", "map_of", "maps_of", "why_not"]
