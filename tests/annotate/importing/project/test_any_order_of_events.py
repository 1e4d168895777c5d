"""Whatever people do, and in whatever order: their project comes back as it was."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from annotate import queue
from annotate.exporting import seal
from annotate.exporting.freezing import freeze
from annotate.exporting.project import pair_lines
from annotate.exporting.project.project_file_writer import project_lines
from annotate.gold import gold_pairs
from annotate.models import Assignment, Membership, Project
from annotate.queue.vote_errors import QueueError
from annotate.review import adjudication
from tests.annotate.importing.project.everything import imported

SIDES = ("left", "right", "tie", "both_bad")


class People:
    """Three annotators and a reviewer of one project, who act by chance."""

    def __init__(self, project: Project, people: list[User], reviewer: User, seed: int) -> None:
        self.project, self.people, self.reviewer = project, people, reviewer
        self.rng = random.Random(seed)

    def act(self) -> None:
        """One act of somebody; what the queue refuses is none."""
        acts: list[tuple[Callable[[User], object], int]] = [
            (self.vote, 10),
            (self.skip, 2),
            (self.undo, 3),
            (self.revise, 3),
            (self.flag, 1),
            (self.lease, 2),
            (self.decide, 1),
            (self.make_gold, 1),
            (self.weigh, 1),
            (self.freeze, 1),
        ]
        (act,) = self.rng.choices([one for one, _ in acts], [weight for _, weight in acts])
        try:
            act(self.rng.choice(self.people))
        except (QueueError, adjudication.Undecidable, gold_pairs.NoGold):
            return

    def lease(self, user: User) -> Assignment | None:
        return queue.next_pair(self.project, user, rng=self.rng)

    def vote(self, user: User) -> None:
        if lease := self.lease(user):
            side = self.rng.choice(SIDES)
            queue.vote_side(user, lease.token, side, strength=self.rng.randrange(4))

    def skip(self, user: User) -> None:
        if lease := self.lease(user):
            queue.skip(user, lease.token)
            queue.skip_reason(user, lease.token, self.rng.choice(["unsafe", "broken", "other"]))

    def undo(self, user: User) -> None:
        queue.undo(user, self.project)

    def revise(self, user: User) -> None:
        if vote := self._some(Assignment.objects.voted().filter(annotator=user)):
            queue.revise(user, vote.token, side=self.rng.choice(SIDES), strength=1)

    def flag(self, user: User) -> None:
        if vote := self._some(Assignment.objects.filter(annotator=user)):
            queue.flag(user, vote.token, self.rng.choice(["unsafe", "pii", "broken"]))

    def decide(self, _: User) -> None:
        if pair := self._some(self.project.pairs.exclude(n_a=0, n_b=0, n_tie=0)):
            adjudication.decide(self.reviewer, pair, choice="b", strength=2)

    def make_gold(self, _: User) -> None:
        if pair := self._some(self.project.pairs.filter(kind="normal")):
            gold_pairs.make_gold(pair, "a")

    def weigh(self, user: User) -> None:
        weight = self.rng.choice([0.0, 1.0, 1 / 3])
        Membership.objects.filter(user=user).update(weight=weight)

    def freeze(self, user: User) -> None:
        freeze(self.project, by=user)

    def _some(self, rows):
        there = list(rows.order_by("pk"))
        return self.rng.choice(there) if there else None


def comes_back(project: Project, people: People, tmp_path: Path) -> None:
    for _ in range(60):
        people.act()
    version = freeze(project)
    people.act()
    lines = list(project_lines(version))
    path = tmp_path / "project.jsonl"
    path.write_bytes(b"".join(lines))
    other = Project.objects.create(slug="other", name="Another desk")
    imported(other, path)
    assert list(project_lines(other.dataset_versions.latest("number")))[1:] == lines[1:]
    for one in other.dataset_versions.all():
        assert seal.sha256(one) == one.sha256
    # What the queue counts is what it counted, but for leases.
    columns = ("key", "state", "n_a", "n_b", "n_tie", "first", "second", "fell", "second_at")
    leased = Assignment.objects.leased().filter(pair__project=project).values("pair")
    for here, there in zip(
        project.pairs.order_by("pk").values("pk", "open_slots", "asked", *columns),
        other.pairs.order_by("pk").values("pk", "open_slots", "asked", *columns),
        strict=True,
    ):
        assert {n: here[n] for n in columns} == {n: there[n] for n in columns}
        if not leased.filter(pair=here["pk"]).exists():
            assert (here["open_slots"], here["asked"]) == (there["open_slots"], there["asked"])


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(n, marks=pytest.mark.long) for n in range(3, 40))]
)
def test_any_order_of_events_comes_back(project, ann, ben, cleo, olga, make_pairs, tmp_path, seed):
    Project.objects.filter(pk=project.pk).update(gold_share=0.2, retest_share=0.2)
    project.refresh_from_db()
    make_pairs(8)
    comes_back(project, People(project, [ann, ben, cleo], olga, seed), tmp_path)


def test_a_project_leaves_whole_while_people_go_on(
    project, ann, ben, cleo, olga, make_pairs, tmp_path, monkeypatch
):
    """Votes, new versions and new pairs between two lines of the file do not break it."""
    monkeypatch.setattr(pair_lines, "BATCH", 1)
    Project.objects.filter(pk=project.pk).update(gold_share=0.0)
    project.refresh_from_db()
    make_pairs(8)
    people = People(project, [ann, ben, cleo], olga, seed=5)
    for _ in range(40):
        people.act()
    version, lines = freeze(project), []
    for place, line in enumerate(project_lines(version)):
        lines.append(line)
        if b'"type":"pair"' in line:
            people.act()
            people.vote(people.rng.choice(people.people))
        if place in (20, 30):
            make_pairs(1)
            freeze(project)
    path = tmp_path / "project.jsonl"
    path.write_bytes(b"".join(lines))
    other = Project.objects.create(slug="other", name="Another desk")
    imported(other, path)
    newest = other.dataset_versions.latest("number")
    assert newest.number == version.number < project.dataset_versions.latest("number").number
    assert (newest.sha256, seal.sha256(newest)) == (version.sha256, version.sha256)
    assert list(project_lines(newest))[1:] == lines[1:]
