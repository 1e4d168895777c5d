"""A project in which everything has happened that can, to leave and to come back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone

from annotate import exchange, queue
from annotate.exporting.freezing import freeze
from annotate.gold import gold_pairs, qualification
from annotate.importing.imported_row import Judgement, Rating, Reply, Row
from annotate.importing.row_store import Writer
from annotate.models import (
    Assignment,
    Completion,
    Import,
    Membership,
    Pair,
    Project,
    Prompt,
)
from annotate.people import guidelines
from annotate.quality.reliability import refresh_labels
from annotate.review import adjudication
from tests.annotate.exporting.written import ASKED, CALLED, TOOLS, add_chat
from tests.annotate.importing.test_row_store import judged
from tests.conftest import make_pair

AT = datetime(2024, 5, 1, 12, 0, 0, 250, tzinfo=UTC)
META = {
    "zeta": 1.0,
    "a": [{"content": "c", "role": "user"}, None, 1e-7],
    "big": 1e16,
    "é": "\u2028",
}


def live_through(project: Project, ann: User, ben: User, cleo: User, olga: User, zed: User) -> None:
    """Let people do everything; two dataset versions are frozen on the way, and votes follow."""
    Project.objects.filter(pk=project.pk).update(
        gold_share=0.0, allow_rewrites=True, criteria=["Kind"], scale="seven", random_share=0.5
    )
    project.refresh_from_db()
    guidelines.revise(project, "Be *kind* and short.", author=zed)
    pairs = [make_pair(project, i) for i in range(9)]

    def vote(user: User, pair: Pair, choice: str, strength: int = 2) -> Assignment:
        lease = lease_of(project, user, pair)
        queue.vote(user, lease.token, choice=choice, strength=strength)
        return lease

    first = vote(ann, pairs[0], "a", 3)
    vote(ben, pairs[0], "a", 1)
    for user, choice in ((ann, "tie"), (ben, "both_bad")):
        vote(user, pairs[1], choice)
    for user, choice in ((ann, "a"), (ben, "b"), (cleo, "tie")):
        vote(user, pairs[2], choice)
    adjudication.decide(
        olga, Pair.objects.get(pk=pairs[2].pk), choice="b", strength=1, rationale="It is shorter."
    )
    queue.remark(ann, first.token, reasons=["Style"], comment="=1+1", criteria={"Kind": "left"})
    queue.rewrite(ann, first.token, side="left", text="It comes tomorrow.")
    _bring_rows(project)
    freeze(project, by=zed)
    _after_the_first_version(project, vote, pairs, ann, ben, cleo)
    _checks(project, pairs, ann)
    add_chat(project, 50, ASKED, [CALLED, "I cannot."], TOOLS, metadata=META, tags=["é", "b"])
    add_chat(project, 51, [{"role": "user", "content": "Hï?"}], ["Yes.", "No."])
    Prompt.objects.filter(pk=pairs[3].prompt_id).update(
        metadata=META, tags=["x"], reference="On its way.", held_out=True
    )
    Completion.objects.filter(pk=pairs[3].completion_a_id).update(
        metadata={"score": 3.0}, sampling={"seed": 7, "temperature": 0.7}, source="round-1"
    )
    Pair.objects.filter(pk=pairs[1].pk).update(margin=1 / 3, source_margin=-2.5, stream="active")
    Pair.objects.filter(pk=pairs[8].pk).update(kind="evaluation")
    exchange.publish_model_version(
        project,
        name="reward-1",
        kind="reward",
        state="promoted",
        dataset_version=1,
        metrics={"accuracy": 0.75, "n": 4},
    )
    Membership.objects.filter(user=ben).update(weight=0.0)
    refresh_labels(project)
    freeze(project)
    vote(cleo, pairs[5], "b")


def lease_of(project: Project, user: User, pair: Pair) -> Assignment:
    """Have this pair offered to somebody."""
    Pair.objects.filter(pk=pair.pk).update(shuffle=-1.0, priority=99.0)
    lease = queue.next_pair(project, user)
    assert lease is not None and lease.pair_id == pair.pk
    Pair.objects.filter(pk=pair.pk).update(shuffle=1 / 3, priority=2 / 3)
    return lease


def _bring_rows(project: Project) -> None:
    by = Import.objects.create(project=project, file_name="votes.csv", state="done")
    known = Judgement("a", "anna", strength=3, left="b", at=AT, metadata={"split": "test"})
    rated = Reply("Rated.", "m3", ratings=[Rating("label", 1.0, "anna"), Rating("MQM", -2.5)])
    rows = [
        judged(known, ("bob", "b"), id="row-1", margin=2.0, tags=["t"], metadata={"k": 1}),
        judged(("", "a"), ask="Same?", texts=("x", "x"), models=("m1", "m2")),
        Row(messages=[{"role": "user", "content": "Rate it."}], replies=[rated]),
    ]
    Writer(project, now=timezone.now(), by=by).add(rows)


def _after_the_first_version(
    project: Project, vote: Any, pairs: list[Pair], ann: User, ben: User, cleo: User
) -> None:
    """Change, take back and add to votes that a version holds; skip and warn."""
    held = Assignment.objects.get(annotator=ben, pair=pairs[0])
    queue.revise(ben, held.token, side="tie", strength=0)
    vote(cleo, pairs[0], "a")
    vote(ann, pairs[3], "b", 0)
    vote(ann, pairs[4], "a")
    freeze(project)
    queue.undo(ann, project)  # Now a lease whose vote version 2 holds.
    lease = lease_of(project, cleo, pairs[8])
    queue.skip(cleo, lease.token)
    queue.skip_reason(cleo, lease.token, "other")
    queue.flag(ann, Assignment.objects.get(annotator=ann, pair=pairs[0]).token, "pii")


def _checks(project: Project, pairs: list[Pair], ann: User) -> None:
    """A gold pair, a question of the qualification with an answer, and a retest."""
    gold_pairs.make_gold(pairs[6], "a", "It says where the order is.")
    gold = gold_pairs.make_gold(pairs[7], "b", "Ask first.", qualification=True)
    member = Membership.objects.select_related("project").get(user=ann)
    qualification.answer(member, gold, "left")
    original = Assignment.objects.get(annotator=ann, pair=pairs[1])
    now = timezone.now()
    retest = Pair.objects.create(
        project=project,
        **{n: getattr(pairs[1], n) for n in ("prompt", "completion_a", "completion_b")},
        key=f"retest-{original.pk}",
        retest_of=pairs[1],
        only_for=ann,
        stream="check",
        **{**Pair.quota(project, "retest", key="r"), "open_slots": 0, "asked": 1, "n_tie": 1},
        state="resolved",
        cast=1,
    )
    Assignment.objects.create(
        pair=retest,
        annotator=ann,
        state="voted",
        choice="tie",
        strength=1,
        left="b" if original.left == "a" else "a",
        stream="check",
        propensity=0.25,
        leased_at=now,
        voted_at=now,
        acted_at=now,
        seq=1,
    )


def exported(project: Project, path: Path) -> list[dict[str, Any]]:
    """Write the project's file, at its newest version: votes that none holds are in it, too."""
    newest = project.dataset_versions.latest("number").number
    arguments = ("--project", project.slug, "--format", "project", "--version", str(newest))
    call_command("export_data", *arguments, "--out", str(path), stdout=StringIO())
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def imported(project: Project, path: Path) -> str:
    """What the command printed."""
    out = StringIO()
    call_command("import_data", str(path), "--project", project.slug, stdout=out)
    return out.getvalue()
