"""Events are written in the transaction that makes them, for the projects that want them."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate import queue
from annotate.exporting import freezing
from annotate.exporting.export_files import Options
from annotate.importing.imported_row import Choice, Comparison, Judgement, Reply, Row
from annotate.importing.row_store import Writer, undo
from annotate.jobs import export_actions, import_actions, job_runner, job_states
from annotate.jobs.job_runner import BODIES
from annotate.models import Export, Import, Pair, Project, Webhook, WebhookDelivery
from annotate.models.job import SILENCE
from annotate.review import adjudication
from annotate.webhooks.outbox import ONE_BY_ONE
from tests.annotate.webhooks.receiver import hook_of

MakePairs = Callable[..., list[Pair]]
SITE = "https://pairs.example"


def vote(project: Project, user: User, choice: str) -> None:
    lease = queue.next_pair(project, user)
    assert lease is not None
    queue.vote(user, lease.token, choice=choice)


def events() -> list[dict[str, Any]]:
    bodies = WebhookDelivery.objects.order_by("pk").values_list("body", flat=True)
    return [json.loads(body) for body in bodies]


def data() -> list[dict[str, Any]]:
    return [event["data"] for event in events()]


def test_the_vote_that_resolves_a_pair_makes_one_event_of_ids_and_links(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    hook_of(project)
    hook_of(Project.objects.create(slug="other", name="Other"))
    hook_of(project, events=["job.done"])
    hook_of(project, active=False)
    (pair,) = make_pairs(1)
    vote(project, ann, "a")
    assert events() == []
    vote(project, ben, "a")
    (event,) = events()
    assert event["type"] == "pair.resolved" and event["timestamp"].endswith("Z")
    assert event["data"] == {
        "project": "desk",
        "pair": pair.pk,
        "url": f"{SITE}/projects/desk/pairs/{pair.pk}/",
    }


def test_a_vote_that_is_rolled_back_leaves_no_event(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    hook_of(project)
    make_pairs(1)
    vote(project, ann, "a")
    with pytest.raises(KeyError), transaction.atomic():
        vote(project, ben, "a")
        assert len(events()) == 1
        raise KeyError
    assert events() == []


def test_votes_of_a_project_without_webhooks_never_look_for_them(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    hook_of(Project.objects.create(slug="other", name="Other"))
    hook_of(project, active=False)
    make_pairs(2)
    statements = []
    for hooks in range(2):
        if hooks:
            Webhook.objects.filter(project=project).update(active=True)
        vote(project, ann, "a")
        lease = queue.next_pair(project, ben)
        assert lease is not None
        with CaptureQueriesContext(connection) as seen:
            queue.vote(ben, lease.token, choice="a")
        statements.append(len(seen))
        without = [one for one in seen if "annotate_webhook" in one["sql"]]
        if not hooks:
            assert all("EXISTS (SELECT 1 FROM annotate_webhook" in one["sql"] for one in without)
    assert statements[1] == statements[0] + 3


def test_the_first_decision_on_a_split_pair_resolves_it(
    project: Project, make_pairs: MakePairs, ann: User, ben: User, cleo: User, olga: User
) -> None:
    hook_of(project)
    (pair,) = make_pairs(1)
    for user, choice in ((ann, "a"), (ben, "b"), (cleo, "tie")):
        vote(project, user, choice)
    assert events() == []
    for choice in ("a", "b"):
        adjudication.decide(olga, pair, choice=choice)
    assert [one["pair"] for one in data()] == [pair.pk]


def test_a_new_quota_resolves_pairs_that_have_the_votes_by_now(
    project: Project, make_pairs: MakePairs, ann: User
) -> None:
    hook_of(project)
    pairs = make_pairs(3)
    for _ in range(2):
        vote(project, ann, "a")
    project.votes, project.overlap_share = Project.Votes.SINGLE, 0.0
    project.save()
    queue.apply_quota(project, now=timezone.now())
    resolved = set(Pair.objects.filter(state="resolved").values_list("pk", flat=True))
    assert len(resolved) == 2 < len(pairs)
    assert {one["pair"] for one in data()} == resolved


def judged_pair(n: int, **votes: Choice) -> Row:
    return Row(
        messages=[{"role": "user", "content": f"Q{n}?"}],
        replies=[Reply("Yes."), Reply("No.")],
        comparisons=[Comparison(0, 1, [Judgement(said, who) for who, said in votes.items()])],
    )


@pytest.mark.parametrize("n", [3, ONE_BY_ONE + 1])
def test_an_import_tells_of_the_open_pairs_that_it_resolves_many_of_them_in_one_list(
    project: Project, n: int
) -> None:
    hook_of(project)
    writer = Writer(project, now=timezone.now())
    writer.add([judged_pair(i) for i in range(n + 1)])
    writer.add([judged_pair(n + 1, anna="a")])
    assert events() == [], "pairs that come in resolved were open to nobody"
    writer.add([judged_pair(i, anna="b") for i in range(n)])
    resolved = Pair.objects.filter(state="resolved").order_by("pk").values_list("pk", flat=True)
    assert told() == [*resolved[:n]]
    many = n > ONE_BY_ONE
    kind = "pairs.resolved" if many else "pair.resolved"
    assert [event["type"] for event in events()] == [kind] * (1 if many else n)


def test_taking_an_import_back_tells_of_the_pairs_that_it_resolves_again(
    project: Project, ann: User, ben: User
) -> None:
    hook_of(project)
    Writer(project, now=timezone.now()).add([judged_pair(1)])
    for user in (ann, ben):
        vote(project, user, "a")
    import_ = Import.objects.create(project=project, file_name="other.jsonl", state="done")
    row = judged_pair(1, cem="b", dora="b")
    Writer(project, now=timezone.now(), by=import_).add([row])
    pair = Pair.objects.get()
    assert pair.state == "adjudicate" and told() == [pair.pk]
    undo(import_)
    assert told() == [pair.pk, pair.pk]


def test_the_end_of_an_import_counts_what_it_added(project: Project, zed: User) -> None:
    hook_of(project)
    line = b'{"prompt": "Hi", "chosen": "Hello.", "rejected": "Go."}'
    import_ = import_actions.receive(project, zed, BytesIO(line), "rows.jsonl")
    job_runner.run_job(str(import_.uuid))
    import_.refresh_from_db()
    import_actions.begin(import_)
    job_runner.run_job(str(import_.uuid))
    (ended,) = data()
    assert ended["state"] == "done"
    assert {name: ended["added"][name] for name in ("prompts", "pairs", "votes")} == {
        "prompts": 1,
        "pairs": 1,
        "votes": 1,
    }


def told() -> list[int]:
    """Numbers of all pairs in events, whether one by one or in lists."""
    return sorted(pk for one in data() for pk in one.get("pairs", [one.get("pair")]))


def test_gold_pairs_make_no_event(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    hook_of(project)
    pair = make_pairs(1)[0]
    vote(project, ann, "a")
    Pair.objects.filter(pk=pair.pk).update(kind=Pair.Kind.GOLD)
    vote(project, ben, "a")
    assert events() == []


def export_of(project: Project) -> Export:
    version = freezing.freeze(project)
    return export_actions.begin(version, None, "votes", Options())


def test_a_job_tells_how_it_ended(project: Project, make_pairs: MakePairs) -> None:
    hook_of(project)
    make_pairs(1)
    done, cancelled, abandoned = (export_of(project) for _ in range(3))
    job_states.ask_to_cancel(cancelled)
    Export.objects.filter(pk=abandoned.pk).update(
        state="running", foreground=True, heartbeat_at=timezone.now() - 2 * SILENCE
    )
    assert job_runner.run_job(str(done.uuid))
    job_runner.tidy_jobs()
    assert [(one["id"], one["state"]) for one in data()] == [
        (str(cancelled.uuid), "cancelled"),
        (str(done.uuid), "done"),
        (str(abandoned.uuid), "failed"),
    ]
    assert data()[1] == {
        "project": "desk",
        "job": "export",
        "id": str(done.uuid),
        "state": "done",
        "url": f"{SITE}/projects/desk/export/",
        "api_url": f"{SITE}/api/v1/projects/desk/exports/{done.uuid}/",
    }


def test_jobs_of_every_kind_have_links() -> None:
    assert {kind.__name__.lower() for kind in BODIES} == set(job_states.LINKS)
