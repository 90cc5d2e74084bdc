"""The study: what was drawn and what came of it, in Optuna's storage, which alone is the truth.

Everything that a search decides stands here, and nothing here runs a training: a trial is asked
for, evaluations are reported, the end is told. One SQLite file in the folder holds it all.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..config.search import Range
from ..ground.errors import InputError, ThroughtimeError, first_line
from ..ground.extras import need
from ..ground.whole import refuse_special

EXTRA = "tune"
FILE = "study.db"
NAME = "throughtime"
"""What the study is called in the storage."""
PATIENCE = 60
"""Seconds that a process waits while another writes into the storage."""

FIRST_DRAWN = 10
"""Trials drawn at random before tpe has something to go by."""
NEVER_ENDED = 5
"""Trials that are over before one may be ended for being behind."""
WARM_UP = 3
"""The first evaluation at which a trial may be ended."""

State = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """What the storage knows of a trial.

    `values` are the drawn settings by dotted name; `evaluations` the score at each; `score` that of
    the end, None where it did not come to one; `why` what went wrong, or why it was ended.
    """

    number: int
    state: State
    values: dict[str, Any]
    evaluations: dict[int, float] = field(default_factory=dict)
    score: float | None = None
    why: str = ""
    kills: int = 0

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.number:04}"


class Study:
    """The study of a folder; it is made where there is none."""

    def __init__(
        self, folder: Path, space: Mapping[str, Range], *, higher_is_better: bool, seed: int
    ) -> None:
        self.optuna = need("optuna", EXTRA)
        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)
        self.path, self.space, self.seed = folder / FILE, dict(space), seed
        self.higher_is_better = higher_is_better
        self.sampler, self.pruner = "tpe", "median"
        refuse_special(self.path, links=False)
        with self.stored():
            self.storage = self.optuna.storages.RDBStorage(
                f"sqlite:///{self.path.resolve()}",
                engine_kwargs={"connect_args": {"timeout": PATIENCE}},
            )
            self.study = self.optuna.create_study(
                storage=self.storage,
                study_name=NAME,
                direction="maximize" if higher_is_better else "minimize",
                load_if_exists=True,
            )

    @contextlib.contextmanager
    def stored(self) -> Iterator[None]:
        """Errors of the storage as one line; its remarks on what is new in it are left out."""
        errors = need("sqlalchemy.exc", EXTRA)
        wrong = (errors.SQLAlchemyError, self.optuna.exceptions.StorageInternalError)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except wrong as error:
            cause = error.__cause__ or getattr(error, "orig", None) or error
            said = first_line(cause)
            if "not a database" in said or "malformed" in said:
                raise InputError(
                    f"{self.path}: damaged ({said}). Restore it from a copy, or choose another "
                    "--out."
                ) from error
            raise ThroughtimeError(
                f"{self.path}: {said}. What was found before is untouched; give the command again."
            ) from error

    def drawing(self, sampler: str, pruner: str) -> None:
        """How trials are drawn, and when they are ended."""
        self.sampler, self.pruner = sampler, pruner
        pruners = self.optuna.pruners
        with self.stored():
            self.study.pruner = {
                "median": lambda: pruners.MedianPruner(NEVER_ENDED, n_warmup_steps=WARM_UP),
                "halving": lambda: pruners.SuccessiveHalvingPruner(1, reduction_factor=3),
                "none": pruners.NopPruner,
            }[pruner]()

    # ---- what there is --------------------------------------------------------------------------

    def trials(self) -> list[Trial]:
        """All that have begun, by number."""
        with self.stored():
            waiting = self.optuna.trial.TrialState.WAITING
            found = self.study.get_trials(deepcopy=False)
            return [self.seen(one) for one in found if one.state != waiting]

    def seen(self, frozen: Any) -> Trial:
        """A trial as the storage has it."""
        names = self.optuna.trial.TrialState
        states: dict[Any, State] = {
            names.COMPLETE: "complete",
            names.PRUNED: "pruned",
            names.FAIL: "failed",
        }
        attributes, state = frozen.user_attrs, states.get(frozen.state, "running")
        return Trial(
            frozen.number,
            state,
            {name: self.meant(name, value) for name, value in frozen.params.items()},
            dict(frozen.intermediate_values),
            frozen.value if state == "complete" else None,
            attributes.get("why", ""),
            attributes.get("kills", 0),
        )

    def trial(self, number: int) -> Trial:
        """One of them."""
        with self.stored():
            return self.seen(self.storage.get_trial(self.id_of(number)))

    def is_running(self, number: int) -> bool:
        """Whether nobody has told how a trial ended."""
        return self.trial(number).state == "running"

    def ranked(self, trials: list[Trial]) -> list[Trial]:
        """The complete ones, the best first; of equals the first."""
        sign = -1 if self.higher_is_better else 1
        complete = [trial for trial in trials if trial.score is not None]
        return sorted(complete, key=lambda trial: sign * (trial.score or 0.0))

    def best(self) -> Trial | None:
        """The first of the ranked."""
        return next(iter(self.ranked(self.trials())), None)

    def importances(self) -> dict[str, float]:
        """Each setting's share in what became of the score (PED-ANOVA); nothing of few trials."""
        complete = [trial for trial in self.trials() if trial.score is not None]
        if len({trial.score for trial in complete}) < 4:
            return {}
        evaluator = self.optuna.importance.PedAnovaImportanceEvaluator()
        with self.stored():
            found = self.optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}

    # ---- what is decided ------------------------------------------------------------------------

    def begin_with(self, values: Mapping[str, Any]) -> None:
        """These settings, of all that are searched, are those of the next trial."""
        with self.stored():
            kept = {name: self.kept(name, value) for name, value in values.items()}
            self.study.enqueue_trial(kept, skip_if_exists=True)

    def ask(self) -> Trial:
        """A new trial. One at a time: whoever asks holds the folder's lock."""
        with self.stored():
            self.seeded(len(self.trials()))
            trial = self.study.ask()
            return self.draw(trial)

    def take_up(self, number: int) -> Trial:
        """A trial that is running in the storage and nowhere else: its settings, all drawn."""
        with self.stored():
            self.seeded(number)
            return self.draw(self.optuna.trial.Trial(self.study, self.id_of(number)))

    def seeded(self, number: int) -> None:
        """Draw the trial of this number by random numbers of its own: they do not depend on what a
        process drew before, nor on whether it is the first that works on the study."""
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        samplers = self.optuna.samplers
        with self.stored():
            self.study.sampler = (
                samplers.TPESampler(n_startup_trials=FIRST_DRAWN, seed=seed)
                if self.sampler == "tpe"
                else samplers.RandomSampler(seed=seed)
            )

    def draw(self, trial: Any) -> Trial:
        """Every setting of a trial; those that it has stay."""
        for name, range_ in self.space.items():
            if range_.choices:
                trial.suggest_categorical(name, [self.kept(name, c) for c in range_.choices])
            elif range_.whole:
                step = int(range_.step or 1)
                trial.suggest_int(name, range_.low, range_.high, step=step, log=range_.log)
            else:
                step, log = range_.step, range_.log
                trial.suggest_float(name, range_.low, range_.high, step=step, log=log)
        return self.seen(self.storage.get_trial(trial._trial_id))

    def report(self, number: int, evaluation: int, score: float) -> bool:
        """An evaluation of a running trial; whether it is far enough behind to be ended."""
        with self.stored():
            trial = self.optuna.trial.Trial(self.study, self.id_of(number))
            known = self.storage.get_trial(trial._trial_id).intermediate_values
            if evaluation not in known:
                trial.report(score, evaluation)
            return bool(trial.should_prune())

    def note(self, number: int, **attributes: Any) -> None:
        """Remember something of a running trial."""
        with self.stored():
            for name, value in attributes.items():
                self.storage.set_trial_user_attr(self.id_of(number), name, value)

    def tell(self, number: int, state: State, score: float | None = None, why: str = "") -> None:
        """The end of a trial; told twice, the first counts."""
        names = self.optuna.trial.TrialState
        ends = {"complete": names.COMPLETE, "pruned": names.PRUNED, "failed": names.FAIL}
        with self.stored():
            if self.storage.get_trial(self.id_of(number)).state.is_finished():
                return
            if why:
                self.note(number, why=why)
            values = None if score is None else [score]
            self.storage.set_trial_state_values(self.id_of(number), ends[state], values)

    def id_of(self, number: int) -> int:
        """What the storage calls a trial."""
        return self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)

    # ---- values as the storage has them ---------------------------------------------------------

    def kept(self, name: str, value: Any) -> Any:
        """A setting's value as Optuna keeps it: lists as JSON."""
        return json.dumps(value) if self.space[name].choices and isinstance(value, list) else value

    def meant(self, name: str, value: Any) -> Any:
        """The value that `kept` made this of."""
        if name not in self.space or not self.space[name].choices:
            return value
        return next(c for c in self.space[name].choices if self.kept(name, c) == value)
