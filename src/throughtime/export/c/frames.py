"""The C of piano rolls: a frame of keys is read, and how probable each key of the next one is."""

from __future__ import annotations

from ...layers.outline import Tokens
from ...tasks.exported import Exported
from .draws import CHANCE
from .room import Room
from .steps import Steps, function

HEADER = """#define NAME_KEYS {keys} /* of a piano, from A0 on */

typedef struct {{
{fields}
}} name_state; /* memory of one roll: copy it to go back, keep one for each roll */

#define NAME_STATE_BYTES {state_bytes}

/* Nothing was read yet; the first frame to read is silence. */
void name_init(name_state *state);

/* Reads a frame, 1 for keys that are down and 0 for others, and tells the log-odds of each key in
   the next one. */
void name_step(name_state *state, const unsigned char frame[NAME_KEYS], float logits[NAME_KEYS]);

/* A number in [0, 1) that depends on these three alone. */
double name_chance(uint64_t seed, uint32_t sample, uint32_t step);

/* A frame, each key drawn by itself; temperature 0: the keys that are more likely down than not. */
void name_draw(const float logits[NAME_KEYS], float temperature, uint64_t seed, uint32_t sample,
               uint32_t step, unsigned char frame[NAME_KEYS]);
"""
DRAW = """
void name_draw(const float logits[NAME_KEYS], float temperature, uint64_t seed, uint32_t sample,
               uint32_t step, unsigned char frame[NAME_KEYS]) {
    int i;
    for (i = 0; i < NAME_KEYS; i++) {
        const uint32_t place = step * (uint32_t)NAME_KEYS + (uint32_t)i;
        if (temperature > 0.0f) {
            const float down = name_sigmoid(logits[i] / temperature);
            frame[i] = name_chance(seed, sample, place) < (double)down;
        } else
            frame[i] = logits[i] > 0.0f;
    }
}
"""


def room(exported: Exported, steps: Steps) -> Room:
    """Header and source."""
    inputs = exported.outline.inputs
    assert not isinstance(inputs, Tokens)
    state_bytes = 4 * sum(n for _, n in steps.parts())
    header = HEADER.format(
        keys=inputs.size,
        state_bytes=state_bytes,
        fields="\n".join(f"    {field}" for field in steps.state_fields()),
    )
    lines = [
        f"float keys[NAME_KEYS], y[{steps.outline.layers[-1].size}];",
        "int i;",
        "for (i = 0; i < NAME_KEYS; i++) keys[i] = frame[i] ? 1.0f : 0.0f;",
    ]
    x = "keys"
    if inputs.embed is not None:
        lines += [f"float x[{inputs.width}];", f"{steps.affine(inputs.embed)}(keys, x);"]
        x = "x"
    lines += [f"name_advance(state, {x}, y);", "name_answer(y, logits);"]
    parameters = "name_state *state, const unsigned char frame[NAME_KEYS], float logits[NAME_KEYS]"
    parts = [
        function("void name_init(name_state *state)", ["int i;", *steps.first()]),
        function(f"void name_step({parameters})", lines),
        CHANCE + DRAW,
    ]
    return Room(header, "\n\n".join(parts), state_bytes, "roll")
