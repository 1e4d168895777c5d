from __future__ import annotations

import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings

from annotate.models import Project
from tests.conftest import at_once
from tests.training.history import make_round
from training.models import ModelVersion, Run
from training.models.trial import Trial
from training.playground import prompt_trials
from training.setup import start_model_check
from training.versions import promotion, retention, serving

State = ModelVersion.State
Train = Callable[..., ModelVersion]


@pytest.fixture(autouse=True)
def home(settings: Settings, tmp_path: Path) -> Path:
    settings.HOME = tmp_path
    return tmp_path


@pytest.fixture
def train(project: Project) -> Train:
    """train(number, state, parent=None): a policy with weights, of a finished round."""

    def make(number: int, state: str, parent: ModelVersion | None = None) -> ModelVersion:
        round_ = make_round(project, number, done=0)
        run = round_.runs.get()
        Run.objects.filter(pk=run.pk).update(state=Run.State.DONE)
        folder = run.directory / "train_policy" / "model"
        for path in (folder, run.directory / "checkpoints" / "train_policy"):
            path.mkdir(parents=True)
            (path / "weights").write_bytes(b"0" * 1000)
        (run.directory / "metrics.jsonl").write_text("{}\n")
        return ModelVersion.objects.create(
            project=project,
            kind="policy",
            number=number,
            state=state,
            parent=parent,
            run=run,
            path=str(folder.relative_to(run.directory.parent.parent)),
        )

    return make


def prune(*options: str) -> str:
    out = StringIO()
    call_command("prune", "--project", "desk", *options, stdout=out)
    return out.getvalue()


def ask(project: Project, version: ModelVersion) -> Trial:
    """Somebody asks the version in the playground."""
    return prompt_trials.ask(
        project,
        User.objects.create_user("pia"),
        messages=[{"role": "user", "content": "hello"}],
        choices=[str(version.pk)],
        temperature=0.7,
        max_new_tokens=16,
        seed=1,
    )


def has_weights(version: ModelVersion) -> bool:
    return Path(version.location, "weights").is_file()


def test_without_yes_nothing_is_removed(train: Train) -> None:
    old, *_ = [train(number, State.RETIRED) for number in range(1, 6)]
    said = prune()
    assert "weights of policy-1" in said
    assert "Remove with --yes" in said
    assert has_weights(old)
    assert ModelVersion.objects.filter(pruned_at=None).count() == 5


def test_versions_in_use_their_fallbacks_candidates_and_the_newest_stay(train: Train) -> None:
    base = train(1, State.RETIRED)
    used = train(2, State.PROMOTED, base)
    waiting = train(3, State.CANDIDATE, used)
    dropped = train(4, State.RETIRED, used)
    newest = train(5, State.RETIRED, used)
    assert "Removed" in prune("--keep", "1", "--yes")
    stay = [base, used, waiting, newest]
    assert [has_weights(version) for version in stay] == [True] * 4
    assert not Path(dropped.location).is_dir()
    dropped.refresh_from_db()
    assert dropped.pruned_at is not None


def test_what_the_newest_began_with_stays(train: Train) -> None:
    base = train(1, State.RETIRED)
    other = train(2, State.RETIRED)
    newest = train(3, State.RETIRED, base)
    prune("--keep", "1", "--yes")
    assert [has_weights(version) for version in (base, newest)] == [True, True]
    assert not Path(other.location).is_dir()


def test_inputs_and_figures_of_a_run_outlive_its_checkpoints(train: Train) -> None:
    version = train(1, State.PROMOTED)
    assert version.run is not None
    prune("--yes")
    assert not (version.run.directory / "checkpoints").exists()
    assert (version.run.directory / "metrics.jsonl").is_file()
    assert prune("--yes") == "Nothing to remove.\n"


def test_a_reward_models_judge_goes_with_it(train: Train) -> None:
    policy = train(1, State.RETIRED)
    folder = Path(policy.location)
    ModelVersion.objects.update(kind="reward")
    judge, other = folder.with_name("judge"), folder.with_name("kept.jsonl")
    judge.mkdir()
    (judge / "weights").write_bytes(b"0" * 500)
    other.touch()
    assert "weights of reward-1 and its judge" in prune("--keep", "0", "--yes")
    assert not folder.exists() and not judge.exists() and other.is_file()


def test_the_merged_copy_of_an_adapter_goes_with_it(train: Train) -> None:
    version = train(1, State.RETIRED)
    copy = serving.place(version)
    copy.mkdir(parents=True)
    (copy / "weights").write_bytes(b"0" * 4000)
    said = prune("--keep", "0", "--yes")
    assert str(copy) in said and not copy.exists()


def test_a_judge_that_an_earlier_prune_left_behind_goes(train: Train) -> None:
    version = train(1, State.RETIRED)
    ModelVersion.objects.update(kind="reward")
    folder = Path(version.location)
    prune("--keep", "0", "--yes")
    folder.with_name("judge").mkdir()
    prune("--keep", "0", "--yes")
    assert not folder.with_name("judge").exists()


def test_an_unfinished_run_keeps_its_checkpoints(train: Train) -> None:
    run = train(1, State.CANDIDATE).run
    assert run is not None
    Run.objects.filter(pk=run.pk).update(state=Run.State.FAILED)
    assert prune("--yes") == "Nothing to remove.\n"
    assert (run.directory / "checkpoints").is_dir()


def test_a_version_promoted_after_the_plan_keeps_its_weights(
    train: Train, project: Project
) -> None:
    version = train(1, State.RETIRED)
    seen = retention.plan(project, keep=0)
    promotion.promote(version)
    with pytest.raises(retention.Changed):
        retention.prune(project, keep=0, confirmed=seen.fingerprint)
    retention.prune(project, keep=0)
    assert has_weights(version)


@pytest.mark.django_db(transaction=True)
def test_a_version_that_is_promoted_and_removed_at_once_is_one_of_both(
    train: Train, project: Project
) -> None:
    older = train(1, State.RETIRED)
    version = train(2, State.RETIRED, older)
    _, promoted = at_once(
        lambda: retention.prune(project, keep=0), lambda: promotion.promote(version)
    )
    version.refresh_from_db()
    if promoted is None:
        assert (version.state, has_weights(version), has_weights(older)) == ("promoted", True, True)
    else:
        assert isinstance(promoted, promotion.Refused)
        assert (version.state, version.pruned_at is None) == ("retired", False)


def test_what_the_playground_uses_stays_and_is_named(train: Train, project: Project) -> None:
    older, other = train(1, State.RETIRED), train(2, State.RETIRED)
    tried = train(3, State.RETIRED, older)
    trial = ask(project, tried)
    said = prune("--keep", "0", "--yes")
    assert "policy-3 stays: the playground uses it now." in said
    assert [has_weights(one) for one in (older, other, tried)] == [True, False, True]
    prompt_trials.stop(trial)
    assert "weights of policy-3" in prune("--keep", "0", "--yes")


@pytest.mark.parametrize(
    ("kind", "what"), [("round", "A round"), ("compare", "A comparison"), ("push", "An upload")]
)
def test_while_something_runs_weights_stay_and_the_reason_is_said(
    kind: str, what: str, train: Train, project: Project
) -> None:
    version = train(1, State.RETIRED)
    Run.objects.create(project=project, kind=kind)
    assert f"{what}" in (said := prune("--keep", "0", "--yes")) and "under way" in said
    assert has_weights(version)


def test_what_cannot_be_removed_is_named_and_goes_the_next_time(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = train(1, State.RETIRED)
    folder = Path(version.location).parent
    rmtree = shutil.rmtree

    def refuse(path: Path) -> None:
        if path == folder / "model":
            raise PermissionError(13, "Permission denied")
        rmtree(path)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    said = prune("--keep", "0", "--yes")
    assert "Not all weights of policy-1 could be removed: Permission denied." in said
    with pytest.raises(promotion.Refused, match="removed"):
        promotion.promote(version)
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    assert "Removed" in prune("--keep", "0", "--yes")
    assert not has_weights(version)


def test_a_version_without_weights_cannot_be_promoted(train: Train) -> None:
    version = train(1, State.RETIRED)
    prune("--keep", "0", "--yes")
    with pytest.raises(promotion.Refused, match="removed"):
        promotion.promote(version)


def test_a_model_from_elsewhere_is_never_removed(project: Project, home: Path) -> None:
    (home / "mine").mkdir()
    starter = promotion.adopt_starter(project, "mine")
    ModelVersion.objects.filter(pk=starter.pk).update(state=State.RETIRED, number=7)
    assert prune("--keep", "0", "--yes") == "Nothing to remove.\n"
    assert (home / "mine").is_dir()


def test_bad_options_are_refused(project: Project) -> None:
    with pytest.raises(CommandError, match="negative"):
        prune("--keep", "-1")
    with pytest.raises(CommandError, match="nowhere"):
        call_command("prune", "--project", "nowhere")


def test_models_of_the_hub_that_became_no_version_go(project: Project, home: Path) -> None:
    def fetched(name: str) -> Path:
        folder = home / "models" / name
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"0" * 1000)
        return folder

    def check(hub: str) -> Run:
        options = {"sources": [{"name": hub, "hub": hub}]}
        run = Run.objects.create(project=project, kind="check", options=options)
        (run.directory / "checkpoints").mkdir(parents=True)
        return run

    used, own = fetched("a--used-0123456789ab"), fetched("sft")
    tried, left = fetched("a--tried-0123456789ab"), fetched("a--left-0123456789ab")
    ModelVersion.objects.create(
        project=project, kind="policy", number=1, path=f"models/{used.name}"
    )
    first = check("a/tried")
    for state in ("queued", "cancelled"):
        Run.objects.filter(pk=first.pk).update(state=state)
        assert "fetched models that nobody uses" in prune("--yes")
        assert not left.exists() and used.is_dir() and own.is_dir() and tried.is_dir()
        left = fetched("a--left-0123456789ab")
    second = check("a/other")
    Run.objects.filter(pk=second.pk).update(state="cancelled")
    kept = fetched("a--other-0123456789ab")
    third = check("a/used")
    Run.objects.filter(pk=third.pk).update(state="failed")
    start_model_check.remove(third)
    assert sorted((home / "models").iterdir()) == sorted([kept, used, own])
    assert (second.directory / "checkpoints").is_dir(), "the last one may go on"
    assert not (first.directory / "checkpoints").exists()
