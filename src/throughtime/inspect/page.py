"""One HTML file: sections with a finding each, inline SVG, light and dark, for paper too.

Nothing is fetched: no script, no font, no address.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ground.extras import need
from .figures import ALARM, GRID, INK, MUTED, SERIES

VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", ALARM: "alarm"} | {
    colour: f"s{k}" for k, colour in enumerate(SERIES)
}
"""The figures' colours and the page's names for them."""

DARK = {
    **{"ink": "#e6e8eb", "muted": "#98a2b0", "grid": "#30363f", "alarm": "#ff7b72"},
    **{"page": "#14171b", "card": "#1b1f25", "up": "47,129,247", "down": "240,136,62"},
    **{"s0": "#58a6ff", "s1": "#f0883e", "s2": "#3fc9b9", "s3": "#d47fe0", "s4": "#d8b345"},
    "s5": "#9fb3c8",
}
LIGHT = {
    **{name: colour for colour, name in VARIABLES.items()},
    **{"page": "#ffffff", "card": "#f6f7f9", "up": "31,111,235", "down": "217,115,13"},
}

STYLE = """
:root { color-scheme: light dark; LIGHT }
@media screen and (prefers-color-scheme: dark) { :root { DARK } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 0 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
section { border-top: 1px solid var(--grid); padding-top: 1.6rem; margin-top: 2.2rem; }
.facts, .note, figcaption, small { color: var(--muted); font-size: .875rem; }
.finding { font-size: 1.12rem; font-weight: 600; line-height: 1.4; }
.summary { background: var(--card); border-radius: .6rem; padding: 1rem 1.2rem; margin: 1.4rem 0; }
.summary ol { margin: 0; padding-left: 1.2rem; }
.summary li { margin: .3rem 0; }
a { color: inherit; text-decoration: none; } a:hover { text-decoration: underline; }
figure { margin: 1.2rem 0; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans",
  sans-serif !important; }
figcaption { margin-top: .35rem; max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .8rem 0;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .7rem; border-bottom: 1px solid var(--grid); }
th { font-weight: 600; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td { vertical-align: top; }
td.text, th.text { text-align: left; }
.passage { font: .86rem/1.75 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card);
  border-radius: .5rem; padding: .7rem .9rem; margin: .5rem 0; }
.passage span, td span { border-radius: .15rem; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
.target { outline: 2px solid var(--ink); outline-offset: 1px; font-weight: 700; }
.ret { color: var(--muted); }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; }
.scale { display: inline-block; width: 6rem; height: .7em; border-radius: .2rem;
  vertical-align: baseline; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
@media print { body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  section { break-inside: auto; } figure, table, .passage, .summary { break-inside: avoid; }
  h2, h3, .finding { break-after: avoid; } @page { margin: 16mm; } }
"""


@dataclass(frozen=True)
class Section:
    """A part of the report: its finding in one sentence, what it shows, and its numbers."""

    name: str
    title: str
    finding: str
    numbers: dict[str, Any] = field(default_factory=dict)
    body: Sequence[str] = ()
    """Pieces of HTML."""
    aside: bool = False
    """Only named at the end: it does not belong to this task."""


def document(title: str, facts: Sequence[str], sections: Sequence[Section]) -> str:
    """The page."""
    style = STYLE.replace("LIGHT", variables(LIGHT)).replace("DARK", variables(DARK))
    aside = "<br>".join(html.escape(s.finding) for s in sections if s.aside)
    sections = [s for s in sections if not s.aside]
    found = "".join(f'<li><a href="#{s.name}">{html.escape(s.finding)}</a></li>' for s in sections)
    parts = "".join(
        f'<section id="{s.name}"><h2>{html.escape(s.title)}</h2>'
        f'<p class="finding">{html.escape(s.finding)}</p>{"".join(s.body)}</section>\n'
        for s in sections
    )
    lines = "<br>".join(map(html.escape, facts))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>\n<body><main>"
        f'<h1>{html.escape(title)}</h1><p class="facts">{lines}</p>'
        f'<nav class="summary"><ol>{found}</ol></nav>\n{parts}'
        f'<p class="note">{aside}</p></main></body></html>\n'
    )


def variables(colours: dict[str, str]) -> str:
    """CSS custom properties."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{html.escape(text)}</p>"


def heading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{html.escape(text)}</h3>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = (0,)) -> str:
    """A table of cells that are HTML already; the columns `text` stand to the left."""

    def row(cells: Sequence[str], tag: str) -> str:
        shown = (
            f"<{tag}{' class=text' if k in text else ''}>{cell}</{tag}>"
            for k, cell in enumerate(cells)
        )
        return f"<tr>{''.join(shown)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f'<div class="scroll"><table>{row(head, "th")}{body}</table></div>'


def drawing(figure: Any, name: str, caption: str, said: str) -> str:
    """A matplotlib figure as inline SVG in the page's colours; `said` is for those who hear it."""
    return (
        f'<figure role="img" aria-label="{html.escape(said)}">{inline(figure, name)}'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def inline(figure: Any, name: str) -> str:
    """The SVG element alone: text as text, ids that no other figure has, no metadata."""
    matplotlib = need("matplotlib", "inspect")
    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": name}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # a script that matplotlib's font lacks: the text stays text, the reader's fonts draw it
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1 aria-hidden=true>", text, count=1)
    text = text.replace("xlink:href", "href").replace('id="', f'id="{name}-')
    text = text.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return text


def tinted(surface: str, strength: float, title: str = "", kind: str = "") -> str:
    """A token on a ground that tells a number from −1 to 1 by colour and depth."""
    shown = html.escape(visible(surface))
    colour = "up" if strength >= 0 else "down"
    depth = min(1.0, abs(strength))
    ground = f' style="background:rgba(var(--{colour}),{depth * 0.75:.3f})"' if depth > 0.01 else ""
    label = f' title="{html.escape(title)}"' if title else ""
    attribute = f' class="{kind}"' if kind else ""
    return f"<span{attribute}{ground}{label}>{shown}</span>"


def visible(surface: str) -> str:
    """A line end as a sign before it."""
    return surface.replace("\n", "⏎\n")


def code(text: str) -> str:
    """A piece of text as it stands, spaces and line ends visible."""
    shown = text.replace("\n", "⏎").replace("\t", "⇥")
    return f"<code>{html.escape(shown)}</code>"


def scale(colours: str) -> str:
    """A strip from faint to deep: "up", or from "down" to "up"."""
    start = "rgba(var(--up),0)" if colours == "up" else "rgba(var(--down),.75)"
    middle = "" if colours == "up" else "transparent,"
    return (
        f'<span class="scale" style="background:linear-gradient(90deg,{start},{middle}'
        'rgba(var(--up),.75))"></span>'
    )
