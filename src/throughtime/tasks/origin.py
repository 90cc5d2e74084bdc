"""Another run that a new one starts from: its vocabulary, and its weights in their places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..cells.names import alike
from ..checkpoint import RunFolder
from ..data.affixes import affix_names
from ..data.labels import Labels
from ..data.vocabulary import Vocabulary
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.wording import plural
from . import entry, name_of


@dataclass(frozen=True)
class Other:
    """A run: its name, its task, its model and its folder."""

    name: str
    task: Any
    model: nn.Module
    folder: RunFolder

    @property
    def said(self) -> str:
        """The run, and what it is."""
        level = getattr(self.task.config, "level", None)
        noun = entry(name_of(self.task.config)).noun
        return f"{self.name}, {noun}" + (f" of level {level}" if level else "")


@dataclass(frozen=True)
class Origin:
    """The run that a new one starts from, and the one that its backward direction does."""

    forward: Other
    backward: Other | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """That of the run."""
        return self.forward.task.vocabulary

    def is_like(self, task: Any) -> bool:
        """Whether the run is of the same task, that is: of all of it, and not of words the one and
        of numbers the other."""
        if type(self.forward.task) is not type(task) or self.backward is not None:
            return False
        levels = (getattr(one.config, "level", "") for one in (self.forward.task, task))
        return (both := tuple(levels)) == ("numbers", "numbers") or "numbers" not in both

    def extend(
        self, own: Vocabulary, theirs: Vocabulary | None = None, *, quiet: bool = False
    ) -> Vocabulary:
        """The run's vocabulary, or another one of it, and after it what `own` has besides; how much
        that is, is said."""
        theirs = theirs or self.vocabulary
        if theirs.level != own.level:
            raise InputError(
                f"{self.forward.name} reads {theirs.level}s, and this run {own.level}s: "
                "leave level out, and it comes from there."
            )
        found = theirs.and_then(own)
        if not quiet:
            new = plural(len(found) - len(theirs), "token")
            terminal.say(f"the vocabulary of {self.forward.name}, and {new} that it has not")
        return found

    def labels_and(self, own: Labels) -> tuple[Labels, bool]:
        """The run's labels, and after them those of `own` that it has not; where none is the same,
        `own` alone, and the last layer is to begin new (False)."""
        theirs, run = self.forward.task.labels, self.forward.name
        new = [name for name in own.names if name not in theirs.ids]
        if len(new) == len(own):
            terminal.say(f"{run} knows none of these labels: the last layer starts new")
            return own, False
        if new:
            terminal.say(f"the labels of {run}, and {plural(len(new), 'label')} that it has not")
        return Labels([*theirs.names, *new]), True

    def put_whole(
        self, model: nn.Module, vocabulary: Vocabulary | None, *, but: tuple[str, ...] = ()
    ) -> None:
        """All weights of a model of the same kind, those of modules `but` apart; new rows of the
        `vocabulary` and of labels stay as they begin."""

        def taken(name: str) -> bool:
            return name.split(".")[0] not in but

        theirs = {k: v for k, v in self.forward.model.named_parameters() if taken(k)}
        mine = {k: v for k, v in model.named_parameters() if taken(k)}
        self._require_cells(model)
        for name in theirs.keys() - mine.keys():
            raise self._misfit(name, list(theirs[name].shape), "not there")
        with torch.no_grad():
            for name, ours in mine.items():
                if name not in theirs:
                    raise self._misfit(name, "not there", list(ours.shape))
                if "affixes" in name.split(".") and vocabulary is not None:
                    self._put_affixes(ours, theirs[name], vocabulary)
                else:
                    self._put(name, ours, theirs[name])

    def _require_cells(self, model: nn.Module) -> None:
        """Weights of one cell mean nothing to another."""
        others = dict(self.forward.model.named_modules())
        for name, part in model.named_modules():
            theirs, ours = (getattr(one, "cells", None) for one in (others.get(name), part))
            if theirs is None or ours is None:
                continue
            if len(theirs) != len(ours) or not all(map(alike, theirs, ours)):
                said = (", ".join(map(repr, cells)) for cells in (theirs, ours))
                raise self._misfit(f"{name}'s cells", *said)

    def put_reader(
        self, tokens: nn.Module, stack: Any, vocabulary: Vocabulary, *, quiet: bool = False
    ) -> None:
        """A language model's embedding and stack into what reads tokens and another stack: the
        forward direction of it, and the backward one where there is a run for that.

        Below a layer of both directions stand two: each layer reads its own direction, the weights
        from the other begin at zero.
        """
        model: Any = self.forward.model
        if not hasattr(model.stack, "weights"):
            raise InputError(
                f"{self.forward.name} has no recurrence (model.context) to start from."
            )
        read: Any = tokens
        with torch.no_grad():
            self._put("embedding", read.embedding.weight, model.embedding.weight)
            if getattr(read, "affixes", None) is not None and model.affixes is not None:
                self._put_affixes(read.affixes.weight, model.affixes.weight, vocabulary)
            self._put_stack(stack, self.forward, 0)
            if stack.directions > 1 and self.backward is not None:
                self._put_stack(stack, self.backward, 1)
        if stack.directions > 1 and self.backward is None and not quiet:
            terminal.say("the backward direction starts new (--init-backward-from RUN)")

    def _put_stack(self, stack: Any, other: Other, direction: int) -> None:
        theirs: Any = other.model
        theirs, D = theirs.stack, stack.directions
        sizes = list(theirs.hidden_sizes), list(stack.hidden_sizes)
        if sizes[0] != sizes[1] or not all(map(alike, theirs.cells, stack.cells)):
            raise InputError(
                f"{other.name} has layers of {sizes[0]} ({theirs.cells[0]!r} …), "
                f"this run of {sizes[1]} ({stack.cells[0]!r} …): leave "
                "model.hidden_size, model.num_layers and cell out, and they come from there."
            )
        for layer, weights in enumerate(theirs.weights):
            ours = dict(stack.weights[layer * D + direction].named_parameters())
            for name, value in weights.named_parameters():
                if name not in ours:
                    raise self._misfit(f"stack.{layer}.{name}", list(value.shape), "not there")
                wide, width = ours[name].shape[-1], value.shape[-1]
                if name == "W_x" and wide > width:
                    at = direction * width if layer else 0
                    if layer:
                        ours[name].zero_()
                    ours[name][..., at : at + width] = value
                else:
                    self._put(f"stack.{layer}.{name}", ours[name], value)

    def _put(self, name: str, ours: Tensor, theirs: Tensor) -> None:
        wider = name == "crf.transitions"  # of labels to labels
        same = wider or ours.shape[1:] == theirs.shape[1:]
        if not same or ours.dim() != theirs.dim() or len(ours) < len(theirs):
            raise self._misfit(name, list(theirs.shape), list(ours.shape))
        ours[tuple(slice(size) for size in theirs.shape)] = theirs

    def _put_affixes(self, ours: Tensor, theirs: Tensor, vocabulary: Vocabulary) -> None:
        """By what they are: other words share other affixes."""
        most = self.forward.task.config.model.affixes
        old = theirs_of(self.forward.task).tokens
        numbers = {name: k for k, name in enumerate(affix_names(old, most))}
        for row, name in enumerate(affix_names(vocabulary.tokens, most)):
            if name in numbers:
                ours[row] = theirs[numbers[name]]

    def _misfit(self, name: str, theirs: object, ours: object) -> InputError:
        return InputError(
            f"{self.forward.name} does not fit: its {name} is {theirs}, and this run's is {ours}. "
            "What is not said of the architecture comes from there: leave it out."
        )


def theirs_of(task: Any) -> Vocabulary:
    """The vocabulary of the words that a task reads."""
    if hasattr(task, "vocabulary"):
        return task.vocabulary
    return task.words if hasattr(task, "words") else task.source.vocabulary


def require_language(config: Any, origin: Origin) -> None:
    """Raise `InputError` unless what a run is to start from are language models that fit."""
    forward, backward = origin.forward, origin.backward
    for other in (forward, backward):
        if other is not None and not other.task.judges_sentences:
            own = entry(name_of(config)).noun
            raise InputError(
                f"{own} cannot start from {other.said}: only from a language model, or a run of "
                "the same kind."
            )
    if backward is None:
        return
    if not backward.task.config.data.reversed:
        raise InputError(
            f"{backward.name} reads forwards: the backward direction starts from a language model "
            "trained with --data.reversed true."
        )
    if backward.task.vocabulary.tokens != origin.vocabulary.tokens:
        raise InputError(
            f"{backward.name} has another vocabulary than {forward.name}: train it with "
            f"--init-from {forward.name} --optim.freeze embedding."
        )
