"""The C of whole sequences: layer by layer over the caller's buffers, forward and then backward."""

from __future__ import annotations

from .given import Given
from .steps import Steps

WORK = """
/* How many floats `work` must hold for a sequence of that length. */
#define NAME_WORK(length) ((length) * {floats})
"""


def widest(steps: Steps) -> int:
    """Numbers of a step between layers."""
    outline = steps.outline
    inputs = getattr(outline.inputs, "width", outline.inputs.size)
    spelled = outline.spelling.size if outline.spelling else 0
    return max(inputs + spelled, *(layer.size for layer in outline.layers))


def private(steps: Steps, more: list[str]) -> str:
    """The state of a model that shows none."""
    fields = "\n".join(f"    {field}" for field in [*steps.state_fields(), *more])
    return f"\ntypedef struct {{\n{fields}\n}} name_state;\n"


def over(steps: Steps, given: Given) -> list[str]:
    """Lines that read `length` steps; what came out of the last layer is `in`, of step t from `in +
    t * widest` on, and `state` is the final one."""
    W, outline = widest(steps), steps.outline
    load = given.loads.format(one=given.at, x=f"in + t * {W}")
    lines = [
        "name_state memory, *state = &memory;",
        f"float *in = work, *out = work + length * {W};",
        "float *other;",
        "int t, i;",
        "name_init(state);",
    ]
    if not steps.model.folded:
        lines.append(f"for (t = 0; t < length; t++)\n        {load}")
    names, number = iter(name for name, _ in steps.parts()), 0
    for layer in outline.layers:
        at = 0
        for d, scan in enumerate(layer.scans):
            states = [f"state->{next(names)}" for _ in scan.cell.state]
            times = "for (t = length - 1; t >= 0; t--) {" if d else "for (t = 0; t < length; t++) {"
            read = f"in + t * {W}"
            if steps.model.folded and number == 0:
                read = given.token.format(one=given.at)
            x = [read] * steps.reads[number]
            lines += [
                times,
                f"    name_scan{number}({', '.join([*x, *states])});",
                f"    for (i = 0; i < {scan.size}; i++) out[t * {W} + {at} + i] = {states[0]}[i];",
                "}",
            ]
            number, at = number + 1, at + scan.size
        if layer.adds_input:
            lines.append(
                f"for (t = 0; t < length; t++)\n        for (i = 0; i < {layer.size}; i++) "
                f"out[t * {W} + i] += in[t * {W} + i];"
            )
        lines += ["other = in;", "in = out;", "out = other;"]
    return lines
