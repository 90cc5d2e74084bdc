"""The C of a model that says the next token: read, step, draw."""

from __future__ import annotations

from ...tasks.exported import Exported
from . import vocabulary as vocabularies
from .draws import CHANCE, DRAWS
from .room import Room
from .steps import Steps

HEADER = """{conditions}#define NAME_TOKENS {tokens} /* 0 <pad>, 1 <unk>, 2 <bos>, 3 <eos>, ...  */
#define NAME_UNKNOWN 1
#define NAME_EOS {eos} /* ends a text; -1: nothing does */

typedef struct {{
{fields}
}} name_state; /* memory of one text: copy it to go back, keep one for each text */

#define NAME_STATE_BYTES {state_bytes}

/* Nothing was read yet.{about_condition} */
void name_init(name_state *state{condition});

/* Reads what texts begin after; `logits` may be NULL. After it, or in place of it after name_init,
   come the tokens of a text. */
void name_open(name_state *state, float *logits);

/* Reads a token and tells how probable each next one is: softmax(logits). */
void name_step(name_state *state, int token, float logits[NAME_TOKENS]);

/* Reads tokens without a look at what comes next: a prime. */
void name_read(name_state *state, const int *tokens, int count);

typedef struct {{
    float temperature; /* 0: always the most probable token */
    int top_k;         /* the most probable so many; 0: all */
    float top_p;       /* the fewest that have this share of the probability; 1: all */
    float min_p;       /* at least so probable as the most probable one times this; 0: all */
}} name_sampling;

/* A number in [0, 1) that depends on these three alone: that of `throughtime generate --seed`. */
double name_chance(uint64_t seed, uint32_t sample, uint32_t step);

/* The token where the sum of the probabilities passes `chance`; logits are changed. */
int name_draw(float logits[NAME_TOKENS], const name_sampling *how, double chance);

/* The bytes that stand for a token, and how many{joined}. Specials have their names. */
const char *name_text(int token, int *length);
{next}"""

NEXT = """
/* The token at *text (UTF-8, ends with 0), which is moved past it; -1 at the end.{notes} */
int name_next(const char **text);
"""

SOURCE = """
void name_init(name_state *state{condition}) {{
    int i;
{first}
}}

void name_read(name_state *state, const int *tokens, int count) {{
    float y[{n}];
    int i;
    for (i = 0; i < count; i++) name_advance(state, name_known(tokens[i]), y);
}}

void name_step(name_state *state, int token, float logits[NAME_TOKENS]) {{
    float y[{n}];
    name_advance(state, name_known(token), y);
    name_answer(y, logits);
}}

void name_open(name_state *state, float *logits) {{
    static const int opening[{opened}] = {{{opening}}};
    float y[{n}];
    int i;
    for (i = 0; i < {opened}; i++) name_advance(state, opening[i], y);
    if (logits) name_answer(y, logits);
}}
"""

KNOWN = """
static int name_known(int token) {
    return token < 0 || token >= NAME_TOKENS ? NAME_UNKNOWN : token;
}
"""


def header(exported: Exported, steps: Steps) -> str:
    """What stands in NAME.h."""
    v = exported.vocabulary
    assert v is not None
    notes = []
    if v.lowercase:
        notes.append("Capitals A to Z are read as small letters; make others small before.")
    if v.level == "word":
        notes.append("Bytes above 127 count as letters.")
    if exported.line_ends:
        notes.append("A line's end is <eos>.")
    said = "".join(f"\n   {note}" for note in notes)
    known = exported.outline.condition
    size = known.embed.W.shape[1] if known else 0
    return HEADER.format(
        tokens=len(v),
        eos=-1 if exported.eos is None else exported.eos,
        fields="\n".join(f"    {line}" for line in fields(exported, steps)),
        state_bytes=state_bytes(exported, steps),
        joined="; write a space between words" if v.level == "word" else "",
        next=NEXT.format(notes=said) if vocabularies.has_next(v) else SUBWORDS,
        condition=", const float condition[NAME_CONDITION]" if known else "",
        conditions=condition_defines(exported, size),
        about_condition=" `condition`: numbers in the order of NAME_CONDITION." if known else "",
    )


SUBWORDS = """
/* Texts are taken apart by tokenizer.json, which lies beside this file: in Python
   tokenizers.Tokenizer.from_file("tokenizer.json").encode(text).ids. */
"""


def condition_defines(exported: Exported, size: int) -> str:
    """How many numbers a condition has, and what each says."""
    if not size:
        return ""
    said = "".join(f"\n   {k}: {name}" for k, name in enumerate(exported.condition))
    return (
        f"#define NAME_CONDITION {size}\n/* What its numbers say, 0 for what is left open:{said}\n"
        "   A label's number is 1 where it is given. */\n"
    )


def room(exported: Exported, steps: Steps) -> Room:
    """Header and source."""
    made = header(exported, steps), source(exported, steps)
    return Room(*made, state_bytes(exported, steps), "text")


def fields(exported: Exported, steps: Steps) -> list[str]:
    """Of the state."""
    known = exported.outline.condition
    more = [f"float condition[{len(known.embed.W)}];"] if known and known.joins_input else []
    return steps.state_fields() + more


def state_bytes(exported: Exported, steps: Steps) -> int:
    """Of the state."""
    known = exported.outline.condition
    more = len(known.embed.W) if known and known.joins_input else 0
    return 4 * (sum(n for _, n in steps.parts()) + more)


def source(exported: Exported, steps: Steps) -> str:
    """What stands in NAME.c after the layers."""
    v = exported.vocabulary
    assert v is not None
    never = list(exported.never)
    opening = list(exported.opening)
    n = exported.outline.layers[-1].size
    known = exported.outline.condition
    begin = SOURCE.format(
        n=n,
        first="\n".join(f"    {line}" for line in first_lines(exported, steps)),
        opening=", ".join(map(str, opening)),
        opened=len(opening),
        condition=", const float condition[NAME_CONDITION]" if known else "",
    )
    draws = DRAWS.format(
        never=", ".join(map(str, never)) or "0",
        nevers=max(len(never), 1),
        never_count=len(never),
    )
    texts = vocabularies.functions(v, exported.line_ends)
    return KNOWN + begin + CHANCE + draws + texts


def first_lines(exported: Exported, steps: Steps) -> list[str]:
    """What name_init does."""
    known = exported.outline.condition
    if known is None:
        return steps.first()
    size = len(known.embed.W)
    lines = [f"float e[{size}];", f"{steps.affine(known.embed)}(condition, e);"]
    if known.joins_input:
        lines.append(f"for (i = 0; i < {size}; i++) state->condition[i] = e[i];")
    if known.first is None:
        return lines + steps.first()
    total = len(known.first.W)
    lines = [f"float first[{total}];", *lines, f"{steps.affine(known.first)}(e, first);"]
    begin = 0
    for name, n in steps.parts():
        lines.append(f"for (i = 0; i < {n}; i++) state->{name}[i] = first[{begin} + i];")
        begin += n
    return lines
