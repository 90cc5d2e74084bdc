"""A page: one HTML file that runs the model in any browser, without a network.

The program is written in files of `assets/`, one a purpose; the stages of the cells are printed
from their traces (`targets/javascript.py`); parts, vocabulary and weights stand beside it as data.
The file's own Content-Security-Policy lets that program run and nothing else, and forbids every
request. Precision: `float32`, the default, writes what `generate` writes; `float16` halves the file
and `int8` quarters it, where that matters more than the same text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files as resources
from typing import Any

import numpy as np

from ...data.conditions import Choice
from ...ground.errors import InputError
from ...tasks.exported import Exported
from ...tasks.translation import MORE
from ..lowering import lowered
from . import vocabulary as vocabularies
from .model import Parts
from .weights import PRECISIONS

__all__ = ["PRECISIONS", "file", "script", "spec_of"]

CORE = ("numbers", "model", "draw", "text", "read", "whole", "abc", "midi")
"""What needs no document: a test runs it without a browser."""
SHOWN = ("dom", "conditions", "roll", "sound", "write", "classify", "tag", "table", "series",
         "forecast", "translate", "frames", "start")  # fmt: skip
LENGTH, TUNE, FRAMES = 500, 2000, 200
"""Tokens of a text, of a tune and frames that a page writes, unless its reader says how many."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{name}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{name}</h1>
<p class="quiet">{what}. It runs in this page: nothing that is typed leaves it.</p>
</header>
<main id="main"><noscript>This page computes in the browser: it needs JavaScript.</noscript></main>
<footer>{about}</footer>
<script type="application/json" id="spec">{spec}</script>
<script type="text/plain" id="weights">{weights}</script>
<script>{script}</script>
</body>
</html>
"""


def file(exported: Exported, name: str, precision: str, what: str) -> str:
    """The HTML file."""
    spec, parts = spec_of(exported, precision)
    program = script(parts, (*CORE, *SHOWN)) + "\nstart();\n"
    style = asset("page.css")
    policy = (
        f"default-src 'none'; script-src '{digest(program)}'; style-src '{digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return PAGE.format(
        policy=policy, name=html.escape(name), what=html.escape(what), style=style,
        about=html.escape(about(exported, precision)), spec=embedded(spec),
        weights=base64.b64encode(parts.weights.bytes).decode("ascii"), script=program,
    )  # fmt: skip


def spec_of(exported: Exported, precision: str) -> tuple[dict[str, Any], Parts]:
    """What the program reads, and the parts of the model with their weights."""
    parts = Parts(lowered(exported.outline, precision), precision)
    model = parts.whole() | {"arrays": parts.weights.specs}
    spec: dict[str, Any] = {
        "model": model,
        "page": page_of(exported),
        "says": exported.says,
        "labels": list(exported.labels),
        "columns": list(exported.columns),
        "longest": exported.longest,
        "quantiles": list(exported.quantiles),
    }
    for name in ("vocabulary", "characters", "target"):
        if (known := getattr(exported, name)) is not None:
            spec[name] = vocabularies.spec(known)
    if exported.says in ("token", "translation"):
        spec |= written(exported)
    elif exported.says == "frame":
        spec |= {"length": FRAMES, "each": exported.frames_per_quarter}
    elif exported.says == "forecast":
        spec |= units(exported)
    return spec, parts


def page_of(exported: Exported) -> str:
    """Which of the pages in `assets/start.js` it is."""
    if exported.says in ("label", "tag", "numbers"):
        if exported.vocabulary is None:
            return "series"
        pages = {"label": "classify", "tag": "tag"}
    else:
        pages = {"token": "write", "frame": "frames", "forecast": "forecast"}
        pages["translation"] = "translate"
    if exported.says not in pages:
        raise InputError(f"a model that reads texts and says {exported.says} has no page yet.")
    return pages[exported.says]


def written(exported: Exported) -> dict[str, Any]:
    """How a text is drawn."""
    return {
        "opening": list(exported.opening),
        "beginning": list(exported.beginning or exported.opening),
        "never": list(exported.never),
        "eos": exported.eos,
        "line_ends": exported.line_ends,
        "conditions": conditions_of(exported),
        "form": exported.form,
        "length": LENGTH if exported.form == "text" else TUNE,
        "most": MORE,
    }


def units(exported: Exported) -> dict[str, Any]:
    """Those of a forecast's data."""
    others = exported.others or (np.zeros(0), np.zeros(0))
    return {
        "series": [
            (name, center.tolist(), unit.tolist())
            for name, (center, unit) in exported.series.items()
        ],
        "others": [part.tolist() for part in others],
        "calendar": list(exported.calendar),
        "step": exported.step,
    }


def script(parts: Parts, names: tuple[str, ...]) -> str:
    """The program: its files, and the stages of the model's cells."""
    cells = "const CELLS = [\n" + ",\n".join(parts.cells) + "\n];\n"
    return '"use strict";\n' + "\n".join(asset(f"{name}.js") for name in names) + cells


def asset(name: str) -> str:
    """A file of the program."""
    return resources(__name__).joinpath("assets", name).read_text(encoding="utf-8")


def embedded(value: Any) -> str:
    """JSON that ends no script, whatever its strings are."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def digest(text: str) -> str:
    """What a Content-Security-Policy knows a text by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def about(exported: Exported, precision: str) -> str:
    """What the model is made of."""
    cells = exported.outline.cells_in_words()
    return f"Layers: {cells}. Weights in {precision}. Exported by throughtime."


def conditions_of(exported: Exported) -> dict[str, Any] | None:
    """Kinds by name, and how often the data have labels together: by their numbers, choice by
    choice."""
    known = exported.conditions
    if known is None:
        return None
    kinds: list[tuple[str, dict[str, Any]]] = []
    places: list[dict[str, int]] = []
    for name, kind in known.kinds.items():
        if isinstance(kind, Choice):
            kinds.append((name, {"labels": list(kind.values)}))
            places.append({label: k for k, label in enumerate(kind.values)})
        else:
            kinds.append((name, {"mean": list(kind.mean), "scale": list(kind.scale)}))
    seen = [
        ([[at[one] for one in several(label)] for at, label in zip(places, labels)], count)
        for labels, count in known.seen.items()
    ]
    return {"kinds": kinds, "seen": seen}


def several(label: Any) -> list[str]:
    """The labels of a name: one, several or none."""
    return [] if label is None else list(label) if isinstance(label, tuple) else [label]
