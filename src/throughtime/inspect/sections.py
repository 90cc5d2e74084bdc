"""What was found, as sections of the report: a sentence, how to read it, figures, numbers."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..ground.wording import plural
from . import figures
from .gates import SATURATED, Gates, of_units
from .gradients import GradientsThroughTime
from .health import Health
from .page import Section, drawing, paragraph, table

EXPLODING, CARRIED, VANISHING = 1.01, 0.97, 0.9
"""Per-lag ratios: above the first gradients explode, below the last they vanish."""


def of_stack(name: str, title: str, finding: str, stack: str) -> tuple[str, str, str]:
    """Name, title and finding of a section, of one stack among several where it is named."""
    if not stack:
        return name, title, finding
    finding = f"{stack}: {finding[0].lower()}{finding[1:]}"
    return f"{name}-{stack.replace('.', '-')}", f"{title}: {stack}", finding


def left_out(name: str, title: str, why: str, *, aside: bool = False) -> Section:
    """A section that makes no sense here, and why."""
    return Section(name, title, why, {"left_out": why}, aside=aside)


# ---- gradients through time -------------------------------------------------------------------


FEW_LAGS = 20
"""Over fewer lags a per-lag ratio has no name."""
GROWN = 2.0
"""What grows by less than this, as far as it was measured, does not explode."""


def verdict(found: GradientsThroughTime, part: str, layer: int) -> str:
    """What the per-lag ratio of a part in a layer is called."""
    rate, (growth, _) = found.rate(part, layer), found.growth(part, layer)
    if math.isnan(rate):
        return "not measured"
    if found.lags < FEW_LAGS:
        return "too few lags"
    if rate > EXPLODING and growth >= GROWN:
        return "exploding"
    if rate >= CARRIED:
        return "carried"
    return "fading" if rate >= VANISHING else "vanishing"


def gradients_section(
    found: GradientsThroughTime,
    untrained: GradientsThroughTime | None,
    *,
    noun: str = "token",
    of: str = "the loss at a position",
    stack: str = "",
) -> Section:
    """Gradients through time: one figure, one table."""
    name, title, finding = of_stack(
        "gradients", "Gradients through time", gradients_sentence(found, noun, of), stack
    )
    body = [
        paragraph(
            f"The norm of the derivative of {of} by the state a number of steps before it, exact, "
            f"by backpropagation through the scan: median over {how_many(found)}, the band "
            "from the 10th to the 90th percentile. Each curve starts at 1. A straight "
            "line falls by the same factor at every step; the dot and its number mark the horizon, "
            "the first lag where less than 1% of the influence is left."
        ),
        drawing(
            figures.gradients_figure(found, untrained),
            name,
            "Solid: trained. Dotted: the same network at initialisation."
            if untrained
            else "Median and band by layer; a panel for each part of the state.",
            finding,
        ),
        rates_table(found, untrained),
    ]
    numbers = {"trained": gradient_numbers(found)}
    if untrained is not None:
        numbers["untrained"] = gradient_numbers(untrained)
    return Section(name, title, finding, numbers, body)


def how_many(found: GradientsThroughTime) -> str:
    """How many positions there are, and how many reach the longest lag, if fewer."""
    norms = next(iter(found.norms.values()))[0]
    there = int((~norms[found.lags].isnan()).sum())
    said = plural(norms.shape[1], "position")
    if there == norms.shape[1]:
        return said
    return (
        f"{said}, of which {there:,} reach lag {found.lags}, the last one shown (each lag is "
        "compared with lag 0 of the positions that reach it)"
    )


def gradients_sentence(found: GradientsThroughTime, noun: str, of: str) -> str:
    """How far back the influence goes where it goes farthest, and what the rate is called."""
    part, layer, horizon = found.longest()
    rate, lags = found.rate(part, layer), found.lags
    said = verdict(found, part, layer)
    reach = (
        f"The influence of a {noun} on {of} falls below 1% after {plural(horizon, 'step')}"
        if horizon is not None
        else f"The influence of a {noun} on {of} is still above 1% after {plural(lags, 'step')}"
    )
    also, others = "", []
    for other in found.norms if horizon is not None else ():
        for row, name in found.rows(other):
            if (other, row) != (part, layer):
                k = found.horizon(other, row)
                named = f"{other} of {name}" if len(found.layers) > 1 else other
                others.append(f"{named}: {f'over {lags}' if k is None else k}")
    if horizon is None and len(found.norms) * len(found.layers) > 1:
        also = f" in {part}" + (f" of {found.layers[layer]}" if len(found.layers) > 1 else "")
    if others:
        where = f"{part} of {found.layers[layer]}" if len(found.layers) > 1 else part
        also = f" in {where} ({'; '.join(others)})"
    if said in ("not measured", "too few lags"):
        return f"{reach}{also}."
    return (
        f"{reach}{also}; each step back multiplies the gradient by {rate:.3f} on average, over "
        f"{lags}: {said}."
    )


def rates_table(found: GradientsThroughTime, untrained: GradientsThroughTime | None) -> str:
    """Horizon and rate of every layer and part."""
    head = ["", "horizon (1%)", "per step", ""]
    several = [("", found)] + ([(", untrained", untrained)] if untrained else [])
    rows = []
    for part in found.norms:
        for row, layer in found.rows(part):
            for suffix, one in several:
                horizon, rate = one.horizon(part, row), one.rate(part, row)
                shown = f"over {one.lags}" if horizon is None else f"{horizon}"
                name = f"{html.escape(part)}, {layer}{suffix}"
                rows.append([name, shown, f"× {rate:.3f}", verdict(one, part, row)])
    return table(head, rows, text=(0, 3))


def gradient_numbers(found: GradientsThroughTime) -> dict[str, Any]:
    """Median, band, horizon, rate by part and layer."""
    return {
        part: {
            layer: {
                "shares": found.shares(part, row).tolist(),
                "median": found.median(part, row).tolist(),
                "low": found.band(part, row)[0].tolist(),
                "high": found.band(part, row)[1].tolist(),
                "horizon": found.horizon(part, row),
                "rate": found.rate(part, row),
                "verdict": verdict(found, part, row),
            }
            for row, layer in found.rows(part)
        }
        for part in found.norms
    } | {"positions": next(iter(found.norms.values())).shape[2]}


# ---- gates ------------------------------------------------------------------------------------


def gates_section(found: Gates, cells: Sequence[Any], stack: str = "") -> Section:
    """The distributions, saturation, and time constants of layers of these cells."""
    name, title, finding = of_stack("gates", "Gates and memory", gates_sentence(found), stack)
    if not found.gates and found.memory is None:
        return left_out(
            name,
            title,
            f"{' and '.join(dict.fromkeys(map(repr, cells)))} has no gates and no direct path from "
            "one state to the next: every step makes the whole state anew through its matrix, so "
            "there is nothing to open or close.",
        )
    body = [
        paragraph(
            f"Over {plural(found.steps, 'step')} of text. A gate is closed below {SATURATED} and "
            f"open above {1 - SATURATED:g}: the dark ends of each distribution, and their shares."
        )
    ]
    if found.gates:
        body.append(
            drawing(
                figures.gates_figure(found),
                name,
                "How often each value of a gate occurs, over all units and steps.",
                finding,
            )
        )
        body.append(
            drawing(
                figures.saturation_figure(found),
                f"{name}-saturation",
                "A dot is a unit. In the lower right its gate is nearly always closed, in the "
                "upper left nearly always open, in the lower left it stays between.",
                "Share of steps in which each unit's gates are closed and open",
            )
        )
    if found.memory is not None:
        body.append(
            drawing(
                figures.memory_figure(found),
                f"{name}-memory",
                "A unit's share kept is the mean of ∂"
                f"{found.memory}<t>/∂{found.memory}<t−1> with all gates held constant (a forget "
                "gate's value, or 1 − an update gate's); τ = −1/ln of it.",
                finding,
            )
        )
    return Section(name, title, finding, gate_numbers(found), body)


def gate_numbers(found: Gates) -> dict[str, Any]:
    """Distributions and shares by gate and layer, what is kept by part of the state and layer."""
    gates = {
        gate: {
            layer: {
                "histogram": values.histogram[row].tolist(),
                "closed": float(values.closed[row].nanmean()),
                "open": float(values.open[row].nanmean()),
                "closed_by_unit": of_units(values.closed[row]).tolist(),
                "open_by_unit": of_units(values.open[row]).tolist(),
            }
            for row, layer in found.rows(gate)
        }
        for gate, values in found.gates.items()
    }
    memory = {
        part: {
            layer: {
                "kept": of_units(kept[row]).tolist(),
                "time_constants": of_units(found.time_constants(part)[row]).tolist(),
            }
            for row, layer in found.rows(part)
        }
        for part, kept in found.kept.items()
    }
    return {"steps": found.steps, "gates": gates, "memory": memory}


LITTLE = 0.01
"""A gate closed or open in less than this share of steps does not saturate."""


def gates_sentence(found: Gates) -> str:
    """The median and longest time constants, and the gate that saturates most."""
    said = []
    if found.memory is not None:
        tau = of_units(found.time_constants(found.memory))
        longest = float(tau.max())
        most = "without end" if math.isinf(longest) else f"for {longest:,.1f}"
        said.append(
            f"Half of the units keep their memory {found.memory} for {float(tau.median()):,.1f} "
            f"steps or more, the longest {most}"
        )
    if found.gates:
        closed = {gate: float(values.closed.nanmean()) for gate, values in found.gates.items()}
        opened = {gate: float(values.open.nanmean()) for gate, values in found.gates.items()}
        gate = max(closed, key=lambda g: closed[g] + opened[g])
        if closed[gate] + opened[gate] < LITTLE:
            said.append(f"no gate is closed or open in more than {LITTLE:.0%} of steps")
        else:
            ends = f"{closed[gate]:.0%} closed, {opened[gate]:.0%} open"
            said.append(f"Γ_{gate} saturates most: {ends}")
    return "; ".join(said) + "."


# ---- health -----------------------------------------------------------------------------------


def health_sentence(found: Health) -> str:
    """Where the loss went, and what went wrong on the way."""
    first, last = found.train[0]["loss"], found.train[-1]["loss"]
    rose = next((t for t in found.troubles if t.kind == "validation rose"), None)
    loss = f"{'fell' if last < first else 'went'} from {first:.3g} to {last:.3g}"
    if len(found.train) == 1:
        loss = f"was {last:.3g}"
    return (
        f"Training loss {loss} in {found.train[-1]['step']:,} steps; {found.clipped:.0%} of the "
        f"steps were clipped, {len(found.skipped) or 'none'} skipped"
        + (f"; validation was best at step {rose.step:,} and rose since" if rose else "")
        + ("." if found.troubles else "; no moment of trouble.")
    )


def health_section(found: Health | None) -> Section:
    """The course of training, the moments of trouble marked."""
    title = "Training health"
    if found is None or not found.train:
        return left_out(
            "health",
            title,
            "This run has no metrics.jsonl with a line of training: its course is not known.",
        )
    finding = health_sentence(found)
    body = [
        drawing(
            figures.health_figure(found),
            "health",
            "Loss, gradient norm, the share of steps clipped since the line before, learning rate"
            + (
                ", and how far back gradients reach, an arrow where that is beyond the steps "
                "looked back on"
            )
            * bool(found.inside)
            + "."
            + " Red lines are moments of trouble, listed below." * bool(found.troubles),
            finding,
        )
    ]
    if found.troubles:
        rows = [
            [f"{k}", f"{t.step:,}", html.escape(t.kind), html.escape(t.what)]
            for k, t in enumerate(found.troubles, 1)
        ]
        body.append(table(["", "step", "trouble", ""], rows, text=(0, 2, 3)))
    numbers = {
        "train": found.train,
        "valid": found.valid,
        "skipped": found.skipped,
        "inside": found.inside,
        "clipped": found.clipped,
        "troubles": [asdict(t) for t in found.troubles],
    }
    return Section("health", title, finding, numbers, body)
