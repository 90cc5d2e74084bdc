"""The C of a model that says a label, or numbers, of a sequence: step by step, or of a whole one in
both directions."""

from __future__ import annotations

from ...tasks.exported import Exported
from . import vocabulary as vocabularies
from .given import Given, given
from .pooling import pool_fields, pool_functions, pooling
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

/* Reads {item}. */
void name_step(name_state *state, {one});

/* {says}, by what was read so far. */
void name_result(const name_state *state, {answers});
"""

WHOLE = """
/* {says}. The model reads in both directions, so it needs the entire sequence: `length` steps of
   {item}, one after the other. */
void name_classify({many}, int length, float *work, {answers});
"""

SOFTMAX = [
    "float most = v[0], sum = 0.0f;",
    "int i;",
    "for (i = 1; i < NAME_LABELS; i++) most = v[i] > most ? v[i] : most;",
    "for (i = 0; i < NAME_LABELS; i++) sum += v[i] = name_exp(v[i] - most);",
    "for (i = 0; i < NAME_LABELS; i++) v[i] /= sum;",
]
RISING = [
    "int k, i, j;",
    "for (k = 0; k < count; k++)",
    "    for (i = 1; i < {each}; i++)",
    "        for (j = i; j > 0 && v[k * {each} + j] < v[k * {each} + j - 1]; j--) {{",
    "            const float other = v[k * {each} + j];",
    "            v[k * {each} + j] = v[k * {each} + j - 1];",
    "            v[k * {each} + j - 1] = other;",
    "        }}",
]


def softmax() -> str:
    """name_softmax: scores of labels become probabilities."""
    return function("static void name_softmax(float *v)", SOFTMAX)


def rising(each: int) -> str:
    """name_rising: `each` neighbours of `count` many are put in order."""
    lines = [line.format(each=each) for line in RISING]
    return function("static void name_rising(float *v, int count)", lines)


def labels(exported: Exported) -> str:
    """name_label."""
    said = ", ".join(vocabularies.literal(label.encode()) for label in exported.labels)
    return (
        f"\nconst char *name_label(int label) {{\n"
        f"    static const char *const labels[NAME_LABELS] = {{{said}}};\n"
        f'    return label < 0 || label >= NAME_LABELS ? "" : labels[label];\n}}\n'
    )


def quantiles(exported: Exported) -> str:
    """Which ones are said, for a header."""
    q = ", ".join(f"{one:g}" for one in exported.quantiles)
    return f"#define NAME_QUANTILES {len(exported.quantiles)} /* {q} */\n" if q else ""


class Answer:
    """What is said: `declares` it in the header, `parameter` of a function, and `lines` that have
    it of the maps' `answers`."""

    def __init__(self, exported: Exported) -> None:
        each = max(1, len(exported.quantiles))
        self.declares = f"#define NAME_LABELS {len(exported.labels)}\n" + quantiles(exported)
        self.functions = softmax()
        if exported.says == "label":
            self.says, self.parameter = (
                "How probable each label is",
                "float probabilities[NAME_LABELS]",
            )
            self.name, self.lines, self.count = (
                "probabilities",
                ["name_softmax(probabilities);"],
                len(exported.labels),
            )
            return
        self.name, self.count = "values", each * len(exported.labels)
        self.parameter = f"float values[{self.count}]"
        self.says, self.lines = "The number of each label", []
        self.functions = ""
        if exported.quantiles:
            self.says = "The quantiles of each label, NAME_QUANTILES after one another, rising"
            self.lines = ["name_rising(values, NAME_LABELS);"]
            self.functions = rising(each)


def room(exported: Exported, steps: Steps) -> Room:
    """Header and source."""
    read, answer = given(exported, steps), Answer(exported)
    fields = [*steps.state_fields(), *pool_fields(steps)]
    both = exported.outline.bidirectional
    said = {
        "says": answer.says, "item": read.item, "answers": answer.parameter, "one": read.one,
        "many": read.many, "fields": "\n".join(f"    {field}" for field in fields),
        "state_bytes": state_bytes(steps),
    }  # fmt: skip
    api = WHOLE.format(**said) if both else STREAM.format(**said)
    before, _, after = read.header.partition("\n/* The bytes that")
    text = "\n/* The bytes that" + after if after else ""
    work = WORK.format(floats=2 * widest(steps)) if both else ""
    header = answer.declares + before + work + api + "\nconst char *name_label(int label);\n" + text
    parts = [pool_functions(steps), answer.functions, read.source]
    parts.append(whole(steps, read, answer) if both else stream(steps, read, answer))
    source = "\n\n".join([*(part for part in parts if part), labels(exported)])
    hidden = private(steps, pool_fields(steps)) if both else ""
    return Room(header, source, state_bytes(steps), "sequence", hidden)


def state_bytes(steps: Steps) -> int:
    """Of the state."""
    size = 4 * sum(n for _, n in steps.parts())
    for field in pool_fields(steps):
        size += 4 * (steps.outline.layers[-1].size if "pooled" in field else field.count(",") + 1)
    return size


def answers(steps: Steps, answer: Answer) -> list[str]:
    """From what was read to what is said."""
    return [
        f"float pooled[{steps.outline.layers[-1].size}];",
        "name_pooled(state, pooled);",
        f"name_answer(pooled, {answer.name});",
        *answer.lines,
    ]


def stream(steps: Steps, read: Given, answer: Answer) -> str:
    """name_step and name_result."""
    pools = [] if pooling(steps).kind == "last" else ["name_pool(state, y);"]
    lines = [f"float y[{steps.outline.layers[-1].size}];", *read.advances, *pools]
    step = function(f"void name_step(name_state *state, {read.one})", lines)
    head = f"void name_result(const name_state *state, {answer.parameter})"
    return step + "\n\n" + function(head, answers(steps, answer))


def whole(steps: Steps, read: Given, answer: Answer) -> str:
    """name_classify."""
    lines = over(steps, read)
    if pooling(steps).kind != "last":
        lines.append(f"for (t = 0; t < length; t++) name_pool(state, in + t * {widest(steps)});")
    head = f"void name_classify({read.many}, int length, float *work, {answer.parameter})"
    return function(head, [*lines, *answers(steps, answer)])
