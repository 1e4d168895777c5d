"""Scales, reasons to skip and warnings, through the queue and the labelling screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate import exchange, queue
from annotate.models import Assignment, Flag, Label, Pair, Project, VoteRevision
from annotate.models.assignment import MAX_STRENGTH
from annotate.votes import dataset_versions, labels, scales
from tests.annotate.queue.test_queue import lease
from training.rlhf import rows
from training.rlhf.data import soft_labels

MakePairs = Callable[..., list[Pair]]
ClientFor = Callable[[User], Client]
SCALES = list(scales.SCALES)
KEYS = [(scale, key) for scale in SCALES for key in scales.scale_choices(scale)]


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_is_the_same_from_both_sides_and_ends_with_both_bad(scale: str) -> None:
    votes = list(scales.scale_choices(scale).values())
    swap = {"left": "right", "right": "left", "tie": "tie"}
    assert votes[-1] == ("both_bad", 0)
    assert [(swap[side], strength) for side, strength in reversed(votes[:-1])] == votes[:-1]
    assert list(scales.scale_choices(scale)) == [str(i + 1) for i in range(len(votes))]
    captions = [point.caption for point in scales.all_points(scale).values()]
    assert len(set(captions)) == len(captions)


@pytest.mark.parametrize("strength", range(-1, MAX_STRENGTH + 2))
def test_the_engine_reads_exactly_the_strengths_that_annotators_can_give(strength: int) -> None:
    vote = {"annotator": "ann", "choice": "a", "strength": strength}
    row = {"pair_id": "p", "prompt_id": "q", "messages": [{"role": "user", "content": "Hello"}]}
    row |= {"completion_a": "One.", "completion_b": "Two.", "votes": [vote]}
    if 0 <= strength <= MAX_STRENGTH:
        read = rows.parse(rows.Preference, row, "line 1")
        assert read.votes[0].strength == strength
    else:
        with pytest.raises(ValueError, match="strength"):
            rows.parse(rows.Preference, row, "line 1")


def test_the_strongest_votes_of_the_finest_scale_give_the_full_margin_on_both_sides() -> None:
    strongest = max(strength for _, strength in scales.scale_choices("seven").values())
    web = labels.verdict([("a", strongest)])
    engine = soft_labels.soft_label([rows.Vote(annotator="ann", choice="a", strength=strongest)])
    assert web and engine
    assert web.margin == engine.strength == 1.0


def test_only_scales_without_a_tie_force_a_choice() -> None:
    ties = {s for s in SCALES if ("tie", 0) in scales.scale_choices(s).values()}
    assert ties == {"three", "seven"}


@pytest.mark.parametrize(("scale", "key"), KEYS)
def test_each_key_of_each_scale_is_offered_and_stored(
    scale: str, key: str, project: Project, ann: User, make_pairs: MakePairs, client_for: ClientFor
) -> None:
    make_pairs(1)
    project.scale = scale
    project.save()
    client = client_for(ann)
    page = client.get(reverse("label", args=["desk"])).content.decode()
    assert f'name="vote" value="{key}"' in page
    own = Assignment.objects.get()
    client.post(reverse("vote", args=["desk", own.token]), {"vote": key})
    own.refresh_from_db()
    side, strength = scales.scale_choices(scale)[key]
    shown = {"a": "left", "b": "right"} if own.left == "a" else {"a": "right", "b": "left"}
    assert (shown.get(own.choice, own.choice), own.strength) == (side, strength)


def test_a_key_means_what_it_said_on_the_screen_though_the_scale_has_changed_since(
    project: Project, ann: User, make_pairs: MakePairs, client_for: ClientFor
) -> None:
    make_pairs(1)
    client = client_for(ann)
    page = client.get(reverse("label", args=["desk"])).text
    assert '<input type="hidden" name="scale" value="seven">' in page
    own = Assignment.objects.get()
    Project.objects.update(scale="four")
    client.post(reverse("vote", args=["desk", own.token]), {"vote": "4", "scale": "seven"})
    own.refresh_from_db()
    assert (own.choice, own.strength) == ("tie", 0)


@pytest.mark.parametrize(("scale", "key"), [("binary", "4"), ("three", "7"), ("seven", "9")])
def test_a_key_beyond_the_scale_is_refused(
    scale: str, key: str, project: Project, ann: User, make_pairs: MakePairs, client_for: ClientFor
) -> None:
    make_pairs(1)
    project.scale = scale
    project.save()
    token = lease(project, ann).token
    answer = client_for(ann).post(reverse("vote", args=["desk", token]), {"vote": key})
    assert answer.status_code == 400
    assert Assignment.objects.get().state == "reserved"


def test_negligibly_better_decides_with_margin_zero_and_reaches_training_as_such(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    for user in (ann, ben):
        queue.vote(user, lease(project, user).token, choice="a", strength=0)
    label = Label.objects.get(pair=pair)
    assert (label.outcome, label.margin, label.vote_fraction) == ("a", 0, 1)
    version = exchange.freeze(project)
    (row,) = exchange.preferences(project, version.number, include_simulated=False)
    assert [(vote["choice"], vote["strength"]) for vote in row["votes"]] == [("a", 0)] * 2


@pytest.mark.parametrize(
    ("reasons", "state"),
    [
        (["broken", "broken"], "retired"),
        (["identical", "broken"], "retired"),
        (["unsafe", "unsafe"], "retired"),
        (["hard", "hard"], "open"),
        (["other", ""], "open"),
        (["broken", "unsafe"], "open"),
        (["broken", "my own words"], "open"),
    ],
)
def test_what_two_skips_do_to_a_pair_follows_from_their_reasons(
    reasons: list[str],
    state: str,
    project: Project,
    ann: User,
    ben: User,
    cleo: User,
    make_pairs: MakePairs,
) -> None:
    (pair,) = make_pairs(1)
    for user, reason in zip((ann, ben), reasons, strict=True):
        queue.skip(user, lease(project, user).token, reason=reason)
        assert queue.next_pair(project, user) is None
    pair.refresh_from_db()
    assert pair.state == state
    assert (queue.next_pair(project, cleo) is None) == (state == "retired")
    assert Flag.objects.count() == reasons.count("unsafe")


def test_a_reason_may_follow_the_skip_and_be_corrected(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    queue.skip(ann, lease(project, ann).token, reason="broken")
    token = lease(project, ben).token
    with pytest.raises(queue.Gone):
        queue.skip_reason(ben, token, "broken")
    queue.skip(ben, token)
    states = []
    for reason in ("unsafe", "broken", "broken", "hard"):
        queue.skip_reason(ben, token, reason)
        pair.refresh_from_db()
        states.append((pair.state, Flag.objects.count()))
    assert states == [("open", 1), ("retired", 0), ("retired", 0), ("open", 0)]
    assert (pair.open_slots, pair.asked) == (2, 2)


def test_undoing_the_skip_that_retired_a_pair_brings_it_back(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    queue.skip(ann, lease(project, ann).token, reason="broken")
    token = lease(project, ben).token
    queue.skip(ben, token, reason="broken")
    queue.undo(ben, project)
    assert queue.vote(ben, token, choice="a").status == "stored"
    pair.refresh_from_db()
    assert (pair.state, pair.n_a, pair.open_slots) == ("open", 1, 1)


def test_a_vote_under_way_on_a_retired_pair_is_kept(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, wanted=3, limit=3, asked=3, open_slots=3)
    tokens = [lease(project, user).token for user in (ann, ben, cleo)]
    for user, token in ((ann, tokens[0]), (ben, tokens[1])):
        queue.skip(user, token, reason="identical")
    assert queue.vote(cleo, tokens[2], choice="b").status == "stored"
    pair.refresh_from_db()
    assert (pair.state, pair.n_b, pair.open_slots) == ("retired", 1, 0)


def test_two_peoples_unsafe_flags_retire_a_pair_and_one_persons_do_not(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    token = lease(project, ann).token
    assert [queue.flag(ann, token, "unsafe") for _ in range(2)] == [True, False]
    assert queue.flag(ann, token, "pii")
    with pytest.raises(queue.UnknownAssignment):
        queue.flag(ben, token, "unsafe")
    pair.refresh_from_db()
    assert pair.state == "open"
    queue.skip(ben, lease(project, ben).token, reason="unsafe")
    pair.refresh_from_db()
    assert (pair.state, pair.open_slots) == ("retired", 0)


def test_gold_pairs_are_not_retired_by_the_people_they_measure(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, kind="gold", arms="both")
    for user in (ann, ben):
        queue.skip(user, lease(project, user).token, reason="broken")
    pair.refresh_from_db()
    assert pair.state == "open"


def test_a_remark_on_a_frozen_vote_is_a_new_revision(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    token = lease(project, ann).token
    queue.vote(ann, token, choice="a", reasons=["Style"], first_key_ms=7)
    first = exchange.freeze(project)
    for _ in range(2):
        queue.remark(ann, token, comment="Too long.")
    assert VoteRevision.objects.get().first_key_ms == 7
    second = exchange.freeze(project)
    held = [
        list(
            dataset_versions.votes_in(
                v, include_simulated=True, columns=("pair_id", "seq", "comment")
            )
        )
        for v in (first, second)
    ]
    assert [rows[0][2] for rows in held] == ["", "Too long."]
    stored = Assignment.objects.get()
    assert (stored.revision, stored.reasons, stored.choice) == (2, ["Style"], "a")


def test_nothing_is_said_about_a_vote_that_was_taken_back(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    token = lease(project, ann).token
    queue.vote(ann, token, choice="a")
    queue.undo(ann, project)
    with pytest.raises(queue.Gone):
        queue.remark(ann, token, comment="Hm.")


SIDES = ("left", "right", "tie", "both_bad")
BALLOTS = [(scale, side, how) for scale in SCALES for side in SIDES for how in range(4)]


@pytest.mark.parametrize(("scale", "side", "strength"), BALLOTS)
def test_rest_takes_exactly_the_votes_that_the_scale_has_a_button_for(
    scale: str,
    side: str,
    strength: int,
    project: Project,
    ann: User,
    make_pairs: MakePairs,
    api_for: Callable[[User], APIClient],
) -> None:
    make_pairs(1)
    Project.objects.update(scale=scale)
    own = lease(project, ann)
    ballot = {"choice": side, "strength": strength}
    said = api_for(ann).post(f"/api/v1/assignments/{own.token}/vote/", ballot, format="json")
    counted = strength if side in ("left", "right") else 0
    known = (side, counted) in scales.scale_choices(scale).values()
    assert said.status_code == (200 if known else 400)
    assert Assignment.objects.get().state == ("voted" if known else "reserved")
    if not known:
        (problem,) = said.json()["errors"].values()
        assert "scale" in problem[0]


def test_a_vote_is_replayed_whatever_the_scale_has_become(
    project: Project, ann: User, make_pairs: MakePairs, api_for: Callable[[User], APIClient]
) -> None:
    make_pairs(1)
    own, api = lease(project, ann), api_for(ann)
    for status in ("stored", "replayed"):
        said = api.post(f"/api/v1/assignments/{own.token}/vote/", {"choice": "tie"}, format="json")
        assert said.json()["status"] == status
        Project.objects.update(scale="binary")
