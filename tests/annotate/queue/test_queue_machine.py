"""Random interleavings of everything people do, against a model of a few lines."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from annotate import exchange, queue
from annotate.models import Assignment, Pair, Project
from annotate.votes import dataset_versions
from tests.conftest import examples, make_pair, person

CHOICES = ("a", "b", "tie", "both_bad")
CLASS = {"a": "a", "b": "b", "tie": "tie", "both_bad": "tie"}
PEOPLE = 4
numbers = itertools.count()


@dataclass
class Place:
    """One person's place on one pair."""

    token: UUID
    leased: datetime
    expires: datetime
    state: str = "reserved"
    surplus: bool = False
    choice: str = ""
    seq: int = 0
    acted: datetime | None = None


@dataclass
class Board:
    """What should be true of one pair."""

    wanted: int
    limit: int
    agree: int
    asked: int
    cast: int = 0
    places: dict[int, Place] = field(default_factory=dict)

    def votes(self) -> list[str]:
        standing = [p for p in self.places.values() if p.state == "voted" and not p.surplus]
        return [place.choice for place in sorted(standing, key=lambda place: place.seq)]

    def first_two(self) -> tuple[str, str]:
        """A second vote that the first brought about is none."""
        one, two, *_ = *(CLASS[choice] for choice in self.votes()), "", ""
        return one, two if self.wanted > 1 else ""

    def held(self) -> int:
        return sum(p.state == "reserved" and not p.surplus for p in self.places.values())

    def open(self) -> int:
        return self.asked - len(self.votes()) - self.held()

    def state(self) -> str:
        votes = self.votes()
        counts = Counter(CLASS[choice] for choice in votes)
        if len(votes) >= self.wanted and max(counts.values(), default=0) >= self.agree:
            return "resolved"
        return "adjudicate" if len(votes) >= self.limit else "open"

    def settle(self) -> None:
        n = len(self.votes())
        target = n if self.state() != "open" else max(self.wanted, n + 1)
        # Free places come and go with what is needed; a place somebody holds stays.
        self.asked = max(target, n + self.held())

    def may_take(self, person: int) -> bool:
        place = self.places.get(person)
        return self.open() > 0 and (place is None or place.state == "released")


class QueueMachine(RuleBasedStateMachine):
    """People lease, vote, repeat, contradict, undo, skip and stay away; versions are frozen."""

    @initialize(
        kinds=st.lists(st.sampled_from(["normal", "unsure", "evaluation"]), min_size=1, max_size=3)
    )
    def start(self, kinds: list[str]) -> None:
        n = next(numbers)
        self.now = timezone.now()
        # Hypothesis replays what it found: the same steps have to lease the same pairs.
        self.rng = random.Random(0)
        self.project = Project.objects.create(slug=f"machine-{n}", name="Machine")
        self.people = [
            person(f"m{n}-{i}", project=self.project, role="annotator") for i in range(PEOPLE)
        ]
        self.boards: dict[int, Board] = {}
        for i, kind in enumerate(kinds):
            arms = ["random", "both"][i % 2]
            columns: dict[str, object] = {"kind": kind}
            if kind == "unsure":  # one vote after the other, up to three
                columns = {"wanted": 1, "limit": 3, "agree": 2, "asked": 1, "open_slots": 1}
            pair = make_pair(self.project, i, arms=arms, priority=i % 3, **columns)
            self.boards[pair.pk] = Board(pair.wanted, pair.limit, pair.agree, pair.wanted)
        self.versions: dict[int, list[tuple[int, int, str]]] = {}

    def tick(self, seconds: float = 0.001) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def own(self, who: int, *states: str) -> Iterator[tuple[Board, Place]]:
        for board in self.boards.values():
            place = board.places.get(who)
            if place is not None and place.state in states:
                yield board, place

    def leases(self, who: int) -> list[Place]:
        return sorted((p for _, p in self.own(who, "reserved")), key=lambda place: place.leased)

    def release(self) -> int:
        ended = 0
        for board in self.boards.values():
            for place in board.places.values():
                if place.state == "reserved" and place.expires < self.now:
                    place.state, place.surplus = "released", False
                    ended += 1
            board.settle()
        return ended

    @rule(who=st.integers(0, PEOPLE - 1), prefetch=st.booleans())
    def lease(self, who: int, prefetch: bool) -> None:
        now, live = self.tick(), self.leases(who)
        after = live[0].token if prefetch and live else None
        got = queue.next_pair(self.project, self.people[who], after=after, now=now, rng=self.rng)
        expires = now + timedelta(seconds=self.project.lease_seconds)
        again = next((place for place in live if place.token != after), None)
        if again is not None:
            assert got is not None and got.token == again.token
            again.expires = expires
            return
        self.release()
        possible = {pk for pk, board in self.boards.items() if board.may_take(who)}
        if got is None:
            assert not possible
            return
        assert got.pair_id in possible
        board = self.boards[got.pair_id]
        before = board.places.get(who)
        assert before is None or before.token == got.token
        board.places[who] = Place(got.token, leased=now, expires=expires)

    @rule(who=st.integers(0, PEOPLE - 1), pick=st.integers(0, 9), choice=st.sampled_from(CHOICES))
    def vote(self, who: int, pick: int, choice: str) -> None:
        """On a live lease, or late on one that ended."""
        found = list(self.own(who, "reserved", "released"))
        if not found:
            return
        board, place = found[pick % len(found)]
        now = self.tick()
        holds = place.state == "reserved" and not place.surplus
        counts = holds or board.open() > 0
        status = queue.vote(self.people[who], place.token, choice=choice, now=now).status
        assert status == ("stored" if counts else "surplus")
        place.state, place.choice, place.surplus, place.acted = "voted", choice, not counts, now
        board.cast += 1
        place.seq = board.cast
        board.settle()

    @rule(who=st.integers(0, PEOPLE - 1), choice=st.sampled_from(CHOICES))
    def lease_and_vote(self, who: int, choice: str) -> None:
        self.lease(who, prefetch=False)
        self.vote(who, 0, choice)

    @rule(choices=st.lists(st.sampled_from(CHOICES), min_size=PEOPLE, max_size=PEOPLE))
    def everybody_votes(self, choices: list[str]) -> None:
        for who, choice in enumerate(choices):
            self.lease_and_vote(who, choice)

    @rule(who=st.integers(0, PEOPLE - 1), pick=st.integers(0, 9), choice=st.sampled_from(CHOICES))
    def vote_again(self, who: int, pick: int, choice: str) -> None:
        """A retry is replayed; another choice, or a vote on a skipped pair, is refused."""
        found = list(self.own(who, "voted", "skipped"))
        if not found:
            return
        _, place = found[pick % len(found)]
        user = self.people[who]
        if place.state == "skipped":
            with pytest.raises(queue.Gone):
                queue.vote(user, place.token, choice=choice)
        elif place.choice == choice:
            assert queue.vote(user, place.token, choice=choice).status == "replayed"
        else:
            with pytest.raises(queue.ChoiceConflict):
                queue.vote(user, place.token, choice=choice)

    @rule(who=st.integers(0, PEOPLE - 1), pick=st.integers(0, 9), choice=st.sampled_from(CHOICES))
    def revise(self, who: int, pick: int, choice: str) -> None:
        """Any vote of one's own, not only the last; nothing else can be revised."""
        found = list(self.own(who, "reserved", "released", "voted", "skipped"))
        if not found:
            return
        board, place = found[pick % len(found)]
        if place.state != "voted":
            with pytest.raises(queue.Gone):
                queue.revise(self.people[who], place.token, side=choice)
            return
        status = queue.revise(self.people[who], place.token, side=choice, now=self.tick()).status
        same = "surplus" if place.surplus else "stored"
        assert status == ("replayed" if place.choice == choice else same)
        place.choice = choice
        board.settle()

    @rule(who=st.integers(0, PEOPLE - 1), pick=st.integers(0, 9))
    def skip(self, who: int, pick: int) -> None:
        found = list(self.own(who, "reserved", "released", "voted", "skipped"))
        if not found:
            return
        board, place = found[pick % len(found)]
        now = self.tick()
        if place.state == "voted":
            with pytest.raises(queue.Gone):
                queue.skip(self.people[who], place.token, now=now)
            return
        queue.skip(self.people[who], place.token, now=now)
        if place.state != "skipped":
            place.state, place.surplus, place.acted = "skipped", False, now
            board.settle()

    @rule(who=st.integers(0, PEOPLE - 1))
    def undo(self, who: int) -> None:
        now = self.tick()
        back = queue.undo(self.people[who], self.project, now=now)
        acts = list(self.own(who, "voted", "skipped"))
        if not acts:
            assert back is None
            return
        board, place = max(acts, key=lambda found: found[1].acted or self.now)
        assert back is not None and back.token == place.token
        for spare in self.leases(who)[1:]:
            spare.state, spare.surplus = "released", False
            for each in self.boards.values():
                each.settle()
        held = (place.state == "voted" and not place.surplus) or board.open() > 0
        place.state, place.surplus, place.choice, place.acted = "reserved", not held, "", None
        place.expires = now + timedelta(seconds=self.project.lease_seconds)
        board.settle()

    @rule()
    def stay_away(self) -> None:
        """Long enough for every lease to end."""
        self.tick(self.project.lease_seconds + 1)

    @rule()
    def release_expired(self) -> None:
        ended = queue.release_expired(self.project, now=self.now)
        assert ended == self.release()

    @precondition(lambda self: len(self.versions) < 4)
    @rule()
    def freeze(self) -> None:
        version = exchange.freeze(self.project)
        self.versions.setdefault(version.number, self.standing())
        assert self.versions[version.number] == self.standing()

    def standing(self) -> list[tuple[int, int, str]]:
        return sorted(
            (pk, self.people[who].pk, place.choice)
            for pk, board in self.boards.items()
            for who, place in board.places.items()
            if place.state == "voted"
        )

    @invariant()
    def the_database_agrees_with_the_model(self) -> None:
        if not hasattr(self, "project"):
            return
        for pair in Pair.objects.filter(project=self.project).select_related("label"):
            board = self.boards[pair.pk]
            counts = Counter(CLASS[choice] for choice in board.votes())
            assert (pair.n_a, pair.n_b, pair.n_tie) == (counts["a"], counts["b"], counts["tie"])
            assert (pair.asked, pair.open_slots) == (board.asked, board.open())
            assert (pair.state, pair.cast) == (board.state(), board.cast)
            assert (pair.first, pair.second) == board.first_two()
            label = getattr(pair, "label", None)
            assert (label.n_votes if label else 0) == (
                len(board.votes()) if board.state() != "open" else 0
            )
        stored = Assignment.objects.in_project(self.project)
        found = {
            (one.pair_id, one.annotator_id): (one.state, one.surplus and one.state != "skipped")
            for one in stored
        }
        assert found == {
            (pk, self.people[who].pk): (place.state, place.surplus)
            for pk, board in self.boards.items()
            for who, place in board.places.items()
        }

    @invariant()
    def nobody_holds_more_than_two_leases_and_sides_add_up(self) -> None:
        if not hasattr(self, "project"):
            return
        assert all(len(self.leases(who)) <= 2 for who in range(PEOPLE))
        holding = Assignment.objects.in_project(self.project).filter(
            state__in=("reserved", "voted"), surplus=False
        )
        balance: Counter[int] = Counter()
        for pair, left in holding.values_list("pair_id", "left"):
            balance[pair] += 1 if left == "a" else -1
        for pk, stored in Pair.objects.filter(project=self.project).values_list(
            "pk", "left_balance"
        ):
            assert stored == balance[pk]

    def teardown(self) -> None:
        for number, expected in getattr(self, "versions", {}).items():
            version = self.project.dataset_versions.get(number=number)
            columns = ("pair_id", "annotator_id", "choice", "seq")
            rows = dataset_versions.votes_in(version, include_simulated=True, columns=columns)
            assert sorted(row[:3] for row in rows) == expected


QUICK = settings(
    max_examples=examples(20),
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.django_db
def test_any_interleaving_leaves_what_the_model_says() -> None:
    run_state_machine_as_test(QueueMachine, settings=QUICK)


@pytest.mark.long
@pytest.mark.django_db
def test_ten_thousand_steps_of_any_interleaving_leave_what_the_model_says() -> None:
    thorough = settings(QUICK, max_examples=250, stateful_step_count=50)
    run_state_machine_as_test(QueueMachine, settings=thorough)
