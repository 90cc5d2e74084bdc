"""What a sequence is made of, in C: tokens, words as text, or numbers as they are."""

from __future__ import annotations

from dataclasses import dataclass

from ...layers.outline import Spelling, Tokens
from ...tasks.exported import Exported
from ..lowering import traced
from . import vocabulary as vocabularies
from .language import KNOWN, NEXT, SUBWORDS
from .steps import Steps, function

NUMBERS = """#define NAME_NUMBERS {size} /* of a step */
#ifndef NAME_NUMBER /* double keeps more of numbers far from zero */
#define NAME_NUMBER float
#endif
"""


@dataclass(frozen=True)
class Given:
    """How C is given a step: `one` and `many` are parameters, `item` says it in words, `at` is step
    t of many. `header` and `source` are what they need; `loads` a call that has x of a step, and
    `advances` lines that have y of it; `token`, of a folded model, its number."""

    one: str
    many: str
    item: str
    at: str
    header: str
    source: str
    loads: str
    advances: tuple[str, ...]
    token: str = ""


def given(exported: Exported, steps: Steps) -> Given:
    """By what the model reads."""
    if exported.vocabulary is None:
        return numbers(exported, steps)
    return words(exported, steps) if exported.says == "tag" else tokens(exported, steps)


def tokens(exported: Exported, steps: Steps) -> Given:
    """Tokens, and text taken apart into them where C can do that."""
    v = exported.vocabulary
    assert v is not None
    header = f"#define NAME_TOKENS {len(v)}\n#define NAME_UNKNOWN 1\n"
    text = "\n/* The bytes that stand for a token, and how many. */\n"
    text += "const char *name_text(int token, int *length);\n"
    text += NEXT.format(notes="") if vocabularies.has_next(v) else SUBWORDS
    loads = "" if steps.model.folded else steps.look_up("{x}", "name_known({one})")
    return Given(
        "int token", "const int *tokens", "a token", "tokens[t]", header + text,
        KNOWN + vocabularies.functions(v, False), loads,
        ("name_advance(state, name_known(token), y);",), "name_known({one})",
    )  # fmt: skip


def numbers(exported: Exported, steps: Steps) -> Given:
    """Numbers as they are; standardised, and embedded where the model does that."""
    inputs = exported.outline.inputs
    assert not isinstance(inputs, Tokens)
    header = NUMBERS.format(size=inputs.size)
    if exported.columns:
        said = "\n".join(f"   {k}: {name!a}" for k, name in enumerate(exported.columns))
        header += f"/* Its numbers:\n{said.replace('*/', '* /')} */\n"
    value, lines = "(float)numbers[i]", ["int i;"]
    if inputs.mean is not None and inputs.deviation is not None:
        for name, values in (("mean", inputs.mean), ("deviation", inputs.deviation)):
            said = ", ".join(f"(NAME_NUMBER){v!r}" for v in values.tolist())
            lines.insert(0, f"static const NAME_NUMBER {name}[NAME_NUMBERS] = {{{said}}};")
        value = "(float)((numbers[i] - mean[i]) / deviation[i])"
    target = "x"
    if inputs.embed is not None:
        lines.append("float given[NAME_NUMBERS];")
        target = "given"
    lines.append(f"for (i = 0; i < NAME_NUMBERS; i++) {target}[i] = {value};")
    if inputs.embed is not None:
        lines.append(f"{steps.affine(inputs.embed)}(given, x);")
    return Given(
        "const NAME_NUMBER *numbers", "const NAME_NUMBER *numbers",
        "NAME_NUMBERS numbers as they are, not standardised", "numbers + t * NAME_NUMBERS", header,
        function("static void name_numbers(const NAME_NUMBER *numbers, float *x)", lines),
        "name_numbers({one}, {x});",
        (f"float x[{inputs.width}];", "name_numbers(numbers, x);", "name_advance(state, x, y);"),
    )  # fmt: skip


def words(exported: Exported, steps: Steps) -> Given:
    """Words as text: looked up whole, and spelled where the model reads characters."""
    v, spelling = exported.vocabulary, exported.outline.spelling
    assert v is not None
    source = vocabularies.word(v)
    lookup = steps.look_up("x", "name_known_word(word)")
    advances = ("name_advance(state, name_known_word(word), y);",)
    if spelling is not None:
        assert exported.characters is not None
        source += vocabularies.character(exported.characters) + "\n" + spell(spelling, steps)
        E, size = steps.outline.inputs.size, steps.outline.inputs.size + spelling.size
        lines = [lookup, f"name_spelled(word, x + {E});"]
        source += "\n\n" + function("static void name_x(const char *word, float *x)", lines)
        advances = (f"float x[{size}];", "name_x(word, x);", "name_advance(state, x, y);")
        loads = "name_x({one}, {x});"
    elif steps.model.folded:
        loads = ""
    else:
        loads = steps.look_up("{x}", "name_known_word({one})")
    header = f"#define NAME_TOKENS {len(v)}\n#define NAME_UNKNOWN 1\n"
    header += "/* Words are UTF-8 and end with 0."
    if v.lowercase:
        header += " Capitals A to Z are read as small letters; make others small before."
    return Given(
        "const char *word", "const char *const *words", "a word", "words[t]", header + " */\n",
        source, loads, advances, "name_known_word({one})",
    )  # fmt: skip


def spell(spelling: Spelling, steps: Steps) -> str:
    """name_spelled: what stands for the characters of a word."""
    table = steps.arrays.table(spelling.table)
    E = spelling.table.shape[1]
    if spelling.layer is None:
        return convolve(spelling, steps)
    head = "static void name_spelled(const char *word, float *y)"
    lines = [f"float x[{E}];", "const char *at = word, *here;", "int i, token;"]
    place = 0
    for d, scan in enumerate(spelling.layer.scans):
        number = steps.scan("Characters", scan, traced(scan))
        side = "backward" if d else "forward"
        names = [f"{side}_{part}" for part in scan.cell.state]
        lines += [f"float {name}[{len(v)}];" for name, v in zip(names, scan.first)]
        for name, values in zip(names, scan.first):
            value = f"{steps.arrays.vector(values)}[i]" if values.any() else "0.0f"
            lines.append(f"for (i = 0; i < {len(values)}; i++) {name}[i] = {value};")
        call = f"name_scan{number}({', '.join([*['x'] * steps.reads[number], *names])});"
        if d:
            lines += [
                "while (at > word) {",
                "    at--;",
                "    while (at > word && ((unsigned char)*at & 0xc0) == 0x80) at--;",
                "    here = at;",
                f"    name_look_up(x, {table.given}, name_character(&here), {E});",
            ]
        else:
            lines += [
                "while ((token = name_character(&at)) >= 0) {",
                f"    name_look_up(x, {table.given}, token, {E});",
            ]
        lines += [
            f"    {call}",
            "}",
            f"for (i = 0; i < {scan.size}; i++) y[{place} + i] = {names[0]}[i];",
        ]
        place += scan.size
    return function(head, lines)


def convolve(spelling: Spelling, steps: Steps) -> str:
    """The same by a convolution: the neighbours of a character stand in `rows`."""
    assert spelling.convolution is not None
    table, E = steps.arrays.table(spelling.table), spelling.table.shape[1]
    (before, after), n = spelling.around, len(spelling.convolution.W)
    width = before + after + 1
    lines = [
        f"float rows[{width * E}], h[{n}];",
        "int i, token, ends = 0, seen = 0;",
        f"for (i = 0; i < {width * E}; i++) rows[i] = 0.0f;",
        f"for (i = 0; i < {n}; i++) y[i] = 0.0f;",
        "for (;;) {",
        "    token = name_character(&word);",
        f"    if (token < 0 && ends++ == {after}) break;",
        f"    for (i = 0; i < {(width - 1) * E}; i++) rows[i] = rows[i + {E}];",
        f"    for (i = 0; i < {E}; i++) rows[{(width - 1) * E} + i] = 0.0f;",
        f"    if (token >= 0) name_look_up(rows + {(width - 1) * E}, {table.given}, token, {E});",
        f"    if (++seen <= {after}) continue;",
        f"    {steps.affine(spelling.convolution)}(rows, h);",
        f"    for (i = 0; i < {n}; i++)",
        f"        y[i] = seen == {after + 1} || h[i] > y[i] ? h[i] : y[i];",
        "}",
    ]
    return function("static void name_spelled(const char *word, float *y)", lines)
