"""A step of a model as ONNX: states are inputs and outputs, so nothing is hidden or forgotten.

    token [B] or x [B, n_x], state_… [B, n]  →  logits [B, V], new_state_… [B, n]

Written node by node from the outline and the traces of its cells, in float32 of opset 18.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from ...ground.errors import InputError
from ...ground.extras import need
from ...layers.outline import Affine, Outline, Scan, Tokens
from ...scans.compiled.trace import Trace
from ...scans.compiled.walk import walk
from ...tasks.exported import Exported
from ..lowering import Lowered, lowered
from .graph import Graph

PRECISIONS = ("float32", "int8")
OPSET, IR = 18, 9

WRITES = '''"""Writes with the model in this folder: python run_onnx.py "The " 200"""
import json, sys
import numpy as np, onnxruntime, tokenizers

model = onnxruntime.InferenceSession("NAME.onnx")
about = model.get_modelmeta().custom_metadata_map
tokenizer, first = tokenizers.Tokenizer.from_file("tokenizer.json"), json.loads(about["first_state"])
state = {i.name: np.array(first.get(i.name) or [np.zeros(i.shape[1])], np.float32)
         for i in model.get_inputs()[1:]}
words = sys.argv[1:] + ["The ", "200"][len(sys.argv) - 1 :]
ids, never, random = json.loads(about["opening"]) + tokenizer.encode(words[0]).ids, json.loads(about["never"]), np.random.default_rng(0)
for t in range(len(ids) + int(words[1]) - 1):
    logits, *new = model.run(None, {"token": ids[t : t + 1], **state})
    state = dict(zip(state, new))
    if t + 1 == len(ids):
        logits[0, never] = -np.inf
        p = np.exp(logits[0].astype(np.float64) - logits[0].max())
        ids.append(int(random.choice(len(p), p=p / p.sum())))
print(tokenizer.decode(ids[len(json.loads(about["opening"])) :]))
'''  # noqa: E501

LABELS = '''"""Labels a sequence: python run_onnx.py FILE, a .npy of steps [T, n], or "a text"."""
import json, sys
import numpy as np, onnxruntime

model = onnxruntime.InferenceSession("NAME.onnx")
about = model.get_modelmeta().custom_metadata_map
first, (x, *parts) = json.loads(about["first_state"]), model.get_inputs()
state = {i.name: np.array(first.get(i.name) or [np.zeros(i.shape[1])], np.float32) for i in parts}
if x.name == "token":
    import tokenizers
    steps = tokenizers.Tokenizer.from_file("tokenizer.json").encode(sys.argv[1]).ids
else:
    steps = np.load(sys.argv[1]).astype(np.float32)
for t in range(len(steps)):
    logits, *new = model.run(None, {x.name: steps[t : t + 1], **state})
    state = dict(zip(state, new))
print(json.loads(about["labels"])[int(logits[0].argmax())])
'''


def files(exported: Exported, name: str, precision: str, what: str) -> dict[str, str | bytes]:
    """NAME.onnx, tokenizer.json where there is one, and a program that runs them."""
    onnx = need("onnx", "onnx")
    need("onnx.numpy_helper", "onnx")
    refuse(exported.outline)
    model = lowered(exported.outline, precision)
    made = Step(onnx, model, precision).proto(what, about(exported, model, precision))
    onnx.checker.check_model(made, full_check=True)
    program = WRITES if exported.says == "token" else LABELS
    found: dict[str, str | bytes] = {
        f"{name}.onnx": made.SerializeToString(),
        "run_onnx.py": program.replace("NAME", name),
    }
    if exported.vocabulary is not None:
        found["tokenizer.json"] = exported.vocabulary.to_json()
    return found


def refuse(outline: Outline) -> None:
    """Raise `InputError` where there is no step, or it is not written yet."""
    if outline.bidirectional:
        raise InputError(
            "a bidirectional model needs the entire sequence: it has no step. Train with "
            "--model.bidirectional false, or export it --to c."
        )
    if outline.pooling is not None and outline.pooling.kind != "last":
        raise InputError(
            f"pooling {outline.pooling.kind} is not exported to ONNX: train with --model.pooling "
            "last, or export it --to c."
        )
    if outline.condition is not None:
        raise InputError("a model under a condition is not exported to ONNX yet: --to c is.")


def about(exported: Exported, model: Lowered, precision: str) -> dict[str, str]:
    """The strings that the file says of itself."""
    scans = [scan for layer in exported.outline.layers for scan in layer.scans]
    values = [part for scan in scans for part in scan.first]
    sizes = state_names(exported.outline)
    first = {f"state_{k}": [v.tolist()] for (k, _), v in zip(sizes, values) if v.any()}
    found: dict[str, Any] = {
        "says": exported.says,
        "cells": [repr(scan.cell) for scan in scans],
        "precision": precision,
        "states": {f"state_{k}": n for k, n in sizes},
        "first_state": first,
        "opening": list(exported.opening),
        "never": list(exported.never),
        "eos": exported.eos,
        "labels": list(exported.labels),
        "columns": list(exported.columns),
    }
    if exported.vocabulary is not None:
        text = exported.vocabulary.to_json()
        found["vocabulary_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in found.items()}


def state_names(outline: Outline) -> list[tuple[str, int]]:
    """Of each part, by layer, and its size."""
    return [
        (f"layer{k}_{part}", scan.n)
        for k, layer in enumerate(outline.layers, 1)
        for scan in layer.scans
        for part in scan.cell.state
    ]


class Step:
    """The graph of a step."""

    def __init__(self, onnx: Any, model: Lowered, precision: str) -> None:
        self.onnx, self.model, self.outline = onnx, model, model.outline
        self.graph = Graph(onnx, precision)

    def proto(self, what: str, about: dict[str, str]) -> Any:
        """The whole model."""
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        inputs = self.outline.inputs
        names = state_names(self.outline)
        if isinstance(inputs, Tokens):
            first = helper.make_tensor_value_info("token", kinds.INT64, ["batch"])
            x = self.graph.add("Gather", self.graph.matrix(inputs.table), "token", axis=0)
        else:
            first = helper.make_tensor_value_info("x", kinds.FLOAT, ["batch", inputs.size])
            x = "x"
            if inputs.mean is not None and inputs.deviation is not None:
                x = self.graph.add("Sub", x, self.graph.constant(inputs.mean))
                x = self.graph.add("Div", x, self.graph.constant(inputs.deviation))
        y, new = self.layers(x, [f"state_{name}" for name, _ in names])
        for one in self.outline.outputs:
            y = self.affine(y, one)
        outputs = len(self.outline.outputs[-1].W)
        self.graph.rename(y, "logits")
        for (name, _), value in zip(names, new, strict=True):
            self.graph.rename(value, f"new_state_{name}")

        def info(name: str, n: int) -> Any:
            return helper.make_tensor_value_info(name, kinds.FLOAT, ["batch", n])

        graph = helper.make_graph(
            self.graph.nodes,
            "step",
            [first, *(info(f"state_{name}", n) for name, n in names)],
            [info("logits", outputs), *(info(f"new_state_{name}", n) for name, n in names)],
            self.graph.initializers,
            doc_string=what,
        )
        opset = helper.make_opsetid("", OPSET)
        made = helper.make_model(
            graph, opset_imports=[opset], ir_version=IR, producer_name="throughtime"
        )
        helper.set_model_props(made, about)
        return made

    def layers(self, x: str, states: list[str]) -> tuple[str, list[str]]:
        """What comes out of the stack, and the new states."""
        given, new = iter(states), []
        for k, (layer, traces) in enumerate(zip(self.outline.layers, self.model.traces)):
            (scan,), (trace,) = layer.scans, traces
            own = [next(given) for _ in scan.cell.state]
            made = self.scan(x, scan, trace, own, self.model.folded and k == 0)
            new += made
            x = self.graph.add("Add", made[0], x) if layer.adds_input else made[0]
        return x, new

    def scan(self, x: str, scan: Scan, trace: Trace, states: list[str], folded: bool) -> list[str]:
        """A step of a cell: products, and the stages between them."""
        graph, n = self.graph, scan.n
        known = {f"state[{k}]": name for k, name in enumerate(states)}
        known |= {f"p[{k}]": graph.constant(v) for k, v in enumerate(scan.vectors)}
        if trace.direct is not None:
            known[f"z[{trace.direct}]"] = x
        fed = self.fed(x, scan, trace, folded) if trace.inputs else ""
        apart = set(range(trace.inputs))
        operands = dict(enumerate(states))
        for p in trace.products:  # the first level's need nothing but states at t-1
            apart -= set(range(p.slot, p.slot + p.count))
        for slot in sorted(apart):
            known[f"z[{slot}]"] = self.part(fed, slot, slot + 1, trace.inputs, n)
        for number, stage in enumerate(trace.stages):
            for p in trace.products:
                if p.stage != number:
                    continue
                last = p.slot + p.count
                rows = [scan.W_a[g * n : (g + 1) * n] for g in trace.gates[p.slot : last]]
                begin = (
                    self.part(fed, p.slot, last, trace.inputs, n) if p.slot < trace.inputs else ""
                )
                z = graph.affine(operands[p.operand], np.concatenate(rows), begin or None)
                for k, one in enumerate(graph.split(z, p.count, n)):
                    known[f"z[{p.slot + k}]"] = one
            if stage is not None:
                graph.run(walk(stage.forward, list(stage.reads), list(stage.makes)), known, n)
                operands |= {int(m[6:-1]): known[m] for m in stage.makes if m.startswith("value")}
        return [known[f"out[{k}]"] for k in range(trace.states)]

    def fed(self, x: str, scan: Scan, trace: Trace, folded: bool) -> str:
        """W_x x + b of all slots that x feeds, side by side."""
        n, gates = scan.n, trace.gates[: trace.inputs]
        b = self.graph.constant(np.concatenate([scan.b[g * n : (g + 1) * n] for g in gates]))
        if not folded:
            W = np.concatenate([scan.W_x[g * n : (g + 1) * n] for g in gates])
            return self.graph.affine(x, W, b)
        if gates != tuple(range(len(scan.cell.gates))):
            parts = [self.graph.columns(x, g * n, (g + 1) * n) for g in gates]
            x = self.graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        return self.graph.add("Add", x, b)

    def part(self, fed: str, first: int, last: int, of: int, n: int) -> str:
        """The columns of some slots."""
        whole = (first, last) == (0, of)
        return fed if whole else self.graph.columns(fed, first * n, last * n)

    def affine(self, x: str, one: Affine) -> str:
        """then(W x + b)."""
        y = self.graph.affine(x, one.W, self.graph.constant(one.b))
        return self.graph.add(one.then.capitalize(), y) if one.then else y
