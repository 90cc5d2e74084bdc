"""A run looked into: its task tells which sections make sense."""

from __future__ import annotations

from typing import Any

from ..data import corpus as corpora
from ..data.text import Text
from ..stack import Stack
from ..tasks.language import Language, texts
from .health import Health
from .language import Effort, language_sections
from .report import Report


def inspect(
    task: Any,
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
    if isinstance(task, Language):
        ids, said = language_ids(task, data)
        sections = language_sections(
            task, model, ids, untrained=untrained, health=health, effort=effort
        )
    else:
        raise NotImplementedError
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
    return Report(f"Looking inside {name}" if name else "Looking inside", facts, sections, about)


def describe(name: str, stack: Stack) -> str:
    """A stack in one line."""
    both = ", both directions" if stack.bidirectional else ""
    where = f"{name}: " if name != "stack" else ""
    return f"{where}{stack.cell!r}, {stack.num_layers} × {stack.hidden_size}{both}"


def language_ids(task: Language, data: list[str] | None) -> tuple[Any, str]:
    """The tokens of the data, and a line about them."""
    config = task.config
    if data is None:
        _, text = texts(config, quiet=True)
        where = "the run's validation text"
    else:
        text = Text.of(data, raw=config.level == "byte", column=config.data.column)
        where = ", ".join(data)
    corpus = corpora.encode(text, task.vocabulary, config.data.eos)
    said = f"{len(corpus):,} tokens of {where}"
    if corpus.counts.unknown:
        said += f", {corpus.counts.unknown / corpus.counts.tokens:.2%} <unk>"
    return corpus.ids, said
