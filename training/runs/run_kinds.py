"""The kinds of runs: the program that each starts, its stages, and its environment.

round    RUN_DIR by the contract of training.rlhf.run.run_directory: the stages that
         training.rlhf.round lists
starter  supervised fine-tuning of a project's first policy
first_pairs  the starter's completions, from which the first pairs are made
compare  any policies on the same held-out prompts
push     a model version to a hub
completions  replies of servers or model versions to many prompts, taken in as they come
preview  the same for three prompts, for an admin to read; nothing is taken in
check    a model that somebody brings: whether it can be used, and what it needs
ai_votes  votes of an AI annotator on pairs, taken in as they come
"""

from __future__ import annotations

import fcntl
import json
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings

from training.models import Run, RunKind
from training.plans import round_settings
from training.rlhf.config import to_dict
from training.rlhf.round import STAGES
from training.rlhf.run import durable
from training.versions import endpoint_hosts, engine_environment
from training.versions.engine_environment import CONFIG, PROGRAM, command

Program = Callable[[Run], list[str]]

WRITING = (RunKind.COMPLETIONS, RunKind.PREVIEW)
ASKING = (RunKind.CHECK, RunKind.AI_VOTES, *WRITING)
"""Kinds that may ask servers; they get the keys of these servers alone."""
ALONE = (RunKind.PUSH, RunKind.CHECK, RunKind.AI_VOTES, *WRITING)
"""Kinds that are one process whatever the launcher."""


def stages(run: Run) -> tuple[str, ...]:
    """Names of the stages of a run, in order."""
    if run.kind == RunKind.ROUND:
        return tuple(stage.name for stage in STAGES)
    return (run.kind,)


def is_finished(run: Run, stage: str) -> bool:
    """True when the stage's results were published."""
    return (run.directory / stage / "meta.json").is_file()


def program(run: Run) -> list[str]:
    """Command line of the run's process."""
    directory, launcher = run.directory, shlex.split(settings.LAUNCHER)
    if run.kind == RunKind.ROUND:
        return [*launcher, *PROGRAM, "round", str(directory), "--fence", str(run.fence)]
    if run.kind in ALONE:  # nothing to train, and a launcher might start it several times
        launcher = []
    name = COMMANDS[run.kind]
    return [*launcher, *command(name, config=directory / CONFIG, out=directory / run.kind)]


def environment(run: Run) -> dict[str, str]:
    """Variables of the run's process, which has no keys but those of the servers it asks."""
    variables = engine_environment.environment()
    if run.kind == RunKind.CHECK and not run.options.get("private"):
        variables = engine_environment.without_hub_token(variables)
    return variables | endpoint_hosts.keys(asked_servers(run))


def asked_servers(run: Run) -> list[str]:
    """Addresses of the servers that a run asks for completions or verdicts, or tries."""
    if run.round is not None:
        return list(round_settings.servers(run.round.config).values())
    if run.kind in (RunKind.COMPARE, RunKind.FIRST_PAIRS):
        return list(round_settings.servers(_planned(run)).values())
    if run.kind not in ASKING:
        return []
    return [source["url"] for source in run.options["sources"] if "url" in source]


def _planned(run: Run) -> dict[str, Any]:
    """The settings of a run without a round: as its process reads them, else as they will be."""
    written = run.directory / CONFIG
    if written.is_file():
        return dict(json.loads(written.read_text("utf-8")))
    if run.kind == RunKind.COMPARE:
        return {"evaluate": to_dict(round_settings.compared(run.project))}
    return {"sample": to_dict(round_settings.planned(run.project).sample)}


def signal_on_death() -> signal.Signals:
    """The signal that the process gets when its supervisor is killed.

    SIGKILL leaves nothing behind and checkpoints survive it; a launcher has to hear of it to end
    the processes it started itself.
    """
    return signal.SIGTERM if settings.LAUNCHER else signal.SIGKILL


def take_over(run: Run) -> bool:
    """Write owner.json; False when a later fence is in it already.

    A supervisor may sleep between its claim and this call, so the file is compared and replaced
    under a lock: fences only ever rise.
    """
    path = run.directory / "owner.json"
    with _locked(run.directory / "owner.lock"):
        try:
            current = int(json.loads(path.read_text())["fence"])
        except (OSError, ValueError, KeyError, TypeError):
            current = -1
        if current > run.fence:
            return False
        durable.replace(path, json.dumps({"fence": run.fence, "owner": run.owner}))
        return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


TITLES: dict[str, str] = {
    RunKind.STARTER: "Train the starter policy",
    RunKind.FIRST_PAIRS: "Write the first completions",
    RunKind.COMPARE: "Compare policies",
    RunKind.PUSH: "Push a model to a hub",
    RunKind.COMPLETIONS: "Write completions",
    RunKind.PREVIEW: "Write three prompts' completions",
    RunKind.CHECK: "Check the model",
    RunKind.AI_VOTES: "Have an AI annotator vote",
}
"""Titles of the kinds that have one stage of their own."""
COMMANDS: dict[str, str] = {
    RunKind.STARTER: "sft",
    RunKind.FIRST_PAIRS: "sample",
    RunKind.COMPARE: "compare",
    RunKind.PUSH: "push",
    RunKind.COMPLETIONS: "complete",
    RunKind.PREVIEW: "complete",
    RunKind.CHECK: "check",
    RunKind.AI_VOTES: "annotate",
}
"""The engine's command behind each of them."""
