"""The trackers there are, each with the conventions and the environment variables of its own."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from ...ground import terminal
from ...ground.errors import InputError, first_line
from ...ground.extras import need

Ending = Literal["finished", "interrupted", "failed"]
"""How a run ended; an interrupted one may go on."""

EXTRA = "track"
PROJECT = "throughtime"
"""Where runs are put together, unless the tracker's environment says otherwise."""


class Tracker:
    """Where the numbers of a run go besides metrics.jsonl.

    It is made with the run's folder, whose name is the run's, its settings, and what an earlier
    process of the same run had `kept`, empty for a new one. `kept` is what the next one will get.
    Any exception in here is told by whoever calls.
    """

    package: ClassVar[str]
    """What is imported."""
    install: ClassVar[str]
    """What pip calls it, or the extra."""

    def __init__(self, folder: Path, settings: dict[str, Any], before: dict[str, str]) -> None:
        self.kept = dict(before)

    def write(self, numbers: dict[str, float], step: int) -> None:
        """Numbers by names such as train/loss."""
        raise NotImplementedError

    def close(self, how: Ending) -> None:
        """Send what is left."""
        raise NotImplementedError

    @classmethod
    def require(cls) -> None:
        """Raise `InputError` where the package is not installed."""
        if importlib.util.find_spec(cls.package) is None:
            raise InputError(
                f"loop.track {cls.package} needs the package: pip install '{cls.install}', or all "
                "trackers: pip install 'throughtime[track]'."
            )


class TensorBoard(Tracker):
    """Event files in the run folder."""

    package, install = "tensorboard", "throughtime[tensorboard]"

    def __init__(self, folder: Path, settings: dict[str, Any], before: dict[str, str]) -> None:
        super().__init__(folder, settings, before)
        from torch.utils.tensorboard import SummaryWriter

        self.events = SummaryWriter(str(folder))
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        self.events.add_text("settings", "".join(f"    {line}\n" for line in text.split("\n")))

    def write(self, numbers: dict[str, float], step: int) -> None:
        """As scalars."""
        for name, value in numbers.items():
            self.events.add_scalar(name, value, step)

    def close(self, how: Ending) -> None:
        """To the disk."""
        self.events.close()


class WandB(Tracker):
    """Weights & Biases; its files lie in the run folder. WANDB_PROJECT, WANDB_MODE=offline, ….

    `step` is a number like the others, along which they are drawn: offline runs know no other order
    of a run that goes on.
    """

    package, install = "wandb", "wandb"

    def __init__(self, folder: Path, settings: dict[str, Any], before: dict[str, str]) -> None:
        super().__init__(folder, settings, before)
        wandb = need("wandb", EXTRA)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", folder.name),
            id=before.get("run") or os.environ.get("WANDB_RUN_ID"),
            resume="allow",
            dir=str(folder),
            config=settings,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.run.define_metric("*", step_metric="step")
        self.kept = {"run": self.run.id}

    def write(self, numbers: dict[str, float], step: int) -> None:
        """As a row of the history."""
        self.run.log({"step": step, **numbers})

    def close(self, how: Ending) -> None:
        """And say how it ended."""
        self.run.finish(exit_code={"finished": 0, "interrupted": 130, "failed": 1}[how])


class Trackio(Tracker):
    """Trackio, a database on this machine. TRACKIO_PROJECT, TRACKIO_DIR, TRACKIO_SPACE_ID, …."""

    package, install = "trackio", "trackio"

    def __init__(self, folder: Path, settings: dict[str, Any], before: dict[str, str]) -> None:
        super().__init__(folder, settings, before)
        trackio = need("trackio", EXTRA)
        # runs are known by their names: folders of one name must not become one run
        name = before.get("run") or f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        project = before.get("project") or os.environ.get("TRACKIO_PROJECT", PROJECT)
        self.run = trackio.init(
            project=project,
            name=name,
            config=dict(leaves(settings)),
            resume="allow" if before else "never",
            embed=False,
        )
        self.kept = {"run": name, "project": project}

    def write(self, numbers: dict[str, float], step: int) -> None:
        """At this step."""
        self.run.log(numbers, step=step)

    def close(self, how: Ending) -> None:
        """To the disk."""
        self.run.finish()


class MLflow(Tracker):
    """MLflow, wherever MLFLOW_TRACKING_URI says; MLFLOW_EXPERIMENT_NAME names the experiment.

    Numbers are sent aside, so that a server far away does not hold up the training.
    """

    package, install = "mlflow", "mlflow-skinny"

    def __init__(self, folder: Path, settings: dict[str, Any], before: dict[str, str]) -> None:
        super().__init__(folder, settings, before)
        mlflow, self.entities = need("mlflow", EXTRA), need("mlflow.entities", EXTRA)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or before.get("uri")
        uri = uri or mlflow.get_tracking_uri()
        self.client, self.sent = mlflow.MlflowClient(uri), []
        run = self.gone_on_with(before.get("run")) or self.begun(folder.name, settings)
        self.kept = {"run": run, "uri": uri}

    def gone_on_with(self, run: str | None) -> str | None:
        """The run of before, running again; None, which is told, where it is not there."""
        if run is None:
            return None
        try:
            self.client.update_run(run, status="RUNNING")
        except Exception as error:  # noqa: BLE001  which one, the kind of store decides
            terminal.warn(f"mlflow: no run {run} any more ({first_line(error)}): a new one begins.")
            return None
        return run

    def begun(self, name: str, settings: dict[str, Any]) -> str:
        """A new run with its settings."""
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        there = self.client.get_experiment_by_name(experiment)
        where = there.experiment_id if there else self.client.create_experiment(experiment)
        run = self.client.create_run(where, run_name=name).info.run_id
        params = [self.entities.Param(key, str(value)[:6000]) for key, value in leaves(settings)]
        for at in range(0, len(params), 100):  # no more at once
            self.client.log_batch(run, params=params[at : at + 100])
        return run

    def write(self, numbers: dict[str, float], step: int) -> None:
        """As metrics; errors of those sent before are raised here."""
        now = int(1000 * time.time())
        metrics = [self.entities.Metric(name, x, now, step) for name, x in numbers.items()]
        self.sent.append(self.client.log_batch(self.kept["run"], metrics, synchronous=False))
        while len(self.sent) > 100:
            self.sent.pop(0).wait()

    def close(self, how: Ending) -> None:
        """Wait for what is being sent, and say how it ended."""
        for one in self.sent:
            one.wait()
        states = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
        self.client.set_terminated(self.kept["run"], states[how])


def leaves(settings: dict[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted names."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{section}{name}.")
        else:
            yield section + name, value


KINDS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "trackio": Trackio,
    "mlflow": MLflow,
}
"""What --loop.track names."""
