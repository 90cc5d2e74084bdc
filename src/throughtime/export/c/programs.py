"""NAME_test.c of models that say more than the next token: what goes in, what came of it, and the
program that compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...layers.outline import Array, Tokens
from ...tasks.exported import Exported
from ..answers import Translating, forecast, tags
from ..lowering import Lowered
from ..reference import Reference
from .arrays import lines
from .recorded import CHECKED, STEPS
from .vocabulary import literal

PROGRAM = """/* {about}
   Compares with what was found in float64 when this was written: the largest difference over the
   largest number of a row. The exit code says whether they agree. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "NAME.h"

{inputs}
static const double right[{rows}][{across}] = {{
{right}
}};
static float found[{rows}][{across}];

{run}

int main(void) {{
    double most = 0.0, seconds;
    clock_t began;
    int row, i, rounds;
    all();
    for (row = 0; row < {rows}; row++) {{
        double largest = 1e-30;
        for (i = 0; i < {across}; i++) {{
            const double size = right[row][i] < 0 ? -right[row][i] : right[row][i];
            largest = size > largest ? size : largest;
        }}
        for (i = 0; i < {across}; i++) {{
            double off = (double)found[row][i] - right[row][i];
            off = (off < 0 ? -off : off) / largest;
            if (!(off <= most)) most = off; /* NaN is worst */
        }}
    }}
    began = clock();
    for (rounds = 0; rounds < 1 || clock() - began < CLOCKS_PER_SEC / 5; rounds++) all();
    seconds = (double)(clock() - began) / (double)CLOCKS_PER_SEC;
    printf("largest error %.2g (at most {bound:g}), %.2f us a step\\n", most,
           seconds / (double)rounds / {steps}.0 * 1e6);
    return most <= {bound:g} ? 0 : 1;
}}
"""
LENGTHS = (0, 1, 2, 10, 30, 100)


@dataclass(frozen=True)
class Recorded:
    """What a program reads and runs, what came of it [rows, across], how many steps that are."""

    about: str
    inputs: str
    run: str
    right: Array
    steps: int


Making = Callable[..., Reference]
"""What has the arithmetic of the model: given the outline."""


def program(exported: Exported, model: Lowered, making: Making, bound: float) -> str:
    """The test of a model that says no token."""
    made = RECORDED[exported.says](exported, model, making)
    right = made.right.astype(np.float64)
    rows = (f"    {{{', '.join(map(repr, row.tolist()))}}}," for row in right)
    return PROGRAM.format(
        about=made.about, inputs=made.inputs, rows=len(right), across=right.shape[1],
        right="\n".join(rows), run=made.run, bound=bound, steps=made.steps,
    )  # fmt: skip


# ---- what goes in ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A made-up sequence: as the reference reads it, as C has it, and step t there."""

    given: Any
    text: str
    at: str


def sequence(exported: Exported, model: Lowered, length: int) -> Made:
    """Of so many steps, from a fixed seed."""
    inputs, random = exported.outline.inputs, np.random.default_rng(0)
    if not isinstance(inputs, Tokens):
        numbers = random.normal(size=(length, inputs.size))
        if inputs.mean is not None and inputs.deviation is not None:
            numbers = numbers * inputs.deviation + inputs.mean
        return Made(*constants("inputs", numbers), "inputs + t * NAME_NUMBERS")
    if exported.says == "tag":
        return of_words(exported, random, length)
    tokens = random.integers(0, len(inputs.table), length)
    spelled = "\n".join(lines(map(str, tokens.tolist()), 20))
    return Made(tokens, f"static const int inputs[{length}] = {{\n{spelled}\n}};", "inputs[t]")


def constants(name: str, numbers: Array) -> tuple[Array, str]:
    """Numbers that float32 holds, and their text in C."""
    numbers = numbers.astype(np.float32).astype(np.float64)
    spelled = "\n".join(lines((f"(NAME_NUMBER){v!r}" for v in numbers.ravel().tolist()), 4))
    text = f"static const NAME_NUMBER {name}[{max(numbers.size, 1)}] = {{\n{spelled}\n}};"
    return numbers, text


def of_words(exported: Exported, random: np.random.Generator, length: int) -> Made:
    """Known words, and others made of the same characters."""
    v, c = exported.vocabulary, exported.characters
    assert v is not None
    known = [token for token in v.tokens[4:] if token]
    made = []
    for _ in range(length):
        word = known[random.integers(len(known))]
        made.append(word if random.random() < 0.7 else word + known[random.integers(len(known))])
    ids = v.encode_tokens(made).tolist()
    given: list[Any] = ids
    if exported.outline.spelling is not None:
        assert c is not None
        given = [(i, c.encode(word).tolist()) for i, word in zip(ids, made)]
    spelled = "\n".join(lines((literal(word.encode()) for word in made), 8))
    text = f"static const char *const inputs[{length}] = {{\n{spelled}\n}};"
    return Made(given, text, "inputs[t]")


# ---- what comes of it -----------------------------------------------------------------------

STREAMED = """static void one(int length, float *answers) {{
    static name_state state, other;
    int t;
    name_init(&state);
    name_init(&other);
    for (t = 0; t < length; t++) {{ /* another sequence in between changes nothing */
        name_step(&state, {at});
        if (t % 7 == 0) name_step(&other, {at});
    }}
    name_result(&state, answers);
}}
"""
AT_ONCE = """static void one(int length, float *answers) {{
    static float work[NAME_WORK({longest})];
    name_classify(inputs, length, work, answers);
}}
"""
ALL = """
static void all(void) {{
    static const int lengths[{count}] = {{{lengths}}};
    int k;
    for (k = 0; k < {count}; k++) one(lengths[k], found[k]);
}}
"""


def answered(exported: Exported, model: Lowered, making: Making) -> Recorded:
    """Labels or numbers of parts of a sequence."""
    both = exported.outline.bidirectional
    lengths = LENGTHS if both else (*LENGTHS, STEPS)
    made = sequence(exported, model, lengths[-1])
    right = []
    for length in lengths:
        reference = making(model.outline)
        some = made.given[:length]
        one = reference.whole(some) if exported.says == "label" else reference.result(some)
        if exported.quantiles:
            one = np.sort(one.reshape(-1, len(exported.quantiles)), 1).ravel()
        right.append(one)
    run = AT_ONCE.format(longest=lengths[-1]) if both else STREAMED.format(at=made.at)
    run += ALL.format(count=len(lengths), lengths=", ".join(map(str, lengths)))
    about = f"Reads parts of a sequence of {lengths[-1]} steps."
    return Recorded(about, made.text, run, np.array(right), sum(lengths))


TAGGED = """static void all(void) {{
    static float work[NAME_WORK({longest})];
    static int labels[{longest}];
    static const int lengths[{count}] = {{{lengths}}};
    int k, t;
    for (k = 0; k < {count}; k++) {{
        name_tag(inputs, lengths[k], work, labels);
        for (t = 0; t < lengths[k]; t++) found[k][t] = (float)labels[t];
    }}
}}
"""
EACH = """static void all(void) {{
    static name_state state, other;
    static float said[{says}], unused[{says}];
    static const int checked[{checks}] = {{{checked}}};
    int t, i, row = 0;
    name_init(&state);
    name_init(&other);
    for (t = 0; t < {steps}; t++) {{ /* another sequence in between changes nothing */
        name_step(&state, {at}, said);
        if (t % 7 == 0) name_step(&other, {at}, unused);
        if (row < {checks} && t + 1 == checked[row]) {{
            for (i = 0; i < {says}; i++) found[row][i] = said[i];
            row++;
        }}
    }}
}}
"""


def tagged(exported: Exported, model: Lowered, making: Making) -> Recorded:
    """The labels of whole sequences, or the probabilities at each step."""
    outline = exported.outline
    if not outline.bidirectional and outline.chain is None:
        return stepped(exported, model, making, sequence(exported, model, STEPS), probable=True)
    made = sequence(exported, model, LENGTHS[-1])
    right = np.zeros((len(LENGTHS), LENGTHS[-1]))
    for k, length in enumerate(LENGTHS):
        right[k, :length] = tags(making(model.outline), made.given[:length])
    run = TAGGED.format(
        longest=LENGTHS[-1], count=len(LENGTHS), lengths=", ".join(map(str, LENGTHS))
    )
    about = f"Labels parts of a sequence of {LENGTHS[-1]} steps."
    return Recorded(about, made.text, run, right, sum(LENGTHS))


def stepped(
    exported: Exported, model: Lowered, making: Making, made: Made, *, probable: bool = False
) -> Recorded:
    """What is said after some of many steps."""
    reference, right = making(model.outline), []
    for t, given in enumerate(made.given, 1):
        said = reference.step(given)
        if t in CHECKED:
            right.append(reference.softmax(said) if probable else said)
    checked = ", ".join(map(str, CHECKED))
    run = EACH.format(
        says=len(right[0]), checks=len(CHECKED), checked=checked, steps=len(made.given), at=made.at
    )
    return Recorded(
        f"Reads {len(made.given)} steps.", made.text, run, np.array(right), len(made.given)
    )


def rolled(exported: Exported, model: Lowered, making: Making) -> Recorded:
    """The log-odds of keys."""
    inputs, random = exported.outline.inputs, np.random.default_rng(0)
    rolls = (random.random((STEPS, inputs.size)) < 0.05).astype(np.int64)
    spelled = "\n".join(lines(map(str, rolls.ravel().tolist()), 40))
    text = f"static const unsigned char inputs[{rolls.size}] = {{\n{spelled}\n}};"
    return stepped(exported, model, making, Made(rolls, text, "inputs + t * NAME_KEYS"))


FORECAST = """static void all(void) {{
    static float work[NAME_WORK];
    static NAME_NUMBER made[{says}];
    int k, i;
    for (k = 0; k < {count}; k++) {{
        name_forecast({given}work, made);
        for (i = 0; i < {says}; i++) found[k][i] = (float)made[i];
    }}
}}
"""
WINDOWS = 4


def forecasted(exported: Exported, model: Lowered, making: Making) -> Recorded:
    """Forecasts of a few windows of every kind of numbers."""
    about, random = exported.outline.window, np.random.default_rng(0)
    assert about is not None
    L, H, k = about.length, about.horizon, about.targets
    numeric = about.known - 2 * len(exported.calendar)
    scales = list(exported.series.values())
    of = [i % len(scales) for i in range(WINDOWS)]
    windows = random.normal(size=(WINDOWS, L, k + about.observed)).cumsum(1)
    known = random.normal(size=(WINDOWS, L + H, numeric))
    others = exported.others
    for i in range(WINDOWS):
        center, unit = scales[of[i]]
        windows[i, :, :k] = windows[i, :, :k] * unit + center
    windows, text = constants("windows", windows)
    known, more = constants("known", known)
    days = 20000.0 + np.arange(WINDOWS) * 1.25
    right = []
    for i in range(WINDOWS):
        reference = making(model.outline)
        kind = reference.dtype
        center, unit = (part.astype(kind) for part in scales[of[i]])
        window, features = windows[i].astype(kind), known[i].astype(kind)
        window[:, :k] = (window[:, :k] - center) / unit
        if others is not None and len(others[0]):
            mean, deviation = (part.astype(kind) for part in others)
            window[:, k:] = (window[:, k:] - mean[: about.observed]) / deviation[: about.observed]
            features = (features - mean[about.observed :]) / deviation[about.observed :]
        turns = [
            2 * np.pi / period * (days[i] + np.arange(L + H) * exported.step)
            for period in exported.calendar
        ]
        waves = [f(turn) for turn in turns for f in (np.sin, np.cos)]
        columns = [wave[:, None].astype(kind) for wave in waves]
        made = forecast(reference, window, np.concatenate([features, *columns], 1))
        right.append((made * unit[:, None] + center[:, None]).ravel())
    given = "series[k], " * (len(scales) > 1) + "days[k], " * bool(exported.calendar)
    given += f"windows + k * {windows[0].size}, "
    given += f"known + k * {known[0].size}, " * bool(numeric)
    said = ", ".join(map(repr, days.tolist()))
    inputs = [text]
    inputs += [more] * bool(numeric)
    inputs += [f"static const double days[{WINDOWS}] = {{{said}}};"] * bool(exported.calendar)
    numbers = ", ".join(map(str, of))
    inputs += [f"static const int series[{WINDOWS}] = {{{numbers}}};"] * (len(scales) > 1)
    run = FORECAST.format(says=len(right[0]), count=WINDOWS, given=given)
    return Recorded(
        f"Forecasts {WINDOWS} windows.", "\n".join(inputs), run, np.array(right), WINDOWS * L
    )


TRANSLATED = """static void all(void) {{
    static float work[NAME_WORK], logits[NAME_TARGET_TOKENS], unused[NAME_TARGET_TOKENS];
    static int target[NAME_MOST({longest})];
    static const int lengths[{count}] = {{{lengths}}};
    int k, t, i;
    for (k = 0; k < {count}; k++) {{ /* what it writes, then what it says of each token */
        static name_state state, other;
        const int many = name_translate(inputs, lengths[k], {most}, work, target);
        for (t = 0; t < {most}; t++) found[k][t] = t < many ? (float)target[t] : -1.0f;
        name_init(&state, inputs, lengths[k], work);
        other = state;
        for (t = 0; t <= many && t < {most}; t++) {{
            const int token = t ? target[t - 1] : NAME_FIRST;
            name_step(&state, token, work, logits);
            name_step(&other, NAME_FIRST, work, unused);
            if (t == many || t == {most} - 1)
                for (i = 0; i < {across}; i++) found[{count} + k][i] = logits[i * {stride}];
        }}
    }}
}}
"""
SOURCES, MOST = (1, 2, 7, 20), 24


def translated(exported: Exported, model: Lowered, making: Making) -> Recorded:
    """What is written for parts of a source, and the logits at the end."""
    inputs, random = exported.outline.inputs, np.random.default_rng(0)
    assert isinstance(inputs, Tokens)
    source = random.integers(4, len(inputs.table), SOURCES[-1])
    spelled = "\n".join(lines(map(str, source.tolist()), 20))
    tokens, logits = [], []
    for length in SOURCES:
        seen: list[Array] = []
        eos = -1 if exported.eos is None else exported.eos
        found = Translating(making(model.outline), source[:length].tolist()).greedy(
            exported.opening[0], MOST, eos, exported.never, seen.append
        )
        tokens.append(found + [-1] * (MOST - len(found)))
        logits.append(seen[-1])
    stride = -(-len(logits[0]) // MOST)
    across = len(logits[0][::stride])
    right = np.zeros((2 * len(SOURCES), MOST))
    right[: len(SOURCES)] = tokens
    right[len(SOURCES) :, :across] = [one[::stride] for one in logits]
    run = TRANSLATED.format(
        longest=SOURCES[-1], count=len(SOURCES), lengths=", ".join(map(str, SOURCES)), most=MOST,
        across=across, stride=stride,
    )  # fmt: skip
    text = f"static const int inputs[{len(source)}] = {{\n{spelled}\n}};"
    return Recorded("Translates.", text, run, right, sum(SOURCES) + MOST * len(SOURCES))


RECORDED: dict[str, Callable[..., Recorded]] = {
    "label": answered,
    "numbers": answered,
    "tag": tagged,
    "frame": rolled,
    "forecast": forecasted,
    "translation": translated,
}
"""By what a model says."""
