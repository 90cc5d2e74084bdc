"""The C of a forecaster: the next steps of a window of numbers, scaling and calendar inside."""

from __future__ import annotations

import math

import numpy as np

from ...layers.outline import Array, Window
from ...tasks.exported import Exported
from . import vocabulary as vocabularies
from .classify import labels, quantiles, rising
from .room import Room
from .steps import Steps, function
from .whole import private

HEADER = """#define NAME_WINDOW {window} /* steps that are read */
#define NAME_HORIZON {horizon} /* steps that are forecast */
#define NAME_LABELS {targets} /* targets of a step */
{quantiles}#define NAME_NUMBERS {numbers} /* of a past step: its targets first */
#define NAME_KNOWN {known} /* numbers of a step that are known of the future too */
#define NAME_SERIES {series} /* that training had: see name_series */
#ifndef NAME_NUMBER /* double keeps more of numbers far from zero */
#define NAME_NUMBER float
#endif
/* Numbers of a step, then known ones:
{columns} */

#define NAME_WORK {work} /* floats of `work` */

/* The next NAME_HORIZON steps of a series, {each}, in the units of the data.
   window: the last NAME_WINDOW steps, the oldest first, of NAME_NUMBERS numbers as they are;{about}
   work: NAME_WORK floats. */
void name_forecast({parameters});

/* The name of a target, and of a series. */
const char *name_label(int label);
const char *name_series(int series);
"""


def room(exported: Exported, steps: Steps) -> Room:
    """Header and source."""
    about = exported.outline.window
    assert about is not None
    place = Places(exported, steps, about)
    each = max(1, len(about.quantiles))
    told = ""
    if place.known:
        told += "\n   known: NAME_KNOWN numbers of each of its steps and of those to come;"
    if exported.calendar:
        told += "\n   day: days from 1970-01-01 to its first step, with their fraction;"
    if len(exported.series) > 1:
        told += "\n   series: which one, by its scale;"
    columns = "\n".join(f"   {k}: {name!a}" for k, name in enumerate(exported.columns))
    header = HEADER.format(
        window=about.length, horizon=about.horizon, targets=about.targets,
        quantiles=quantiles(exported), numbers=about.targets + about.observed, known=place.known,
        series=len(exported.series), columns=columns.replace("*/", "* /"), work=place.total,
        each="NAME_LABELS numbers each" if each == 1
        else "of each label NAME_QUANTILES numbers, rising", about=told,
        parameters=place.parameters,
    )  # fmt: skip
    init = function("static void name_init(name_state *state)", ["int i;", *steps.first()])
    parts = [init, *([rising(each)] if each > 1 else []), body(exported, steps, about, place)]
    names = ", ".join(vocabularies.literal(name.encode()) for name in exported.series)
    said = (
        "\nconst char *name_series(int series) {\n"
        f"    static const char *const names[NAME_SERIES] = {{{names}}};\n"
        '    return series < 0 || series >= NAME_SERIES ? "" : names[series];\n}\n'
    )
    source = "\n\n".join(parts) + "\n" + labels(exported) + said
    state = 4 * sum(n for _, n in steps.parts())
    return Room(header, source, state, "forecast, on the stack", private(steps, []))


class Places:
    """Where the parts of `work` begin: y, features of steps, what the maps read, what they say, a
    target's window and how it is moved."""

    def __init__(self, exported: Exported, steps: Steps, about: Window) -> None:
        L, H, k = about.length, about.horizon, about.targets
        each = max(1, len(about.quantiles))
        self.features = about.known
        self.known = about.known - 2 * len(exported.calendar)
        self.n = steps.outline.layers[-1].size
        h = self.n + (H * self.features if about.direct else 0)
        sizes = [L * k, (L + H) * self.features, h, H * k * each, L, H]
        self.starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.total = sum(sizes)
        found = ["int series"] * (len(exported.series) > 1) + ["double day"] * bool(
            exported.calendar
        )
        found.append("const NAME_NUMBER *window")
        found += ["const NAME_NUMBER *known"] * bool(self.known)
        self.parameters = ", ".join([*found, "float *work", "NAME_NUMBER *forecast"])


def constants(name: str, values: Array) -> str:
    """Numbers in the kind of the data."""
    said = ", ".join(f"(NAME_NUMBER){v!r}" for v in values.ravel().tolist())
    return f"static const NAME_NUMBER {name}[{values.size}] = {{{said}}};"


def body(exported: Exported, steps: Steps, about: Window, place: Places) -> str:
    """name_forecast."""
    L, H, k, F = about.length, about.horizon, about.targets, place.features
    each, scales = max(1, len(about.quantiles)), list(exported.series.values())
    y, feats, h, out, column, moved = (f"work + {start}" for start in place.starts)
    one = f"series * {k} + j" if len(scales) > 1 else "j"
    C = k + about.observed
    lines = [
        *(constants(name, values) for name, values in scaling(exported, scales, about)),
        f"float *y = {y}, *feats = {feats}, *h = {h}, *out = {out};",
        f"float anchor[{k}], scale[{k}], a[{place.n}], x[{C + F}];",
        "name_state memory, *state = &memory;",
        "int t, j;",
        "name_init(state);",
        f"for (t = 0; t < {L}; t++)",
        f"    for (j = 0; j < {k}; j++)",
        f"        y[t * {k} + j] = (float)((window[t * {C} + j] - center[{one}]) / unit[{one}]);",
    ]
    if not F:
        lines.append("(void)feats;")
    lines += features(exported, about, place) + framing(about)
    lines += [
        f"for (t = {L - about.reads}; t < {L}; t++) {{",
        f"    for (j = 0; j < {k}; j++) x[j] = y[t * {k} + j];",
    ]
    if about.observed:
        lines += [
            f"    for (j = 0; j < {about.observed}; j++)",
            f"        x[{k} + j] = (float)((window[t * {C} + {k} + j] - mean[j]) / deviation[j]);",
        ]
    if F:
        lines.append(f"    for (j = 0; j < {F}; j++) x[{C} + j] = feats[(t + 1) * {F} + j];")
    lines += ["    name_advance(state, x, a);", "}"]
    lines += direct(steps, about, place, column, moved) if about.direct else stepwise(about, place)
    if each > 1:
        lines.append(f"name_rising(out, {H * k});")
    lines += [
        f"for (t = 0; t < {H * k * each}; t++) {{",
        f"    j = t / {each} % {k};",
        f"    forecast[t] = (NAME_NUMBER)(out[t] * scale[j] + anchor[j]) * unit[{one}] "
        f"+ center[{one}];",
        "}",
    ]
    return function(f"void name_forecast({place.parameters})", lines)


def scaling(
    exported: Exported, scales: list[tuple[Array, Array]], about: Window
) -> list[tuple[str, Array]]:
    """The constants of the data's units."""
    found = [(name, np.array([s[i] for s in scales])) for i, name in enumerate(("center", "unit"))]
    if exported.others is not None and len(exported.others[0]):
        found += list(zip(("mean", "deviation"), exported.others))
    return found


def features(exported: Exported, about: Window, place: Places) -> list[str]:
    """What is known of every step: numbers, and a calendar's sines and cosines."""
    lines: list[str] = []
    L, F, o = about.length + about.horizon, place.features, about.observed
    if place.known:
        lines += [
            f"for (t = 0; t < {L}; t++)",
            f"    for (j = 0; j < {place.known}; j++)",
            f"        feats[t * {F} + j] = (float)((known[t * {place.known} + j] - mean[{o} + j]) "
            f"/ deviation[{o} + j]);",
        ]
    for c, period in enumerate(exported.calendar):
        at = place.known + 2 * c
        lines += [
            f"for (t = 0; t < {L}; t++) {{",
            f"    const double turn = {2 * math.pi / period!r} * (day + (double)t * "
            f"{exported.step!r});",
            f"    feats[t * {F} + {at}] = (float)sin(turn);",
            f"    feats[t * {F} + {at + 1}] = (float)cos(turn);",
            "}",
        ]
    return lines


def framing(about: Window) -> list[str]:
    """What is taken off a window, and what it is divided by."""
    L, k = about.length, about.targets
    lines = [f"for (j = 0; j < {k}; j++) {{"]
    if about.anchor == "mean" or about.scaled:
        lines += [
            "    float mean_of = 0.0f;",
            f"    for (t = 0; t < {L}; t++) mean_of += y[t * {k} + j];",
            f"    mean_of /= {L}.0f;",
        ]
    anchors = {"last": f"y[{(L - 1) * k} + j]", "mean": "mean_of", "none": "0.0f"}
    lines += [f"    anchor[j] = {anchors[about.anchor]};", "    scale[j] = 1.0f;"]
    if about.scaled:
        lines += [
            "    {",
            "        float sum = 0.0f;",
            f"        for (t = 0; t < {L}; t++) {{",
            f"            const float off = y[t * {k} + j] - mean_of;",
            "            sum += off * off;",
            "        }",
            f"        scale[j] = sqrtf(sum / {L}.0f + {about.least!r}f);",
            "    }",
        ]
    return [
        *lines,
        f"    for (t = 0; t < {L}; t++) y[t * {k} + j] = (y[t * {k} + j] - anchor[j]) / scale[j];",
        "}",
    ]


def direct(steps: Steps, about: Window, place: Places, column: str, moved: str) -> list[str]:
    """The whole horizon from the last output."""
    L, H, k, F, n = about.length, about.horizon, about.targets, place.features, place.n
    each = max(1, len(about.quantiles))
    lines = [f"for (j = 0; j < {n}; j++) h[j] = a[j];"]
    if F:
        lines.append(f"for (j = 0; j < {H * F}; j++) h[{n} + j] = feats[{L * F} + j];")
    lines.append("name_answer(h, out);")
    if about.linear is not None:
        lines += [
            f"for (j = 0; j < {k}; j++) {{",
            f"    float *column = {column}, *moved = {moved};",
            "    int q;",
            f"    for (t = 0; t < {L}; t++) column[t] = y[t * {k} + j];",
            f"    {steps.affine(about.linear)}(column, moved);",
            f"    for (t = 0; t < {H}; t++)",
            f"        for (q = 0; q < {each}; q++) out[(t * {k} + j) * {each} + q] += moved[t];",
            "}",
        ]
    return lines


def stepwise(about: Window, place: Places) -> list[str]:
    """One step after the other, each read as the next input."""
    L, H, k, F = about.length, about.horizon, about.targets, place.features
    lines = [
        "(void)h;",
        f"for (t = 0; t < {H}; t++) {{",
        f"    name_answer(a, out + t * {k});",
        f"    if (t + 1 == {H}) break;",
        f"    for (j = 0; j < {k}; j++) x[j] = out[t * {k} + j];",
    ]
    if F:
        lines.append(f"    for (j = 0; j < {F}; j++) x[{k} + j] = feats[({L} + t + 1) * {F} + j];")
    return [*lines, "    name_advance(state, x, a);", "}"]
