"""Functions that the C of a model calls: products, and functions of numbers without a library.

Polynomials: those of `scans/compiled/runtime/vectors.h`; see scripts/fit.py. Accuracy: at most 4
units in the last place of float (the suite measures it).
"""

from __future__ import annotations

import re

PRODUCT = """
/* y += W x. W stands in tiles of NAME_TILE rows, each column by column: every row has a sum of its
   own, so compilers make vectors of it without -ffast-math. NAME_BLOCK sums are held at a time. */
static void name_product(float *y, const {kind} *w, {scale}const float *x, int rows, int columns) {{
    int r = 0, k, i, b;
    for (; r + NAME_TILE <= rows; r += NAME_TILE, w += NAME_TILE * columns) {{
        for (b = 0; b < NAME_TILE; b += NAME_BLOCK) {{
            float sum[NAME_BLOCK];
            for (i = 0; i < NAME_BLOCK; i++) sum[i] = {begin};
            for (k = 0; k < columns; k++) {{
                const float v = x[k];
                const {kind} *column = w + k * NAME_TILE + b;
                for (i = 0; i < NAME_BLOCK; i++) sum[i] += {cast}column[i] * v;
            }}
            for (i = 0; i < NAME_BLOCK; i++) y[r + b + i] {end};
        }}
    }}
    if (r < rows) {{
        const int rest = rows - r;
        float sum[NAME_TILE];
        for (i = 0; i < rest; i++) sum[i] = {begin_rest};
        for (k = 0; k < columns; k++)
            for (i = 0; i < rest; i++) sum[i] += {cast}w[k * rest + i] * x[k];
        for (i = 0; i < rest; i++) y[r + i] {end_rest};
    }}
}}
"""
PRODUCTS = {
    "float32": PRODUCT.format(
        kind="float", scale="", cast="", begin="y[r + b + i]", end="= sum[i]",
        begin_rest="y[r + i]", end_rest="= sum[i]",
    ),
    "int8": PRODUCT.format(
        kind="signed char", scale="const float *scale, ", cast="(float)", begin="0.0f",
        end="+= sum[i] * scale[r + b + i]", begin_rest="0.0f",
        end_rest="+= sum[i] * scale[r + i]",
    ),
}  # fmt: skip
PRODUCTS["int8-full"] = """
/* y += W x by integers: x becomes integers of -127 to 127, `per` of them a unit, and the sums of
   their products are exact, in whatever order. NAME_BLOCK sums are held at a time. */
static void name_product(float *y, const signed char *w, const float *scale, float per,
                         const float *x, int rows, int columns) {
    signed char q[NAME_WIDEST];
    int r = 0, k, i, b;
    for (k = 0; k < columns; k++) {
        float v = x[k] * per;
        v = v > -127.0f ? (v < 127.0f ? v : 127.0f) : -127.0f;
        q[k] = (signed char)((v + 12582912.0f) - 12582912.0f); /* 1.5 * 2^23 rounds */
    }
    for (; r + NAME_TILE <= rows; r += NAME_TILE, w += NAME_TILE * columns) {
        for (b = 0; b < NAME_TILE; b += NAME_BLOCK) {
            int32_t sum[NAME_BLOCK];
            for (i = 0; i < NAME_BLOCK; i++) sum[i] = 0;
            for (k = 0; k < columns; k++) {
                const int32_t v = q[k];
                const signed char *column = w + k * NAME_TILE + b;
                for (i = 0; i < NAME_BLOCK; i++) sum[i] += column[i] * v;
            }
            for (i = 0; i < NAME_BLOCK; i++) y[r + b + i] += (float)sum[i] * scale[r + b + i];
        }
    }
    if (r < rows) {
        const int rest = rows - r;
        int32_t sum[NAME_TILE];
        for (i = 0; i < rest; i++) sum[i] = 0;
        for (k = 0; k < columns; k++)
            for (i = 0; i < rest; i++) sum[i] += w[k * rest + i] * (int32_t)q[k];
        for (i = 0; i < rest; i++) y[r + i] += (float)sum[i] * scale[r + i];
    }
}
"""
"""By the precision of the weights."""

LOOKUPS = {
    "float32": """
/* y = row `row` of a table. */
static void name_look_up(float *y, const float *w, int row, int columns) {
    int k;
    for (k = 0; k < columns; k++) y[k] = w[row * columns + k];
}
/* The same of a matrix in tiles. */
static void name_look_up_tiled(float *y, const float *w, int row, int rows, int columns) {
    const int first = row - row % NAME_TILE;
    const int across = rows - first < NAME_TILE ? rows - first : NAME_TILE;
    int k;
    for (k = 0; k < columns; k++) y[k] = w[first * columns + k * across + row - first];
}
""",
    "int8": """
/* y = row `row` of a table. */
static void name_look_up(float *y, const signed char *w, const float *scale, int row, int columns) {
    int k;
    for (k = 0; k < columns; k++) y[k] = (float)w[row * columns + k] * scale[row];
}
/* The same of a matrix in tiles. */
static void name_look_up_tiled(
    float *y, const signed char *w, const float *scale, int row, int rows, int columns) {
    const int first = row - row % NAME_TILE;
    const int across = rows - first < NAME_TILE ? rows - first : NAME_TILE;
    int k;
    for (k = 0; k < columns; k++)
        y[k] = (float)w[first * columns + k * across + row - first] * scale[row];
}
""",
}

POWER = """
typedef union {
    uint32_t bits;
    float number;
} name_word;

/* e^x = 2^k (1 + p) for |x| <= 104: 2^k as its bits, p = e^r - 1 with r = x - k ln 2. */
#define NAME_SHIFT (12582912.0f + 127.0f) /* 1.5 * 2^23 rounds to integers; the exponent's bias */
static float name_power(float x, float *k) {
    name_word shifted;
    float r;
    shifted.number = x * 1.44269504f + NAME_SHIFT;
    *k = shifted.number - NAME_SHIFT;
    r = x - *k * 0.693359375f; /* ln 2 in two parts */
    r = r + *k * 2.12194440e-4f;
    return r + r * r * (0.49999997f + r * (0.16666542f + r * (0.041667204f
             + r * (0.0083666472f + r * 0.0013882496f))));
}
static float name_two_to(float k) {
    name_word word;
    word.number = k + NAME_SHIFT;
    word.bits = word.bits << 23;
    return word.number;
}
"""

HELPERS = {
    "infinity": """
static float name_infinity(void) {
    const name_word word = {0x7f800000u};
    return word.number;
}
""",
    "minimum": """
static float name_minimum(float a, float b) { return a != a ? a : b < a || b != b ? b : a; }
""",
    "maximum": """
static float name_maximum(float a, float b) { return a != a ? a : b > a || b != b ? b : a; }
""",
    "exp": """
static float name_exp(float x) {
    float k, p, half;
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    p = name_power(x, &k);
    half = (k * 0.5f + 12582912.0f) - 12582912.0f; /* two factors: neither over- nor underflows */
    return (1.0f + p) * name_two_to(half) * name_two_to(k - half);
}
""",
    "expm1": """
static float name_expm1(float x) {
    float k, p, half;
    x = x < -20.0f ? -20.0f : x;
    x = x > 89.0f ? 89.0f : x;
    p = name_power(x, &k);
    half = name_two_to(k - 1.0f);
    return 2.0f * (half * p + (half - 0.5f));
}
""",
    "sigmoid": """
static float name_sigmoid(float x) {
    float k, p, two;
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    p = name_power(-x, &k);
    two = name_two_to(k);
    return 1.0f / (1.0f + two + two * p);
}
""",
    "tanh": """
static float name_tanh(float x) { /* (e^2x - 1) / (e^2x + 1), the numerator without cancellation */
    float k, p, two, less;
    x = x < -10.0f ? -10.0f : x;
    x = x > 10.0f ? 10.0f : x;
    p = name_power(2.0f * x, &k);
    two = name_two_to(k);
    less = two * p + (two - 1.0f);
    return less / (less + 2.0f);
}
""",
}
LIBRARY = {
    "exp": "#define name_exp expf",
    "expm1": "#define name_expm1 expm1f",
    "sigmoid": "#define name_sigmoid(x) (1.0f / (1.0f + expf(-(x))))",
    "tanh": "#define name_tanh tanhf",
}
"""Of what the C library has, too."""

OF_LIBRARY = re.compile(
    r"\b(?:a?(?:sin|cos|tan)h?|atan2|log(?:1p|2|10)?|pow|sqrt|erfc?|exp2|floor|ceil|trunc)f\("
)
"""Calls of math.h that have no place here."""


def used(text: str) -> list[str]:
    """The helpers that a text calls, and those that these call, in order."""
    found = {name for name in HELPERS if re.search(rf"\bname_{name}\(", text)}
    return [name for name in HELPERS if name in found]


def functions(text: str, precision: str) -> str:
    """All that stands before a text which calls helpers."""
    names = used(text)
    parts = []
    if "name_product(" in text:
        parts.append(PRODUCTS[precision])
    if "name_look_up" in text:
        tables = LOOKUPS[precision.removesuffix("-full")].split("/* The same")
        parts.append(tables[0] if "name_look_up(" in text else "")
        parts.append("/* The same" + tables[1] if "name_look_up_tiled(" in text else "")
    own = [name for name in names if name in LIBRARY]
    plain = [name for name in names if name not in LIBRARY]
    power, two = POWER.split("/* e^x")
    if "infinity" in plain or own:
        parts.append(power)
    parts += [HELPERS[name] for name in plain]
    if own:
        parts.append("\n#ifdef NAME_LIBM /* functions of math.h in place of those below */\n")
        parts.append("\n".join(LIBRARY[name] for name in own))
        parts.append("\n#else\n/* e^x" + two + "".join(HELPERS[name] for name in own))
        parts.append("#endif\n")
    head = "#include <math.h>\n" if OF_LIBRARY.search(text) else ""
    if own and not head:
        head = "#ifdef NAME_LIBM\n#include <math.h>\n#endif\n"
    return head + "".join(parts)
