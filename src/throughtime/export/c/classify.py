"""The C of a model that says a label: step by step, or over a whole sequence in both directions."""

from __future__ import annotations

from ...layers.outline import Tokens
from ...tasks.exported import Exported
from . import vocabulary as vocabularies
from .language import KNOWN, NEXT, SUBWORDS
from .steps import Steps, declared_first

STREAM = """
typedef struct {{
{fields}
}} name_state; /* memory of one sequence: keep one for each that is read at a time */

#define NAME_STATE_BYTES {state_bytes}

/* Nothing was read yet. */
void name_init(name_state *state);

/* Reads {item}. */
void name_step(name_state *state, {given});

/* How probable each label is, by what was read so far. */
void name_result(const name_state *state, float probabilities[NAME_LABELS]);
"""

WHOLE = """
/* How many floats `work` must hold for a sequence of that length. */
#define NAME_WORK(length) ((length) * {twice})

/* How probable each label is. The model reads in both directions, so it needs the entire sequence:
   `length` steps of {item}, one after the other. */
void name_classify({given}, int length, float *work, float probabilities[NAME_LABELS]);
"""


def header(exported: Exported, steps: Steps) -> str:
    """What stands in NAME.h."""
    v, inputs = exported.vocabulary, exported.outline.inputs
    lines = [f"#define NAME_LABELS {len(exported.labels)}"]
    if v is not None:
        lines += [f"#define NAME_TOKENS {len(v)}", "#define NAME_UNKNOWN 1"]
        item, one, many = "a token", "int token", "const int *tokens"
    else:
        assert not isinstance(inputs, Tokens)
        lines += [
            f"#define NAME_NUMBERS {inputs.size} /* of a step */",
            "#ifndef NAME_NUMBER /* double keeps more of numbers far from zero */",
            "#define NAME_NUMBER float",
            "#endif",
        ]
        if exported.columns:
            said = "\n".join(f"   {k}: {name!a}" for k, name in enumerate(exported.columns))
            lines.append(f"/* Its numbers:\n{said.replace('*/', '* /')} */")
        item = "NAME_NUMBERS numbers as they are, not standardised"
        one, many = "const NAME_NUMBER *numbers", "const NAME_NUMBER *numbers"
    if exported.outline.bidirectional:
        api = WHOLE.format(twice=2 * widest(steps), item=item, given=many)
    else:
        fields = "\n".join(f"    {line}" for line in [*steps.state_fields(), *pool_fields(steps)])
        api = STREAM.format(
            fields=fields, state_bytes=state_bytes(exported, steps), item=item, given=one
        )
    text = "\nconst char *name_label(int label);\n"
    if v is not None:
        text += "\n/* The bytes that stand for a token, and how many. */\n"
        text += "const char *name_text(int token, int *length);\n"
        text += NEXT.format(notes="") if vocabularies.has_next(v) else SUBWORDS
    return "\n".join(lines) + "\n" + api + text


def widest(steps: Steps) -> int:
    """Numbers of a step between layers."""
    layers, inputs = steps.outline.layers, steps.outline.inputs
    return max(inputs.size, *(layer.size for layer in layers))


def pool_fields(steps: Steps) -> list[str]:
    """What pooling remembers."""
    n = steps.outline.layers[-1].size
    kind = pooling(steps).kind
    if kind == "last":
        return []
    more = ["float highest, total;"] if kind == "attention" else []
    return [f"float pooled[{n}];", "uint32_t steps;", *more]


def pooling(steps: Steps):
    """How a sequence is pooled."""
    assert steps.outline.pooling is not None
    return steps.outline.pooling


def state_bytes(exported: Exported, steps: Steps) -> int:
    """Of the state."""
    size = 4 * sum(n for _, n in steps.parts())
    for field in pool_fields(steps):
        size += 4 * (steps.outline.layers[-1].size if "pooled" in field else field.count(",") + 1)
    return size


def source(exported: Exported, steps: Steps) -> str:
    """What stands in NAME.c after the layers."""
    parts = [pool_functions(steps)]
    v = exported.vocabulary
    if v is None:
        parts.append(standardised(steps))
    else:
        parts += [KNOWN]
    if exported.outline.bidirectional:
        parts.append(whole(exported, steps))
    else:
        parts.append(stream(exported, steps))
    labels = ", ".join(vocabularies.literal(label.encode()) for label in exported.labels)
    parts.append(
        f"\nconst char *name_label(int label) {{\n"
        f"    static const char *const labels[NAME_LABELS] = {{{labels}}};\n"
        f'    return label < 0 || label >= NAME_LABELS ? "" : labels[label];\n}}\n'
    )
    if v is not None:
        parts.append(vocabularies.functions(v, False))
    return "\n".join(parts)


def standardised(steps: Steps) -> str:
    """x of the numbers."""
    inputs = steps.outline.inputs
    assert not isinstance(inputs, Tokens)
    value = "(float)numbers[i]"
    lines = ["int i;"]
    if inputs.mean is not None and inputs.deviation is not None:
        for name, values in (("mean", inputs.mean), ("deviation", inputs.deviation)):
            said = ", ".join(f"(NAME_NUMBER){v!r}" for v in values.tolist())
            lines.insert(0, f"static const NAME_NUMBER {name}[NAME_NUMBERS] = {{{said}}};")
        value = "(float)((numbers[i] - mean[i]) / deviation[i])"
    lines.append(f"for (i = 0; i < NAME_NUMBERS; i++) x[i] = {value};")
    return function("static void name_standardise(const NAME_NUMBER *numbers, float *x)", lines)


def function(head: str, lines: list[str]) -> str:
    """A function of these lines."""
    return "\n".join([f"{head} {{", *(f"    {line}" for line in declared_first(lines)), "}"])


def pool_functions(steps: Steps) -> str:
    """name_pool adds a step; name_pooled gives the vector; name_softmax makes probabilities."""
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
        number = len(outline.outputs)
        steps.affine(number, pool.keys)
        query, m = steps.arrays.vector(pool.query), len(pool.query)
        add = [
            f"float keys[{m}], score = 0.0f, share;",
            "int i;",
            f"name_map{number}(y, keys);",
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
    softmax = [
        "float most = v[0], sum = 0.0f;",
        "int i;",
        "for (i = 1; i < NAME_LABELS; i++) most = v[i] > most ? v[i] : most;",
        "for (i = 0; i < NAME_LABELS; i++) sum += v[i] = name_exp(v[i] - most);",
        "for (i = 0; i < NAME_LABELS; i++) v[i] /= sum;",
    ]
    made = []
    static = "static " if outline.bidirectional else ""
    if outline.bidirectional:
        fields = "\n".join(f"    {f}" for f in [*steps.state_fields(), *pool_fields(steps)])
        made.append(f"typedef struct {{\n{fields}\n}} name_state;")
    made.append(function(f"{static}void name_init(name_state *state)", ["int i;", *first]))
    if add:
        made.append(function("static void name_pool(name_state *state, const float *y)", add))
    made.append(function("static void name_pooled(const name_state *state, float *pooled)", give))
    made.append(function("static void name_softmax(float *v)", softmax))
    return "\n\n".join(made)


def answer(steps: Steps, state: str) -> list[str]:
    """From what was read to probabilities."""
    n = steps.outline.layers[-1].size
    return [
        f"float pooled[{n}];",
        f"name_pooled({state}, pooled);",
        "name_answer(pooled, probabilities);",
        "name_softmax(probabilities);",
    ]


def stream(exported: Exported, steps: Steps) -> str:
    """name_step and name_result."""
    n = steps.outline.layers[-1].size
    pools = [] if pooling(steps).kind == "last" else ["name_pool(state, y);"]
    if exported.vocabulary is not None:
        head = "void name_step(name_state *state, int token)"
        lines = [f"float y[{n}];", "name_advance(state, name_known(token), y);", *pools]
    else:
        head = "void name_step(name_state *state, const NAME_NUMBER *numbers)"
        lines = [f"float y[{n}];", f"float x[{steps.outline.inputs.size}];"]
        lines += ["name_standardise(numbers, x);", "name_advance(state, x, y);", *pools]
    result = "void name_result(const name_state *state, float probabilities[NAME_LABELS])"
    return function(head, lines) + "\n\n" + function(result, answer(steps, "state"))


def whole(exported: Exported, steps: Steps) -> str:
    """name_classify: layer by layer, each forward and then backward."""
    W, outline = widest(steps), steps.outline
    lines = [
        "name_state memory, *state = &memory;",
        f"float *in = work, *out = work + length * {W};",
    ]
    lines += ["float *other;", "int t, i;", "name_init(state);"]
    if isinstance(outline.inputs, Tokens):
        given = "const int *tokens"
        table = f"{steps.table.given}, name_known(tokens[t]), {outline.inputs.size}"
        look = f"name_look_up(in + t * {W}, {table});"
        lines.append(f"for (t = 0; t < length; t++)\n        {look}")
    else:
        given = "const NAME_NUMBER *numbers"
        lines.append(
            "for (t = 0; t < length; t++)\n"
            f"        name_standardise(numbers + t * NAME_NUMBERS, in + t * {W});"
        )
    names, number = iter(name for name, _ in steps.parts()), 0
    for layer in outline.layers:
        at = 0
        for d, scan in enumerate(layer.scans):
            states = [f"state->{next(names)}" for _ in scan.cell.state]
            times = "for (t = length - 1; t >= 0; t--) {" if d else "for (t = 0; t < length; t++) {"
            x = [f"in + t * {W}"] * steps.reads[number]
            lines += [
                times,
                f"    name_scan{number}({', '.join([*x, *states])});",
                f"    for (i = 0; i < {scan.size}; i++) out[t * {W} + {at} + i] = {states[0]}[i];",
                "}",
            ]
            number, at = number + 1, at + scan.size
        if layer.adds_input:
            lines.append(
                f"for (t = 0; t < length; t++)\n        for (i = 0; i < {layer.size}; i++) "
                f"out[t * {W} + i] += in[t * {W} + i];"
            )
        lines += ["other = in;", "in = out;", "out = other;"]
    if pooling(steps).kind != "last":
        lines.append(f"for (t = 0; t < length; t++) name_pool(state, in + t * {W});")
    head = f"void name_classify({given}, int length, float *work, float probabilities[NAME_LABELS])"
    return function(head, [*lines, *answer(steps, "state")])
