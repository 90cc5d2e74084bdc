"""Piano rolls: the next frame of 88 keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config.music import MusicEvaluateOptions, MusicWritingOptions
from ..data.batches import Ragged
from ..decoding import check_numbers
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.paths import typed_path
from ..ground.wording import plural
from ..layers.mode import evaluating
from ..models.frames import FrameModel
from ..music.recital import Recital
from ..music.rolls import KEYS, read_rolls, score_of
from .endings import Ends
from .example_task import Batch, ExampleTask, at
from .exported import Exported
from .task import Evaluation, figures
from .writing import Piece, seed_of

ROLL_LENGTH = 128
"""Frames written where nothing else is said."""


@dataclass(frozen=True)
class FramesEvaluation(Evaluation):
    """Negative log-likelihood in nats, summed over the 88 keys.

    `nll_per_frame` averages over all frames but each sequence's first, which is given: the
    published measure (Bai et al. 2018). `nll_with_first` counts the first frames too, predicted
    from silence. `nll_per_sequence` is the mean of the sequences' own means.
    """

    nll_per_frame: float
    nll_with_first: float
    nll_per_sequence: float
    sequences: int
    frames: int


class Frames(ExampleTask):
    """Piano rolls' data, loss and metrics. `ExampleTask` says what each part is for.

    Examples as they stand in files are sequences by part: train, valid, test, all.
    """

    unit = "frames"
    loss_unit = "nats/frame"
    loss_at_end = "the loss of the last frame"  # or of that where it is cut off
    longest_looked_at = 256
    train: Ragged
    valid: Ragged

    # ---- data ---------------------------------------------------------------------------------

    def read(self, patterns: list[str]) -> dict[str, list[np.ndarray]]:
        """The sequences of files; what is left out is said."""
        rolls = read_rolls(patterns, self.config.data.frames_per_quarter)
        for path, reason in rolls.skipped:
            terminal.warn(f"skipped {path}: {reason}")
        if rolls.skipped:
            terminal.warn(f"skipped {len(rolls.skipped)} MIDI files.")
        if rolls.outside:
            terminal.warn(f"left out {rolls.outside} notes beyond the 88 keys.")
        return rolls.parts

    def counted(self, examples: Ragged) -> str:
        """Sequences and frames."""
        return f"{plural(len(examples), 'sequence')}, {plural(len(examples.values), 'frame')}"

    def doubt(self, examples: dict[str, list[np.ndarray]]) -> None:
        """There must be something to train on."""
        if not to_train_on(examples):
            raise InputError(f"{self.config.train[0]}: no sequence to train on.")

    def split(self, examples: dict[str, list[np.ndarray]]) -> tuple[Any, Any]:
        """The file's parts, or a share held out."""
        train = to_train_on(examples)
        if examples.get("valid"):
            return {"train": train}, {"valid": examples["valid"]}
        data = self.config.data
        order = np.random.default_rng(data.split_seed).random(len(train)).argsort()
        held = round(len(train) * data.holdout)
        if not 0 < held < len(train):
            raise InputError(
                f"{len(train)} sequences are too few to hold out {data.holdout:.0%} of them. Give "
                "--valid."
            )
        parts = (sorted(order[held:]), sorted(order[:held]))
        train, valid = ([train[i] for i in part] for part in parts)
        return {"train": train}, {"valid": valid}

    def encode(self, examples: dict[str, list[np.ndarray]], *, training: bool = False) -> Ragged:
        """Sequences [T, 88] end to end; those of training in pieces, where they are long."""
        if training:
            return ragged(cut(to_train_on(examples), self.config.data.longest))
        return ragged(examples.get("valid") or examples.get("all") or [])

    def inputs(self, examples: Ragged, some: np.ndarray) -> tuple[Tensor, Tensor]:
        """Frames [T, B, 88] and lengths [B]."""
        frames, lengths = super().inputs(examples, some)
        return frames.to(torch.float32), lengths

    # ---- training -----------------------------------------------------------------------------

    def summary(self) -> str:
        """The data in one line."""
        frames, sequences = int(self.train.lengths.sum()), len(self.train)
        notes = self.train.values.sum() / max(frames, 1)
        return (
            f"{sequences:,} training sequences ({frames:,} frames, {notes:.2f} keys down in each), "
            f"{len(self.valid):,} for validation"
        )

    def build_model(self) -> FrameModel:
        """The untrained network, on the device."""
        return FrameModel(self.cell, KEYS, self.config.model).to(self.device)

    def batch(self, epoch: int, i: int) -> Batch:
        """Frames and lengths, each sequence in a key of its own where that is asked for."""
        (frames, lengths), size = super().batch(epoch, i)
        if most := self.config.data.transpose:
            random = np.random.default_rng([self.config.seed, epoch, i])
            frames = transpose(frames, random.integers(-most, most + 1, frames.shape[1]))
        return Batch((frames, lengths), size)

    def measure(self, model: FrameModel, sequences: Ragged) -> FramesEvaluation:
        """The likelihood, whatever the batch size."""
        all_nats, after_first = np.zeros(len(sequences)), np.zeros(len(sequences))
        with evaluating(model):
            for some, inputs in self.in_batches(sequences):
                nats = model.nats(*inputs).double().cpu().numpy()
                all_nats[some], after_first[some] = nats.sum(0), nats[1:].sum(0)
        lengths = sequences.lengths
        predicted = np.maximum(lengths - 1, 0)
        has = predicted > 0
        means = after_first[has] / predicted[has]
        return FramesEvaluation(
            nll_per_frame=float(after_first.sum() / max(predicted.sum(), 1)),
            nll_with_first=float(all_nats.sum() / max(lengths.sum(), 1)),
            nll_per_sequence=float(means.mean()) if has.any() else 0.0,
            sequences=len(sequences),
            frames=int(lengths.sum()),
        )

    def validate(self, model: FrameModel, *, quick: bool) -> dict[str, float]:
        """Nats a frame."""
        return {"loss": self.measure(model, self.valid).nll_per_frame}

    def describe(self, metrics: dict[str, float]) -> str:
        """Nats a frame."""
        return f"{metrics['loss']:.4f} nats/frame"

    def ends(self, model: FrameModel, examples: Ragged, some: np.ndarray) -> Ends:
        """At the last frame."""
        frames, lengths = self.inputs(examples, some)
        most = self.longest_looked_at
        frames, lengths = frames[:most], lengths.clamp(max=most)

        def loss() -> Tensor:
            return at(lengths - 1, model.nats(frames, lengths)).sum()

        return Ends({"last": loss}, {"stack": lengths})

    def evaluate(
        self, model: FrameModel, data: list[str] | None, options: MusicEvaluateOptions
    ) -> FramesEvaluation:
        """The likelihood of sequences."""
        return self.measure(model, self.to_measure(data, options))

    def to_measure(
        self, data: list[str] | None, options: MusicEvaluateOptions | None = None
    ) -> Ragged:
        """A part of files, auto: the test part where there is one, else all; None: the run's own
        sequences for validation.
        """
        self.refuse_without_data(data, options)
        if data is None:
            return super().to_measure(None)
        self.left_out.clear()
        parts = self.read(data)
        name = options.part if options else "auto"
        if name == "auto":
            name = "test" if parts.get("test") else "all"
        everything = [sequence for sequences in parts.values() for sequence in sequences]
        chosen = everything if name == "all" else parts.get(name)
        if not chosen:
            raise InputError(
                f"{data[0]}: no part {name!r}; it has {', '.join(parts) or 'no sequence'}."
            )
        examples = ragged(chosen)
        self.tell_read(data, examples)
        return examples

    def exported(self, model: FrameModel) -> Exported:
        """What an exporter writes."""
        each = self.config.data.frames_per_quarter
        return Exported(model.outline(), "frame", frames_per_quarter=each)

    # ---- writing ------------------------------------------------------------------------------

    def generate(self, model: FrameModel, options: MusicWritingOptions) -> Iterator[Piece]:
        """Frames as MIDI, WAV and piano roll, going on from the primer where there is one."""
        o = options
        plain, only = (
            MusicWritingOptions(),
            ("max_new_tokens", "temperature", "num_samples", "seed"),
        )
        only += ("primer", "primer_length", "output", "formats", "soundfont", "report")
        for name, value in vars(o).items():
            if name not in only and value != getattr(plain, name):
                raise InputError(
                    f"frames are drawn key by key: --{name.replace('_', '-')} is not for them; "
                    "--primer and --temperature are."
                )
        primer = self.primer(o)
        recital = Recital.of(o, ("midi", "wav", "png"))
        if recital.folder is None and not o.report:
            raise InputError("frames are written as files: give --output FOLDER.")
        length = o.max_new_tokens or ROLL_LENGTH
        seed = seed_of(o)
        all_frames = 0
        keys = 0
        for k in range(o.num_samples):
            generator = torch.Generator(self.device).manual_seed(seed + k)
            frames = self.draw(model, primer, length, o.temperature, generator)
            all_frames += length
            keys += int(frames[len(primer) :].sum())
            score = score_of(frames, self.config.data.frames_per_quarter)
            paths = recital.write(k, score, f"Piano roll, number {k + 1}") if frames.any() else []
            if not o.report:
                yield Piece(k, "\n".join(map(str, paths)) or f"roll {k + 1} is silent")
        if o.report:
            density = keys / max(all_frames, 1)
            said = figures({"frames": all_frames, "keys down in a frame": density})
            yield Piece(0, said)

    def primer(self, options: MusicWritingOptions) -> np.ndarray:
        """Frames to go on from: the first sequence of a file."""
        if not options.primer:
            return np.zeros((0, KEYS), np.uint8)
        parts = self.read([str(typed_path(options.primer))])
        first = next(sequences[0] for sequences in parts.values() if sequences)
        return first[: options.primer_length or None]

    @torch.inference_mode()
    def draw(
        self,
        model: FrameModel,
        primer: np.ndarray,
        length: int,
        temperature: float,
        generator: torch.Generator,
    ) -> np.ndarray:
        """The primer and `length` frames after it, each key drawn from its Bernoulli."""
        if temperature < 0:
            raise InputError(f"temperature must be 0 or more, got {temperature}.")
        silence = torch.zeros(1, 1, KEYS, device=self.device)
        read = torch.from_numpy(primer).to(self.device, torch.float32)[:, None]
        logits, state = model.logits(torch.cat([silence, read]), None)
        frames = [primer]
        for _ in range(length):
            check_numbers(logits[-1])
            p = torch.sigmoid(logits[-1] / temperature) if temperature else (logits[-1] > 0).float()
            frame = torch.bernoulli(p, generator=generator)
            frames.append(frame.cpu().numpy().astype(np.uint8))
            logits, state = model.logits(frame[None], state)
        return np.concatenate(frames)


def to_train_on(parts: dict[str, list[np.ndarray]]) -> list[np.ndarray]:
    """What is there to train on: a file's own part, or all of one without parts."""
    return parts.get("train", []) + parts.get("all", [])


def ragged(sequences: list[np.ndarray]) -> Ragged:
    """Sequences [T, 88] end to end."""
    if not sequences:
        raise InputError("no sequence to measure.")
    return Ragged.of(sequences, np.uint8)


def cut(sequences: list[np.ndarray], longest: int) -> list[np.ndarray]:
    """The sequences in about equal pieces of at most so many frames."""
    if not longest:
        return sequences
    return [
        piece
        for sequence in sequences
        for piece in np.array_split(sequence, max(1, -(-len(sequence) // longest)))
    ]


def transpose(frames: Tensor, steps: np.ndarray) -> Tensor:
    """Frames [T, B, 88], each sequence moved by so many semitones, as far as its notes stay on."""
    moved = torch.zeros_like(frames)
    for b, step in enumerate(steps.tolist()):
        used = frames[:, b].any(0).nonzero()[:, 0]
        if not len(used):
            continue
        step = max(-int(used[0]), min(KEYS - 1 - int(used[-1]), step))
        moved[:, b] = frames[:, b].roll(step, 1)
    return moved
