"""The search by itself, over an engine that trains nothing: claims, kills, ends, sharing."""

import json
import math
import os
import threading
import warnings

import pytest

import throughtime as tt
from throughtime.ground.errors import InputError, ThroughtimeError
from throughtime.ground.lock import take
from throughtime.tasks.task import Score
from throughtime.tuning import search as searching
from throughtime.tuning.engine import Ended, Measured
from throughtime.tuning.folder import SearchFolder, wanted
from throughtime.tuning.search import Search
from throughtime.tuning.study import Study

pytest.importorskip("optuna", reason="the extra tune is not installed")

RANGES = ["optim.lr=log(1e-4,1e-1)", "model.hidden_size=choice(8,16,32)"]
EVALUATIONS = 5


class Killed(BaseException):
    """In the place of SIGKILL: nothing catches it."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No waiting: not between looks, not for the disk."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    monkeypatch.setattr(searching, "LOOK_EVERY", 0)

    def connected(connection, _):
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", connected)
    yield
    sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", connected)


def loss_of(config):
    return (math.log10(config.optim.lr) + 2) ** 2 + config.model.hidden_size / 100


class Made:
    """A trial that is an evaluation nearer its end each time that somebody looks."""

    def __init__(self, job, end):
        self.job, self.end, self.at, self.asked = job, end, 0, False

    def evaluations(self):
        if self.at == EVALUATIONS:
            return []
        self.at += 1
        loss = loss_of(self.job.run.config) + 1 / self.at
        return [Measured(self.at, {"loss": loss, "step": self.at, "elapsed": float(self.at)})]

    def ask_to_stop(self, *, at_once=False):
        self.asked = True

    def ended(self):
        if self.asked:
            return Ended(None, "stopped", stopped=True)
        return self.end(self.job) if self.at == EVALUATIONS else None


def well(job):
    loss = loss_of(job.run.config)
    found = {"metrics": {"loss": loss}, "score": "loss", "seconds": 1.0, "steps": 5}
    job.result.write_text(json.dumps(found))
    return Ended(found)


class Making:
    """The engine; `started` are the settings of every execution, by the trial's number."""

    def __init__(self, end=well, places=1):
        self.end, self.places, self.started = end, places, []

    def start(self, job, lock):
        assert os.fstat(lock)
        config = job.run.config
        self.started.append((job.run.trial.number, config.optim.lr, config.model.hidden_size))
        return Made(job, self.end)


def prepared(out, trials=6, **options):
    config = tt.LanguageConfig(train=["text.txt"], out=str(out))
    tuning = tt.Tuning(search=RANGES, trials=trials, **options)
    space = tuning.space(config)
    folder = SearchFolder(out)
    folder.prepare(wanted("lm", tuning, space, config, "data"), config)
    study = Study(folder.path, space, higher_is_better=False, seed=1)
    study.drawing(tuning.sampler, tuning.pruner)
    return config, tuning, Score(), folder, study


def searched(out, engine, **options):
    *first, study = prepared(out, **options)
    assert Search(*first, study, engine).run()
    return study


def test_trials_that_are_behind_are_ended_and_the_best_is_found(tmp_path):
    engine = Making()
    study = searched(tmp_path / "side", engine, trials=16)
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(16))
    assert {trial.state for trial in trials} == {"complete", "pruned"}
    for trial in trials:
        if trial.state == "pruned":
            assert trial.why == f"behind at evaluation {max(trial.evaluations)}"
            assert max(trial.evaluations) >= 3
    best = study.best()
    assert best.score == min(t.score for t in trials if t.state == "complete")
    assert abs(math.log10(best.values["optim.lr"]) + 2) < 0.5
    link = tmp_path / "side/best"
    assert link.is_symlink()
    assert link.readlink().name == best.name
    assert study.importances()["optim.lr"] > 0.5


def test_a_killed_search_loses_nothing_repeats_nothing_and_draws_the_same(tmp_path, monkeypatch):
    """Killed after every few writes into the storage, and once between an end and its telling."""
    whole = searched(tmp_path / "whole", Making(), trials=8)
    from optuna.storages import RDBStorage

    left = [0]

    def may_die(name):
        method = getattr(RDBStorage, name)

        def counted(*arguments, **options):
            before = left[0] % 2  # in turns before and after the storage has it
            left[0] -= 1
            if left[0] < 0 and before:
                raise Killed
            found = method(*arguments, **options)
            if left[0] < 0:
                raise Killed
            return found

        return counted

    for name in ("create_new_trial", "set_trial_param", "set_trial_state_values",
                 "set_trial_intermediate_value"):  # fmt: skip
        monkeypatch.setattr(RDBStorage, name, may_die(name))
    started, kills = [], 0
    for patience in range(100):
        left[0] = 4 + patience % 5
        engine = Making()
        try:
            killed = searched(tmp_path / "killed", engine, trials=8)
            break
        except Killed:
            kills += 1
        finally:
            started += engine.started
    assert kills > 4
    assert len(set(started)) == 8  # a trial that goes on has the settings it had
    assert sorted({number for number, *_ in started}) == list(range(8))
    assert [t.values for t in killed.trials()] == [t.values for t in whole.trials()]
    assert [t.state for t in killed.trials()] == [t.state for t in whole.trials()]
    assert [t.score for t in killed.trials()] == [t.score for t in whole.trials()]


def test_a_result_that_was_not_told_is_told_and_not_trained_again(tmp_path, monkeypatch):
    out = tmp_path / "side"

    def tell(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Study, "tell", tell)
        with pytest.raises(Killed):
            searched(out, Making(), trials=2)
    engine = Making()
    study = searched(out, engine, trials=2)
    assert [number for number, *_ in engine.started] == [1]
    assert [trial.state for trial in study.trials()] == ["complete", "complete"]


def test_more_trials_may_be_asked_for_and_none_is_begun_that_is_not(tmp_path):
    engine = Making()
    searched(tmp_path / "side", engine, trials=3)
    searched(tmp_path / "side", engine, trials=3)
    assert len(engine.started) == 3
    searched(tmp_path / "side", engine, trials=5)
    assert [number for number, *_ in engine.started] == [0, 1, 2, 3, 4]


def test_a_trial_of_another_process_is_left_to_it_until_that_is_gone(tmp_path):
    out = tmp_path / "side"
    *_, study = prepared(out, trials=2)
    theirs = study.ask()
    locks = [take(out / "locks" / theirs.name)]

    def end(job):
        if locks:  # theirs goes once ours has ended
            os.close(locks.pop())
        return well(job)

    engine = Making(end)
    study = searched(out, engine, trials=2)
    assert [number for number, *_ in engine.started] == [1, 0]
    assert [trial.state for trial in study.trials()] == ["complete", "complete"]
    assert engine.started[1][1] == theirs.values["optim.lr"]


def test_two_searches_in_one_folder_share_the_trials(tmp_path):
    out = tmp_path / "side"
    engines = [Making(), Making(places=2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # filters are the process's; there each is one by itself
        searches = [Search(*prepared(out, trials=8), engine) for engine in engines]
        threads = [threading.Thread(target=search.run) for search in searches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    numbers = [number for engine in engines for number, *_ in engine.started]
    assert sorted(numbers) == list(range(8))
    assert all(engine.started for engine in engines)
    assert all(trial.state != "running" for trial in searches[0].study.trials())


def test_what_diverges_or_fails_is_told_and_the_others_go_on(tmp_path, capsys):
    def end(job):
        number = job.run.trial.number
        if number == 1:
            job.result.write_text('{"diverged": "far"}')
            return Ended({"diverged": "far"})
        return Ended(None, "no such file") if number == 2 else well(job)

    study = searched(tmp_path / "side", Making(end), trials=5, pruner="none")
    states = [(trial.state, trial.why) for trial in study.trials()]
    assert states[1:3] == [("pruned", "diverged"), ("failed", "no such file")]
    assert [state for state, _ in states].count("complete") == 3
    said = capsys.readouterr().err
    assert "trial 1: diverged (2 of 5)" in said
    assert "warning: trial 2 failed: no such file (3 of 5" in said


def test_where_nothing_but_failures_comes_of_it_the_search_ends(tmp_path):
    engine = Making(lambda job: Ended(None, "the data are gone"))
    with pytest.raises(ThroughtimeError, match="all of the first 3 trials failed, the last: the"):
        searched(tmp_path / "side", engine, trials=30)
    assert len(engine.started) == 3


def test_a_trial_that_was_killed_goes_on_once(tmp_path, capsys):
    ends = [Ended(None, "killed", killed=True)] * 3
    engine = Making(lambda job: ends.pop() if ends else well(job))
    study = searched(tmp_path / "side", engine, trials=2)
    assert [number for number, *_ in engine.started] == [0, 0, 1, 1]
    assert [trial.state for trial in study.trials()] == ["failed", "complete"]
    assert "it is gone on with" in capsys.readouterr().err


def test_weights_of_all_but_the_best_are_removed_where_that_is_asked_for(tmp_path):
    def end(job):
        job.run.folder.mkdir(parents=True)
        for name in ("model.safetensors", "trainer.pt", "config.yaml", "average-5.safetensors"):
            (job.run.folder / name).touch()
        return well(job)

    study = searched(tmp_path / "side", Making(end), trials=8, keep=2, pruner="none")
    ranked = study.ranked(study.trials())
    for at, trial in enumerate(ranked):
        folder = tmp_path / "side/trials" / trial.name
        left = {"config.yaml"} | ({"model.safetensors", "trainer.pt", "average-5.safetensors"}
                                  if at < 2 else set())  # fmt: skip
        assert {path.name for path in folder.iterdir()} == left


def test_halving_and_random_search_too(tmp_path):
    study = searched(tmp_path / "side", Making(), trials=9, sampler="random", pruner="halving")
    assert {trial.state for trial in study.trials()} == {"complete", "pruned"}


def test_a_loss_that_is_no_number_ranks_behind(tmp_path):
    *_, study = prepared(tmp_path / "side")
    trial = study.ask()
    assert study.report(trial.number, 3, math.nan) in (True, False)
    study.tell(trial.number, "pruned", why="behind")
    assert study.best() is None


def test_a_damaged_storage_is_one_line(tmp_path):
    (tmp_path / "study.db").write_text("no database at all, but long enough to be taken for one")
    with pytest.raises(InputError, match=r"study\.db: damaged"):
        Study(tmp_path, {}, higher_is_better=False, seed=1)
