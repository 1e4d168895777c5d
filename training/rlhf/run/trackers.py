"""Metrics on their way to an experiment tracker, each line as it is written.

One run of the tracker per command or phase, named after its folder. What the trackers themselves
read from the environment holds: WANDB_MODE=offline, MLFLOW_TRACKING_URI, TRACKIO_DIR. Torch-free
but for TensorBoard's writer.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.rlhf.config.config_file import ConfigError, require
from training.rlhf.run.run_directory import Fenced, RunDirectory, Stopped

PROJECT = "pairloop"
FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
"""Ends of a run, in MLflow's words; one that was killed goes on later."""

Log = Callable[[dict[str, float], int], None]
Close = Callable[[str], None]


@contextmanager
def forward(
    tracker: str, run: RunDirectory, stage: str, settings: dict[str, Any]
) -> Iterator[Callable[[dict[str, float]], None]]:
    """Send the metrics of `stage` on until the block ends; what it yields takes the final ones.

    A tracker that fails later, for want of a network or a disk, is given up with one line and
    does not end the training.

    Raises:
        ConfigError: the tracker's package is not installed, or it cannot begin: no key, no network.
    """
    if tracker == "none" or not run.leads:
        yield lambda metrics: None
        return
    sender = _Sender(tracker, *_open(tracker, run, stage, settings))
    run.metrics_listener = sender.line
    status = FAILED
    try:
        yield sender.final
        status = FINISHED
    except (Stopped, Fenced, KeyboardInterrupt):
        status = KILLED
        raise
    finally:
        run.metrics_listener = None
        sender.close(status)


def _open(
    tracker: str, run: RunDirectory, stage: str, settings: dict[str, Any]
) -> tuple[Log, Close]:
    require(
        importlib.util.find_spec(tracker) is not None,
        f"tracker {tracker} needs its package: pip install -r requirements-extras.txt",
    )
    try:
        return OPEN[tracker](run.path, stage, settings)
    except Exception as error:  # of any kind: it is another program's
        raise ConfigError(
            f"tracker {tracker} cannot begin: {' '.join(str(error).split())}"
        ) from error


class _Sender:
    """A tracker's open run; the first thing that goes wrong with it is the last it is told."""

    def __init__(self, tracker: str, log: Log, close: Close) -> None:
        self.tracker, self._log, self._close = tracker, log, close
        self.step, self.broken = 0, False

    def line(self, line: dict[str, Any]) -> None:
        """One line of metrics.jsonl."""
        self.step = line["step"]
        told = {k: v for k, v in line.items() if k not in ("time", "stage", "step")}
        self._attempt(self._log, {k: v for k, v in told.items() if v is not None}, self.step)

    def final(self, metrics: dict[str, float]) -> None:
        """The final metrics of the stage."""
        told = {f"final/{key}": value for key, value in metrics.items()}
        self._attempt(self._log, told, self.step)

    def close(self, status: str) -> None:
        self._attempt(self._close, status)

    def _attempt(self, act: Callable[..., None], *arguments: Any) -> None:
        try:
            if not self.broken:
                act(*arguments)
        except Exception as error:  # noqa: BLE001 - of any kind: it is another program's
            self.broken = True
            print(f"tracker {self.tracker} was given up: {error}", file=sys.stderr)


def _note(folder: Path, stage: str, tracker: str) -> Path:
    """The file with the tracker's name of the run, so that a resumed stage goes on in it."""
    note = folder / "checkpoints" / stage / f"{tracker}-run"
    note.parent.mkdir(parents=True, exist_ok=True)
    return note


def _known(note: Path) -> str | None:
    return note.read_text("utf-8") if note.exists() else None


def _tensorboard(folder: Path, stage: str, settings: dict[str, Any]) -> tuple[Log, Close]:
    writers = importlib.import_module("torch.utils.tensorboard")
    place, note = folder / "tensorboard" / stage, _note(folder, stage, "tensorboard")
    if not note.exists():
        shutil.rmtree(place, ignore_errors=True)  # a run that was removed
        note.touch()
    writer = writers.SummaryWriter(str(place))

    def log(numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)

    return log, lambda status: writer.close()


def _wandb(folder: Path, stage: str, settings: dict[str, Any]) -> tuple[Log, Close]:
    wandb = importlib.import_module("wandb")
    note = _note(folder, stage, "wandb")
    run = wandb.init(
        project=PROJECT,
        group=folder.name,
        name=stage,
        dir=str(folder),
        config=settings,
        id=_known(note),
        resume="allow",
    )
    note.write_text(run.id, "utf-8")
    return (
        lambda numbers, step: run.log(numbers, step=step),
        lambda status: run.finish(exit_code=int(status != FINISHED)),
    )


def _mlflow(folder: Path, stage: str, settings: dict[str, Any]) -> tuple[Log, Close]:
    mlflow = importlib.import_module("mlflow")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        # A folder is the only store that needs no packages of the server; MLflow wants it said.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri((folder / "mlruns").as_uri())
    mlflow.set_experiment(f"{PROJECT}/{folder.name}")
    note = _note(folder, stage, "mlflow")
    run = mlflow.start_run(run_id=_known(note), run_name=stage)
    note.write_text(run.info.run_id, "utf-8")
    mlflow.log_dict(settings, "settings.json")
    return lambda numbers, step: mlflow.log_metrics(numbers, step=step), mlflow.end_run


def _trackio(folder: Path, stage: str, settings: dict[str, Any]) -> tuple[Log, Close]:
    os.environ.setdefault("TRACKIO_DIR", str(folder / "trackio"))
    trackio = importlib.import_module("trackio")
    note = _note(folder, stage, "trackio")
    run = trackio.init(
        project=f"{PROJECT}-{folder.name}",
        name=_known(note) or stage,
        config=settings,
        resume="allow" if note.exists() else "never",
    )
    note.write_text(run.name, "utf-8")
    return lambda numbers, step: trackio.log(numbers, step=step), lambda status: trackio.finish()


OPEN: dict[str, Callable[[Path, str, dict[str, Any]], tuple[Log, Close]]] = {
    # By the name of the package.
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
