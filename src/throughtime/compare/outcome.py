"""What the runs found, gathered into the rows of the table."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.lines import split_lines
from ..ground.output import measured
from ..ground.paths import absolute
from .plan import Variant


@dataclass(frozen=True)
class Finding:
    """One finished run: what its worker wrote, and its validation curve from metrics.jsonl."""

    seed: int
    values: dict[str, Any]
    per_second: float
    curve: list[dict[str, float]]
    """Each evaluation: its metrics, `elapsed` and `step`."""

    @classmethod
    def read(cls, result: Path, folder: Path, seed: int) -> Finding:
        """From the files of a run."""
        values = json.loads(result.read_text("utf-8"))
        values["folder"] = absolute(folder)  # wherever that was when it was trained
        lines = map(measured, split_lines((folder / "metrics.jsonl").read_text("utf-8")))
        curve, speed = [], math.nan
        for line in lines:
            kind = line.pop("kind")
            if kind == "valid":
                curve.append(line)
            elif kind == "train":
                speed = line[f"{values['unit']}_per_second"]
            elif kind == "slow":
                values["slow"] = line["text"]
            elif kind == "ended":
                values["ended"] = line["text"]
        return cls(seed, values, speed, curve)

    @property
    def solved_after(self) -> int | None:
        """The steps until the first evaluation that counts as solved; None: never."""
        return next((int(point["step"]) for point in self.curve if point.get("solved")), None)


@dataclass
class VariantRow:
    """A row of the table: a variant with its runs, or a baseline that needs no training.

    `metrics` are those of each run; `facts` what is known of the text at its level.
    """

    label: str
    at: str
    parameters: int | None
    hidden_size: int | list[int] | None = None
    variant: Variant | None = None
    findings: list[Finding] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    horizon: list[int | None] = field(default_factory=list)

    def values(self, metric: str) -> list[float]:
        """Of each run, in order of seeds; what is not there is left out."""
        return [m[metric] for m in self.metrics if metric in m]

    def mean(self, metric: str) -> float:
        """Over the seeds; NaN where there is none."""
        return statistics.fmean(found) if (found := self.values(metric)) else math.nan

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything."""
        names = sorted({name for m in self.metrics for name in m})
        return {
            "label": self.label,
            "at": self.at,
            "parameters": self.parameters,
            "hidden_size": self.hidden_size,
            "metrics": {
                name: {"mean": self.mean(name), "sd": spread(found), "values": found}
                for name in names
                if (found := self.values(name))
            },
            "facts": self.facts,
            "horizon": self.horizon,
            "failures": self.failures,
            "runs": [
                {
                    "seed": f.seed,
                    **{k: v for k, v in f.values.items() if k != "settings"},
                    "per_second": f.per_second,
                    "solved_after_steps": f.solved_after,
                    "curve": f.curve,
                }
                for f in self.findings
            ],
        }


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation (n − 1); None of fewer than two."""
    return statistics.stdev(values) if len(values) > 1 else None


def row_of(variant: Variant, findings: list[Finding], failures: list[str]) -> VariantRow:
    """A variant's row."""
    row = VariantRow(
        variant.label, variant.at, variant.parameters, variant.config.model.hidden_size, variant
    )
    row.findings, row.failures = findings, failures
    row.metrics = [dict(f.values["metrics"]) for f in findings]
    row.horizon = [f.values["horizon"]["horizon"] for f in findings if f.values["horizon"]]
    return row


def correct_for_unknown(rows: list[VariantRow]) -> None:
    """Bits per character with every unknown word spelled out, beside those without."""
    for row in rows:
        for metrics in [*row.metrics, *(point for f in row.findings for point in f.curve)]:
            if "bits_per_char" in metrics and "hidden_bits_per_char" in row.facts:
                corrected = metrics["bits_per_char"] + row.facts["hidden_bits_per_char"]
                metrics["bits_per_char_spelled"] = corrected
