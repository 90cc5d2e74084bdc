"""Piano rolls: the next frame of 88 keys."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..cells.names import find_cell, source_file
from ..checkpoint import RunFolder
from ..config.music import MusicConfig, MusicEvaluateOptions, MusicWritingOptions
from ..data.batches import Batches, Ragged, by_length
from ..ground import terminal
from ..ground.errors import InputError
from ..ground.machine import Processes
from ..models.frames import FrameModel
from ..music.recital import Recital
from ..music.rolls import KEYS, Rolls, read_rolls, score_of
from .task import Evaluation, Loss, Task, batches_of, figures

EVALUATION_FRAMES = 1 << 13
"""Frames looked at together when nothing is learned, padding included."""

LENGTH = 128
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


class Frames(Task):
    """Piano rolls' data, loss and metrics. `Task` says what each part is for."""

    unit = "frames"
    train: Ragged
    valid: Ragged
    batches: Batches

    def __init__(
        self,
        config: MusicConfig,
        device: torch.device | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        self.config = config
        self.cell = find_cell(config.cell, folder.path if folder else None)
        self.device = device or torch.device("cpu")

    @classmethod
    def prepare(
        cls,
        config: MusicConfig,
        *,
        resumed: RunFolder | None = None,
        device: torch.device | None = None,
        processes: Processes | None = None,
    ) -> Frames:
        """The task with its data."""
        processes = processes or Processes()
        task = cls(config, device, resumed)
        train, valid = task.split()
        task.train, task.valid = ragged(cut(train, config.data.longest)), ragged(valid)
        task.batches = batches_of(task.train.lengths, config, processes)
        return task

    @classmethod
    def load(cls, config: MusicConfig, folder: RunFolder, device: torch.device) -> Frames:
        """The task of a run, without its data."""
        return cls(config, device, folder)

    def read(self, patterns: list[str]) -> Rolls:
        """The sequences of files; what is left out is said."""
        rolls = read_rolls(patterns, self.config.data.frames_per_quarter)
        for path, reason in rolls.skipped:
            terminal.warn(f"skipped {path}: {reason}")
        if rolls.skipped:
            terminal.warn(f"skipped {len(rolls.skipped)} MIDI files.")
        if rolls.outside:
            terminal.warn(f"left out {rolls.outside} notes beyond the 88 keys.")
        return rolls

    def split(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Training and validation sequences: files given, the file's parts, or a share held out."""
        config = self.config
        if not config.train:
            raise InputError("no training data. Give --train FILE ….")
        parts = self.read(config.train).parts
        train = parts.get("train", []) + parts.get("all", [])
        if not train:
            raise InputError(f"{config.train[0]}: no sequence to train on.")
        if config.valid:
            given = self.read(config.valid).parts
            return train, given.get("valid") or given.get("all") or []
        if parts.get("valid"):
            return train, parts["valid"]
        order = np.random.default_rng(config.data.split_seed).random(len(train)).argsort()
        held = round(len(train) * config.data.holdout)
        if not 0 < held < len(train):
            raise InputError(
                f"{len(train)} sequences are too few to hold out {config.data.holdout:.0%} of "
                "them. Give --valid."
            )
        return [train[i] for i in sorted(order[held:])], [train[i] for i in sorted(order[:held])]

    def save(self, folder: RunFolder) -> None:
        """Write the source of a cell of the user's own."""
        folder.keep(source_file(self.config.cell, folder.path))

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the sequences."""
        return len(self.batches)

    @property
    def fingerprint(self) -> str:
        """Of the training and validation data."""
        return f"{self.train.fingerprint()}-{self.valid.fingerprint()}"

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

    def batch(self, epoch: int, i: int) -> tuple[Tensor, Tensor, int]:
        """Frames [T, B, 88], lengths [B], and how many frames count."""
        share = self.batches.share(epoch, i)
        frames, lengths = self.train.pad(share.examples)
        if most := self.config.data.transpose:
            random = np.random.default_rng([self.config.seed, epoch, i])
            frames = transpose(frames, random.integers(-most, most + 1, frames.shape[1]))
        count = int(lengths.sum()) if share.counts else 0
        return frames.to(self.device, torch.float32), lengths.to(self.device), count

    def loss(self, model: Any, batch: tuple[Tensor, Tensor, int], carry: Any) -> Loss:
        """Mean nats a frame, summed over the keys."""
        frames, lengths, count = batch
        return Loss(model(frames, lengths), count)

    @torch.inference_mode()
    def measure(self, model: FrameModel, sequences: Ragged) -> FramesEvaluation:
        """The likelihood, whatever the batch size."""
        training = model.training
        model.eval()
        all_nats, after_first = np.zeros(len(sequences)), np.zeros(len(sequences))
        for some in by_length(sequences.lengths, EVALUATION_FRAMES):
            frames, lengths = sequences.pad(some)
            frames = frames.to(self.device, torch.float32)
            nats = model.nats(frames, lengths.to(self.device)).double().cpu().numpy()
            all_nats[some], after_first[some] = nats.sum(0), nats[1:].sum(0)
        model.train(training)
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

    def describe_loss(self, loss: float) -> str:
        """Nats a frame."""
        return f"loss {loss:.3f} nats/frame"

    def evaluate(
        self, model: FrameModel, data: list[str] | None, options: MusicEvaluateOptions
    ) -> FramesEvaluation:
        """The likelihood of sequences."""
        return self.measure(model, self.to_measure(data, options.part))

    def to_measure(self, data: list[str] | None, part: str = "auto") -> Ragged:
        """A part of files, auto: the test part where there is one, else all; None: the run's own
        sequences for validation.
        """
        if data is None:
            return ragged(self.split()[1])
        parts = self.read(data).parts
        name = part
        if name == "auto":
            name = "test" if parts.get("test") else "all"
        everything = [sequence for sequences in parts.values() for sequence in sequences]
        chosen = everything if name == "all" else parts.get(name)
        if not chosen:
            raise InputError(
                f"{data[0]}: no part {name!r}; it has {', '.join(parts) or 'no sequence'}."
            )
        return ragged(chosen)

    # ---- writing ------------------------------------------------------------------------------

    def generate(
        self, model: FrameModel, options: MusicWritingOptions
    ) -> Iterator[tuple[int, str]]:
        """Frames as MIDI, WAV and piano roll, going on from the primer where there is one."""
        o = options
        if o.condition or o.prime or o.num_beams > 1 or o.top_k or o.top_p < 1:
            raise InputError(
                "frames are drawn key by key: --condition, --prime, --num-beams, --top-k and "
                "--top-p are not for them; --primer and --temperature are."
            )
        primer = self.primer(o)
        recital = Recital.of(o, ("midi", "wav", "png"))
        if recital.folder is None and not o.report:
            raise InputError("frames are written as files: give --output FOLDER.")
        length = o.max_new_tokens or LENGTH
        seed = secrets.randbelow(2**31) if o.seed is None else o.seed
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
                yield k, "\n".join(map(str, paths)) or f"roll {k + 1} is silent"
        if o.report:
            density = keys / max(all_frames, 1)
            yield 0, figures({"frames": all_frames, "keys down in a frame": density})

    def primer(self, options: MusicWritingOptions) -> np.ndarray:
        """Frames to go on from: the first sequence of a file."""
        if not options.primer:
            return np.zeros((0, KEYS), np.uint8)
        parts = self.read([str(Path(options.primer).expanduser())]).parts
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
            p = torch.sigmoid(logits[-1] / temperature) if temperature else (logits[-1] > 0).float()
            frame = torch.bernoulli(p, generator=generator)
            frames.append(frame.cpu().numpy().astype(np.uint8))
            logits, state = model.logits(frame[None], state)
        return np.concatenate(frames)


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
