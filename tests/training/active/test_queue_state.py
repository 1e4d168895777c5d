from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.models import Assignment, Pair, Project
from training.active import queue_notice
from training.active.fallback_causes import Cause
from training.active.rerank import refresh_priorities
from training.models import ActiveState, Plan, Run, StageResult
from training.runs import run_inputs

ClientFor = Callable[[User], Client]
N, VOTED, HELD_OUT, D = 330, 240, 70, 4


@pytest.fixture
def played(run: Run, make_pairs: Callable[..., list[Pair]], ann: User, ben: User) -> list[Pair]:
    """Pairs with features; two thirds have a vote of the active or of the random arm, and so have
    those of held-out prompts, which only measure. The last 90 are open."""
    rng, every = np.random.default_rng(0), make_pairs(N + HELD_OUT)
    pairs, held_out = every[:N], every[N:]
    for pair in held_out:
        pair.prompt.held_out = True
        pair.prompt.save()
    x = rng.normal(size=(len(every), D))
    folder = run.directory / "propose"
    folder.mkdir(parents=True)
    run_inputs.prepare(run)
    for name, rows, keys in (
        ("features", x[:N], "pool"),
        ("labelled", x[:0], "labelled"),
        ("measuring", x[N:], "measuring"),
    ):
        np.save(folder / f"{name}.npy", rows.astype(np.float16))
        of = {"pool": pairs, "labelled": [], "measuring": held_out}[keys]
        lines = [json.dumps({"key": pair.key}) + "\n" for pair in of]
        (folder / f"{keys}.jsonl").write_text("".join(lines))
    StageResult.objects.create(run=run, stage="propose")
    likes = rng.random(len(every)) < 1 / (1 + np.exp(-2 * x[:, 0]))
    cast = [*range(VOTED), *range(N, N + HELD_OUT)]
    now = timezone.now()
    Assignment.objects.bulk_create(
        Assignment(
            pair=every[i],
            annotator=(ann, ben)[i % 2],
            state="voted",
            left="a",
            stream="active" if i < VOTED and i % 3 else "random",
            acquisition="i-optimal" if i < VOTED and i % 3 else "",
            propensity=0.5,
            leased_at=now,
            choice="a" if likes[i] else "b",
            strength=2,
            voted_at=now,
            acted_at=now,
            seq=1,
        )
        for i in cast
    )
    voted = [every[i].pk for i in cast]
    Pair.objects.filter(pk__in=voted).update(state="resolved", open_slots=0, n_a=1, cast=1)
    return pairs


def refreshed(project: Project) -> ActiveState:
    """The state after another ranking of all pairs."""
    Plan.objects.update(reranked_run=None)
    refresh_priorities(project.pk)
    return ActiveState.objects.select_related("project").get(project=project)


def best(pairs: list[Pair]) -> float:
    return max(Pair.objects.filter(pk__in=[p.pk for p in pairs]).values_list("priority", flat=True))


def test_the_worker_writes_the_control_the_forecast_and_the_coverage(
    project: Project, played: list[Pair], zed: User, client_for: ClientFor
) -> None:
    state = refreshed(project)
    assert state.cause == "" and best(played[VOTED:]) > 0
    assert state.comparison["votes"] == VOTED // 3 and state.comparison["pairs"] == HELD_OUT
    assert -0.2 < state.comparison["low"] < state.comparison["high"] < 0.2
    assert state.facts["slope_votes"] == HELD_OUT and state.facts["slope_low"] > 0
    report = state.report
    assert report["forecast"]["scored"] == VOTED // 3 + HELD_OUT
    coverage = report["coverage"]["prompts"]
    assert coverage["active"] <= coverage["voted"] <= coverage["all"]
    assert [len(report["map"][kind]) for kind in ("voted", "open", "next")] == [240, 65, 25]
    page = client_for(zed).get(reverse("active-learning", args=[project.slug])).content.decode()
    assert queue_notice.notice(state) in page and "Pairs are ranked by I-optimal" in page
    assert queue_notice.verdict(state) in page and queue_notice.advice(state) in page
    told = client_for(zed).get(reverse("api-active", args=[project.slug])).json()
    assert told["at_random"] is False and told["comparison"]["gain"] == state.comparison["gain"]


def test_before_the_first_round_the_page_and_rest_say_so(
    project: Project, zed: User, client_for: ClientFor
) -> None:
    page = client_for(zed).get(reverse("active-learning", args=[project.slug])).content.decode()
    assert queue_notice.NOTHING_YET in page
    told = client_for(zed).get(reverse("api-active", args=[project.slug])).json()
    assert told["at_random"] and told["notice"] == queue_notice.NOTHING_YET


def features(run: Run) -> tuple[Path, np.ndarray]:
    file = run.directory / "propose" / "features.npy"
    return file, np.load(file)


def test_an_open_pool_without_numbers_is_asked_at_random_until_it_has_some(
    project: Project, played: list[Pair], run: Run
) -> None:
    file, x = features(run)
    for spoilt, cause in ((np.nan, Cause.NO_NUMBERS), (0, Cause.CONSTANT)):
        bad = x.copy()
        bad[VOTED:] = spoilt
        np.save(file, bad)
        state = refreshed(project)
        assert (state.cause, best(played[VOTED:])) == (cause, 0.0)
        assert queue_notice.notice(state).startswith("Pairs are asked at random: ")
        since = state.since
        assert refreshed(project).since == since
    np.save(file, x)
    state = refreshed(project)
    assert (state.cause, state.since) == ("", None) and best(played[VOTED:]) > 0


def test_a_measured_loss_turns_the_queue_to_random_and_another_rule_is_given_a_chance(
    project: Project, played: list[Pair], run: Run
) -> None:
    file, x = features(run)
    short = x.copy()
    active = [i for i in range(VOTED) if i % 3]
    short[active] *= 0.02
    np.save(file, short)
    state = refreshed(project)
    assert state.comparison["high"] < 0 and (state.cause, best(played[VOTED:])) == (Cause.LOSS, 0.0)
    assert "random order teaches more" in queue_notice.notice(state)
    Project.objects.filter(pk=project.pk).update(acquisition="bald")
    state = refreshed(project)
    assert state.cause == "" and best(played[VOTED:]) > 0
    assert state.lacking == "60 more votes of the active arm"
    assert "Not measurable before about" in queue_notice.verdict(state)


def test_votes_that_follow_nothing_leave_a_notice_and_no_order(
    project: Project, played: list[Pair], zed: User, client_for: ClientFor
) -> None:
    """Shuffled labels, all ties, one annotator, and then one prompt: each is told, none breaks."""
    votes = Assignment.objects.filter(pair__project=project, stream__in=("active", "random"))
    shuffled = np.random.default_rng(5).permutation(list(votes.values_list("pk", flat=True)))
    votes.filter(pk__in=shuffled[::2].tolist()).update(choice="a")
    votes.filter(pk__in=shuffled[1::2].tolist()).update(choice="b")
    assert refreshed(project).cause == Cause.NO_HEAD and best(played[VOTED:]) == 0
    votes.update(choice="tie")
    state = refreshed(project)
    assert state.cause == Cause.NO_HEAD and "does not predict votes yet" in state.why
    page = client_for(zed).get(reverse("active-learning", args=[project.slug])).content.decode()
    assert "Pairs are asked at random: the head does not predict votes yet." in page


def test_one_annotator_and_one_prompt_are_ranked_like_many(
    project: Project, played: list[Pair], ann: User
) -> None:
    Assignment.objects.filter(pair__project=project, propensity=0.5).update(annotator=ann)
    Pair.objects.filter(pk__in=[pair.pk for pair in played]).update(prompt=played[0].prompt_id)
    state = refreshed(project)
    assert state.cause == "" and best(played[VOTED:]) > 0


@pytest.mark.parametrize(("left", "cause"), [(10, ""), (0, Cause.EXHAUSTED)])
def test_the_last_pairs_are_ranked_and_then_the_pool_is_exhausted(
    project: Project, played: list[Pair], make_pairs: Callable[..., list[Pair]],
    left: int, cause: str,
) -> None:  # fmt: skip
    gone = [pair.pk for pair in played[VOTED + left :]]
    Pair.objects.filter(pk__in=gone).update(state="resolved", open_slots=0)
    make_pairs(2)  # imported after the round: nothing is known of them
    assert refreshed(project).cause == cause


def test_admins_are_told_why_a_pair_is_asked_and_reviewers_are_not(
    project: Project, played: list[Pair], zed: User, olga: User, client_for: ClientFor
) -> None:
    refreshed(project)
    first = Pair.objects.filter(project=project, state="open").order_by("-priority").first()
    assert first is not None
    address = reverse("pair", args=[project.slug, first.pk])
    page = client_for(zed).get(address).content.decode()
    assert "Place 1 of " in page and "in the order of i-optimal." in page
    assert "The head gives A" in page
    assert "A lease comes from this order with probability 90\xa0%." in page
    assert "Place 1 of " not in client_for(olga).get(address).content.decode()
