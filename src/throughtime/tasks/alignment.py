"""Alignments as pictures: which source tokens attention sees as each target token is written."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..ground.errors import InputError
from ..ground.extras import need
from ..ground.output import new_path, refuse_existing

NEEDED_EXTRA = "translate"
MOST_TOKENS = 400
"""Tokens on a side beyond which the picture has no labels."""


class Alignment(NamedTuple):
    """Source tokens (columns), target tokens (rows), and the weights [rows, columns]."""

    source: list[str]
    target: list[str]
    weights: np.ndarray


class Plots:
    """Pictures, one for each sentence: FILE.png, FILE-2.png, FILE-3.png …; none is overwritten."""

    def __init__(self, path: str) -> None:
        kinds = need("matplotlib.backends.backend_agg", NEEDED_EXTRA).FigureCanvasAgg.filetypes
        self.path, self.count = refuse_existing(path), 0
        if self.path.suffix.removeprefix(".").lower() not in kinds:
            raise InputError(f"{path}: a picture needs an ending as in FILE.png or FILE.svg.")

    def draw(self, alignment: Alignment | None) -> None:
        """Draw the next sentence; None: it is empty, and its number has no file."""
        self.count += 1
        if alignment is not None:
            number = f"-{self.count}" if self.count > 1 else ""
            draw_alignment(alignment, self.path.with_stem(self.path.stem + number))


def draw_alignment(alignment: Alignment, path: Path) -> None:
    """A cell for each pair of tokens, the darker the more weight; rows sum to 1."""
    figures = need("matplotlib.figure", NEEDED_EXTRA)
    canvases = need("matplotlib.backends.backend_agg", NEEDED_EXTRA)
    rows, columns = alignment.weights.shape
    size = (min(2 + 0.32 * columns, 60), min(1.6 + 0.32 * rows, 60))
    figure = figures.Figure(figsize=size, layout="constrained")
    canvases.FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(alignment.weights, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    if max(rows, columns) <= MOST_TOKENS:
        axes.set_xticks(range(columns), alignment.source, rotation=90, parse_math=False)
        axes.set_yticks(range(rows), alignment.target, parse_math=False)
        axes.xaxis.tick_top()
    figure.colorbar(image, ax=axes, shrink=0.6, label="attention")
    with new_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
