"""The variables that a run's process is given: no secrets, and the keys of its own servers."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from annotate.models import Project
from tests.training.history import add_starter
from training.models import Plan, Run, RunKind
from training.runs import run_inputs, run_kinds
from training.versions import engine_environment

SECRETS = {
    "SECRET_KEY": "signs sessions",
    "DATABASE_URL": "postgres://pairloop:password@db/pairloop",
    "PAIRLOOP_EMAIL_URL": "smtp://pairloop:password@mail.example.org",
    "PAIRLOOP_METRICS_TOKEN": "reads figures",
    "PAIRLOOP_ENDPOINT_KEY": "of every server",
    "PAIRLOOP_ENDPOINT_KEY_JUDGE_EXAMPLE_ORG": "of the judge",
    "PAIRLOOP_ENDPOINT_KEY_OTHER_EXAMPLE_ORG": "of another",
    "PAIRLOOP_OF_A_LATER_RELEASE": "nobody listed it",
}
NEEDED = {"HF_HOME": "/cache", "NCCL_DEBUG": "INFO", "WANDB_API_KEY": "w", "LD_PRELOAD": ""}
JUDGE = "https://judge.example.org/v1"


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SECRETS | NEEDED).items():
        monkeypatch.setenv(name, value)


def test_processes_of_the_engine_get_no_secret_and_all_else(variables: None, run: Run) -> None:
    for given in (run_kinds.environment(run), engine_environment.environment()):
        assert SECRETS.keys() & given.keys() == set()
        assert NEEDED.items() <= given.items()


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (RunKind.COMPARE, {"evaluate": {"endpoint": {"url": JUDGE}}}),
        (RunKind.COMPARE, {"evaluate": {"judge": {"endpoint": {"url": JUDGE, "model": "j"}}}}),
        (RunKind.FIRST_PAIRS, {"sample": {"endpoint": {"url": JUDGE}}}),
    ],
)
def test_a_run_that_asks_the_planned_servers_gets_their_keys_while_they_are_named(
    variables: None, project: Project, settings: Settings, home: object, kind: str, config: object
) -> None:
    add_starter(project)
    Plan.objects.create(project=project, config=config)
    settings.ENDPOINT_HOSTS = ["judge.example.org", "other.example.org"]
    options = {"versions": [], "seed": 0}
    run = Run.objects.create(project=project, kind=kind, options=options)
    run.directory.mkdir(parents=True)
    run_inputs.prepare(run)
    Plan.objects.update(config={})  # the process reads what was written
    given = run_kinds.environment(run)
    assert SECRETS.keys() & given.keys() == {"PAIRLOOP_ENDPOINT_KEY_JUDGE_EXAMPLE_ORG"}
    settings.ENDPOINT_HOSTS = ["other.example.org"]
    with pytest.raises(run_inputs.CannotPrepare, match="PAIRLOOP_ENDPOINT_HOSTS"):
        run_inputs.prepare(run)
