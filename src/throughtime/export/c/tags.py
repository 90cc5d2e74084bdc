"""The C of a tagger: a label at each step as it comes, or of a whole sequence at once."""

from __future__ import annotations

from ...layers.outline import Chain
from ...tasks.exported import Exported
from .classify import labels, softmax
from .given import Given, given
from .room import Room
from .steps import Steps, function
from .whole import WORK, over, private, widest

STREAM = """
typedef struct {{
{fields}
}} name_state; /* memory of one sequence: keep one for each that is read at a time */

#define NAME_STATE_BYTES {state_bytes}

/* Nothing was read yet. */
void name_init(name_state *state);

/* Reads {item} and tells how probable each label is; gives the number of the most probable one. */
int name_step(name_state *state, {one}, float probabilities[NAME_LABELS]);
"""
WHOLE = """
/* The label of each step. The model looks at the entire sequence: `length` steps of {item}, one
   after the other. */
void name_tag({many}, int length, float *work, int *labels);
"""


def room(exported: Exported, steps: Steps) -> Room:
    """Header and source."""
    read, outline = given(exported, steps), exported.outline
    at_once = outline.bidirectional or outline.chain is not None
    state_bytes = 4 * sum(n for _, n in steps.parts())
    fields = "\n".join(f"    {field}" for field in steps.state_fields())
    said = {"item": read.item, "one": read.one, "many": read.many}
    K, W = len(exported.labels), widest(steps)
    if at_once:
        api = WORK.format(floats=2 * W + K) + WHOLE.format(**said)
    else:
        api = STREAM.format(fields=fields, state_bytes=state_bytes, **said)
    header = f"#define NAME_LABELS {K}\n{read.header}{api}\nconst char *name_label(int label);\n"
    begin = "static void name_init" if at_once else "void name_init"
    init = function(f"{begin}(name_state *state)", ["int i;", *steps.first()])
    best = function(
        "static int name_best(const float *v)",
        [
            "int i, best = 0;",
            "for (i = 1; i < NAME_LABELS; i++)",
            "    if (v[i] > v[best]) best = i;",
            "return best;",
        ],
    )
    parts = [init, read.source]
    if not at_once:
        parts += [softmax(), best, stream(steps, read)]
    elif outline.chain is None:
        parts += [best, whole(steps, read, K)]
    else:
        parts += [best, viterbi(steps, outline.chain), whole(steps, read, K)]
    source = "\n\n".join(parts) + "\n" + labels(exported)
    return Room(header, source, state_bytes, "sequence", private(steps, []) if at_once else "")


def stream(steps: Steps, read: Given) -> str:
    """name_step."""
    lines = [
        f"float y[{steps.outline.layers[-1].size}];",
        *read.advances,
        "name_answer(y, probabilities);",
        "name_softmax(probabilities);",
        "return name_best(probabilities);",
    ]
    parameters = f"name_state *state, {read.one}, float probabilities[NAME_LABELS]"
    return function(f"int name_step({parameters})", lines)


def whole(steps: Steps, read: Given, K: int) -> str:
    """name_tag."""
    W = widest(steps)
    lines = [*over(steps, read), f"float *scores = work + length * {2 * W};"]
    lines.append(f"for (t = 0; t < length; t++) name_answer(in + t * {W}, scores + t * {K});")
    if steps.outline.chain is None:
        lines.append(f"for (t = 0; t < length; t++) labels[t] = name_best(scores + t * {K});")
    else:
        lines.append("name_decode(scores, length, labels);")
    return function(f"void name_tag({read.many}, int length, float *work, int *labels)", lines)


def viterbi(steps: Steps, chain: Chain) -> str:
    """name_decode: scores of steps give way to where the best path comes from."""
    vectors = [chain.start, chain.transitions, chain.end]
    start, transitions, end = (steps.arrays.vector(part) for part in vectors)
    lines = [
        "float best[NAME_LABELS], next[NAME_LABELS];",
        "int t, i, j;",
        "if (length < 1) return;",
        f"for (i = 0; i < NAME_LABELS; i++) best[i] = {start}[i] + scores[i];",
        "for (t = 1; t < length; t++) {",
        "    float *row = scores + t * NAME_LABELS, most;",
        "    for (j = 0; j < NAME_LABELS; j++) {",
        f"        float top = best[0] + {transitions}[j];",
        "        int from = 0;",
        "        for (i = 1; i < NAME_LABELS; i++) {",
        f"            const float path = best[i] + {transitions}[i * NAME_LABELS + j];",
        "            if (path > top) {",
        "                top = path;",
        "                from = i;",
        "            }",
        "        }",
        "        next[j] = top + row[j];",
        "        row[j] = (float)from;",
        "    }",
        "    most = next[name_best(next)]; /* long sequences keep their precision */",
        "    for (j = 0; j < NAME_LABELS; j++) best[j] = next[j] - most;",
        "}",
        f"for (i = 0; i < NAME_LABELS; i++) best[i] += {end}[i];",
        "labels[length - 1] = name_best(best);",
        "for (t = length - 1; t > 0; t--)",
        "    labels[t - 1] = (int)scores[t * NAME_LABELS + labels[t]];",
    ]
    return function("static void name_decode(float *scores, int length, int *labels)", lines)
