"""Rows into the database: one pair per two replies with all its votes, and nothing made up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone

from annotate import exchange, queue
from annotate.exporting.freezing import freeze
from annotate.importing import imported_row
from annotate.importing.imported_row import Comparison, Judgement, Reply, Row
from annotate.importing.row_store import Writer
from annotate.models import (
    Adjudication,
    Assignment,
    Completion,
    Import,
    Label,
    Pair,
    Project,
    Prompt,
    Rating,
    VoteRevision,
)
from annotate.quality import bradley_terry
from annotate.queue import recount
from annotate.votes import dataset_versions

Store = Callable[..., Writer]
TURNED = {"a": "b", "b": "a"}


def judged(
    *votes: tuple[str, str] | Judgement,
    ask: str = "Where is my order?",
    texts: tuple[str, str] = ("On its way.", "No idea."),
    models: tuple[str, str] = ("", ""),
    swapped: bool = False,
    id: str = "",
    margin: float | None = None,
    **more: Any,
) -> Row:
    """A pair with votes of (rater, choice). Swapped, it says the same the other way round."""
    said = [vote if isinstance(vote, Judgement) else Judgement(vote[1], vote[0]) for vote in votes]
    replies = [Reply(text, model) for text, model in zip(texts, models, strict=True)]
    if swapped:
        replies.reverse()
        said = [
            Judgement(TURNED.get(one.choice, one.choice), one.rater, left=TURNED.get(one.left, ""))
            for one in said
        ]
    comparison = Comparison(0, 1, said, source_id=id, margin=margin)
    messages = [{"role": "user", "content": ask}]
    return Row(messages=messages, replies=replies, comparisons=[comparison], **more)


@pytest.fixture
def store(project: Project) -> Store:
    """store(row, ...): the rows of one file; keywords go to the Writer."""

    def stored(*rows: Row, project: Project = project, **options: Any) -> Writer:
        writer = Writer(project, now=timezone.now(), **options)
        writer.notes = writer.add(rows)
        return writer

    return stored


def votes(pair: Pair) -> dict[str, str]:
    """Rater -> choice of the votes that stand, in their order."""
    standing = pair.assignments.standing().order_by("seq")
    return dict(standing.values_list("annotator__first_name", "choice"))


# Pairs


@pytest.mark.parametrize("swapped", [False, True])
def test_rows_of_the_same_replies_are_one_pair_with_all_their_votes(store, project, swapped):
    writer = store(
        judged(("anna", "a")), judged(("bob", "a"), swapped=swapped), judged(("cem", "b"))
    )
    pair = project.pairs.get()
    assert votes(pair) == {"anna": "a", "bob": "a", "cem": "b"}
    assert (pair.n_a, pair.n_b, pair.state, pair.open_slots) == (2, 1, "resolved", 0)
    assert (writer.added["pairs"], writer.added["merged"]) == (1, 2)


def test_a_swapped_row_turns_all_that_is_said_of_the_sides(store, project):
    store(judged())
    one = Judgement("a", "anna", left="b", criteria={"Helpful": "a", "Short": "tie"})
    row = judged(one)
    store(Row(messages=row.messages, replies=row.replies[::-1], comparisons=row.comparisons))
    vote = Assignment.objects.get()
    assert (vote.choice, vote.left) == ("b", "a")
    assert vote.criteria == {"Helpful": "b", "Short": "tie"}


def test_rows_that_name_other_models_are_other_pairs_with_the_names_on_their_sides(store, project):
    store(
        judged(("anna", "a"), models=("m1", "m2")),
        judged(("anna", "b"), models=("m3", "m2")),
        judged(("anna", "a"), models=("m2", "m1"), texts=("No idea.", "On its way.")),
    )
    named = set(project.pairs.values_list("policy_a", "policy_b"))
    assert named == {("m1", "m2"), ("m3", "m2")}
    assert Completion.objects.count() == 2


def test_rows_with_other_names_stay_apart_only_where_somebody_would_vote_twice(store, project):
    rows = [
        judged(("anna", "a"), ("bob", "b"), id="7"),
        judged(("anna", "a"), ("bob", "a"), id="8"),
        judged(("cem", "tie"), id="9"),
    ]
    store(*rows)
    again = store(*rows)
    assert [votes(pair) for pair in project.pairs.order_by("pk")] == [
        {"anna": "a", "bob": "b", "cem": "tie"},
        {"anna": "a", "bob": "a"},
    ]
    assert list(project.pairs.order_by("pk").values_list("source_ids", flat=True)) == [
        ["7", "9"],
        ["8"],
    ]
    assert (again.added["pairs"], again.added["votes"], again.added["duplicates"]) == (0, 0, 5)


def test_two_equal_texts_are_a_pair_where_people_judged_them_and_are_never_offered(
    store, project, ann
):
    same = ("The same.", "The same.")
    writer = store(
        judged(("anna", "a"), ("bob", "a"), texts=same, models=("m1", "m2")),
        judged(("anna", "a"), ("bob", "b"), texts=same, models=("m1", "m3")),
        judged(texts=same, ask="Nobody judged this."),
        judged=("ask"),
    )
    states = dict(project.pairs.values_list("policy_b", "state"))
    assert states == {"m2": "resolved", "m3": "retired"}
    assert writer.added["alike"] == 1
    assert queue.next_pair(project, ann) is None
    assert project.pairs.filter(fell__isnull=False).count() == 2
    assert list(exchange.preferences(project, freeze(project), include_simulated=False)) == []


def test_both_models_of_one_text_are_on_the_leaderboard(store, project):
    same = ("The same.", "The same.")
    store(
        judged(("anna", "a"), ("bob", "tie"), texts=same, models=("m1", "m2")),
        judged(("anna", "b"), texts=("The same.", "Other."), models=("m2", "m1")),
    )
    board = bradley_terry.leaderboard(bradley_terry.meetings(project, "training"))
    assert {one.policy: one.votes for one in board.standings} == {"m1": 3, "m2": 3}


# Votes


def test_a_vote_holds_what_the_source_knew_and_nothing_else(store, project):
    at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    known = Judgement(
        "a",
        "anna",
        strength=3,
        left="b",
        at=at,
        wall_ms=4100,
        criteria={"Helpful": "a"},
        comment="Kind.",
        reasons=["Clarity"],
        metadata={"split": "test"},
    )
    store(judged(known, ("bob", "tie")))
    anna, bob = Assignment.objects.order_by("seq")
    assert (anna.strength, anna.left, anna.voted_at, anna.wall_ms) == (3, "b", at, 4100)
    assert (anna.criteria, anna.comment, anna.reasons) == ({"Helpful": "a"}, "Kind.", ["Clarity"])
    assert anna.metadata == {"split": "test"}
    for vote in (anna, bob):
        assert vote.imported and vote.guideline_version == 0
        assert (vote.stream, vote.propensity, vote.leased_at) == ("", None, None)
    assert (bob.strength, bob.left, bob.voted_at, bob.active_ms) == (None, "", None, None)
    pair = project.pairs.get()
    assert (pair.last_vote_at, pair.second_at, pair.left_balance) == (at, None, -1)


def test_a_known_persons_later_vote_corrects_the_earlier_one(store, project):
    writer = store(judged(("anna", "a")), judged(("anna", "b")), judged(("anna", "b")))
    assert votes(project.pairs.get()) == {"anna": "b"}
    assert Label.objects.get().outcome == "b"
    assert (writer.added["votes"], writer.added["revised"], writer.added["duplicates"]) == (1, 1, 1)
    assert [(note.row, note.field) for note in writer.notes] == [(1, "votes")]


def test_a_corrected_vote_that_a_version_holds_becomes_a_revision(store, project):
    store(judged(("anna", "a")))
    version = freeze(project)
    store(judged(("anna", "b")))
    pair = project.pairs.get()
    assert (pair.n_a, pair.n_b, votes(pair)) == (0, 1, {"anna": "b"})
    old = VoteRevision.objects.get()
    assert (old.choice, old.imported, old.frozen_until) == ("a", True, version.number)
    held = dataset_versions.votes_in(
        version, include_simulated=True, columns=("pair_id", "choice", "seq")
    )
    assert [choice for _, choice, _ in held] == ["a"]


def test_a_vote_that_a_reviewer_decided_upon_is_not_changed(store, project, olga):
    from annotate.review import adjudication

    store(judged(("anna", "a"), ("bob", "b")))
    adjudication.decide(olga, project.pairs.get(), choice="tie")
    writer = store(judged(("anna", "b")), judged(("cem", "b")))
    pair = project.pairs.get()
    assert votes(pair) == {"anna": "a", "bob": "b", "cem": "b"}
    assert (pair.state, pair.label.outcome, pair.label.n_votes) == ("resolved", "tie", 3)
    assert writer.added["not_replaced"] == 1 and writer.notes[0].row == 0
    assert Adjudication.objects.count() == 1


def test_votes_of_nobody_known_are_other_peoples_and_the_same_file_adds_none(store, project):
    file = [judged(("", "a")), judged(("", "b")), judged(("", "a"), swapped=False)]
    first, again = store(*file), store(*file)
    assert votes(project.pairs.get()) == {"imported": "a", "imported 2": "b", "imported 3": "a"}
    assert (first.added["votes"], first.added["annotators"]) == (3, 3)
    assert (again.added["votes"], again.added["duplicates"]) == (0, 3)
    more = store(judged(("", "b")), judged(("", "b")))
    assert (more.added["votes"], more.added["duplicates"]) == (1, 1)


def test_votes_that_people_are_to_confirm_leave_the_pair_in_the_queue(store, project, ann, ben):
    store(judged(("anna", "a")), judged=("ask"))
    pair = project.pairs.get()
    assert (pair.state, pair.open_slots, pair.asked) == ("open", 1, 2)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="b")
    queue.vote(ben, queue.next_pair(project, ben).token, choice="b")
    pair.refresh_from_db()
    assert (pair.state, pair.n_a, pair.n_b) == ("resolved", 1, 2)


def test_the_same_file_as_labels_settles_what_people_were_asked_about_before(store, project, ann):
    store(judged(("anna", "a")), judged=("ask"))
    store(judged(("anna", "a")))
    pair = project.pairs.get()
    assert (pair.state, pair.open_slots, pair.label.outcome) == ("resolved", 0, "a")
    assert queue.next_pair(project, ann) is None


def test_votes_for_a_pair_on_somebodys_screen_leave_them_their_place(store, project, ann):
    store(judged())
    lease = queue.next_pair(project, ann)
    store(judged(("anna", "a"), ("bob", "a")))
    pair = project.pairs.get()
    assert (pair.state, pair.asked, pair.open_slots) == ("resolved", 3, 0)
    assert queue.vote(ann, lease.token, choice="b").status == "stored"
    pair.refresh_from_db()
    assert (pair.state, pair.n_a, pair.n_b) == ("resolved", 2, 1)


@pytest.mark.parametrize("judged_as", ["labels", "ask"])
@pytest.mark.parametrize("preset", ["consensus", "single", "evaluation"])
def test_counting_again_what_was_imported_changes_nothing(store, project, preset, judged_as):
    project.votes, project.overlap_share = preset, 0.5
    project.save()
    choices = ["", "a", "b", "aa", "ab", "aab", "abt", "aabb", "aaabb", "ttab", "tttt"]
    names = {"a": "a", "b": "b", "t": "tie"}
    store(
        *(
            judged(*((f"r{i}", names[c]) for i, c in enumerate(cast)), ask=f"{cast} {n}")
            for cast in choices
            for n in range(4)
        ),
        judged=judged_as,
    )
    columns = [*recount.STORED, "key"]
    before = list(project.pairs.order_by("pk").values(*columns))
    labels = Label.objects.order_by("pair").values("pair", "outcome", "n_votes", "margin")
    labels_before = list(labels)
    recount.recount([pair.pk for pair in project.pairs.all()], now=timezone.now())
    assert list(project.pairs.order_by("pk").values(*columns)) == before
    assert list(labels.all()) == labels_before


# Beside votes


def test_tags_metadata_and_margins_stay_with_their_pairs(store, project):
    store(
        judged(("anna", "a"), tags=["short"], metadata={"set": 1}, margin=3.0),
        judged(("anna", "b"), texts=("One.", "Two."), tags=["long"], metadata={"set": 2}),
    )
    one, two = project.pairs.order_by("pk")
    assert (one.tags, one.metadata, one.source_margin) == (["short"], {"set": 1}, 3.0)
    assert (two.tags, two.metadata, two.source_margin) == (["long"], {"set": 2}, None)
    prompt = Prompt.objects.get()
    assert (prompt.tags, prompt.metadata) == ([], {})


def test_what_a_row_says_otherwise_of_a_pair_stays_with_its_votes(store, project):
    store(
        judged(("anna", "a"), metadata={"id": 1, "set": "x"}),
        judged(("bob", "a"), metadata={"id": 2, "set": "x"}),
    )
    assert project.pairs.get().metadata == {"id": 1, "set": "x"}
    kept = dict(Assignment.objects.values_list("annotator__first_name", "metadata"))
    assert kept == {"anna": {}, "bob": {"id": 2}}


def test_a_later_file_adds_what_was_missing_and_says_what_it_did_not_replace(store, project):
    ask = [{"role": "user", "content": "Hi"}]
    store(Row(messages=ask, replies=[Reply("Hello.")], metadata={"set": 1}))
    writer = store(
        Row(messages=ask, reference="Hello!", tags=["new"]),
        Row(
            messages=ask,
            replies=[Reply("Hello.", "m1", metadata={"score": 2})],
            metadata={"set": 3},
        ),
        Row(messages=ask, reference="Good day."),
    )
    prompt, reply = Prompt.objects.get(), Completion.objects.get()
    assert (prompt.reference, prompt.tags) == ("Hello!", ["new"])
    assert (reply.policy, reply.metadata) == ("m1", {"set": 1, "score": 2})
    assert [(note.row, note.field) for note in writer.notes] == [(1, "set"), (2, "reference")]
    assert writer.added["not_replaced"] == 2


def test_replies_of_several_turns_and_tools_are_kept_as_they_came(store, project):
    turns = [
        {"role": "assistant", "content": "Which?"},
        {"role": "user", "content": "The red one."},
    ]
    tools = [{"name": "look_up"}]
    ask = [{"role": "user", "content": "Hi"}]
    store(
        Row(
            messages=ask,
            replies=[Reply("Which?\n\nuser: The red one.", messages=turns)],
            tools=tools,
        ),
        Row(messages=ask, replies=[Reply("Which?\n\nuser: The red one.")]),
    )
    assert [prompt.tools for prompt in Prompt.objects.order_by("pk")] == [tools, None]
    assert [one.messages for one in Completion.objects.order_by("pk")] == [turns, None]


def test_ratings_are_rows_of_their_raters_and_a_later_one_counts(store, project):
    def rated(value: float, rater: str = "") -> Row:
        rating = imported_row.Rating("helpfulness", value, rater)
        return Row(
            messages=[{"role": "user", "content": "Hi"}],
            replies=[Reply("Hello.", ratings=[rating])],
        )

    file = [rated(4), rated(3), rated(5, "anna"), rated(2, "anna")]
    writer = store(*file)
    kept = set(Rating.objects.values_list("annotator__first_name", "value"))
    assert kept == {(None, 4.0), ("imported 2", 3.0), ("anna", 2.0)}
    assert (writer.added["ratings"], writer.added["revised"]) == (3, 1)
    again = store(rated(4), rated(3), rated(2, "anna"))
    assert (again.added["ratings"], again.added["duplicates"]) == (0, 3)


# Runs


def test_a_dry_run_counts_what_the_import_then_adds_and_writes_nothing(store, project):
    file = [
        judged(("anna", "a"), ("", "b"), id="1"),
        judged(("", "b"), ("bob", "a"), swapped=True),
        judged(("anna", "b"), id="2"),
        judged(("anna", "a"), id="1"),
        judged(("anna", "b"), id="1"),
        judged(texts=("x", "x")),
        Row(messages=[{"role": "user", "content": "Hi"}], reference="Hello", tags=["t"]),
    ]
    dry = Writer(project, now=timezone.now(), dry_run=True)
    for row in file:  # one batch each: what earlier ones would have added is remembered
        dry.add([row])
    assert not Prompt.objects.exists() and not project.memberships.exists()
    assert dry.added == store(*file).added
    once_more = Writer(project, now=timezone.now(), dry_run=True)
    for row in file:
        once_more.add([row])
    assert once_more.added == store(*file).added
    assert once_more.added["votes"] == 0


def test_an_import_that_was_cut_short_is_completed_by_the_same_file(store, project):
    file = [judged((f"r{i % 3}", "a"), ("", "b"), ask=f"Q{i // 2}") for i in range(40)]
    store(*file[:23])
    store(*file)
    whole = {pair.prompt.sha256: votes(pair) for pair in project.pairs.select_related("prompt")}
    other = Project.objects.create(slug="other", name="Other")
    store(*file, project=other)
    assert whole == {
        pair.prompt.sha256: votes(pair) for pair in other.pairs.select_related("prompt")
    }


def test_all_that_an_import_adds_names_it(store, project):
    by = Import.objects.create(project=project, file_name="votes.csv")
    store(judged(("anna", "a")), by=by)
    added = (by.prompts.count(), by.completions.count(), by.pairs.count(), by.assignments.count())
    assert added == (1, 2, 1, 1)
