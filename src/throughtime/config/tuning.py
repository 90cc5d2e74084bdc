"""What `throughtime tune` is asked for, apart from the task's own settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..ground.errors import SettingError
from .run import MOST_THREADS
from .search import Range, search_space, value_of
from .settings import limited


@dataclass
class Tuning:
    """What is searched, and how.

    Args:
        search: NAME=RANGE, several of them: log(1e-4,1e-2), uniform(0,0.5), int(1,4),
            log-int(64,512), choice(128,256), with steps as in int(64,512,64).
        trials: Trainings in all, those of earlier commands into the same folder included.
        jobs: Trainings at a time; default as many as there are cores for (one on a GPU). Each has
            its share of the threads.
        sampler: tpe, which draws near what was good; random.
        pruner: median, which ends a training that is behind the median at the same evaluation;
            halving, which lets the better third go on at the evaluations 1, 3, 9, …; none.
        baseline: Begin with the settings as they are configured.
        keep: Keep the weights of so many of the best trials; 0 for those of all.
        trust: Go on with trials whose cell's file is not the one that is named any more, and take
            cells of one's own from --config.
    """

    search: list[str] = field(default_factory=list, metadata={"repeated": True})
    trials: int = limited(30, 1, 10**6)
    jobs: int | None = limited(None, 1, MOST_THREADS)
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["median", "halving", "none"] = "median"
    baseline: bool = False
    keep: int = limited(0, 0)
    trust: bool = False

    def space(self, config: Any) -> dict[str, Range]:
        """What is drawn, by the settings' dotted names; `SettingError` for what cannot be."""
        found = search_space(self.search, config)
        for name, range_ in found.items() if self.baseline else ():
            if not range_.holds(value := value_of(config, name)):
                raise SettingError(
                    f"baseline begins with {name} {value}, which {range_} does not hold.",
                    *("baseline", name),
                )
        return found
