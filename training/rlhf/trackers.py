"""Metrics on their way to an experiment tracker, each line as it is written.

One run of the tracker per command or phase, named after its folder. What the trackers themselves
read from the environment holds: WANDB_MODE=offline, MLFLOW_TRACKING_URI, TRACKIO_DIR. Torch-free
but for TensorBoard's writer.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.rlhf.configfile import ConfigError, require
from training.rlhf.rundir import RunDirectory

PROJECT = "pairloop"
PACKAGES = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "trackio": "trackio",
}

Log = Callable[[dict[str, float], int], None]
Close = Callable[[], None]


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
    require(
        importlib.util.find_spec(tracker) is not None,
        f"tracker {tracker} needs its package: pip install -r requirements-extras.txt",
    )
    try:
        log, close = OPEN[tracker](run.path, stage, settings)
    except Exception as error:  # of any kind: it is another program's
        raise ConfigError(
            f"tracker {tracker} cannot begin: {' '.join(str(error).split())}"
        ) from error
    last, broken = 0, False

    def send(line: dict[str, Any]) -> None:
        nonlocal last
        last = line["step"]
        told = {k: v for k, v in line.items() if k not in ("time", "stage", "step")}
        attempt(lambda: log({k: v for k, v in told.items() if v is not None}, last))

    def attempt(act: Callable[[], None]) -> None:
        nonlocal broken
        try:
            if not broken:
                act()
        except Exception as error:  # noqa: BLE001 - of any kind: it is another program's
            broken = True
            print(f"tracker {tracker} was given up: {error}", file=sys.stderr)

    run.metrics_listener = send
    try:
        yield lambda metrics: attempt(
            lambda: log({f"final/{key}": value for key, value in metrics.items()}, last)
        )
    finally:
        run.metrics_listener = None
        attempt(close)


def _tensorboard(folder: Path, stage: str, settings: dict[str, Any]) -> tuple[Log, Close]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard" / stage))

    def log(numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)

    return log, writer.close


def _wandb(folder: Path, stage: str, settings: dict[str, Any]) -> tuple[Log, Close]:
    wandb = importlib.import_module("wandb")
    run = wandb.init(
        project=PROJECT, group=folder.name, name=stage, dir=str(folder), config=settings
    )
    return lambda numbers, step: run.log(numbers, step=step), run.finish


def _mlflow(folder: Path, stage: str, settings: dict[str, Any]) -> tuple[Log, Close]:
    mlflow = importlib.import_module("mlflow")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        # A folder is the only store that needs no packages of the server; MLflow wants it said.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri((folder / "mlruns").as_uri())
    mlflow.set_experiment(f"{PROJECT}/{folder.name}")
    mlflow.start_run(run_name=stage)
    mlflow.log_dict(settings, "settings.json")
    return lambda numbers, step: mlflow.log_metrics(numbers, step=step), mlflow.end_run


def _trackio(folder: Path, stage: str, settings: dict[str, Any]) -> tuple[Log, Close]:
    os.environ.setdefault("TRACKIO_DIR", str(folder / "trackio"))
    trackio = importlib.import_module("trackio")
    trackio.init(project=f"{PROJECT}-{folder.name}", name=stage, config=settings)
    return lambda numbers, step: trackio.log(numbers, step=step), trackio.finish


OPEN: dict[str, Callable[[Path, str, dict[str, Any]], tuple[Log, Close]]] = {
    # By the name of the package.
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
