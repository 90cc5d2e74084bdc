"""A language model looked into: every section, over one text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..data.stored import Ids
from ..ground import terminal
from . import sections, text_sections
from .gates import summary, watch_gates
from .gradients import gradients_through_time, language_windows, positions_of
from .health import Health
from .influence import choose_positions, influence_of_tokens
from .page import Section
from .positions import CONTEXTS, errors_by_context, errors_by_frequency
from .surfaces import unit_of
from .units import longest_units

WARM = 64
"""Tokens read before what is looked at, so that the state is that of a text under way."""
CONTEXT = 256
"""The longest context of errors by position."""
PASSAGE = 120
"""Tokens before a prediction whose influence is measured."""
NEAR = 10
"""Memory beyond so many tokens is what chooses the passages."""
WATCHED = (160, 24)
"""Steps and sequences whose gates are watched."""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    lags: int = 200
    positions: int = 128
    passages: int = 6
    seed: int = 0


def language_sections(
    task: Any,
    model: Any,
    ids: Ids,
    *,
    untrained: bool = False,
    health: Health | None = None,
    effort: Effort | None = None,
) -> list[Section]:
    """The sections of a language model's report over a text's `ids`."""
    effort = effort or Effort()
    warm, lags = fitting(len(ids), effort)
    found = [
        gradients(task, model, ids, warm, lags, effort, untrained),
        influence(task, model, ids, effort),
        *gates(task, model, ids, effort),
        *errors(task, model, ids, effort),
    ]
    return [*found, sections.health_section(health)]


def fitting(size: int, effort: Effort) -> tuple[int, int]:
    """Warm-up and lags for a text of so many tokens; less than asked for is said."""
    warm, lags = min(WARM, size // 8), min(effort.lags, size // 2)
    if lags < effort.lags:
        terminal.warn(
            f"the text has {size:,} tokens: lags to {lags} are measured, not {effort.lags}."
        )
    return warm, lags


@torch.no_grad()
def warmed(model: Any, windows: tuple[Tensor, Tensor], warm: int) -> tuple[Any, Any, Any]:
    """Tokens and targets after the first `warm` of each window, and the state those leave."""
    tokens, targets = windows
    state = model.initial_state(tokens.shape[1])
    if warm:
        _, state = model.hidden(tokens[:warm], state)
    return tokens[warm:], targets[warm:], state


def gradients(
    task: Any, model: Any, ids: Ids, warm: int, lags: int, effort: Effort, untrained: bool
) -> Section:
    """Gradients through time, trained and untrained over the same text."""
    windows = language_windows(task, ids, warm + lags, effort.positions, effort.seed)
    B = windows[0].shape[1]

    def measure(one: Any, advance: Callable[[float], None]) -> Any:
        tokens, targets, state = warmed(one, windows, warm)
        return gradients_through_time(one, (tokens, targets), state=state, advance=advance)

    with terminal.progress("gradients through time", B * (1 + untrained)) as advance:
        trained = measure(model, advance)
        at_first = None
        if untrained:
            torch.manual_seed(task.config.seed)
            at_first = measure(task.build_model().eval(), advance)
    noun = unit_of(task.config.level)
    return sections.gradients_section(trained, at_first, noun=noun)


def influence(task: Any, model: Any, ids: Ids, effort: Effort) -> Section:
    """Influence on the text before some positions."""
    length = min(PASSAGE, len(ids) // 2)
    tokens, targets = language_windows(task, ids, length - 1, effort.positions, effort.seed + 1)
    at = positions_of(ids, length - 1, effort.positions, effort.seed + 1)
    noun = unit_of(task.config.level)
    chosen = choose_positions(model, tokens, targets, effort.passages, NEAR, noun)
    found = []
    with terminal.progress("influence on the text", len(chosen)) as advance:
        for column, why in chosen:
            target = int(targets[-1, column])
            found.append(
                influence_of_tokens(
                    *(model, tokens[:, column], target, ids),
                    seed=effort.seed,
                    position=int(at[column]),
                    why=why,
                )
            )
            advance(1)
    return text_sections.influence_section(found, task)


def gates(task: Any, model: Any, ids: Ids, effort: Effort) -> list[Section]:
    """Gates, and the units that keep longest."""
    steps, columns = WATCHED
    steps = min(steps, len(ids) // 2)
    warm = min(WARM, len(ids) // 8)
    windows = language_windows(task, ids, warm + steps - 1, columns, effort.seed + 2)
    with terminal.progress("gates", 1):
        tokens, _, state = warmed(model, windows, warm)
        seen = watch_gates(model, tokens, state)
        found = summary(seen)
        units = longest_units(seen, found, tokens)
    return [
        sections.gates_section(found, model.stack.cells),
        text_sections.units_section(units, found, tokens, task),
    ]


def errors(task: Any, model: Any, ids: Ids, effort: Effort) -> list[Section]:
    """Errors by position and by frequency."""
    length = min(CONTEXT, len(ids) // 2)
    many = language_windows(task, ids, length - 1, effort.positions, effort.seed + 3)
    contexts = sum(k for k in CONTEXTS if k < length) + length
    with terminal.progress("errors by position", contexts) as advance:
        by_context = errors_by_context(model, many, advance=advance)
    windows = language_windows(task, ids, length - 1, effort.positions, effort.seed + 4)
    with terminal.progress("errors by frequency", 1):
        by_frequency = errors_by_frequency(model, windows, ids)
    return [
        text_sections.context_section(by_context, unit_of(task.config.level)),
        text_sections.frequency_section(by_frequency, task),
    ]
