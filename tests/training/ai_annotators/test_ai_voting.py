"""AI annotators that vote by a server: real processes, a server in this one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from annotate import exchange, queue
from annotate.models import AiAnnotator, AiVote, Assignment, Pair, Project
from annotate.quality import agreement_counts
from annotate.votes import ai_agreement
from tests.training.ai_annotators.conftest import (
    KEY,
    PAIRS,
    PRINCIPLES,
    chat_annotator,
    label,
    rows_of_people,
    shown,
    started,
)
from tests.training.conftest import QUICK
from tests.training.fake_endpoint import Server
from training.ai_annotators import ai_voting
from training.models import Metric, Run
from training.runs import run_states, supervisor

pytestmark = pytest.mark.django_db(transaction=True)


def see_through(run: Run) -> Run:
    supervisor.supervise(run, pace=QUICK)
    run.refresh_from_db()
    return run


def once_after(n: int, server: Server, act: Callable[[], Any]) -> None:
    """Have something happen while the n-th request is answered."""
    says, done = server.says, list[bool]()

    def acting(body: dict[str, Any]) -> str:
        with server.lock:
            now = len(server.asked) >= n and not done
            if now:
                done.append(True)
        if now:
            try:
                act()
            finally:
                connection.close()
        return says(body)

    server.says = acting


def test_it_asks_in_both_orders_by_its_principles_and_nothing_of_people_s_changes(
    annotator: AiAnnotator, judged: Project, server: Server, ann: User
) -> None:
    before = rows_of_people(judged)
    run = see_through(started(annotator))
    assert (run.state, run.error) == ("done", "")
    assert set(AiVote.objects.values_list("choice", "there", "back")) == {("a", "a", "a")}
    assert AiVote.objects.count() == PAIRS and len(server.asked) == 2 * PAIRS
    orders = [shown(body) for body in server.asked]
    assert sorted(orders) == sorted((b, a) for a, b in orders)
    assert all(PRINCIPLES in body["messages"][0]["content"] for body in server.asked)
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert rows_of_people(judged) == before and not Assignment.objects.exists()
    assert agreement_counts.measure(judged).agreement.votes == 0
    assert exchange.counts(judged)["votes"] == 0
    assert not list(exchange.single_votes(judged, include_simulated=True))
    assert queue.next_pair(judged, ann) is not None
    usage = ai_voting.usage(annotator)
    assert (usage.requests, usage.tokens_in, usage.tokens_out) == (10, 70, 10)


def test_an_answer_that_the_order_swayed_is_a_tie_and_none_is_no_verdict(
    annotator: AiAnnotator, server: Server
) -> None:
    first = min(Pair.objects.all(), key=lambda pair: pair.shuffle)

    def says(body: dict[str, Any]) -> str:
        return "Both are fine" if first.completion_b.text in shown(body) else "A"

    server.says = says
    see_through(started(annotator))
    votes = dict(AiVote.objects.values_list("pair", "choice"))
    assert votes.pop(first.pk) == "none" and set(votes.values()) == {"tie"}
    figures = exchange.ai_figures(annotator)
    assert (figures.votes, figures.swayed, figures.choices["none"]) == (PAIRS - 1, PAIRS - 1, 1)


def test_a_killed_process_goes_on_and_no_pair_is_voted_on_twice(
    annotator: AiAnnotator, server: Server
) -> None:
    once_after(4, server, lambda: os.kill(Run.objects.get().pid or 0, signal.SIGKILL))
    run = see_through(started(annotator))
    assert run.state == "done" and run.fence > 1
    assert AiVote.objects.count() == PAIRS
    assert len(server.asked) <= 2 * PAIRS + ai_voting.MOST_AT_A_TIME


def test_a_stopped_run_keeps_its_votes_and_another_asks_about_the_rest(
    judged: Project, server: Server
) -> None:
    annotator = chat_annotator(judged, server, per_minute=60)
    once_after(4, server, lambda: run_states.cancel(Run.objects.all()))
    run = see_through(started(annotator))
    assert run.state == "cancelled"
    kept = AiVote.objects.count()
    assert 1 <= kept < PAIRS
    ai_voting.set_bounds(annotator, per_minute=6000)
    annotator.refresh_from_db()
    assert see_through(started(annotator)).state == "done"
    assert AiVote.objects.count() == PAIRS
    assert AiVote.objects.values("run").distinct().count() == 2
    with pytest.raises(ai_voting.Refused, match="no pair that it has not voted on"):
        started(annotator)


def test_a_bound_is_never_exceeded_and_says_so(judged: Project, server: Server) -> None:
    annotator = chat_annotator(judged, server, most_requests=5)
    run = see_through(started(annotator))
    assert run.state == "done" and ai_voting.is_bounded(run)
    assert len(server.asked) == 4 and AiVote.objects.count() == 2
    with pytest.raises(ai_voting.Refused, match="used up"):
        started(annotator)
    ai_voting.set_bounds(annotator, most_requests=100, most_tokens=28 + 200)
    annotator.refresh_from_db()
    run = see_through(started(annotator))
    assert ai_voting.is_bounded(run) and AiVote.objects.count() < PAIRS
    assert ai_voting.usage(annotator).tokens_in <= 228


def test_a_server_that_fails_ends_the_run_with_a_sentence_and_nothing_is_lost(
    annotator: AiAnnotator, server: Server
) -> None:
    server.fails = lambda body: (
        (401, {}, f"not with {KEY}".encode()) if len(server.asked) > 4 else None
    )
    run = see_through(started(annotator))
    assert run.state == "failed" and "wants another key" in run.error and KEY not in run.error
    kept = AiVote.objects.count()
    assert kept >= 1
    server.fails = lambda body: None
    assert see_through(started(annotator)).state == "done"
    assert AiVote.objects.count() == PAIRS


def test_a_model_that_names_no_side_is_given_up_before_it_costs_much(
    judged: Project, server: Server, make_pairs: Callable[..., list[Pair]]
) -> None:
    make_pairs(12)
    server.says = lambda body: "I would rather not say."
    run = see_through(started(chat_annotator(judged, server)))
    assert run.state == "failed" and "names A or B: 'I would rather not say.'" in run.error
    assert len(server.asked) <= 20 + ai_voting.MOST_AT_A_TIME


def test_pairs_that_measure_people_or_policies_are_never_asked_about(
    annotator: AiAnnotator, judged: Project, make_pairs: Callable[..., list[Pair]]
) -> None:
    for pair, kind in zip(make_pairs(3), ("gold", "retest", "evaluation"), strict=True):
        Pair.objects.filter(pk=pair.pk).update(kind=kind)
    retired, *_ = make_pairs(1)
    Pair.objects.filter(pk=retired.pk).update(state="retired", open_slots=0)
    told = list(exchange.pairs_to_judge(judged, annotator.pk, most=100))
    assert len(told) == PAIRS and set(told[0]) == {
        *("pair_id", "prompt_id", "messages", "completion_a", "completion_b")
    }


def test_pairs_that_people_labelled_at_random_come_first(
    annotator: AiAnnotator, judged: Project
) -> None:
    pairs = sorted(Pair.objects.all(), key=lambda pair: pair.shuffle)
    label(pairs[-1], "a")
    label(pairs[-2], "b")
    Pair.objects.filter(pk=pairs[-2].pk).update(stream="active")
    told = [row["pair_id"] for row in exchange.pairs_to_judge(judged, annotator.pk, most=9)]
    assert told == [pairs[-1].key, *(pair.key for pair in pairs[:-2])]


def test_the_database_takes_one_vote_of_an_annotator_on_a_pair(
    annotator: AiAnnotator, judged: Project
) -> None:
    rows = [
        {"pair_id": pair.key, "choice": "b", "there": "b", "back": "b", "margin": None}
        for pair in judged.pairs.all()
    ]
    rows.append(rows[0] | {"pair_id": "gone"})
    run = started(annotator)
    first = exchange.add_ai_votes(judged, annotator.pk, rows, run=run.uuid)
    again = exchange.add_ai_votes(judged, annotator.pk, rows, run=run.uuid)
    assert first == {"b": PAIRS} and not again
    one = AiVote.objects.values("annotator_id", "pair_id", "run").first()
    for wrong in ({"choice": "a"}, {"choice": "tie"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            AiVote.objects.create(**(one or {}), **wrong)
    ai_voting.retire(annotator)
    AiVote.objects.all().delete()
    assert not exchange.add_ai_votes(judged, annotator.pk, rows, run=run.uuid)


def test_one_annotator_of_a_project_votes_at_a_time(annotator: AiAnnotator, server: Server) -> None:
    started(annotator)
    other = chat_annotator(annotator.project, server, name="Other")
    with pytest.raises(ai_voting.Refused, match="voting already"):
        started(other)
    with pytest.raises(ai_voting.Refused, match="called Other already"):
        chat_annotator(annotator.project, server, name="Other")


def test_a_server_that_was_taken_away_is_not_asked(
    annotator: AiAnnotator, server: Server, settings: Any
) -> None:
    run = started(annotator)
    settings.ENDPOINT_HOSTS = []
    assert see_through(run).state == "failed" and not server.asked
    with pytest.raises(ai_voting.Refused, match="not among the servers"):
        started(annotator)


def test_agreement_is_measured_on_labels_of_the_random_share_alone(
    annotator: AiAnnotator, judged: Project, home: Path
) -> None:
    see_through(started(annotator))
    for pair, outcome in zip(judged.pairs.order_by("pk"), ("a", "b", "tie", "a", "a"), strict=True):
        label(pair, outcome, resolved_at=timezone.now())
    chosen, simulated = judged.pairs.order_by("-pk")[:2]
    Pair.objects.filter(pk=chosen.pk).update(stream="active")
    Pair.objects.filter(pk=simulated.pk).update(firsts_simulated=True)
    figures = exchange.ai_figures(annotator)
    assert (figures.compared.pairs, figures.compared.same, figures.undecided) == (2, 1, 1)
    assert figures.trust == 0.0 and not figures.is_right
    assert ai_agreement.labelled(judged).count() == 3


def test_a_project_that_is_labelled_as_a_whole_has_pairs_to_measure_it_on(
    annotator: AiAnnotator,
) -> None:
    for pair in Pair.objects.all():
        label(pair, "a")
    assert exchange.count_to_judge(annotator.project, annotator.pk) == PAIRS
    see_through(started(annotator))
    assert exchange.ai_figures(annotator).compared.pairs == PAIRS
    assert exchange.count_to_judge(annotator.project, annotator.pk) == 0


def test_what_somebody_retired_meanwhile_is_not_started(annotator: AiAnnotator) -> None:
    seen_before = AiAnnotator.objects.get(pk=annotator.pk)
    ai_voting.retire(annotator)
    with pytest.raises(ai_voting.Refused, match="was retired"):
        started(seen_before)
    assert not Run.objects.exists()


def test_what_was_spent_is_read_by_one_statement_however_many_runs_there_were(
    annotator: AiAnnotator, django_assert_num_queries: Any
) -> None:
    for _ in range(3):
        run = Run.objects.create(
            kind="ai_votes", project=annotator.project, options={"annotator": annotator.pk}
        )
        for step in (1, 2):
            values = {"requests": 2.0 * step, "tokens": 5.0 * step}
            Metric.objects.create(run=run, stage="ai_votes", step=step, values=values)
        Run.objects.filter(pk=run.pk).update(state="done")
    annotator.most_requests = 20
    with django_assert_num_queries(1):
        spent = ai_voting.usage(annotator)
    assert (spent.requests, spent.requests_left) == (12, 8)


def test_an_archived_project_is_not_voted_on_and_says_so(annotator: AiAnnotator) -> None:
    said = "is archived: reopen it on Projects first."
    queued = started(annotator)
    Project.objects.filter(pk=annotator.project_id).update(archived=True)
    with pytest.raises(ai_voting.Refused, match=said):
        started(annotator)
    run = see_through(queued)
    assert run.state == "failed" and run.error.endswith(said)
    assert not AiVote.objects.exists()
