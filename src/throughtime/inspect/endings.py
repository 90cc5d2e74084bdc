"""The losses of other tasks at the ends of their sequences, where gradients through time begin.

A scan's lag counts its own steps before the loss, so a forward scan is measured from the loss at
the last step of a sequence, a backward scan from that at the first, where a task has one at each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..ground.errors import InputError
from ..tasks.classification import Classification
from ..tasks.conditional import Conditional
from ..tasks.frames import Frames
from ..tasks.synthetic import Synthetic
from ..tasks.tagging import Tagging
from ..tasks.translation import Translation
from .gates import Gates, summary
from .gradients import GradientsThroughTime
from .watch import Seen, watching

LONGEST = 256
"""Steps of a sequence that has a loss at every step: what comes after is cut off."""
TOKENS = 1 << 13
"""Steps times sequences looked at together."""


@dataclass(frozen=True)
class Sequences:
    """Some of a task's sequences, and how to make batches of them.

    `of[stack]` says what loss the gradients are of; `batch(model, some)` gives the losses and the
    lengths of each stack's sequences. `total` sequences were there, `cut` of these are cut off.
    """

    lengths: np.ndarray
    of: dict[str, str]
    batch: Callable[[Any, np.ndarray], Batch]
    total: int
    cut: int

    def batches(self, model: Any) -> Iterator[Batch]:
        """Sequences of about the same length together."""
        order = np.argsort(self.lengths, kind="stable")
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and self.lengths[order[end]] * (end + 1 - start) <= TOKENS:
                end += 1
            yield self.batch(model, order[start:end])
            start = end


@dataclass(frozen=True)
class Batch:
    """The losses of a batch, each summed over its sequences, and lengths [B] by stack.

    "last" is that at the end of a sequence, "first" that at its first step, "whole" of all steps.
    """

    losses: dict[str, Callable[[], Tensor]]
    lengths: dict[str, Tensor]


def sequences(task: Any, data: list[str] | None, count: int, seed: int) -> Sequences:
    """`count` of a task's sequences, drawn at random from the files `data`.

    None: the run's own validation data. Errors: `InputError` where there is no step to look at.
    """
    for kind, losses in KINDS.items():
        if isinstance(task, kind):
            held = hasattr(task, "valid") and data is None  # in memory while it trains
            lengths, of, batch = losses(task, task.valid if held else task.to_measure(data))
            break
    else:
        raise InputError(f"inspect does not know the task of {type(task).__name__}.")
    usable = (lengths > 0).nonzero()[0]
    if not len(usable):
        raise InputError(
            f"none of the {len(lengths):,} examples has a step and a label that this run knows."
        )
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(usable, min(count, len(usable)), replace=False))
    cut = 0
    if isinstance(task, (Conditional, Frames)):
        cut = int((lengths[chosen] > LONGEST).sum())
        lengths = lengths.clip(max=LONGEST)
    return Sequences(
        lengths[chosen], of, lambda model, some: batch(model, chosen[some]), len(lengths), cut
    )


def of_classification(task: Classification, examples: Any) -> Any:
    """The loss of each sequence's label; labels that training has not are passed over."""
    known = examples.labels < len(task.labels)
    labels = torch.from_numpy(examples.labels)

    def batch(model: Any, some: np.ndarray) -> Batch:
        x, lengths = (part.to(task.device) for part in examples.sequences.pad(some))
        truth = labels[some].to(task.device)

        def loss() -> Tensor:
            return F.cross_entropy(model.logits(x, lengths).float(), truth, reduction="sum")

        return Batch({"last": loss, "first": loss}, {"stack": lengths})

    return np.where(known, examples.sequences.lengths, 0), {"stack": "the loss of the label"}, batch


def of_tagging(task: Tagging, examples: Any) -> Any:
    """The loss of a sentence's last tag, and its first for backward scans; a CRF's is of all."""

    def batch(model: Any, some: np.ndarray) -> Batch:
        words = examples.words.pad(some).to(task.device)
        tags = examples.tags.pad(some, -1)[0].to(task.device)

        def whole() -> Tensor:
            return model.nats(words, tags).sum()

        def at(step: Tensor) -> Tensor:
            columns = torch.arange(tags.shape[1], device=tags.device)
            truth = tags[step, columns]
            scores = model.scores(words)[step, columns].float()
            return F.cross_entropy(scores, truth, ignore_index=-1, reduction="sum")

        losses: dict[str, Callable[[], Tensor]] = {"last": whole, "first": whole}
        if model.crf is None:
            losses = {
                "last": lambda: at(words.lengths - 1),
                "first": lambda: at(torch.zeros_like(words.lengths)),
            }
        lengths = {"stack": words.lengths}
        if hasattr(model.characters, "stack"):
            lengths["characters.stack"] = words.character_lengths
            losses["whole"] = whole
        return Batch(losses, lengths)

    of = {"stack": "the loss of the last tag (backward: of the first)"}
    if task.config.model.head == "crf":
        of = {"stack": "the loss of all tags together, which a CRF does not split"}
    of["characters.stack"] = "the loss of all tags"
    return examples.words.sentences.lengths, of, batch


def of_conditional(task: Conditional, found: Any) -> Any:
    """The loss of a sequence's last token, the LONGEST-th at most."""

    def batch(model: Any, some: np.ndarray) -> Batch:
        tokens, targets, lengths, conditions = task.inputs(found, some)
        lengths = lengths.clamp(max=LONGEST)
        tokens, targets = tokens[:LONGEST], targets[:LONGEST]

        def loss() -> Tensor:
            e = model.embed_condition(conditions)
            h, _ = model.hidden_after(tokens, model.state(e, tokens.shape[1]), e)
            last = lengths - 1, torch.arange(tokens.shape[1], device=tokens.device)
            logits = model.head.logits(h[last])
            return F.cross_entropy(logits, targets[last], reduction="sum")

        return Batch({"last": loss}, {"stack": lengths})

    return found.tokens.lengths, {"stack": "the loss of the last token"}, batch


def of_frames(task: Frames, found: Any) -> Any:
    """The loss of a sequence's last frame, the LONGEST-th at most."""

    def batch(model: Any, some: np.ndarray) -> Batch:
        frames, lengths = (part.to(task.device) for part in found.pad(some))
        frames, lengths = frames[:LONGEST].float(), lengths.clamp(max=LONGEST)

        def loss() -> Tensor:
            columns = torch.arange(frames.shape[1], device=frames.device)
            return model.nats(frames, lengths)[lengths - 1, columns].sum()

        return Batch({"last": loss}, {"stack": lengths})

    return found.lengths, {"stack": "the loss of the last frame"}, batch


def of_translation(task: Translation, pairs: Any) -> Any:
    """Decoder: the loss of the last target token, <eos>. Encoder: of the whole translation."""

    def batch(model: Any, some: np.ndarray) -> Batch:
        tensors = task.inputs(pairs, some)
        _, source_lengths, _, targets, lengths = tensors

        def whole() -> Tensor:
            h, _ = model.hidden(tensors[2], model.read(tensors[0], source_lengths))
            keep = torch.arange(len(targets), device=targets.device)[:, None] < lengths
            return F.cross_entropy(model.head.logits(h[keep]), targets[keep], reduction="sum")

        def last() -> Tensor:
            h, _ = model.hidden(tensors[2], model.read(tensors[0], source_lengths))
            at = lengths - 1, torch.arange(targets.shape[1], device=targets.device)
            return F.cross_entropy(model.head.logits(h[at]), targets[at], reduction="sum")

        return Batch(
            {"last": last, "whole": whole}, {"encoder": source_lengths, "decoder": lengths}
        )

    of = {
        "encoder": "the loss of the whole translation",
        "decoder": "the loss of the last token, <eos>",
    }
    lengths = np.where(pairs.source.lengths > 0, pairs.lengths, 0)
    return lengths, of, batch


def of_synthetic(task: Synthetic, drawn: Any) -> Any:
    """The loss of the answer at each sequence's end."""
    T = np.full(drawn.x.shape[1], len(drawn.x)) if drawn.lengths is None else drawn.lengths

    def batch(model: Any, some: np.ndarray) -> Batch:
        x, x_lengths, targets = task.inputs(drawn, some)

        def loss() -> Tensor:
            found = model.losses(model.outputs(x, x_lengths), targets)
            return (found[-1] if task.at_each_step else found).sum()

        lengths = torch.from_numpy(T[some]).to(task.device)
        return Batch({"last": loss}, {"stack": lengths})

    return T, {"stack": "the loss of the last answer"}, batch


KINDS: dict[type, Any] = {
    Synthetic: of_synthetic,
    Classification: of_classification,
    Tagging: of_tagging,
    Conditional: of_conditional,
    Frames: of_frames,
    Translation: of_translation,
}
"""The losses of each kind of task."""

WHOLE = ("encoder", "characters.stack")
"""Stacks whose steps are not those of the loss: the loss of everything is theirs."""


def gradients_by_stack(
    model: Any, found: Sequences, lags: int, advance: Callable[[float], None] | None = None
) -> dict[str, GradientsThroughTime]:
    """‖∂L/∂s‖ by lag for every stack of a task's model."""
    norms: dict[str, dict[str, list[Tensor]]] = {}
    layers: dict[str, tuple[str, ...]] = {}
    for batch in found.batches(model):
        by_end = {
            end: norms_of(model, batch, loss)
            for end, loss in batch.losses.items()
            if end != "first" or has_backward(model)
        }
        for name, lengths in batch.lengths.items():
            seen, _ = by_end["last"][name]
            layers[name] = seen.names()
            ends = ["whole"] if name in WHOLE and "whole" in by_end else ["last"]
            if seen.directions == 2 and "first" in by_end and ends == ["last"]:
                ends.append("first")
            for part in seen.cell.state:
                rows = [by_end[end][name][1][part][k :: len(ends)] for k, end in enumerate(ends)]
                by_scan = torch.stack(rows, 1).flatten(0, 1)
                norms.setdefault(name, {}).setdefault(part, []).append(
                    by_lag(by_scan, lengths, lags)
                )
        if advance is not None:
            advance(len(next(iter(batch.lengths.values()))))
    return {
        name: GradientsThroughTime(trimmed({p: joined(n) for p, n in parts.items()}), layers[name])
        for name, parts in norms.items()
    }


def has_backward(model: Any) -> bool:
    """Whether any stack of the model reads backwards."""
    return any(getattr(module, "bidirectional", False) for module in model.modules())


def norms_of(
    model: Any, batch: Batch, loss: Callable[[], Tensor]
) -> dict[str, tuple[Seen, dict[str, Tensor]]]:
    """Each stack watched, and its gradient norms [scans, T, B] by state part."""
    with watching(model) as watched, torch.enable_grad():
        value = loss()
        return {
            name: (watched[name], watched[name].gradient_norms(value)) for name in batch.lengths
        }


def by_lag(norms: Tensor, lengths: Tensor, lags: int) -> Tensor:
    """[scans, T, B] by step → [scans, ≤ lags + 1, B] by steps before each sequence's end."""
    T = norms.shape[1]
    lag = torch.arange(min(T, lags + 1))[:, None]
    step = (lengths.cpu() - 1 - lag).expand(-1, norms.shape[2])
    found = norms.gather(1, step.clamp(min=0).expand(len(norms), -1, -1))
    return found.masked_fill(step < 0, torch.nan)


def joined(several: list[Tensor]) -> Tensor:
    """[scans, lags, B] side by side, NaN where one is shorter."""
    most = max(one.shape[1] for one in several)
    return torch.cat(
        [F.pad(one, (0, 0, 0, most - one.shape[1]), value=torch.nan) for one in several], 2
    )


def trimmed(norms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The lags that a quarter of the sequences have: a median of fewer tells little."""
    known = ~next(iter(norms.values()))[0].isnan()
    enough = int((known.sum(1) >= max(1, known.any(0).sum() // 4)).sum())
    return {part: one[:, : max(1, enough)] for part, one in norms.items()}


@torch.no_grad()
def gates_by_stack(model: Any, found: Sequences) -> dict[str, Gates]:
    """The gates of every stack over the batch that has the most steps."""
    batch = max(found.batches(model), key=lambda one: int(next(iter(one.lengths.values())).sum()))
    with watching(model, gates=True) as watched:
        batch.losses["last"]()
    return {name: summary(watched[name], lengths) for name, lengths in batch.lengths.items()}
