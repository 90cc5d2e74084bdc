"""Another run that a new one starts from: its vocabulary, and its weights in their places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..data.affixes import affix_names
from ..data.vocabulary import Vocabulary
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.wording import plural
from . import entry, name_of


@dataclass(frozen=True)
class Other:
    """A run: its name, its task and its model."""

    name: str
    task: Any
    model: nn.Module


@dataclass(frozen=True)
class Origin:
    """The run that a new one starts from, and the one that its backward direction does."""

    forward: Other
    backward: Other | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """That of the run."""
        return self.forward.task.vocabulary

    def extend(self, own: Vocabulary, *, quiet: bool = False) -> Vocabulary:
        """The run's vocabulary, and after it what `own` has besides; how much that is, is said."""
        if self.vocabulary.level != own.level:
            raise InputError(
                f"{self.forward.name} reads {self.vocabulary.level}s, and this run {own.level}s: "
                "leave level out, and it comes from there."
            )
        found = self.vocabulary.and_then(own)
        if not quiet:
            new = plural(len(found) - len(self.vocabulary), "token")
            terminal.say(f"the vocabulary of {self.forward.name}, and {new} that it has not")
        return found

    def put_whole(self, model: nn.Module, task: Any) -> None:
        """All weights of a model of the same kind; new rows of a vocabulary stay as they begin."""
        theirs = dict(self.forward.model.named_parameters())
        with torch.no_grad():
            for name, ours in model.named_parameters():
                if name not in theirs:
                    raise self._misfit(name, "not there", list(ours.shape))
                if name.startswith("affixes."):
                    self._put_affixes(ours, theirs[name], task.vocabulary)
                else:
                    self._put(name, ours, theirs[name])

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
        if (list(theirs.hidden_sizes), theirs.cells) != (list(stack.hidden_sizes), stack.cells):
            raise InputError(
                f"{other.name} has layers of {list(theirs.hidden_sizes)} ({theirs.cells[0]!r} …), "
                f"this run of {list(stack.hidden_sizes)} ({stack.cells[0]!r} …): leave "
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
        if ours.shape[1:] != theirs.shape[1:] or len(ours) < len(theirs):
            raise self._misfit(name, list(theirs.shape), list(ours.shape))
        ours[: len(theirs)] = theirs

    def _put_affixes(self, ours: Tensor, theirs: Tensor, vocabulary: Vocabulary) -> None:
        """By what they are: other words share other affixes."""
        most = self.forward.task.config.model.affixes
        numbers = {name: k for k, name in enumerate(affix_names(self.vocabulary.tokens, most))}
        for row, name in enumerate(affix_names(vocabulary.tokens, most)):
            if name in numbers:
                ours[row] = theirs[numbers[name]]

    def _misfit(self, name: str, theirs: object, ours: object) -> InputError:
        return InputError(
            f"{self.forward.name} does not fit: its {name} is {theirs}, and this run's is {ours}. "
            "What is not said of the architecture comes from there: leave it out."
        )


def require_language(config: Any, origin: Origin) -> None:
    """Raise `InputError` unless what a run is to start from are language models that fit."""
    forward, backward = origin.forward, origin.backward
    for other in (forward, backward):
        if other is not None and not other.task.judges_sentences:
            noun = entry(name_of(other.task.config)).noun
            raise InputError(
                f"{entry(name_of(config)).noun} starts from a language model; {other.name} is "
                f"{noun}."
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
