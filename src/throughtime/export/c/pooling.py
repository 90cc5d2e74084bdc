"""The C of pooling: what is added up of a sequence, step by step, and what it comes to."""

from __future__ import annotations

from ...layers.outline import Outline, Pool
from .steps import Steps, function


def pool_fields(steps: Steps) -> list[str]:
    """What pooling remembers."""
    n = steps.outline.layers[-1].size
    kind = pooling(steps).kind
    if kind == "last":
        return []
    more = ["float highest, total;"] if kind == "attention" else []
    return [f"float pooled[{n}];", "uint32_t steps;", *more]


def pooling(steps: Steps) -> Pool:
    """How a sequence is pooled."""
    assert steps.outline.pooling is not None
    return steps.outline.pooling


def pool_functions(steps: Steps) -> str:
    """name_init; name_pool adds a step; name_pooled gives the vector."""
    n, pool, outline = steps.outline.layers[-1].size, pooling(steps), steps.outline
    every = f"for (i = 0; i < {n}; i++)"
    begin, add, give = [], [], []
    if pool.kind == "last":
        final, at = [], 0
        names = [name for name, _ in steps.parts()]
        before = sum(len(s.first) for layer in outline.layers[:-1] for s in layer.scans)
        for scan in outline.layers[-1].scans:
            row = f"for (i = 0; i < {scan.size}; i++) pooled[{at} + i] = state->{names[before]}[i];"
            final.append(row)
            before, at = before + len(scan.first), at + scan.size
        give = ["int i;", *final]
    elif pool.kind == "mean":
        add = ["int i;", f"{every} state->pooled[i] += y[i];", "state->steps++;"]
        give = [
            "const float count = state->steps ? (float)state->steps : 1.0f;",
            "int i;",
            f"{every} pooled[i] = state->pooled[i] / count;",
        ]
    elif pool.kind == "max":
        add = [
            "int i;",
            f"{every} if (state->steps == 0 || y[i] > state->pooled[i]) state->pooled[i] = y[i];",
            "state->steps++;",
        ]
        give = ["int i;", f"{every} pooled[i] = state->pooled[i];"]
    else:
        assert pool.keys is not None
        assert pool.query is not None
        keys = steps.affine(pool.keys)
        query, m = steps.arrays.vector(pool.query), len(pool.query)
        add = [
            f"float keys[{m}], score = 0.0f, share;",
            "int i;",
            f"{keys}(y, keys);",
            f"for (i = 0; i < {m}; i++) score += {query}[i] * keys[i];",
            "if (state->steps == 0) state->highest = score;",
            "if (score > state->highest) { /* sums are relative to the highest score */",
            "    share = name_exp(state->highest - score);",
            f"    {every} state->pooled[i] *= share;",
            "    state->total *= share;",
            "    state->highest = score;",
            "}",
            "share = name_exp(score - state->highest);",
            f"{every} state->pooled[i] += share * y[i];",
            "state->total += share;",
            "state->steps++;",
        ]
        give = [
            "const float total = state->steps ? state->total : 1.0f;",
            "int i;",
            f"{every} pooled[i] = state->pooled[i] / total;",
        ]
        begin = ["state->highest = state->total = 0.0f;"]
    first = steps.first()
    if pool.kind != "last":
        first += [f"{every} state->pooled[i] = 0.0f;", "state->steps = 0;", *begin]
    made = [function(f"{static(outline)}void name_init(name_state *state)", ["int i;", *first])]
    if add:
        made.append(function("static void name_pool(name_state *state, const float *y)", add))
    made.append(function("static void name_pooled(const name_state *state, float *pooled)", give))
    return "\n\n".join(made)


def static(outline: Outline) -> str:
    """What stands before functions that only a model which streams shows."""
    return "static " if outline.bidirectional else ""
