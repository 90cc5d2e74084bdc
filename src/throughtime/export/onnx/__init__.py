"""Models as ONNX, in float32 of opset 18, written node by node from outlines and traces.

Two forms. A whole sequence in one call (`sequence`), and a step whose states are inputs and outputs
(`step`), so that nothing is hidden or forgotten. Beside the model: the first state under a
condition, where one makes it; the tokenizer; a program that runs them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ...ground.errors import InputError
from ...ground.extras import need
from ...tasks.exported import Exported
from ..lowering import lowered
from . import fused
from .graph import Graph
from .programs import program
from .sequence import goes_on, sequence
from .states import first_states, states_in
from .step import refuse_steps, step

PRECISIONS = ("float32", "int8")
FORMS = ("sequence", "step")
OPSET, IR = 18, 9


def refuse(exported: Exported) -> None:
    """Raise `InputError` for what no graph is written of."""
    if exported.says not in ("token", "label"):
        raise InputError(f"a model that says a {exported.says} is not exported to ONNX yet.")
    if any(scan.uneven for layer in exported.outline.layers for scan in layer.scans):
        raise InputError(
            "a cell with sizes of its own, or that looks further back, is not exported to ONNX yet."
        )


def files(
    exported: Exported,
    name: str,
    precision: str,
    what: str,
    form: str = "sequence",
    kind: str = "",
) -> dict[str, str | bytes]:
    """NAME.onnx, tokenizer.json where there is one, and a program that runs them.

    `kind`: the name of the task.
    """
    onnx = need("onnx", "onnx")
    need("onnx.numpy_helper", "onnx")
    outline = exported.outline
    refuse(exported)
    if form == "step":
        refuse_steps(outline)
        model = lowered(outline, precision)
    else:  # an operator takes x, and W_x of it
        folds = fused.operator_of(outline.layers[0]) is None
        model = lowered(outline, precision, folds=folds)
    graph = Graph(onnx, precision)
    made = (step if form == "step" else sequence)(graph, model, what)
    found: dict[str, str | bytes] = {
        f"{name}.onnx": packed(onnx, made, about(exported, precision, form, kind)),
        "run_onnx.py": program(exported, name, form),
    }
    if outline.condition is not None and outline.condition.first is not None:
        first = first_states(Graph(onnx, precision), outline, f"The first state of {name}.onnx")
        found[f"{name}_first.onnx"] = packed(onnx, first, {})
    if exported.vocabulary is not None:
        found["tokenizer.json"] = exported.vocabulary.to_json()
    return found


def packed(onnx: Any, graph: Any, about: dict[str, str]) -> bytes:
    """A file that has been checked."""
    opset = onnx.helper.make_opsetid("", OPSET)
    made = onnx.helper.make_model(
        graph, opset_imports=[opset], ir_version=IR, producer_name="throughtime"
    )
    onnx.helper.set_model_props(made, about)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def about(exported: Exported, precision: str, form: str, kind: str) -> dict[str, str]:
    """The strings that the file says of itself."""
    outline = exported.outline
    scans = [scan for layer in outline.layers for scan in layer.scans]
    sizes = [one for some in states_in(outline) for one in some]
    values = [part for scan in scans for part in scan.first]
    first = {f"state_{k}": [v.tolist()] for (k, _), v in zip(sizes, values) if v.any()}
    outside = form == "step" or goes_on(outline)
    found: dict[str, Any] = {
        "task": kind,
        "form": form,
        "says": exported.says,
        "cells": [repr(scan.cell) for scan in scans],
        "precision": precision,
        "states": {f"state_{k}": n for k, n in sizes} if outside else {},
        "first_state": first if outside else {},
        "opening": list(exported.opening),
        "never": list(exported.never),
        "eos": exported.eos,
        "labels": list(exported.labels),
        "columns": list(exported.columns),
        "condition": list(exported.condition),
    }
    if exported.vocabulary is not None:
        text = exported.vocabulary.to_json()
        found["vocabulary_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in found.items()}
