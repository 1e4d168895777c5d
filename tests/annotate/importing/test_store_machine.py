"""Files in any order, cut anywhere, again and taken back, against a model of a few lines."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from annotate.importing.imported_row import Row
from annotate.importing.row_store import Writer, in_the_way, undo
from annotate.models import Import, Label, Pair, Project
from annotate.queue import recount
from annotate.queue.recount import STORED
from tests.annotate.importing.test_row_store import TURNED, judged
from tests.conftest import examples

TEXTS = [("One.", "Two."), ("One.", "Three."), ("Same.", "Same.")]
MODELS = [("", ""), ("m1", "m2"), ("m1", "m3")]
CHOICES = ("a", "b", "tie", "both_bad")
numbers = itertools.count()

Spot = tuple[int, int]
"""A pair of the model: its texts and its models by number."""


@dataclass(frozen=True)
class Said:
    """One row: who said what of which pair."""

    texts: int
    models: int
    rater: str
    choice: str
    swapped: bool

    @property
    def spot(self) -> Spot:
        return self.texts, self.models

    def row(self) -> Row:
        return judged(
            (self.rater, self.choice),
            texts=TEXTS[self.texts],
            models=MODELS[self.models],
            swapped=self.swapped and self.is_told_apart,
        )

    @property
    def is_told_apart(self) -> bool:
        return self.texts < 2 or self.models > 0


rows = st.builds(
    Said,
    texts=st.integers(0, len(TEXTS) - 1),
    models=st.integers(0, len(MODELS) - 1),
    rater=st.sampled_from(["", "anna", "bob", "cem"]),
    choice=st.sampled_from(CHOICES),
    swapped=st.booleans(),
)


@dataclass
class Board:
    """The votes on one pair: of known people the last, of unknown ones as many as a file had."""

    known: dict[str, str] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)

    def votes(self) -> Counter[tuple[str, str]]:
        named = Counter(self.known.items())
        named.update({("", choice): n for choice, n in self.unknown.items()})
        return +named


def after(boards: dict[Spot, Board], file: list[Said]) -> dict[Spot, Board]:
    """The boards once a file has been imported."""
    new = {spot: Board(dict(b.known), Counter(b.unknown)) for spot, b in boards.items()}
    in_file: dict[Spot, Counter[str]] = {}
    for said in file:
        board = new.setdefault(said.spot, Board())
        if said.rater:
            board.known[said.rater] = said.choice
        else:
            in_file.setdefault(said.spot, Counter())[said.choice] += 1
    for spot, counted in in_file.items():
        new[spot].unknown |= counted
    return new


class StoreMachine(RuleBasedStateMachine):
    """Imports come, come again, come in pieces, and are taken back."""

    @initialize()
    def start(self) -> None:
        n = next(numbers)
        self.project = Project.objects.create(slug=f"store-{n}", name="Store")
        self.boards: dict[Spot, Board] = {}
        self.done: list[tuple[Import, dict[Spot, Board]]] = []

    @rule(file=st.lists(rows, min_size=1, max_size=8), cut=st.integers(1, 8), ask=st.booleans())
    def bring(self, file: list[Said], cut: int, ask: bool) -> None:
        by = Import.objects.create(project=self.project, file_name="some.csv")
        judged_as = "ask" if ask else "labels"
        writer = Writer(self.project, now=timezone.now(), by=by, judged=judged_as)
        dry = Writer(self.project, now=timezone.now(), judged=judged_as, dry_run=True)
        pieces = [file[:cut], file[cut:]]
        for piece in pieces:
            dry.add([said.row() for said in piece])
        for piece in pieces:
            writer.add([said.row() for said in piece])
        assert dry.added == writer.added
        self.done.append((by, self.boards))
        self.boards = after(self.boards, file)

    @rule(file=st.lists(rows, min_size=1, max_size=6))
    def bring_twice(self, file: list[Said]) -> None:
        self.bring(file, 3, False)
        again = Writer(self.project, now=timezone.now())
        again.add([said.row() for said in file])
        assert not any(again.added[name] for name in ("prompts", "completions", "pairs", "votes"))

    @rule()
    def take_the_last_back(self) -> None:
        if self.done:
            by, before = self.done.pop()
            undo(by)
            self.boards = before

    @rule()
    def take_the_first_back(self) -> None:
        """Where no later import rests on it, its pairs go and all others stay."""
        if len(self.done) < 2 or in_the_way(self.done[0][0]):
            return
        (first, before), (_, since) = self.done[:2]
        undo(first)
        gone = since.keys() - before.keys()

        def without(boards: dict[Spot, Board]) -> dict[Spot, Board]:
            return {spot: board for spot, board in boards.items() if spot not in gone}

        self.done = [(one, without(boards)) for one, boards in self.done[1:]]
        self.boards = without(self.boards)

    def _stored(self) -> dict[Spot, Counter[tuple[str, str]]]:
        stored = {}
        pairs = self.project.pairs.select_related("completion_a", "completion_b")
        for pair in pairs:
            texts = (pair.completion_a.text, pair.completion_b.text)
            models = (pair.policy_a, pair.policy_b)
            turned = texts not in TEXTS or models not in MODELS
            if turned:
                texts, models = texts[::-1], models[::-1]
            spot = (TEXTS.index(texts), MODELS.index(models))
            votes = Counter[tuple[str, str]]()
            for name, choice in pair.assignments.standing().values_list(
                "annotator__first_name", "choice"
            ):
                rater = "" if name.startswith("imported") else name
                votes[rater, TURNED.get(choice, choice) if turned else choice] += 1
            assert spot not in stored
            stored[spot] = votes
        return stored

    @invariant()
    def the_project_holds_exactly_what_was_said(self) -> None:
        stored = self._stored()
        assert stored == {spot: board.votes() for spot, board in self.boards.items()}

    @invariant()
    def counting_again_changes_nothing(self) -> None:
        pairs = self.project.pairs.order_by("pk")
        before = list(pairs.values(*STORED))
        labels = Label.objects.filter(pair__project=self.project).order_by("pair")
        was = list(labels.values("pair", "outcome", "margin", "n_votes"))
        recount.recount([pair.pk for pair in pairs], now=timezone.now())
        assert list(pairs.values(*STORED)) == before
        assert list(labels.values("pair", "outcome", "margin", "n_votes")) == was

    @invariant()
    def two_equal_texts_are_offered_to_nobody(self) -> None:
        same = [pair for pair in self.project.pairs.all() if pair.of_one_text]
        assert all(pair.open_slots == 0 for pair in same)
        assert not any(pair.state in (Pair.State.OPEN, Pair.State.ADJUDICATE) for pair in same)


QUICK = settings(
    max_examples=examples(6),
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.django_db
def test_any_sequence_of_imports_holds_what_the_model_says() -> None:
    run_state_machine_as_test(StoreMachine, settings=QUICK)


@pytest.mark.long
@pytest.mark.django_db
def test_any_long_sequence_of_imports_holds_what_the_model_says() -> None:
    thorough = settings(QUICK, max_examples=150, stateful_step_count=20)
    run_state_machine_as_test(StoreMachine, settings=thorough)
