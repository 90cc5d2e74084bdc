"""Figures beside the runs: as PNG and as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..ground.extras import need
from ..ground.whole import atomically
from .process import AGAIN

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which most people can tell apart."""

NO_DATE: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"Date": None}}


def save(figure: Any, path: Path, extra: str) -> None:
    """Write a figure to `path` with both suffixes, in the place of an earlier one; `extra` has
    matplotlib."""
    svg = need("matplotlib.backends.backend_svg", extra)
    agg = need("matplotlib.backends.backend_agg", extra)
    for suffix, canvas in ((".png", agg.FigureCanvasAgg), (".svg", svg.FigureCanvasSVG)):
        canvas(figure)
        with atomically(path.with_suffix(suffix), AGAIN) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=130, metadata=NO_DATE[suffix])
