"""Where modules were before they had wings: the old import paths, for one release.

`import throughtime.stack` gives the module `throughtime.layers.stack` itself, with a
DeprecationWarning that names it.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

PREFIX = "throughtime."
MOVED = {
    "advice": "training.advice",
    "alignment": "tasks.alignment",
    "attention": "layers.attention",
    "budget": "training.budget",
    "cache": "ground.cache",
    "cell": "cells.base",
    "cell_names": "cells.names",
    "cli": "command.cli",
    "counters": "training.counters",
    "crf": "layers.crf",
    "data.abc": "music.abc",
    "data.abc.bars": "music.abc.bars",
    "data.abc.book": "music.abc.book",
    "data.abc.durations": "music.abc.durations",
    "data.abc.music": "music.abc.music",
    "data.abc.notation": "music.abc.notation",
    "data.midi": "music.midi",
    "data.rolls": "music.rolls",
    "data.tunes": "music.tunes",
    "errors": "ground.errors",
    "extras": "ground.extras",
    "heads": "layers.heads",
    "inspect.glance": "training.glance",
    "interrupts": "ground.interrupts",
    "lengths": "ground.lengths",
    "machine": "ground.machine",
    "models.inputs": "layers.inputs",
    "models.window": "layers.window",
    "monitor": "training.monitor",
    "optimization": "training.optimization",
    "output": "ground.output",
    "parsing": "command.parsing",
    "parsing.options": "command.parsing.options",
    "pooling": "layers.pooling",
    "rendering": "music.rendering",
    "scans.compile": "scans.compiled",
    "scans.compile.build": "scans.compiled.build",
    "scans.compile.call": "scans.compiled.call",
    "scans.compile.emit": "scans.compiled.targets.cpp",
    "scans.compile.operator": "scans.compiled.operator",
    "scans.compile.programs": "scans.compiled.programs",
    "scans.compile.trace": "scans.compiled.trace",
    "stack": "layers.stack",
    "tasks.recital": "music.recital",
    "terminal": "ground.terminal",
    "trainer": "training.trainer",
    "wording": "ground.wording",
}
"""Old path → new path, below the package."""


class Old:  # of no class of importlib.abc, which takes a tenth of a second to import
    """Finds and loads a module by its old path."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A specification for the old paths alone."""
        known = fullname.startswith(PREFIX) and fullname.removeprefix(PREFIX) in MOVED
        return ModuleSpec(fullname, self) if known else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """An empty one, until the moved one takes its place."""

    def exec_module(self, module: ModuleType) -> None:
        """The moved module stands under both names."""
        old = module.__name__
        new = PREFIX + MOVED[old.removeprefix(PREFIX)]
        message = f"{old} is now {new}; the old path goes with the next release."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(new)


def install() -> None:
    """Let the old paths be imported."""
    if not any(isinstance(finder, Old) for finder in sys.meta_path):
        # First, as the submodules of a moved package would be found, and loaded, a second time.
        sys.meta_path.insert(0, Old())
