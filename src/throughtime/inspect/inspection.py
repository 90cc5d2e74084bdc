"""A run looked into: its task tells which sections make sense."""

from __future__ import annotations

from typing import Any

import torch

from ..ground import terminal
from ..layers.stack import Stack
from ..tasks.task import Task
from . import sections
from .endings import gates_by_stack, gradients_by_stack, sequences
from .health import Health
from .language import Effort, language_sections
from .page import Section
from .report import Report


def inspect(
    task: Task,
    model: Any,
    data: list[str] | None = None,
    *,
    name: str = "",
    untrained: bool = False,
    health: Health | None = None,
    effort: Effort | None = None,
) -> Report:
    """The report on a task's model over the files `data`; None: the run's own validation data."""
    effort = effort or Effort()
    text = task.running_text(data)
    if text is not None:
        said = text.said
        parts = language_sections(
            task, model, text.ids, untrained=untrained, health=health, effort=effort
        )
    else:
        parts, said = other_sections(task, model, data, health, untrained, effort)
    stacks = [describe(key, m) for key, m in model.named_modules() if isinstance(m, Stack)]
    parameters = sum(p.numel() for p in model.parameters())
    facts = [*stacks, f"{parameters:,} parameters", said]
    about = {
        "run": name,
        "data": data,
        "stacks": stacks,
        "parameters": parameters,
        "seed": effort.seed,
    }
    return Report(f"Looking inside {name}" if name else "Looking inside", facts, parts, about)


def describe(name: str, stack: Stack) -> str:
    """A stack in one line."""
    both = ", both directions" if stack.bidirectional else ""
    where = f"{name}: " if name != "stack" else ""
    if stack.layout.uniform:
        return f"{where}{stack.cell!r}, {stack.num_layers} × {stack.hidden_size}{both}"
    layers = (f"{cell!r} × {n}" for cell, n in zip(stack.cells, stack.hidden_sizes))
    return f"{where}{', '.join(layers)}{both}"


LEFT_OUT = {
    "influence": ("Influence on real text", "exchanges tokens of a running text"),
    "units": ("Units that keep longest", "follows units over a running text"),
    "context": ("Errors by position", "compares contexts of a running text"),
    "frequency": ("Errors by frequency", "ranks the tokens that a language model predicts"),
}
"""Sections of language models, and what each does that other tasks have no place for."""


def other_sections(
    task: Task,
    model: Any,
    data: list[str] | None,
    health: Health | None,
    untrained: bool,
    effort: Effort,
) -> tuple[list[Section], str]:
    """Gradients and gates of every stack of a task's model, and training health."""
    found = sequences(task, data, effort.positions, effort.seed)
    with terminal.progress("gradients through time", len(found.lengths)) as advance:
        gradients = gradients_by_stack(model, found, effort.lags, advance)
    at_first = {}
    if untrained:
        torch.manual_seed(task.config.seed)
        at_first = gradients_by_stack(task.build_model().eval(), found, effort.lags)
    parts = []
    several = len(gradients) > 1
    for name, one in gradients.items():
        parts.append(
            sections.gradients_section(
                one, at_first.get(name), noun="step", of=found.of[name], stack=name * several
            )
        )
    with terminal.progress("gates", 1):
        gates = gates_by_stack(model, found)
    for name, one in gates.items():
        parts.append(
            sections.gates_section(one, model.get_submodule(name).cells, stack=name * several)
        )
    for name, (title, does) in LEFT_OUT.items():
        why = f"{title}: left out, since it {does}."
        parts.append(sections.left_out(name, title, why, aside=True))
    parts.append(sections.health_section(health))
    where = "the run's validation data" if data is None else ", ".join(data)
    said = f"{len(found.lengths):,} of {found.total:,} sequences of {where}"
    return parts, said + f", {found.cut} cut off after {found.longest} steps" * (found.cut > 0)
