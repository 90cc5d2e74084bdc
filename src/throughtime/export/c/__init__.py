"""A model as one C file: C99 and C++, no heap, no hidden state.

Templates say `name_` and `NAME_`, which become the model's own name at the end; texts of the user's
(tokens, labels) are in NAME_vocabulary.h, apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ...tasks.exported import Exported
from ..lowering import lowered
from ..reference import Reference
from . import (
    classify,
    forecasts,
    frames,
    kit,
    language,
    programs,
    recorded,
    tags,
    translations,
    vocabulary,
)  # fmt: skip
from .arrays import TILE, Arrays
from .calibration import calibrated
from .integers import making as exact
from .package import CMAKE, measured, properties
from .room import Room
from .steps import Steps

PRECISIONS = ("float32", "int8", "int8-full")

HEADER = """/* {what}.

   {cells}
   Weights {weights:,} bytes ({precision}), state {state:,} bytes, {stack:,} bytes on the stack;
   {products:,} multiplications and additions a step.
   No heap, no hidden state: what the model remembers is in the caller's hands. C99 and C++. */
#ifndef NAME_H
#define NAME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{body}
#ifdef __cplusplus
}}
#endif

#endif
"""

SOURCE = """/* {what}. NAME.h says how it is used; -DNAME_LIBM takes functions from math.h. */
#include "NAME.h"

#include <stddef.h>
{include}
{integers}#define NAME_TILE {tile} /* rows that stand together in a matrix */
#ifndef NAME_BLOCK /* sums that are held at a time: as many as there are registers for */
#if defined(__arm__) && !defined(__ARM_NEON)
#define NAME_BLOCK 8
#else
#define NAME_BLOCK NAME_TILE
#endif
#endif
{kit}
/* ---- weights -------------------------------------------------------------------------------- */

{arrays}

/* ---- the model ------------------------------------------------------------------------------ */

{body}"""

INTEGERS = """
/* Every operation on floats rounds once: the same bits everywhere. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#define NAME_WIDEST {widest} /* columns of the widest matrix */
"""

README = """# {name}

{what}, exported by throughtime: C99 that is C++ too, without a heap and without a state of its own.

- `src/{name}.h`, `src/{name}.c`{vocabulary_file}: the model. Take these files, or this folder as an
  Arduino library or with CMake.
- `test/{name}_test.c`: inputs and outputs of the run. It prints the largest error and the time of a
  step, and its exit code says whether they agree:

```
cc -O3 -std=c99 -Isrc src/{name}.c test/{name}_test.c -lm -o {name}_test && ./{name}_test
```

| | bytes |
|---|---|
| weights ({precision}) | {weights:,} |
| state, for each {each} | {state:,} |
| numbers on the stack, about | {stack:,} |

{products:,} multiplications and additions a step. {cells}
{measured}
{arithmetic} Functions are the file's own (`-D{upper}_LIBM`: those of math.h). Compilers
make vectors of the products without -ffast-math; on a desktop -O3 -march=native{contract}.
`-D{upper}_BLOCK=8` keeps fewer sums at a time, for processors with few registers.
"""

FULL = """Products are of integers, int8 by int8 in int32; what lies between them, and the states,
is float32. What an integer of an activation stands for was found on {found_on}. The test's outputs
are equal to the last bit, but with `_LIBM` or Clang's -ffp-contract=fast."""

MEASURED = """
Compiled with arm-none-eabi-gcc, in bytes; stack is the deepest single function's:

| | code | constants | static memory | stack |
|---|---|---|---|---|
"""


ROOMS: dict[str, Callable[[Exported, Steps], Room]] = {
    "token": language.room,
    "label": classify.room,
    "numbers": classify.room,
    "tag": tags.room,
    "frame": frames.room,
    "forecast": forecasts.room,
    "translation": translations.room,
}
"""Of what a model says."""


def files(
    exported: Exported, name: str, precision: str, what: str, *, measures: bool = True
) -> dict[str, str]:
    """The files of a folder by their paths; `measures`: compiled, to tell how large they are."""
    model = lowered(exported.outline, precision)
    exported = replace(exported, outline=model.outline)
    test = recorded.language if exported.says == "token" else programs.program
    ranges, making, bound, found_on = None, Reference, recorded.BOUND, ""
    if precision == "int8-full":
        ranges, found_on = calibrated(exported, model)
        making, bound = exact(model, ranges), 0.0
    arrays = Arrays(precision, ranges)
    steps = Steps(model, arrays)
    room = ROOMS[exported.says](exported, steps)
    streams = not exported.outline.bidirectional and exported.outline.chain is None
    advance = [steps.advance()] if streams and exported.says != "translation" else []
    answer = [steps.answer("answers")] if exported.outline.outputs else []
    parts = [*([room.private] if room.private else []), *steps.texts, *advance, *answer]
    body = "\n\n".join(parts) + "\n" + room.source
    code = kit.functions(body, precision)
    facts = facts_of(exported, steps, room, precision)
    uses_math, code = split_include(code)
    v = exported.vocabulary
    made = {
        "src/NAME.h": HEADER.format(what=what, **facts, body=room.header),
        "src/NAME.c": SOURCE.format(
            what=what,
            include='\n#include "NAME_vocabulary.h"\n' + uses_math if v else uses_math,
            tile=TILE,
            integers=INTEGERS.format(widest=arrays.widest) if ranges is not None else "",
            kit=code,
            arrays="\n\n".join(arrays.texts),
            body=body,
        ),
        "test/NAME_test.c": test(exported, model, making, bound),
        "CMakeLists.txt": CMAKE.replace("=fast", "=off") if ranges is not None else CMAKE,
        "library.properties": properties(what),
    }
    found = {renamed(path, name): renamed(text, name) for path, text in made.items()}
    if v is not None:
        more = "" if exported.target is None else vocabulary.text_arrays(exported.target)
        text = vocabulary.header(v, exported.characters, vocabulary.of_target(more))
        found[f"src/{name}_vocabulary.h"] = renamed(text, name, strings=True)
    rows = measured(found, name) if measures else []
    arithmetic = "Arithmetic is float32."
    if ranges is not None:
        arithmetic = FULL.format(found_on=found_on)
    found["README.md"] = README.format(
        name=name, upper=name.upper(), what=what, **facts, each=room.each,
        contract="" if ranges is not None else " -ffp-contract=fast", arithmetic=arithmetic,
        vocabulary_file=f", `src/{name}_vocabulary.h`" if v else "",
        measured=MEASURED + "\n".join(rows) + "\n" if rows else "",
    )  # fmt: skip
    for file, one in (("tokenizer.json", v), ("target.json", exported.target)):
        if one is not None and one.level == "subword":
            found[file] = one.to_json()
    return found


def facts_of(exported: Exported, steps: Steps, room: Room, precision: str) -> dict[str, object]:
    """What the files say of themselves."""
    outline = exported.outline
    return {
        "cells": f"Layers: {outline.cells_in_words()}.",
        "weights": steps.arrays.bytes,
        "precision": precision,
        "state": room.state_bytes,
        "stack": steps.stack + 4 * outline.layers[-1].size,
        "products": steps.products,
    }


def split_include(code: str) -> tuple[str, str]:
    """The includes that the kit begins with, and the rest."""
    for head in ("#include <math.h>\n", "#ifdef NAME_LIBM\n#include <math.h>\n#endif\n"):
        if code.startswith(head):
            return head, code[len(head) :]
    return "", code


def renamed(text: str, name: str, strings: bool = False) -> str:
    """`name_` and `NAME_` as the model's own name; not inside the strings of a vocabulary."""
    if strings:
        parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
        return "".join(p if k % 2 else renamed(p, name) for k, p in enumerate(parts))
    text = re.sub(r"\bNAME_(vocabulary|test)", rf"{name}_\1", text)
    text = re.sub(r"\bNAME\.([hc])\b", rf"{name}.\1", text)
    text = re.sub(r"(?:\b|(?<=-D))NAME(?=_)", name.upper(), text)
    return re.sub(
        r"\bname(?=_[a-z])|(?<=\()name(?= )|^name(?==)|(?<==)name$", name, text, flags=re.M
    )
