"""The report: what was found, written as one HTML file and one JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ground.errors import InputError
from ..ground.output import finite, json_text, make_folder, new_file
from .page import Section, document

HTML, JSON = "report.html", "inspect.json"


@dataclass(frozen=True)
class Report:
    """The sections, and what they are about."""

    title: str
    facts: Sequence[str]
    """Lines about the model and the data."""
    sections: Sequence[Section]
    about: dict[str, Any]

    @property
    def findings(self) -> list[str]:
        """One sentence for each section."""
        return [section.finding for section in self.sections if not section.aside]

    def to_dict(self) -> dict[str, Any]:
        """Every number; what is not finite is None."""
        said = {s.name: {"finding": s.finding, **s.numbers} for s in self.sections}
        return finite({**self.about, "sections": said})

    def html(self) -> str:
        """The page."""
        return document(self.title, self.facts, self.sections)

    def write(self, folder: Path, *, overwrite: bool = False) -> Path:
        """Write both files into `folder`; the HTML file's path."""
        prepare(folder, overwrite)
        numbers = json_text(self.to_dict())
        texts = {JSON: f"{numbers}\n", HTML: self.html()}  # before the old ones go
        make_folder(folder)
        for name, text in texts.items():
            (folder / name).unlink(missing_ok=True)
            with new_file(folder / name) as file:
                file.write(text)
        return folder / HTML


def prepare(folder: Path, overwrite: bool) -> None:
    """Raise `InputError` unless a report can be written into `folder`."""
    if folder.is_file():
        raise InputError(f"{folder} is a file; --out names a folder.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise InputError(
            f"{folder} exists. Choose another --out, or replace its report with --overwrite."
        )
    if not any((folder / name).exists() for name in (HTML, JSON)):
        raise InputError(
            f"{folder} holds no report ({HTML}): --overwrite does not touch it. Choose another "
            "--out."
        )


def free_folder(run: Path) -> Path:
    """RUN/inspect, or the first of RUN/inspect-2, RUN/inspect-3 … that does not exist."""
    folder, k = run / "inspect", 1
    while folder.exists():
        k += 1
        folder = run / f"inspect-{k}"
    return folder
