"""Sections on running text: influence, the units that keep longest, errors."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..ground.wording import plural
from . import figures
from .gates import Gates
from .influence import Influence, mean_within, reach
from .page import Section, code, drawing, heading, paragraph, scale, table, tinted
from .positions import Band, ContextErrors
from .sections import left_out
from .surfaces import label, shown, surfaces, unit_of
from .units import Unit

# ---- influence --------------------------------------------------------------------------------


def influence_section(several: Sequence[Influence], task: Any) -> Section:
    """The text before each chosen position, coloured by how far each token moved the prediction."""
    noun = unit_of(task.config.level)
    mean = mean_within(several)
    half, most = (reach(mean, share) for share in (0.5, 0.9))
    finding = (
        f"Half of what moved these predictions lies in the last {plural(half, noun)}, 90% in the "
        f"last {most:,}: the mean over {plural(len(several), 'position')}."
    )
    body = [
        paragraph(
            f"Each {noun} before a prediction is exchanged, by itself, for others drawn from the "
            "text; its influence is how far that moves the whole predicted distribution "
            "(Kullback–Leibler divergence, in bits). The deeper the ground, the further it moved, "
            "on a scale of square roots up to the passage's largest. On blue it made the true next "
            f"{noun} likelier than its exchanges do, on orange less likely. The "
            f"framed {noun} is the one that was predicted. The first {noun} of a passage is read "
            f"with an empty memory. One {noun} is exchanged at a time: what many of them say "
            "together can help a prediction more than any one of them moves it."
        ),
        f'<p class="note">made it less likely {scale("both")} made it likelier</p>',
        drawing(
            figures.influence_figure(several, noun),
            "influence",
            f"How much of all influence comes from the nearest {noun}s: a line for each passage "
            "below, their mean in bold.",
            finding,
        ),
    ]
    for one in several:
        body += passage(one, task, noun)
    numbers = {"mean_reach": {"0.5": half, "0.9": most}, "positions": []}
    for one in several:
        said = asdict(one) | {"moved": one.moved.tolist(), "helped": one.helped.tolist()}
        said |= {"text": surfaces(task.vocabulary, [*one.tokens, one.target])}
        numbers["positions"].append(said)
    return Section("influence", "Influence on real text", finding, numbers, body)


def passage(one: Influence, task: Any, noun: str) -> list[str]:
    """One prediction on its text."""
    most = float(one.moved.max()) or 1.0
    text = surfaces(task.vocabulary, [*one.tokens, one.target])
    spans = []
    for surface, moved, helped in zip(text, one.moved.tolist(), one.helped.tolist()):
        sign = -1 if helped < 0 else 1
        title = f"moved {moved:.3g} bits, helped {helped:+.3g} bits"
        spans.append(tinted(surface, sign * math.sqrt(moved / most), title))
    spans.append(tinted(text[-1] or "…", 0, kind="target"))
    best = ", ".join(f"{code(shown(label(task.vocabulary, i)))} {p:.0%}" for i, p in one.best)
    cost = f"the true {noun} cost {one.bits:.2f} bits; likeliest {best}"
    return [
        f"<h3>{html.escape(one.why[:1].upper() + one.why[1:])}</h3>",
        f'<div class="passage">{"".join(spans)}</div>',
        f'<p class="note">{noun.capitalize()} {one.position:,} of the text: {cost}. Half of the '
        f"influence in the last {one.reach(0.5)}, 90% in the last {one.reach(0.9)}; the largest "
        f"moved it by {most:.2g} bits.</p>",
    ]


# ---- units -----------------------------------------------------------------------------------


def units_section(units: Sequence[Unit], found: Gates, tokens: Any, task: Any) -> Section:
    """The units that keep longest, each on a passage, with the places where it stands out."""
    title = "Units that keep longest"
    if not units:
        return left_out(
            "units", title, "No part of this cell's state has a direct path: no unit keeps."
        )
    first = units[0]
    finding = (
        f"Unit {first.unit} of {found.layers[first.layer]} keeps longest of those that move: "
        f"{first.kept:.1%} of its memory a step, a time constant of {steps(first.time_constant)}."
    )
    part = found.memory
    body = [
        paragraph(
            f"The value of each unit's memory {part} over a passage, after reading each token: "
            "blue above its mean, orange below. Below it, the tokens that change it most, and "
            "where in the text it was highest and lowest."
        ),
        f'<p class="note">lowest {scale("both")} highest</p>',
    ]
    numbers = []
    for unit in units:
        body += unit_parts(unit, found.layers[unit.layer], tokens, task)
        said = asdict(unit) | {"values": unit.values.tolist()}
        said["text"] = surfaces(task.vocabulary, tokens[:, unit.column].tolist())
        numbers.append(said)
    return Section("units", title, finding, {"part": part, "units": numbers}, body)


def signed(value: float) -> str:
    """+1.20 or −1.20."""
    return f"{value:+.2f}".replace("-", "−")


def steps(tau: float) -> str:
    """A time constant in words."""
    return "no end" if math.isinf(tau) else f"{tau:,.0f} steps"


def unit_parts(unit: Unit, layer: str, tokens: Any, task: Any) -> list[str]:
    """One unit's passage and tables."""
    v = task.vocabulary
    centre = float(unit.values.mean())
    reach = float((unit.values - centre).abs().max()) or 1.0
    text = surfaces(v, tokens[:, unit.column].tolist())
    spans = [
        tinted(surface, (value - centre) / reach, f"{value:+.3f}")
        for surface, value in zip(text, unit.values.tolist())
    ]

    def moves(entries: list[tuple[int, float, int]]) -> str:
        return ", ".join(f"{code(shown(label(v, i)))} {signed(change)}" for i, change, _ in entries)

    def places(entries: list[tuple[int, int, float]]) -> str:
        found = []
        for step, column, value in entries:
            before = "".join(surfaces(v, tokens[max(0, step - 28) : step + 1, column].tolist()))
            found.append(f"{code(before)} {signed(value)}")
        return "<br>".join(found)

    return [
        heading(f"Unit {unit.unit}, {layer}: τ = {steps(unit.time_constant)}"),
        f'<div class="passage">{"".join(spans)}</div>',
        f"<p>Raised most by {moves(unit.raises)}; lowered most by {moves(unit.lowers)}.</p>",
        table(
            ["highest after", "lowest after"],
            [[places(unit.high), places(unit.low)]],
            text=range(2),
        ),
    ]


# ---- errors -----------------------------------------------------------------------------------


def context_section(found: ContextErrors, noun: str) -> Section:
    """Loss by how much of the text was read before."""
    first, last, enough = found.loss[0], found.loss[-1], found.enough()
    above = found.above(enough)
    longest = plural(found.contexts[-1], noun)
    finding = (
        f"The loss falls from {first:.2f} nats after {plural(found.contexts[0], noun)} of context "
        f"to {last:.2f} after {longest}; from {plural(enough, noun)} on it is at most "
        f"{100 * above:.1f}% above that" + (", within the error." if above > 0.02 else ".")
        if first - last >= 0.005
        else f"Memory does not help: {first:.2f} nats after {plural(found.contexts[0], noun)} of "
        f"context, {last:.2f} after {longest}."
    )
    body = [
        paragraph(
            f"The loss of the same {plural(found.targets, noun)} when the model, from an empty "
            f"memory, has read only the last 1, 2, 3 … {noun}s before each. Where the curve is "
            "flat, more memory does not help. The band is the 95% interval of the difference to "
            "the last point."
        ),
        drawing(figures.context_figure(found, noun), "context",
                f"Mean loss by how many {noun}s came before.", finding),
    ]  # fmt: skip
    return Section("context", "Errors by position", finding, asdict(found), body)


def frequency_section(found: Sequence[Band], task: Any) -> Section:
    """Loss by rank of frequency."""
    noun = unit_of(task.config.level)
    rare = found[-1]
    finding = (
        f"The rarest {noun}s (rank {rare.first} to {rare.last}) cost {rare.loss:.2f} nats each, "
        f"the most frequent {found[0].loss:.2f}; "
    )
    costly = max(found, key=lambda band: band.share_of_loss)
    ranks = f"rank {costly.first}" if costly.first == costly.last else (
        f"ranks {costly.first} to {costly.last}"
    )  # fmt: skip
    finding += (
        f"{ranks}, {costly.share:.0%} of the text, bring the most loss: {costly.share_of_loss:.0%}."
    )
    labels, numbers = [], []
    for band in found:
        names = [shown(label(task.vocabulary, i)) for i in band.examples]
        ranks = f"{band.first}" if band.first == band.last else f"{band.first:,}–{band.last:,}"
        more = " …" if band.last - band.first >= len(names) else ""
        labels.append(f"{ranks}:  {'  '.join(name[:12] for name in names)}{more}")
        numbers.append(asdict(band) | {"tokens": names})
    body = [
        paragraph(
            f"The loss of {noun}s by the rank of their frequency in this text, rank 1 being the "
            "most frequent. Right: where the share of all loss exceeds the share of the text, "
            f"{noun}s are harder than the mean."
        ),
        drawing(figures.frequency_figure(found, labels, noun), "frequency",
                "Mean loss with its 95% interval; shares of the text and of all loss.", finding),
    ]  # fmt: skip
    return Section("frequency", "Errors by frequency", finding, {"bands": numbers}, body)
