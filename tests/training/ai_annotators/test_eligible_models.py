"""Reward models that may vote: none that a vote of the project has taught."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from django.contrib.auth.models import User

from annotate.models import AiVote, Pair, Project
from tests.training.conftest import QUICK, vote_on
from tests.training.rlhf import tiny
from training.ai_annotators import ai_voting
from training.models import ModelVersion, Round, Run
from training.rlhf.reward import reward_model
from training.runs import supervisor
from training.versions import retention
from training.versions.provenance import eligible_models

pytestmark = pytest.mark.django_db


@pytest.fixture
def elsewhere(project: Project) -> Project:
    return Project.objects.create(slug="other", name="Other desk")


def trained(project: Project, home: Path, *, config: dict[str, str] | None = None) -> ModelVersion:
    """A reward model that a round of the project made."""
    number = project.rounds.count() + 1
    round_ = Round.objects.create(project=project, number=number, config=config or {})
    Round.objects.filter(pk=round_.pk).update(state="done")
    run = Run.objects.create(project=project, round=round_, state="done")
    folder = run.directory / "train_reward" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(f'{{"made": "{run.uuid}"}}')
    return ModelVersion.objects.create(
        project=project,
        kind="reward",
        number=number,
        run=run,
        path=str(folder.relative_to(home)),
        dataset_version=1,
    )


def test_a_model_that_the_project_trained_is_refused_with_a_sentence(
    project: Project, elsewhere: Project, home: Path
) -> None:
    own, other = trained(project, home), trained(elsewhere, home)
    assert "was trained on votes of this project" in eligible_models.refusal(own, project)
    assert eligible_models.refusal(other, project) == ""
    with pytest.raises(ai_voting.Refused, match="has to come from elsewhere"):
        ai_voting.reward_source(project, own)


def test_what_began_with_a_model_of_the_project_is_one_that_its_votes_taught(
    project: Project, elsewhere: Project, home: Path
) -> None:
    own = trained(project, home)
    later = trained(elsewhere, home, config={"last_reward": own.location})
    last = trained(elsewhere, home, config={"last_reward": later.location})
    assert "was trained on votes of this project" in eligible_models.refusal(last, project)


def test_a_model_that_was_taken_out_and_brought_back_is_known_again(
    project: Project, elsewhere: Project, home: Path
) -> None:
    own = trained(project, home)
    shutil.copytree(own.location, home / "brought")
    brought = ModelVersion.objects.create(
        project=elsewhere, kind="reward", number=5, path=str(home / "brought")
    )
    assert "is reward-1 of this project" in eligible_models.refusal(brought, project)


def test_a_model_of_a_project_with_the_same_voted_pairs_is_refused(
    project: Project,
    elsewhere: Project,
    home: Path,
    make_pairs: Callable[..., list[Pair]],
    ann: User,
) -> None:
    (here,) = make_pairs(1)
    twin = Pair.objects.get(pk=here.pk)
    twin.pk, twin.project = None, elsewhere
    twin.save()
    other = trained(elsewhere, home)
    vote_on([here], ann)
    assert eligible_models.refusal(other, project) == ""
    Pair.objects.filter(pk=twin.pk).update(n_b=1, open_slots=1)
    assert "may have been trained on them" in eligible_models.refusal(other, project)


def test_a_model_that_began_in_a_project_with_the_same_voted_pairs_is_refused(
    project: Project,
    elsewhere: Project,
    home: Path,
    make_pairs: Callable[..., list[Pair]],
    ann: User,
) -> None:
    first = Project.objects.create(slug="first", name="First")
    (here,) = make_pairs(1)
    twin = Pair.objects.get(pk=here.pk)
    twin.pk, twin.project = None, first
    twin.save()
    vote_on([here], ann)
    later = trained(elsewhere, home, config={"last_reward": trained(first, home).location})
    assert eligible_models.refusal(later, project) == ""
    Pair.objects.filter(pk=twin.pk).update(n_b=1, open_slots=1)
    assert "First holds votes on pairs" in eligible_models.refusal(later, project)


def test_a_model_without_weights_and_a_policy_are_refused(
    project: Project, elsewhere: Project, home: Path
) -> None:
    other = trained(elsewhere, home)
    shutil.rmtree(other.location)
    assert "are not here" in eligible_models.refusal(other, project)
    other.kind = "policy"
    assert "choose a reward model" in eligible_models.refusal(other, project)


def test_people_are_offered_models_of_their_own_projects_alone(
    project: Project, elsewhere: Project, home: Path, zed: User, root: User
) -> None:
    own, other = trained(project, home), trained(elsewhere, home)
    assert eligible_models.offered(zed) == [own]
    assert set(eligible_models.offered(root)) == {own, other}


@pytest.mark.django_db(transaction=True)
def test_a_reward_model_of_another_project_votes_and_is_kept_meanwhile(
    project: Project,
    elsewhere: Project,
    home: Path,
    make_pairs: Callable[..., list[Pair]],
) -> None:
    other = trained(elsewhere, home)
    shutil.rmtree(other.location)
    base = tiny.llama(home / "base")
    model = reward_model.new(base, pooling="last", max_length=64, device=torch.device("cpu"))
    model.save(home / other.path)
    make_pairs(3)
    source = ai_voting.reward_source(project, other)
    run = ai_voting.start(
        ai_voting.create(project, source, by=None, name="Model"), most=10, enqueue=False
    )
    assert run.worker == "gpu" and "voting of an AI annotator" in retention._busy(elsewhere)
    supervisor.supervise(run, pace=QUICK)
    run.refresh_from_db()
    assert (run.state, run.error) == ("done", "")
    votes = AiVote.objects.all()
    assert len(votes) == 3
    assert all((vote.choice == "a") == ((vote.margin or 0) > 0) for vote in votes)


@pytest.mark.django_db(transaction=True)
def test_a_model_that_may_no_more_vote_when_its_run_is_claimed_is_refused_with_a_sentence(
    project: Project,
    elsewhere: Project,
    home: Path,
    make_pairs: Callable[..., list[Pair]],
) -> None:
    other = trained(elsewhere, home)
    make_pairs(3)
    source = ai_voting.reward_source(project, other)
    run = ai_voting.start(
        ai_voting.create(project, source, by=None, name="Model"), most=10, enqueue=False
    )
    twin = trained(project, home)
    shutil.rmtree(twin.location)
    shutil.copytree(other.location, twin.location)
    supervisor.supervise(run, pace=QUICK)
    run.refresh_from_db()
    assert run.state == "failed" and "which its votes have trained" in run.error
    assert not AiVote.objects.exists()


def test_the_place_of_weights_that_are_gone_is_the_one_where_they_were(
    project: Project, home: Path
) -> None:
    version = trained(project, home)
    before = version.location
    shutil.rmtree(before)
    assert version.location == before and Path(before).is_absolute()
    brought = ModelVersion(path="models/brought", kind="reward", number=0, project=project)
    assert brought.location == str(home / "models" / "brought")
    assert ModelVersion(path="someone/tiny").location == "someone/tiny"
