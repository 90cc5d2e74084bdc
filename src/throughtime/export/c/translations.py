"""The C of a translator: a source is read into the caller's buffers, then written by token."""

from __future__ import annotations

from ...layers.outline import Scores, Writer
from ...tasks.exported import Exported
from ...tasks.translation import MORE
from ..answers import without_bias
from ..lowering import traced
from . import vocabulary as vocabularies
from .given import Given, tokens
from .room import Room
from .steps import Steps, function
from .whole import over, private, widest

HEADER = """#define NAME_TARGET_TOKENS {targets}
#ifndef NAME_LONGEST /* tokens of a source at most */
#define NAME_LONGEST 64
#endif
#define NAME_WORK (NAME_LONGEST * {floats}) /* floats of `work` */
#define NAME_MOST(length) ((length) * 2 + {more}) /* tokens, where nothing ends it */

typedef struct {{
{fields}
    int length, values;
}} name_state; /* where a translation is */

#define NAME_STATE_BYTES {state_bytes}

/* Reads a source of at most NAME_LONGEST tokens; of a longer one only those. */
void name_init(name_state *state, const int *source, int length, float *work);

/* Writes a token and tells how probable each next one is: softmax(logits). The first token is
   NAME_FIRST; `work` is that of name_init. */
#define NAME_FIRST {first}
#define NAME_EOS {eos}
void name_step(name_state *state, int token, float *work, float logits[NAME_TARGET_TOKENS]);

/* The greedy translation: how many tokens, at most `most`, are in `target`. */
int name_translate(const int *source, int length, int most, float *work, int *target);

/* The bytes that stand for a token of a translation, and how many{joined}. */
const char *name_target_text(int token, int *length);
"""
TRANSLATE = """
int name_translate(const int *source, int length, int most, float *work, int *target) {{
    static const int never[{nevers}] = {{{never}}};
    float logits[NAME_TARGET_TOKENS];
    name_state state;
    int t, i, token = NAME_FIRST;
    if (length < 1) return 0;
    name_init(&state, source, length, work);
    for (t = 0; t < most; t++) {{
        name_step(&state, token, work, logits);
        for (i = 0; i < {nevers}; i++) logits[never[i]] = -name_infinity();
        for (i = 1, token = 0; i < NAME_TARGET_TOKENS; i++)
            if (logits[i] > logits[token]) token = i;
        if (token == NAME_EOS) break;
        target[t] = token;
    }}
    return t;
}}
"""


def room(exported: Exported, steps: Steps) -> Room:
    """Header and source."""
    read, writer, target = tokens(exported, steps), exported.outline.writer, exported.target
    assert writer is not None
    assert target is not None
    scans = [scan for layer in writer.layers for scan in layer.scans]
    parts = [
        (f"writer{k}_{part}", len(first))
        for k, scan in enumerate(scans, 1)
        for part, first in zip(scan.cell.state, scan.first)
    ]
    parts.append(("h", len(writer.combine.W)))
    keys = 0 if writer.attention is None else len(writer.attention.keys.W)
    state_bytes = 4 * sum(n for _, n in parts) + 8
    floats = 2 * widest(steps) + keys + 1
    header = HEADER.format(
        targets=len(target), floats=floats, more=MORE, state_bytes=state_bytes,
        first=exported.opening[0], eos=exported.eos,
        fields="\n".join(f"    float {name}[{n}];" for name, n in parts),
        joined="; write a space between words" if target.level == "word" else "",
    )  # fmt: skip
    numbers = [steps.scan(f"Writer {k}", scan, traced(scan)) for k, scan in enumerate(scans, 1)]
    reading = private(steps, []).replace("name_state", "name_reading")
    first = function("static void name_begin(name_reading *state)", ["int i;", *steps.first()])
    never = TRANSLATE.format(nevers=len(exported.never), never=", ".join(map(str, exported.never)))
    source = "\n\n".join(
        [
            reading + first,
            read.source,
            begin(steps, writer, read, [name for name, _ in parts]),
            step(steps, writer, numbers[0], [name for name, _ in parts[:-1]]),
            never + vocabularies.of_target(vocabularies.TEXT_OF),
        ]
    )
    return Room(read.header + header, source, state_bytes, "translation")


def begin(steps: Steps, writer: Writer, read: Given, names: list[str]) -> str:
    """name_init: the source, its keys, and the writer's first state."""
    W, lines = widest(steps), ["if (length > NAME_LONGEST) length = NAME_LONGEST;"]
    reading = "name_reading memory, *from = &memory;"
    lines += [
        line.replace("name_state memory, *state = &memory;", reading)
        .replace("state->", "from->")
        .replace("name_init(state)", "name_begin(from)")
        for line in over(steps, read)
    ]
    lines += ["state->length = length;", "state->values = (int)(in - work);"]
    by_layer: list[list[list[str]]] = []
    sizes = dict(steps.parts())
    own = iter(steps.parts())
    for layer in steps.outline.layers:
        by_layer.append([[next(own)[0] for _ in s.cell.state] for s in layer.scans])
    parts = iter(names)
    for bridge in writer.bridges:
        sides = by_layer[bridge.below]
        v = [side[part] for part in bridge.parts for side in sides]
        at, width = 0, sum(sizes[name] for name in v)
        lines += ["{", f"    float v[{width}];"]
        for name in v:
            n = sizes[name]
            lines.append(f"    for (i = 0; i < {n}; i++) v[{at} + i] = from->{name}[i];")
            at += n
        lines += [f"    {steps.affine(bridge.map)}(v, state->{next(parts)});", "}"]
    lines.append(f"for (i = 0; i < {len(writer.combine.W)}; i++) state->h[i] = 0.0f;")
    if writer.attention is not None:
        K = len(writer.attention.keys.W)
        keys = steps.affine(writer.attention.keys)
        lines.append(
            f"for (t = 0; t < length; t++)\n"
            f"        {keys}(in + t * {W}, work + length * {2 * W} + t * {K});"
        )
    head = "void name_init(name_state *state, const int *tokens, int length, float *work)"
    return function(head, lines)


def step(steps: Steps, writer: Writer, number: int, names: list[str]) -> str:
    """name_step."""
    E, out = writer.table.shape[1], len(writer.combine.W)
    n, W = writer.layers[-1].size, widest(steps)
    seen = len(writer.combine.W[0]) - n
    table = steps.arrays.table(writer.table)
    known = "token < 0 || token >= NAME_TARGET_TOKENS ? NAME_UNKNOWN : token"
    lines = [
        f"float x[{E + out * writer.feeds}], y[{n + seen}];",
        "int i;",
        f"name_look_up(x, {table.given}, {known}, {E});",
    ]
    if writer.feeds:
        lines.append(f"for (i = 0; i < {out}; i++) x[{E} + i] = state->h[i];")
    states = [f"state->{name}" for name in names]
    lines += steps.through(writer.layers, number, states, "x")
    if writer.attention is not None:
        K = len(writer.attention.keys.W)
        lines.append(
            f"name_attend(y, work + state->values, work + state->length * {2 * W}, "
            f"work + state->length * {2 * W + K}, state->length, y + {n});"
        )
    else:
        lines.append("(void)work;")
    lines += [
        f"{steps.affine(writer.combine)}(y, state->h);",
        f"{steps.affine(writer.output)}(state->h, logits);",
    ]
    parameters = "name_state *state, int token, float *work, float logits[NAME_TARGET_TOKENS]"
    made = function(f"void name_step({parameters})", lines)
    if writer.attention is None:
        return made
    return attend(steps, writer.attention, W, seen) + "\n\n" + made


def attend(steps: Steps, attention: Scores, W: int, seen: int) -> str:
    """name_attend: the context of a state s, its weights on the way in `weights`."""
    K = len(attention.keys.W)
    lines = ["float most = 0.0f, sum = 0.0f;", "int t, i;"]
    term = f"s[i] * keys[t * {K} + i]"
    if attention.v is not None and attention.queries is not None:
        queries = steps.affine(without_bias(attention.queries))
        lines += [f"float query[{K}];", f"{queries}(s, query);"]
        v = steps.arrays.vector(attention.v)
        term = f"{v}[i] * name_tanh(query[i] + keys[t * {K} + i])"
    lines += [
        "for (t = 0; t < length; t++) {",
        "    float score = 0.0f;",
        f"    for (i = 0; i < {K}; i++) score += {term};",
        "    weights[t] = score;",
        "    most = t == 0 || score > most ? score : most;",
        "}",
        "for (t = 0; t < length; t++) sum += weights[t] = name_exp(weights[t] - most);",
        f"for (i = 0; i < {seen}; i++) context[i] = 0.0f;",
        "for (t = 0; t < length; t++) {",
        "    const float share = weights[t] / sum;",
        f"    for (i = 0; i < {seen}; i++) context[i] += share * values[t * {W} + i];",
        "}",
    ]
    head = "static void name_attend(const float *s, const float *values, const float *keys, float *weights, int length, float *context)"  # noqa: E501
    return function(head, lines)
