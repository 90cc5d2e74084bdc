"""NAME_test.c: inputs and outputs of the run, and the program that compares."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...layers.outline import Array
from ...tasks.exported import Exported
from ..lowering import Lowered
from ..reference import Reference
from .arrays import lines

STEPS = 1000
CHECKED = (1, 2, 3, 10, 30, 100, 300, 1000)
MOST = 128
"""Outputs of a step that are looked at: of a large vocabulary evenly spaced ones."""
BOUND = 2e-5

LANGUAGE = """/* Reads {steps} tokens and compares what the model says with what it said in float64
   when it was written: the largest difference over the largest number. The exit code says whether
   they agree. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "NAME.h"

static const unsigned short tokens[{steps}] = {{
{tokens}
}};
static const int checked[{checks}] = {{{checked}}};
static const union {{
    uint32_t bits[{checks}][{count}];
    float number[{checks}][{count}];
}} right = {{{{
{right}
}}}};
static const float largest[{checks}] = {{{largest}}};

static double worst(int check, const float *logits) {{
    double found = 0.0;
    int i;
    for (i = 0; i < {count}; i++) {{
        double off = (double)logits[i * {stride}] - (double)right.number[check][i];
        off = off < 0 ? -off : off;
        off /= (double)largest[check];
        if (!(off <= found)) found = off; /* NaN is worst */
    }}
    return found;
}}

int main(void) {{
    static name_state state, other;
    static float logits[NAME_TOKENS], unused[NAME_TOKENS];
    double most = 0.0, seconds;
    clock_t began;
    int t, check = 0, rounds;
    name_init(&state{condition});
    name_init(&other{condition});
    for (t = 0; t < {steps}; t++) {{ /* another text in between changes nothing */
        name_step(&state, (int)tokens[t], logits);
        if (t % 7 == 0) name_step(&other, (int)tokens[{steps} - 1 - t], unused);
        if (check < {checks} && t + 1 == checked[check]) {{
            const double off = worst(check++, logits);
            if (!(off <= most)) most = off;
        }}
    }}
    began = clock();
    for (rounds = 0; rounds < {rounds} || clock() - began < CLOCKS_PER_SEC / 5; rounds++)
        name_step(&state, (int)tokens[rounds % {steps}], logits);
    seconds = (double)(clock() - began) / (double)CLOCKS_PER_SEC;
    printf("largest error %.2g (at most {bound:g}), %.2f us a step\\n", most,
           seconds / (double)rounds * 1e6);
    return most <= {bound:g} ? 0 : 1;
}}
"""


def written(
    reference: Reference, first: list[int], never: list[int]
) -> tuple[list[int], list[Array]]:
    """Tokens that the model itself writes, drawn from a fixed seed, and its outputs after each."""
    random = np.random.default_rng(0)
    tokens, outputs = list(first), []
    for t in range(STEPS):
        logits = reference.step(tokens[t])
        outputs.append(logits)
        if t + 1 >= len(tokens):
            allowed = logits.astype(np.float64)
            allowed[never] = -np.inf
            p = np.exp(allowed - allowed.max())
            tokens.append(int(random.choice(len(p), p=p / p.sum())))
    return tokens[:STEPS], outputs


def language(exported: Exported, model: Lowered, making: Any, bound: float) -> str:
    """The test of a model of the next token."""
    known = exported.outline.condition
    v = np.zeros(known.embed.W.shape[1]) if known else None
    if v is not None and len(v):
        v[0] = 1.0
    reference = making(model.outline, v)
    tokens, outputs = written(reference, list(exported.opening), list(exported.never))
    return _program(LANGUAGE, tokens, outputs, v, bound)


def _program(
    template: str, tokens: list[int], outputs: list[Array], v: Array | None, bound: float
) -> str:
    V = len(outputs[0])
    stride = -(-V // MOST)
    some = [outputs[t - 1][::stride] for t in CHECKED]
    bits = np.array(some, np.float32).view(np.uint32)
    rows = [
        "    {\n" + "\n".join(lines((f"0x{b:08x}" for b in row.tolist()), 8)) + "\n    },"
        for row in bits
    ]
    given = "" if v is None else ", condition"
    text = template.format(
        steps=STEPS,
        tokens="\n".join(lines(map(str, tokens), 20)),
        checked=", ".join(map(str, CHECKED)),
        checks=len(CHECKED),
        count=len(some[0]),
        stride=stride,
        right="\n".join(rows),
        largest=", ".join(f"{max(np.abs(outputs[t - 1]).max(), 1e-30):.9e}f" for t in CHECKED),
        rounds=100,
        bound=bound,
        condition=given,
    )
    if v is not None:
        said = ", ".join(f"{one:.1f}f" for one in v)
        text = text.replace(
            "static double worst",
            f"static const float condition[NAME_CONDITION] = {{{said}}};\n\nstatic double worst",
            1,
        )
    return text
