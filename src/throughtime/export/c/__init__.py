"""A model as one C file: C99 and C++, no heap, no hidden state.

Templates say `name_` and `NAME_`, which become the model's own name at the end; texts of the user's
(tokens, labels) are in NAME_vocabulary.h, apart.
"""

from __future__ import annotations

import re

from ...ground.errors import InputError
from ...tasks.exported import Exported
from ..lowering import Lowered, lowered
from . import classify, kit, language, recorded, vocabulary
from .arrays import TILE, Arrays
from .package import CMAKE, PROPERTIES, measured
from .steps import Steps

PRECISIONS = ("float32", "int8")

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
#define NAME_TILE {tile} /* rows that stand together in a matrix */
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
Arithmetic is float32; functions are the file's own (`-D{upper}_LIBM`: those of math.h). Compilers
make vectors of the products without -ffast-math; on a desktop -O3 -march=native -ffp-contract=fast.
`-D{upper}_BLOCK=8` keeps fewer sums at a time, for processors with few registers.
"""

MEASURED = """
Compiled with arm-none-eabi-gcc, in bytes; stack is the deepest single function's:

| | code | constants | static memory | stack |
|---|---|---|---|---|
"""


def files(exported: Exported, name: str, precision: str, what: str) -> dict[str, str]:
    """The files of a folder by their paths."""
    if exported.says not in ("token", "label"):
        raise InputError(f"a model that says a {exported.says} is not exported to C yet.")
    model = lowered(exported.outline, precision)
    both = exported.outline.bidirectional
    kind, program = (
        (language, recorded.language) if exported.says == "token" else (classify, recorded.label)
    )
    arrays = Arrays(precision)
    steps = Steps(model, arrays)
    body = kind.source(exported, steps)
    advance = [] if both else [steps.advance()]
    body = "\n\n".join([*steps.texts, *advance, steps.answer("answers")]) + "\n" + body
    code = kit.functions(body, precision)
    facts = facts_of(exported, model, steps, precision)
    uses_math, code = split_include(code)
    made = {
        "src/NAME.h": HEADER.format(what=what, **facts, body=kind.header(exported, steps)),
        "src/NAME.c": SOURCE.format(
            what=what,
            include='\n#include "NAME_vocabulary.h"\n' + uses_math
            if exported.vocabulary
            else uses_math,
            tile=TILE,
            kit=code,
            arrays="\n\n".join(arrays.texts),
            body=body,
        ),
        "test/NAME_test.c": program(exported, model),
        "CMakeLists.txt": CMAKE,
        "library.properties": PROPERTIES.format(sentence=what),
    }
    found = {renamed(path, name): renamed(text, name) for path, text in made.items()}
    if exported.vocabulary is not None:
        text = renamed(vocabulary.header(exported.vocabulary, name), name, strings=True)
        found[f"src/{name}_vocabulary.h"] = text
    rows = measured(found, name)
    found["README.md"] = README.format(
        name=name, upper=name.upper(), what=what, **facts,
        each="text" if exported.says == "token" else "sequence",
        vocabulary_file=f", `src/{name}_vocabulary.h`" if exported.vocabulary else "",
        measured=MEASURED + "\n".join(rows) + "\n" if rows else "",
    )  # fmt: skip
    if exported.vocabulary is not None and exported.vocabulary.level == "subword":
        found["tokenizer.json"] = exported.vocabulary.to_json()
    return found


def facts_of(exported: Exported, model: Lowered, steps: Steps, precision: str) -> dict[str, object]:
    """What the files say of themselves."""
    layers = exported.outline.layers
    kind = language if exported.says == "token" else classify
    cells = ", ".join(f"{scan.cell!r} of {scan.n} units" for one in layers for scan in one.scans)
    return {
        "cells": f"Layers: {cells}.",
        "weights": steps.arrays.bytes,
        "precision": precision,
        "state": kind.state_bytes(exported, steps),
        "stack": steps.stack + 4 * layers[-1].size,
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
