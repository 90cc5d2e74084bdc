"""Regression: numbers for each sequence of numbers (many-to-one)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import RunFolder
from ..config.regression import EstimatingOptions, RegressionConfig
from ..data.batches import Ragged
from ..data.labelled import Record
from ..data.limits import check_tokens, parse_json
from ..data.lines import Inputs
from ..data.numbers import Scale
from ..data.splits import also_in
from ..ground.errors import InputError
from ..ground.whole import read_text
from ..ground.wording import plural
from ..layers.mode import evaluating
from ..layers.outline import Affine
from ..models.regressor import Regressor
from .endings import Ends
from .example_task import Encoded, ExampleTask
from .exported import Exported, mixed
from .numeric import NumberSource
from .streams import NumberStream, Stream
from .task import Evaluation, Prediction, Score, aligned, figures


@dataclass(frozen=True)
class Targeted(Encoded):
    """N sequences and their targets [N, K]: as they are, and scaled in float32."""

    sequences: Ragged
    targets: np.ndarray
    scaled: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """[N]."""
        return self.sequences.lengths

    def pad(self, some: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Sequences [T, B, …], lengths [B], targets [B, K]."""
        return *self.sequences.pad(some), torch.from_numpy(self.scaled[some])

    def fingerprint(self) -> str:
        """Of sequences and targets."""
        targets = Ragged.of([self.targets], np.float64)
        return f"{self.sequences.fingerprint()}-{targets.fingerprint()}"


class Regression(ExampleTask):
    """A regression's data, loss and metrics. `ExampleTask` says what each part is for."""

    unit = "examples"
    evaluation_tokens = 1 << 14
    train: Targeted
    valid: Targeted
    targets: Scale
    names: list[str]
    known: int
    config: RegressionConfig
    loss_at_end = "the loss of the targets"

    def settle(self) -> None:
        """Where sequences come from, and the score."""
        names = {"loss": "", "scaled_mse": "squared error", "scaled_mae": "absolute error"}
        self.score = Score(self.config.score, name=names[self.config.score])
        self.source = NumberSource(self.config, self.left_out, targets=self.config.data.target)

    # ---- data ---------------------------------------------------------------------------------

    def read(self, patterns: list[str]) -> list[Record]:
        """Sequences with their targets."""
        return self.source.read(patterns)

    def counted(self, examples: Targeted) -> str:
        """Examples, and what they hold."""
        return f"{plural(len(examples), 'example')} ({self.source.describe(examples.sequences)})"

    def split(self, examples: list[Record]) -> tuple[list[Record], list[Record]]:
        """A share is held out."""
        return self.source.split(examples)

    def go_on(self, folder: RunFolder) -> None:
        """What its source has settled."""
        self.source.go_on(folder)

    def learn(self, train: list[Record]) -> None:
        """Columns, scales of numbers and of targets."""
        self.source.learn(train)
        given = np.array([record.targets for record in train], np.float64)
        K = given.shape[1]
        asked = self.config.data.target
        from_table = bool(train[0].columns)
        self.names = list(asked) if from_table else [f"target {k}" for k in range(K)]
        self.targets = Scale(np.zeros(K), np.ones(K))
        scale = Scale.of([given])
        spread = given.max(0) > given.min(0)
        if not spread.any():
            raise InputError(
                f"all {len(train):,} training examples have the targets {given[0].tolist()}: there "
                "is nothing to find."
            )
        if self.config.data.scaling == "standard":
            self.targets = scale

    def encode(self, examples: list[Record], *, training: bool = False) -> Targeted:
        """Sequences and targets as numbers."""
        sequences = self.source.encode(examples)
        most = self.config.data.max_tokens
        check_tokens(sequences.lengths, most, lambda i: examples[i].where)
        K = len(self.names)
        for record in examples:
            if len(record.targets) not in (0, K):
                raise InputError(
                    f"{record.where}: {plural(len(record.targets), 'target')}; expected {K}."
                )
        given = np.array([record.targets or (0.0,) * K for record in examples], np.float64)
        scaled = np.concatenate(
            [self.targets(row[None], r.where) for row, r in zip(given, examples)]
        )
        return Targeted(sequences, given, scaled.astype(np.float32))

    def look_over(self, train: list[Record], valid: list[Record]) -> None:
        """How many validation examples training has too."""
        self.known = also_in(train, valid)

    def save(self, folder: RunFolder) -> None:
        """Write what was learned."""
        super().save(folder)
        self.source.save(folder)
        folder.save_text(folder.file("targets.json"), self.to_json())

    def to_json(self) -> str:
        """The text of targets.json."""
        said = {"names": self.names}
        said |= {name: value.tolist() for name, value in vars(self.targets).items()}
        return json.dumps(said, ensure_ascii=False)

    def restore(self, folder: RunFolder) -> None:
        """Read it."""
        self.source.restore(folder)
        path = folder.file("targets.json")
        text = read_text(path)
        try:
            said = parse_json(text)
            self.names = [str(name) for name in said["names"]]
            if not self.names:
                raise ValueError("no targets")
            self.targets = Scale.from_lists(said["mean"], said["deviation"], len(self.names))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged: {error}.") from error

    # ---- training -----------------------------------------------------------------------------

    def summary(self) -> str:
        """The data in one line."""
        text = (
            f"{len(self.train):,} training examples ({self.source.describe(self.train.sequences)})"
            f", {len(self.valid):,} for validation"
        )
        if self.known:
            text += f" ({self.known / len(self.valid):.1%} of them occur in training too)"
        return f"{text}, {plural(len(self.names), 'target')} ({', '.join(self.names[:8])})"

    def build_model(self) -> Regressor:
        """The untrained network, on the device."""
        inputs = self.source.build_input()
        return Regressor(self.cell, inputs, len(self.names), self.config.model).to(self.device)

    def size(self, examples: Targeted, some: np.ndarray) -> float:
        """How many they are."""
        return len(some)

    def validate(self, model: Regressor, *, quick: bool) -> dict[str, float]:
        """Loss, errors, R² and, of quantiles, what lies between them."""
        found = self.measure(model, self.valid)
        return {name: found[name] for name in found if name not in ("targets",)}

    def describe(self, metrics: dict[str, float]) -> str:
        """Errors in deviations first."""
        return f"{self.validation_loss(metrics)}, MAE {metrics['mae']:.4f}, R² {metrics['r2']:.4f}"

    def ends(self, model: Any, examples: Targeted, some: np.ndarray) -> Ends:
        """The targets are said at the last step of either direction."""
        x, lengths, truth = self.inputs(examples, some)

        def loss() -> Tensor:
            return model.losses(model.made(x, lengths), truth).mean(-1).sum()

        return Ends({"last": loss, "first": loss}, {"stack": lengths})

    # ---- a finished run -----------------------------------------------------------------------

    def found(
        self, model: Regressor, examples: Targeted
    ) -> tuple[np.ndarray, np.ndarray | None, float]:
        """Of each example the value of each target [N, K] and its quantiles, in the units of the
        data; and the mean loss."""
        N, K = len(examples), len(self.names)
        values, total = np.empty((N, K)), 0.0
        bands = np.empty((N, K, model.each)) if model.config.loss == "quantiles" else None
        scale = self.targets
        with evaluating(model):
            for some, (x, lengths, truth) in self.in_batches(examples):
                made = model.made(x, lengths)
                total += float(model.losses(made, truth).mean(-1).double().sum())
                value, quantiles = model.outputs(made)
                values[some] = value.double().cpu().numpy() * scale.deviation + scale.mean
                if bands is not None and quantiles is not None:
                    back = quantiles.double().cpu().numpy() * scale.deviation[:, None]
                    bands[some] = back + scale.mean[:, None]
        return values, bands, total / N

    def measure(self, model: Regressor, examples: Targeted) -> dict[str, Any]:
        """Errors over all targets and of each; R² is the mean over targets."""
        values, bands, loss = self.found(model, examples)
        off, y = values - examples.targets, examples.targets
        each = []
        for k, name in enumerate(self.names):
            spread = float(((y[:, k] - y[:, k].mean()) ** 2).sum())
            squared = float((off[:, k] ** 2).sum())
            each.append(
                {
                    "target": name,
                    "mse": squared / len(y),
                    "mae": float(np.abs(off[:, k]).mean()),
                    "r2": 1 - squared / spread if spread else float("nan"),
                }
            )
        scaled = off / self.targets.deviation
        metrics = {
            "loss": loss,
            "mse": float((off**2).mean()),
            "mae": float(np.abs(off).mean()),
            "r2": float(np.mean([one["r2"] for one in each])),
            "scaled_mse": float((scaled**2).mean()),
            "scaled_mae": float(np.abs(scaled).mean()),
        }
        if bands is not None:
            inside = (y >= bands[..., 0]) & (y <= bands[..., -1])
            metrics["coverage"] = float(inside.mean())
        return {**metrics, "targets": each}

    def evaluate(
        self, model: Regressor, data: list[str] | None, options: Any = None
    ) -> RegressionEvaluation:
        """Metrics of sequences with their targets."""
        examples = self.to_measure(data)
        found = self.measure(model, examples)
        return RegressionEvaluation(**{"coverage": None, **found}, examples=len(examples))

    def predict(
        self, model: Regressor, inputs: Inputs, options: EstimatingOptions
    ) -> Iterator[Prediction]:
        """The targets of each sequence, in the units of the data."""
        for records in self.source.arriving(inputs, options):
            values, bands, _ = self.found(model, self.encode(records))
            for i, record in enumerate(records):
                yield self.said(record, values[i], None if bands is None else bands[i])

    def said(self, record: Record, values: np.ndarray, bands: np.ndarray | None) -> Prediction:
        """One prediction."""
        found: dict[str, Any] = {"targets": dict(zip(self.names, values.tolist()))}
        text = "\t".join(f"{value:.6g}" for value in values)
        if bands is not None:
            q = [f"{q:g}" for q in self.config.model.quantiles]
            rows = zip(self.names, bands.tolist())
            found["quantiles"] = {name: dict(zip(q, row)) for name, row in rows}
        if record.name is not None:
            found |= {"sequence": record.name, "where": record.where}
            text += f"\t{' '.join(record.name.split())}"
        return Prediction(text, found)

    def exported(self, model: Regressor) -> Exported:
        """What an exporter writes: the last map gives the targets in the units of the data."""
        outline, each = self.source.exported(model.outline()), model.each
        mean, deviation = (v.repeat(each) for v in (self.targets.mean, self.targets.deviation))
        *maps, last = outline.outputs
        last = Affine(last.W * deviation[:, None], last.b * deviation + mean)
        quantiles = self.config.model.quantiles if self.config.model.loss == "quantiles" else ()
        return Exported(
            replace(outline, outputs=(*maps, last)), "numbers", labels=self.names,
            columns=self.source.columns, quantiles=tuple(quantiles),
            calibration=lambda: mixed([r.content for r in self.raw_to_learn()]),
        )  # fmt: skip

    def stream(self, model: Regressor) -> Stream:
        """The targets by what came so far, after each step."""

        def said(pooled: Tensor) -> Prediction:
            value, quantiles = model.outputs(model.of_pooled(pooled))
            scale = self.targets
            values = value[0].double().cpu().numpy() * scale.deviation + scale.mean
            bands = None
            if quantiles is not None:
                back = quantiles[0].double().cpu().numpy() * scale.deviation[:, None]
                bands = back + scale.mean[:, None]
            return self.said(Record(None, None, ""), values, bands)

        return NumberStream(self.source, model, said, pools=True)


@dataclass(frozen=True)
class RegressionEvaluation(Evaluation):
    """What `evaluate` found: errors in the units of the data and, scaled, in training's deviations.

    R² is the mean over the targets, each of which `targets` has; `coverage` is the share between
    the lowest and the highest quantile.
    """

    loss: float
    mse: float
    mae: float
    r2: float
    scaled_mse: float
    scaled_mae: float
    coverage: float | None
    examples: int
    targets: list[dict[str, Any]]

    def report(self) -> str:
        """The figures, then each target."""
        rows = [[t["target"], *(f"{t[k]:.4f}" for k in ("mse", "mae", "r2"))] for t in self.targets]
        table = aligned([["target", "MSE", "MAE", "R²"], *rows])
        return f"{figures({k: v for k, v in vars(self).items() if v is not None})}\n\n{table}"
