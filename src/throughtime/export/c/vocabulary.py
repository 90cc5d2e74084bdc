"""A vocabulary as C: the bytes of each token, and text taken apart where that needs no library."""

from __future__ import annotations

import re

from ...data.vocabulary import EOS, SPECIALS, UNK, Vocabulary

HEAD = """/* The {count} tokens of {title}. {guard} */
#ifndef NAME_VOCABULARY_H
#define NAME_VOCABULARY_H

{texts}{more}
#endif
"""

TEXTS = """static const char *const name_texts[NAME_TOKENS] = {{
{texts}
}};
static const unsigned short name_lengths[NAME_TOKENS] = {{
{lengths}
}};
"""

TEXT_OF = """
const char *name_text(int token, int *length) {
    if (token < 0 || token >= NAME_TOKENS) token = NAME_UNKNOWN;
    if (length) *length = (int)name_lengths[token];
    return name_texts[token];
}
"""

NEXT_BYTE = """
int name_next(const char **text) {
    const unsigned char byte = (unsigned char)**text;
    if (byte == 0) return -1;
    *text += 1;
    return {line_end}byte + 4;
}
"""

NEXT_CHARACTER = """
int name_next(const char **text) {{
    const unsigned char *t = (const unsigned char *)*text;
    uint32_t point = t[0];
    int length = 1, low = 0, high = {count}, k;
    if (point == 0) return -1;
    if (point >= 0xc2 && point < 0xf5) {{
        const int more = point < 0xe0 ? 1 : point < 0xf0 ? 2 : 3;
        point &= 0x3fu >> more;
        for (k = 1; k <= more && (t[k] & 0xc0) == 0x80; k++) point = point << 6 | (t[k] & 0x3fu);
        length = k <= more ? 1 : k; /* half a character is one that is not known */
        if (k <= more) point = 0xfffdu;
    }}
    *text += length;{fold}{line_end}
    while (low < high) {{
        const int middle = (low + high) / 2;
        if (name_points[middle] < point)
            low = middle + 1;
        else
            high = middle;
    }}
    return low < {count} && name_points[low] == point ? (int)name_ids[low] : NAME_UNKNOWN;
}}
"""

WORD = """
static int name_known_word(const char *word) {{
    const unsigned char *t = (const unsigned char *)word;
    int low = 0, high = {count}, k;
    while (low < high) {{
        const int middle = (low + high) / 2, token = (int)name_order[middle];
        const int known = (int)name_lengths[token];
        int order = 0; /* a word's end is below all bytes */
        for (k = 0; k < known && order == 0; k++)
            order = {letter} - (int)(unsigned char)name_texts[token][k];
        if (order == 0 && t[known] == 0) return token;
        if (order >= 0)
            low = middle + 1;
        else
            high = middle;
    }}
    return NAME_UNKNOWN;
}}
"""

NEXT_WORD = """
static int name_is_letter(unsigned char c) {{
    return c == '_' || c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}}
static int name_is_space(unsigned char c) {{ return c == ' ' || (c >= 9 && c <= 13); }}

int name_next(const char **text) {{
    const unsigned char *t = (const unsigned char *)*text;
    int length = 0, low = 0, high = {count}, k;
    while (name_is_space(*t){but_line_end}) t++;
    if (*t == 0) {{
        *text = (const char *)t;
        return -1;
    }}
{line_end}    {take}
    *text = (const char *)t + length;
    while (low < high) {{
        const int middle = (low + high) / 2, token = (int)name_order[middle];
        const int known = (int)name_lengths[token];
        int order = 0;
        for (k = 0; k < length && k < known && order == 0; k++)
            order = {letter} - (int)(unsigned char)name_texts[token][k];
        if (order == 0) order = length - known;
        if (order == 0) return token;
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }}
    return NAME_UNKNOWN;
}}
"""


def spelled(vocabulary: Vocabulary) -> list[bytes]:
    """The bytes of each token as they are written; specials by their names."""
    if vocabulary.level in ("byte", "subword"):
        return [*(s.encode() for s in SPECIALS), *vocabulary._bytes[len(SPECIALS) :]]
    return [token.encode("utf-8", "surrogatepass") for token in vocabulary.tokens]


def literal(data: bytes) -> str:
    """A string of C."""
    plain = {ord(c) for c in map(chr, range(32, 127))} - set(b'"\\?')
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in data) + '"'


def header(vocabulary: Vocabulary, characters: Vocabulary | None = None, more: str = "") -> str:
    """NAME_vocabulary.h, which NAME.c includes; with the `characters` of words, and `more`."""
    texts, tables = spelled(vocabulary), ""
    if vocabulary.level == "word":
        order = sorted(words(vocabulary), key=texts.__getitem__)
        tables += numbers("uint32_t", "name_order", order)
    for one in (vocabulary, characters):
        if one is not None and one.level == "char":
            known = sorted((ord(t), i) for t, i in one.ids.items() if len(t) == 1)
            tables += numbers("uint32_t", "name_points", [p for p, _ in known], hexadecimal=True)
            tables += numbers("unsigned short", "name_ids", [i for _, i in known])
    return HEAD.format(
        count=len(texts), title="the model", guard="Included by NAME.c alone.",
        texts=text_arrays(vocabulary), more=tables + more,
    )  # fmt: skip


def text_arrays(vocabulary: Vocabulary) -> str:
    """The bytes of tokens, and how many."""
    texts = spelled(vocabulary)
    return TEXTS.format(
        texts="\n".join(f"    {literal(text)}, /* {i} */" for i, text in enumerate(texts)),
        lengths="\n".join(
            "    " + " ".join(f"{len(t)}," for t in texts[k : k + 24])
            for k in range(0, len(texts), 24)
        ),
    )


def of_target(text: str) -> str:
    """A piece about a vocabulary, with the names that the one has in which is written."""
    return re.sub(r"\bname_(text|texts|lengths)\b", r"name_target_\1", text).replace(
        "NAME_TOKENS", "NAME_TARGET_TOKENS"
    )


def words(vocabulary: Vocabulary) -> list[int]:
    """The ids of words, one for each spelling."""
    return sorted({i for token, i in vocabulary.ids.items() if token != SPECIALS[UNK]})


def numbers(kind: str, name: str, values: list[int], hexadecimal: bool = False) -> str:
    """An array."""
    said = [f"0x{v:x}" if hexadecimal else str(v) for v in values] or ["0"]
    rows = ("    " + ", ".join(said[k : k + 12]) + "," for k in range(0, len(said), 12))
    return f"static const {kind} {name}[{len(said)}] = {{\n" + "\n".join(rows) + "\n};\n"


def functions(vocabulary: Vocabulary, line_ends: bool) -> str:
    """name_text, and name_next where the level has one."""
    level, end = vocabulary.level, str(EOS)
    if level == "byte":
        line_end = f"byte == '\\n' ? {end} : " if line_ends else ""
        return TEXT_OF + NEXT_BYTE.replace("{line_end}", line_end)
    if level == "char":
        fold = (
            "\n    if (point >= 'A' && point <= 'Z') point += 32;" if vocabulary.lowercase else ""
        )
        line_end = f"\n    if (point == '\\n') return {end};" if line_ends else ""
        count = len([t for t in vocabulary.ids if len(t) == 1])
        return TEXT_OF + NEXT_CHARACTER.format(count=count, fold=fold, line_end=line_end)
    if level == "word":
        return TEXT_OF + next_word(vocabulary, line_ends)
    return TEXT_OF


def character(vocabulary: Vocabulary) -> str:
    """name_character, which takes the next character of a word."""
    text = functions(vocabulary, False)[len(TEXT_OF) :]
    return text.replace("int name_next(", "static int name_character(")


def word(vocabulary: Vocabulary) -> str:
    """name_known_word, which finds a whole word."""
    letter = "(int)t[k]"
    if vocabulary.lowercase:
        letter = "(int)(t[k] >= 'A' && t[k] <= 'Z' ? t[k] + 32 : t[k])"
    return WORD.format(count=len(words(vocabulary)), letter=letter)


def next_word(vocabulary: Vocabulary, line_ends: bool) -> str:
    """Words between spaces, or runs of letters and runs of other characters."""
    at_spaces = "WhitespaceSplit" in repr(vocabulary.tokenizer.pre_tokenizer)
    if at_spaces:
        take = "while (t[length] && !name_is_space(t[length])) length++;"
    else:
        take = (
            "do length++; while (t[length] && !name_is_space(t[length])\n"
            "                     && name_is_letter(t[length]) == name_is_letter(t[0]));"
        )
    letter = "(int)t[k]"
    if vocabulary.lowercase:
        letter = "(int)(t[k] >= 'A' && t[k] <= 'Z' ? t[k] + 32 : t[k])"
    line_end = (
        "    if (*t == '\\n') {\n        *text = (const char *)t + 1;\n"
        f"        return {EOS};\n    }}\n"
        if line_ends
        else ""
    )
    text = NEXT_WORD.format(
        count=len(words(vocabulary)), take=take, letter=letter, line_end=line_end,
        but_line_end=" && *t != '\\n'" if line_ends else "",
    )  # fmt: skip
    if at_spaces:
        text = text[text.index("static int name_is_space") :]
        return "\n" + text
    return text


def has_next(vocabulary: Vocabulary) -> bool:
    """Whether C takes text apart by itself; subwords need the tokenizer."""
    return vocabulary.level in ("char", "byte", "word")
