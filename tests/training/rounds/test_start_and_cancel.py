from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections

from annotate import exchange
from annotate.models import Pair, Project, WebhookDelivery
from tests.annotate.webhooks.receiver import hook_of
from tests.training.conftest import vote_on
from tests.training.history import make_round
from training.models import ModelVersion, Plan, Round, Run
from training.rlhf import rows
from training.rounds import start_and_cancel
from training.runs import run_inputs
from training.runs.task_queue import huey
from training.versions import promotion


def test_a_round_freezes_the_votes_and_waits_for_a_worker(a_round: Round, run: Run) -> None:
    assert (a_round.number, a_round.state, a_round.dataset_version) == (1, "queued", 1)
    assert (run.kind, run.state) == ("round", "queued")
    assert a_round.config["seed"] == 1
    assert a_round.config["starter"].endswith("/starter")


def test_its_inputs_are_written_from_the_frozen_version(
    a_round: Round, run: Run, make_pairs: Callable[..., Any], ann: User
) -> None:
    vote_on(make_pairs(5), ann)
    run.directory.mkdir(parents=True)
    run_inputs.prepare(run)
    preferences = list(rows.read(rows.Preference, run.directory / "preferences.jsonl"))
    prompts = list(rows.read(rows.Prompt, run.directory / "prompts.jsonl"))
    assert (len(preferences), len(prompts)) == (50, 55)
    assert {len(row.votes) for row in preferences} == {2}
    before = (run.directory / "prompts.jsonl").read_text()
    make_pairs(1)
    run_inputs.prepare(run)
    assert (run.directory / "prompts.jsonl").read_text() == before


def test_its_inputs_hold_the_pairs_that_wait_for_votes(
    a_round: Round, run: Run, make_pairs: Callable[..., Any], ann: User
) -> None:
    """Their features are what votes between this round and the next order the queue by."""
    best, other, started = make_pairs(3)
    Pair.objects.filter(pk=best.pk).update(priority=1.0)
    (measured,) = make_pairs(1, kind="evaluation")
    vote_on([started], ann)  # resolved by now, and not in the frozen version
    voted = a_round.project.pairs.filter(state="resolved").earliest("pk")
    Pair.objects.filter(pk=voted.pk).update(state="open")
    run.directory.mkdir(parents=True)
    run_inputs.prepare(run)
    preferences = list(rows.read(rows.Preference, run.directory / "preferences.jsonl"))
    waiting = [row.pair_id for row in preferences if not row.votes]
    assert waiting == [best.key, other.key]
    assert len(preferences) == 52
    assert len({row.pair_id for row in preferences}) == 52
    assert measured.key not in {row.pair_id for row in preferences}


def test_two_starts_at_once_give_one_round(
    voted: Project, home: Path, transactional_db: None
) -> None:
    promotion.adopt_starter(voted, "starter")
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def start() -> None:
        barrier.wait()
        try:
            start_and_cancel.start_round(Project.objects.get(pk=voted.pk))
            outcomes.append("started")
        except start_and_cancel.RoundRunning:
            outcomes.append("refused")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "started"]
    assert voted.rounds.count() == 1


def test_a_started_round_is_in_the_training_queue(
    voted: Project, home: Path, transactional_db: None
) -> None:
    promotion.adopt_starter(voted, "starter")
    start_and_cancel.start_round(voted)
    assert huey("gpu").pending_count() == 1


@pytest.mark.parametrize("pairs", [0, 8])
def test_a_round_without_enough_votes_says_how_many_there_are(
    pairs: int, project: Project, make_pairs: Callable[..., Any], ann: User, ben: User
) -> None:
    promotion.adopt_starter(project, "starter")
    made = make_pairs(pairs)
    vote_on(made, ann, ben)
    told = sum(not pair.prompt.held_out for pair in made)
    said = f"12 pairs of training prompts. So far: {told}."
    with pytest.raises(start_and_cancel.NotEnoughVotes, match=said):
        start_and_cancel.start_round(project)
    assert start_and_cancel.refusal(project).endswith(said[-10:])
    assert not project.dataset_versions.exists()


def test_a_start_that_is_offered_never_fails_for_want_of_votes(
    project: Project, home: Path, make_pairs: Callable[..., Any], ann: User, ben: User
) -> None:
    """Twelve pairs of training prompts, not one of held-out prompts, some with one vote alone."""
    promotion.adopt_starter(project, "starter")
    made = [pair for pair in make_pairs(60) if not pair.prompt.held_out]
    for n in range(8, 14):
        vote_on(made[n - 1 : n] if n > 8 else made[:n], ann)
        Pair.objects.filter(pk__in=[pair.pk for pair in made[:n:2]]).update(
            state="open", resolved_at=None
        )
        offered = not start_and_cancel.refusal(project)
        assert offered == (n >= start_and_cancel.MIN_TRAINING_PAIRS)
        if offered:
            round_ = start_and_cancel.start_round(project, enqueue=False)
            rows_ = exchange.preferences(project, round_.dataset_version, include_simulated=False)
            assert sum(bool(row["votes"]) for row in rows_) == n
            break


def test_ties_alone_make_no_round(
    project: Project, make_pairs: Callable[..., Any], ann: User
) -> None:
    promotion.adopt_starter(project, "starter")
    made = make_pairs(40)
    vote_on(made, ann)
    for pair in made:
        pair.assignments.update(choice="tie")
    with pytest.raises(start_and_cancel.NotEnoughVotes, match="So far: 0"):
        start_and_cancel.start_round(project)


def test_a_project_without_held_out_prompts_is_told_before_its_votes_are_frozen(
    project: Project, make_pairs: Callable[..., Any], ann: User
) -> None:
    promotion.adopt_starter(project, "starter")
    vote_on(make_pairs(40), ann)
    project.prompts.update(held_out=False)
    with pytest.raises(start_and_cancel.NotEnoughVotes, match="one kind alone"):
        start_and_cancel.start_round(project)
    assert not project.dataset_versions.exists()


def test_a_project_without_a_policy_is_told_how_to_get_one(voted: Project) -> None:
    with pytest.raises(start_and_cancel.NoStarter, match="on Models: Add a model"):
        start_and_cancel.start_round(voted)


def test_a_round_starts_from_the_promoted_policy_and_keeps_the_starter(
    voted: Project, home: Path
) -> None:
    for name in ("starter", "one", "two"):
        (home / name).mkdir()
    promotion.adopt_starter(voted, "starter")
    for number, path in ((1, "one"), (2, "two")):
        version = ModelVersion.objects.create(
            project=voted,
            kind="policy",
            number=number,
            path=path,
            run=make_round(voted, number).runs.get(),
        )
        if number == 1:
            promotion.promote(version)
    config = start_and_cancel.start_round(voted, seed=7, enqueue=False).config
    assert (config["starter"], config["policy"]) == (str(home / "starter"), str(home / "one"))
    assert (config["number"], config["seed"]) == (3, 7)


def test_a_projects_plan_overrides_the_defaults(voted: Project, home: Path) -> None:
    promotion.adopt_starter(voted, "org/model")
    Plan.objects.create(project=voted, config={"ppo": {"updates": 3}})
    config = start_and_cancel.start_round(voted, enqueue=False).config
    assert config["ppo"]["updates"] == 3
    assert config["ppo"]["lora"]["r"] == 16, "what nobody chose follows from the model"
    assert config["starter"] == "org/model"


def test_rounds_send_their_metrics_where_the_installation_says(
    voted: Project, home: Path, settings: Any
) -> None:
    promotion.adopt_starter(voted, "org/model")
    settings.TRACKER = "wand"
    with pytest.raises(
        start_and_cancel.WrongSettings, match="tracker must be one of none, tensorboard"
    ):
        start_and_cancel.start_round(voted, enqueue=False)
    settings.TRACKER = "mlflow"
    assert start_and_cancel.start_round(voted, enqueue=False).config["tracker"] == "mlflow"


def test_a_finished_round_is_neither_cancelled_nor_retried(a_round: Round, run: Run) -> None:
    Run.objects.update(state="done")
    Round.objects.update(state="done")
    assert not start_and_cancel.cancel(a_round)
    assert not start_and_cancel.retry(a_round)


def test_webhooks_hear_of_a_round_that_is_over(a_round: Round, voted: Project) -> None:
    hook_of(voted)
    assert start_and_cancel.cancel(a_round)
    event = json.loads(WebhookDelivery.objects.get().body)
    assert event["type"] == "round.finished"
    assert event["data"] == {
        "project": "desk",
        "round": a_round.number,
        "state": "cancelled",
        "url": f"https://pairs.example/projects/desk/rounds/{a_round.number}/",
        "api_url": "https://pairs.example/api/v1/projects/desk/rounds/",
    }
    assert start_and_cancel.retry(a_round)
    assert WebhookDelivery.objects.count() == 1


def test_a_retry_waits_for_the_live_round(a_round: Round, voted: Project) -> None:
    assert start_and_cancel.cancel(a_round)
    start_and_cancel.start_round(voted, enqueue=False)
    with pytest.raises(start_and_cancel.RoundRunning):
        start_and_cancel.retry(a_round)


def test_an_older_round_that_is_retried_is_live_beside_the_last_one(voted: Project) -> None:
    assert voted.rounds.live_and_last() == (None, None)
    first, last = make_round(voted, 1, "failed"), make_round(voted, 2)
    assert voted.rounds.live_and_last() == (None, last)
    Round.objects.filter(pk=first.pk).update(state="queued")
    assert voted.rounds.live_and_last() == (first, last)
    make_round(voted, 3, "failed")
    assert [one.number for one in voted.rounds.live_and_last() if one] == [1, 3]


def test_an_archived_project_starts_and_retries_no_round_and_says_so(
    voted: Project, a_round: Round
) -> None:
    start_and_cancel.cancel(a_round)
    seen_before = Project.objects.get(pk=voted.pk)
    Project.objects.filter(pk=voted.pk).update(archived=True)
    said = f"{voted.name} is archived: reopen it on Projects first."
    assert start_and_cancel.refusal(seen_before) == said
    for refused in (
        lambda: start_and_cancel.start_round(seen_before),
        lambda: start_and_cancel.retry(a_round),
    ):
        with pytest.raises(start_and_cancel.Archived, match=said):
            refused()
    assert voted.rounds.live().count() == 0 and voted.dataset_versions.count() == 1
