"""What is said of the future: points, quantiles, distributions; their losses, and paths drawn."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..config.forecast import ForecastModelConfig

LEAST = 1e-4
"""The least width of a distribution, in units of its series."""


def parameters_of(config: ForecastModelConfig) -> int:
    """How many numbers are said of each target."""
    if config.output == "quantiles":
        return len(config.quantiles)
    return {"point": 1, "student-t": 3, "negative-binomial": 2}[config.output]


def losses(config: ForecastModelConfig, made: Tensor, targets: Tensor, unit: Tensor) -> Tensor:
    """The loss of each target [H, B, k], zero where there is none: made [H, B, k, P].

    Of points the squared or absolute error; of quantiles q the mean pinball loss max(q e, (q − 1)
    e), e = y − ŷ; of distributions nats. Scaled targets but for counts.
    """
    made = made.to(torch.promote_types(made.dtype, torch.float32))
    there = ~targets.isnan()
    y = targets.nan_to_num()
    if config.output == "point":
        error = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.smooth_l1_loss}[config.loss]
        found = error(made[..., 0], y, reduction="none")
    elif config.output == "quantiles":
        q = torch.tensor(config.quantiles, dtype=made.dtype, device=made.device)
        off = y[..., None] - made
        found = torch.maximum(q * off, (q - 1) * off).mean(-1)
    elif config.output == "student-t":
        place, width, degrees = student(made)
        found = -torch.distributions.StudentT(degrees, place, width).log_prob(y)
    else:
        mean, spread = counts(made, unit)
        found = negative_binomial_nats(torch.round(y * unit), mean, spread)
    return torch.where(there, found, torch.zeros_like(found))


def student(made: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Place, width and degrees of freedom, more than 2."""
    place, width, degrees = made.unbind(-1)
    return place, F.softplus(width) + LEAST, 2.01 + F.softplus(degrees)


def counts(made: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread α of counts, whose variance is mean + α mean²."""
    mean, spread = made.unbind(-1)
    return unit * F.softplus(mean) + LEAST, F.softplus(spread) + LEAST


def negative_binomial_nats(z: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """−ln P(z) of counts z."""
    r = 1 / spread
    return -(
        torch.lgamma(z + r) - torch.lgamma(r) - torch.lgamma(z + 1)
        - r * torch.log1p(spread * mean) + z * (torch.log(mean) - torch.log(r + mean))
    )  # fmt: skip


class Outlook(NamedTuple):
    """Forecasts, scaled: point [H, B, k]; quantiles [H, B, k, Q] or None; paths [H, B, S, k] or
    None."""

    point: Tensor
    quantiles: Tensor | None = None
    paths: Tensor | None = None

    @classmethod
    def of(
        cls, config: ForecastModelConfig, made: Tensor, unit: Tensor, samples: int, seed: int
    ) -> Outlook:
        """Of what a model made of whole horizons [H, B, k, P]."""
        made = made.to(torch.promote_types(made.dtype, torch.float32))
        if config.output == "point":
            return cls(made[..., 0])
        if config.output == "quantiles":
            rising = made.sort(-1).values  # quantiles that cross are put in order
            return cls(middle(rising, config.quantiles), rising)
        H, B, k, _ = made.shape
        chance = cls.chance(config, H, B, k, samples, seed, made)
        wide = made.repeat_interleave(samples, 1)
        unit = unit.repeat_interleave(samples, 0)
        drawn = [cls.draw(config, wide[t], unit, chance, t) for t in range(H)]
        found = cls.of_paths(config, torch.stack(drawn).view(H, B, samples, k))
        if config.output == "student-t":
            return found._replace(point=student(made)[0])
        return found

    @classmethod
    def of_paths(cls, config: ForecastModelConfig, paths: Tensor) -> Outlook:
        """Of paths [H, B, S, k]: their mean, and their quantiles."""
        if config.output == "point":
            return cls(paths[:, :, 0])
        q = torch.tensor(config.quantiles, dtype=paths.dtype, device=paths.device)
        quantiles = torch.quantile(paths.transpose(2, 3), q, -1).movedim(0, -1)
        return cls(paths.mean(2), quantiles, paths)

    @staticmethod
    def chance(
        config: ForecastModelConfig, H: int, B: int, k: int, samples: int, seed: int, like: Tensor
    ) -> Any:
        """Uniform numbers [H, 2, B·S, k] that paths are drawn by, the same for each window."""
        if config.output != "student-t":
            return seed, samples
        drawn = np.random.default_rng(seed).random((H, 2, samples, k))
        return torch.from_numpy(np.tile(drawn, (1, 1, B, 1))).to(like.device)

    @staticmethod
    def draw(
        config: ForecastModelConfig, made: Tensor, unit: Tensor, chance: Any, t: int
    ) -> Tensor:
        """The values of step t [B·S, k], scaled.

        Student's t with ν degrees from two uniform numbers: √(ν (u^(−2/ν) − 1)) cos 2πv
        (Bailey 1994).
        """
        if config.output == "point":
            return made[..., 0]
        if config.output == "student-t":
            place, width, degrees = (part.double() for part in student(made))
            u, v = chance[t, 0].clamp(min=1e-12), chance[t, 1]
            t_drawn = (degrees * torch.expm1(-2 / degrees * u.log())).sqrt()
            return (place + width * t_drawn * torch.cos(2 * math.pi * v)).to(made.dtype)
        seed, samples = chance
        mean, spread = (part.double().cpu().numpy() for part in counts(made, unit))
        r = 1 / spread
        p = r / (r + mean)
        drawn = np.empty_like(mean)
        for start in range(0, len(mean), samples):  # each window from the same state
            part = slice(start, start + samples)
            random = np.random.default_rng([seed, t])
            drawn[part] = random.poisson(random.gamma(r[part], (1 - p[part]) / p[part]))
        return torch.from_numpy(drawn).to(made) / unit


def middle(rising: Tensor, quantiles: list[float]) -> Tensor:
    """The median, or what lies between the quantiles around it."""
    at = np.interp(0.5, quantiles, np.arange(len(quantiles)))
    low, high = math.floor(at), math.ceil(at)
    return rising[..., low] + (at - low) * (rising[..., high] - rising[..., low])
