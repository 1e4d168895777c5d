from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from annotate.models import Project
from tests.training.history import make_round
from training import promotion, retention, rounds, serving
from training.models import ModelVersion, Run

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
    removals = retention.plan(project, keep=0)
    promotion.promote(version)
    retention.apply(removals)
    assert has_weights(version)


def test_a_version_without_weights_cannot_be_promoted(train: Train) -> None:
    version = train(1, State.RETIRED)
    prune("--keep", "0", "--yes")
    with pytest.raises(promotion.NotPromotable, match="removed"):
        promotion.promote(version)


def test_a_model_from_elsewhere_is_never_removed(project: Project, home: Path) -> None:
    (home / "mine").mkdir()
    starter = rounds.adopt_starter(project, "mine")
    ModelVersion.objects.filter(pk=starter.pk).update(state=State.RETIRED, number=7)
    assert prune("--keep", "0", "--yes") == "Nothing to remove.\n"
    assert (home / "mine").is_dir()


def test_bad_options_are_refused(project: Project) -> None:
    with pytest.raises(CommandError, match="negative"):
        prune("--keep", "-1")
    with pytest.raises(CommandError, match="nowhere"):
        call_command("prune", "--project", "nowhere")
