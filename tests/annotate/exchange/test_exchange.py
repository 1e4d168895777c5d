"""The door between labelling and training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from annotate import exchange, queue
from annotate.exporting.freezing import freeze
from annotate.importing.row_store import Writer
from annotate.models import Assignment, Completion, ModelNote, Pair, Project, Prompt
from annotate.models.content import completion_key, is_held_out
from tests.annotate.importing.test_row_store import judged
from tests.annotate.queue.test_queue import lease
from tests.annotate.tool_chat import TRANSCRIPT, tool_pair
from tests.conftest import person
from training.rlhf import rows as engine

MakePairs = Callable[..., list[Pair]]


def vote(project: Project, user: User, choice: str, **options: Any) -> Assignment:
    return queue.vote(user, lease(project, user).token, choice=choice, **options).assignment


def chat(i: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"Question {i}?"}], "tags": ["t"]}


def completions(project: Project, *texts: str) -> list[dict[str, Any]]:
    found = []
    for prompt in exchange.prompts(project):
        for text in texts:
            key = completion_key(prompt["prompt_id"], text)
            row = {"key": key, "prompt_id": prompt["prompt_id"], "text": text, "policy": "new"}
            found.append({**row, "seed": 7, "temperature": 0.7, "top_p": 1.0})
    return found


def candidates(rows: list[dict[str, Any]], **columns: Any) -> list[dict[str, Any]]:
    return [
        {
            "key": engine.candidate_key(a["key"], b["key"]),
            "prompt_id": a["prompt_id"],
            "completion_a": a["key"],
            "completion_b": b["key"],
            "kind": "normal",
            "stream": "active",
            "score": float(i),
            **columns,
        }
        for i, (a, b) in enumerate(zip(rows[::2], rows[1::2], strict=True))
    ]


@pytest.fixture
def filled(project: Project) -> Project:
    """Five prompts with two completions each."""
    exchange.add_prompts(project, [chat(i) for i in range(5)])
    exchange.add_completions(project, completions(project, "Yes.", "No."), source="r1", policy="p1")
    return project


def test_prompts_are_added_once_and_keep_their_split(project: Project) -> None:
    assert exchange.add_prompts(project, [chat(i) for i in range(60)]) == 60
    assert exchange.add_prompts(project, [chat(i) for i in range(70)]) == 10
    found = list(exchange.prompts(project))
    assert [row["messages"][0]["content"] for row in found[:2]] == ["Question 0?", "Question 1?"]
    assert all(row["held_out"] == engine.is_held_out(row["prompt_id"], 0.2) for row in found)
    assert all(row["held_out"] == is_held_out(row["prompt_id"]) for row in found)
    assert 5 <= sum(row["held_out"] for row in found) <= 25


def test_training_gets_the_reference_answers_and_tags_of_prompts(project: Project) -> None:
    exchange.add_prompts(project, [chat(1) | {"reference": "Yes.", "tags": ["toxic"]}, chat(2)])
    found = [engine.parse(engine.Prompt, row, "prompts") for row in exchange.prompts(project)]
    assert [(one.reference, one.tags) for one in found] == [("Yes.", ("toxic",)), ("", ("t",))]


def test_completions_are_added_once_with_how_they_were_sampled(filled: Project) -> None:
    rows = completions(filled, "Yes.", "Maybe.")
    assert exchange.add_completions(filled, rows, source="r2", policy="p2") == 5
    maybe = Completion.objects.filter(text="Maybe.").first()
    assert maybe is not None and (maybe.policy, maybe.source) == ("p2", "r2")
    assert maybe.sampling == {"seed": 7, "temperature": 0.7, "top_p": 1.0}
    assert set(Completion.objects.filter(text="Yes.").values_list("policy", flat=True)) == {"p1"}


def test_a_starter_completion_stays_the_starters(filled: Project) -> None:
    rows = [{**row, "policy": "starter"} for row in completions(filled, "Hello.")]
    exchange.add_completions(filled, rows, source="r2", policy="p2")
    assert set(Completion.objects.filter(text="Hello.").values_list("policy", flat=True)) == {
        "starter"
    }


def test_a_completion_of_an_unknown_prompt_is_refused(filled: Project) -> None:
    row = {**completions(filled, "Hm.")[0], "prompt_id": "0" * 64}
    with pytest.raises(LookupError, match="no prompt"):
        exchange.add_completions(filled, [row], source="r", policy="p")
    assert not Completion.objects.filter(text="Hm.").exists()


def test_pairs_are_added_once_by_key(filled: Project) -> None:
    rows = candidates(completions(filled, "Yes.", "No."))
    assert exchange.add_pairs(filled, rows, source="round-1") == 5
    assert exchange.add_pairs(filled, rows, source="round-2") == 0
    pair = Pair.objects.get(key=rows[3]["key"])
    assert (pair.source, pair.priority, pair.arms, pair.wanted) == ("round-1", 3.0, "active", 2)
    assert {pair.completion_a.text, pair.completion_b.text} == {"Yes.", "No."}
    assert exchange.queue_depth(filled) == 5


def test_evaluation_candidates_want_one_vote(filled: Project) -> None:
    rows = candidates(completions(filled, "Yes.", "No."), kind="evaluation")
    exchange.add_pairs(filled, rows, source="round-1")
    assert set(Pair.objects.values_list("kind", "wanted", "limit")) == {("evaluation", 1, 1)}


def test_two_texts_that_read_the_same_are_no_pair(filled: Project) -> None:
    rows = completions(filled, "Same text.", "Same  text.\n")
    exchange.add_completions(filled, rows, source="r", policy="p")
    assert exchange.add_pairs(filled, candidates(rows), source="r") == 0
    assert not Pair.objects.exists()


def test_a_pair_of_an_unknown_completion_is_refused(filled: Project) -> None:
    rows = candidates(completions(filled, "Yes.", "Never said."))
    with pytest.raises(LookupError, match="no completion"):
        exchange.add_pairs(filled, rows, source="r")
    assert not Pair.objects.exists()


def test_preferences_hold_every_vote_of_the_version_and_nothing_personal(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    (pair,) = make_pairs(1)
    vote(project, ann, "a", strength=3)
    vote(project, ben, "tie")
    version = exchange.freeze(project)
    make_pairs(1)
    vote(project, ann, "a")
    (row,) = exchange.preferences(project, version, include_simulated=False)
    assert row["votes"] == [
        {"annotator": "ann-ann", "choice": "a", "strength": 3, "weight": 1.0},
        {"annotator": "ann-ben", "choice": "tie", "strength": 2, "weight": 1.0},
    ]
    assert (row["pair_id"], row["prompt_id"]) == (pair.key, pair.prompt.sha256)
    assert (row["completion_a"], row["completion_b"]) == (
        pair.completion_a.text,
        pair.completion_b.text,
    )
    assert row["held_out"] == pair.prompt.held_out and row["kind"] == "normal"


def test_the_engine_reads_what_the_exchange_writes(
    project: Project, make_pairs: MakePairs, ann: User, tmp_path: Any
) -> None:
    make_pairs(3)
    for _ in range(3):
        vote(project, ann, "both_bad")
    version = exchange.freeze(project).number
    written = exchange.preferences(project, version, include_simulated=True)
    engine.write(tmp_path / "preferences.jsonl", written)
    engine.write(tmp_path / "prompts.jsonl", exchange.prompts(project))
    assert len(list(engine.read(engine.Preference, tmp_path / "preferences.jsonl"))) == 3
    assert len(list(engine.read(engine.Prompt, tmp_path / "prompts.jsonl"))) == 3


@pytest.mark.parametrize("kind", ["evaluation", "gold", "retest"])
def test_pairs_that_measure_never_teach(
    project: Project, make_pairs: MakePairs, ann: User, kind: str
) -> None:
    make_pairs(1, kind=kind, arms="both")
    vote(project, ann, "a")
    version = exchange.freeze(project)
    assert list(exchange.preferences(project, version, include_simulated=True)) == []


def test_simulated_and_surplus_votes_are_left_out_unless_asked_for(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    (pair,) = make_pairs(1)
    vote(project, ann, "a")
    vote(project, ben, "a", simulated=True)
    late = person("late", project=project, role="annotator")
    Assignment.objects.create(
        pair=pair,
        annotator=late,
        state="voted",
        choice="b",
        left="a",
        stream="random",
        strength=2,
        surplus=True,
        seq=3,
        leased_at=pair.created_at,
        voted_at=pair.created_at,
    )
    version = exchange.freeze(project)

    def names(include: bool) -> list[str]:
        (row,) = exchange.preferences(project, version, include_simulated=include)
        return [one["annotator"] for one in row["votes"]]

    assert names(False) == ["ann-ann"]
    assert names(True) == ["ann-ann", "ann-ben"]


def test_resolved_since_counts_what_a_version_does_not_hold(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    make_pairs(12)
    Prompt.objects.update(held_out=False)
    for _ in range(3):
        vote(project, ann, "a"), vote(project, ben, "a")
    assert exchange.resolved_since(project, None) == 3
    version = exchange.freeze(project).number
    assert exchange.resolved_since(project, version) == 0
    for _ in range(2):
        vote(project, ann, "a"), vote(project, ben, "a")
    assert exchange.resolved_since(project, version) == 2
    assert exchange.resolved_since(project, None) == 5
    assert exchange.counts(project) == {"pairs_open": 7, "pairs_resolved": 5, "votes": 10}


def test_simulated_votes_start_no_round_where_they_do_not_train(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    make_pairs(1)
    Prompt.objects.update(held_out=False)
    for user in (ann, ben):
        vote(project, user, "a", simulated=True)
    assert exchange.resolved_since(project, None) == 0
    project.train_on_simulated = True
    assert exchange.resolved_since(project, None) == 1


def test_priorities_reorder_open_pairs(project: Project, make_pairs: MakePairs) -> None:
    pairs = make_pairs(4)
    Pair.objects.filter(pk=pairs[0].pk).update(state="retired", open_slots=0)
    wanted = {pair.key: float(i) for i, pair in enumerate(pairs)}
    written = exchange.set_priorities(project, wanted | {"unknown": 9.0}, acquisition="bald")
    assert written == {pair.key for pair in pairs[1:]}
    assert project.ranked_by == "bald"
    assert exchange.open_priorities(project) == {pair.key: wanted[pair.key] for pair in pairs[1:]}


def test_single_votes_tell_who_said_what_and_how_much(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    (pair,) = make_pairs(1)
    vote(project, ann, "a")
    vote(project, ben, "tie", simulated=True)

    def told(**how: bool) -> set[tuple[str, int, float, float]]:
        return {vote[:4] for vote in exchange.single_votes(project, **how)}  # type: ignore[arg-type]

    strong = (pair.key, ann.pk, 1.0, 1.0)
    assert told(include_simulated=True) == {strong, (pair.key, ben.pk, 0.5, 1.0)}
    assert told(include_simulated=False) == {strong}
    assert exchange.single_vote_count(project, include_simulated=False) == 1
    sides = {vote[4] for vote in exchange.single_votes(project, include_simulated=True)}
    assert sides == {0.0, 1.0}  # the second person sees the opposite of the first


def test_untouched_pairs_of_older_rounds_retire(
    project: Project, make_pairs: MakePairs, ann: User
) -> None:
    imported = make_pairs(1, source="import")
    stale = make_pairs(2, source="round-1", arms="active", priority=1.0)
    project.random_share = 0.0
    touched = lease(project, ann).pair
    fresh = make_pairs(2, source="round-2")
    assert exchange.retire_untouched(project, before_source="round-2") == 1
    states = dict(Pair.objects.values_list("pk", "state"))
    assert states[imported[0].pk] == states[touched.pk] == states[fresh[0].pk] == "open"
    (retired,) = (pair for pair in stale if pair != touched)
    assert states[retired.pk] == "retired"
    assert exchange.retire_untouched(project, before_source="round-9") == 0


def test_evaluation_results_count_decided_pairs_for_the_policy(
    project: Project, make_pairs: MakePairs
) -> None:
    people = [person(f"v{i}", project=project, role="annotator") for i in range(5)]
    make_pairs(4, kind="evaluation")
    Completion.objects.filter(pk__in=Pair.objects.values("completion_a")).update(policy="p2")
    Pair.objects.update(wanted=3, open_slots=3, asked=3, limit=5, agree=3)  # as they were once
    plans = ["aaa", "bbb", "abtab", "aa"]
    for pair, plan in zip(Pair.objects.order_by("pk"), plans, strict=True):
        Pair.objects.exclude(pk=pair.pk).filter(state="open", cast=0).update(priority=-1)
        for user, letter in zip(people, plan, strict=False):
            place = Assignment.objects.create(
                pair=pair, annotator=user, left="a", stream="random",
                leased_at=pair.created_at, expires_at=pair.created_at, surplus=True,
            )  # fmt: skip
            queue.vote(user, place.token, choice={"t": "tie"}.get(letter, letter))
    found = exchange.evaluation_results(project, policy="p2")
    (against,) = found.values()
    assert (against.points, against.votes, against.people) == ([1.0, 0.0, 0.5], 11, 5)
    (back,) = found
    turned = exchange.evaluation_results(project, policy=back)["p2"]
    assert turned.points == [0.0, 1.0, 0.5]
    assert exchange.evaluation_results(project, policy="other") == {}


def test_a_reply_that_an_older_policy_wrote_first_still_counts_for_the_new_one(
    project: Project, ann: User
) -> None:
    texts = ("the same words", "other words")
    chats = [{"messages": [{"role": "user", "content": "Hello"}]}]
    exchange.add_prompts(project, chats)
    (row,) = exchange.prompts(project)
    written = [{"prompt_id": row["prompt_id"], "text": text} for text in texts]
    exchange.add_completions(project, written, source="starter", policy="starter")
    exchange.add_completions(project, written[:1], source="round-3", policy="policy-3")
    keys = [completion_key(row["prompt_id"], text) for text in texts]
    candidate = {"key": "k", "prompt_id": row["prompt_id"], "kind": "evaluation"}
    candidate |= {"completion_a": keys[0], "completion_b": keys[1]}
    candidate |= {"policy_a": "new", "policy_b": "starter"}
    exchange.add_pairs(project, [candidate], source="round-3", policy="policy-3")
    queue.vote(ann, lease(project, ann).token, choice="a")
    found = exchange.evaluation_results(project, policy="policy-3")
    assert found["starter"].points == [1.0] and found["starter"].votes == 1


def test_model_versions_are_shown_on_the_labelling_side(project: Project) -> None:
    for state in ("candidate", "promoted"):
        exchange.publish_model_version(
            project, name="p1", kind="policy", state=state, dataset_version=1, metrics={"kl": 2.0}
        )
    note = ModelNote.objects.get()
    assert (note.state, note.metrics) == ("promoted", {"kl": 2.0})


def test_projects_are_found_by_slug_and_while_they_live(project: Project) -> None:
    Project.objects.create(slug="off", name="Off", round_after=0)
    Project.objects.create(slug="gone", name="Gone", archived=True)
    assert exchange.project("desk") == project
    assert {one.slug for one in exchange.live_projects()} == {"desk", "off"}
    with pytest.raises(exchange.UnknownProject, match="desk"):
        exchange.project("dask")


def test_the_installation_keeps_its_name(db: None) -> None:
    assert exchange.installation_id() == exchange.installation_id()
    assert len(exchange.installation_id()) == 32


def test_ten_thousand_pairs_take_few_statements(
    project: Project, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    exchange.add_prompts(project, [chat(i) for i in range(400)])
    rows = completions(project, "Yes.", "No.", "Well.", "Hm.")
    with django_assert_max_num_queries(60):
        exchange.add_completions(project, rows, source="r1", policy="p1")
        assert exchange.add_pairs(project, candidates(rows), source="r1") == 800
    assert hashlib.sha256(b"").hexdigest() not in Pair.objects.values_list("key", flat=True)


def test_evaluation_pairs_leave_with_their_policy(project: Project, make_pairs: MakePairs) -> None:
    make_pairs(3, source="round-1")
    make_pairs(5, source="round-1", kind="evaluation")
    make_pairs(1, source="round-2")
    exchange.retire_untouched(project, before_source="round-2")
    left = Pair.objects.filter(source="round-1", state="open")
    assert not left.exists()


def test_pairs_know_their_newest_policy_and_the_reward_models_margin(filled: Project) -> None:
    newer = completions(filled, "Soon.")
    exchange.add_completions(filled, newer, source="r2", policy="p2")
    of_starter = [{**row, "policy": "starter"} for row in completions(filled, "Hello.")]
    exchange.add_completions(filled, of_starter, source="r2", policy="p2")
    old = completions(filled, "Yes.")

    def added(first: list[dict[str, Any]], second: list[dict[str, Any]], **columns: Any) -> Pair:
        (row,) = candidates([first[0], second[0]], **columns)
        exchange.add_pairs(filled, [row], source="r2", policy="p2")
        return Pair.objects.get(key=row["key"])

    mixed = added(old, newer, margin=-1.25)
    assert (mixed.policy, mixed.margin) == ("p2", -1.25)
    former = added(old, completions(filled, "No."))
    assert (former.policy, former.margin) == ("p1", None)
    # The completion's own name is that of whoever wrote the text first.
    assert added(old, of_starter, policy_a="new", policy_b="starter").policy == "p2"


def test_chats_with_tools_and_replies_of_several_turns_reach_the_engine(
    project: Project, ann: User, ben: User
) -> None:
    pair = tool_pair(project)
    for user in (ann, ben):
        vote(project, user, "a")
    version = exchange.freeze(project)
    (row,) = exchange.preferences(project, version, include_simulated=False)
    assert row["messages"] == pair.prompt.messages and row["completion_a"] == TRANSCRIPT
    (prompt,) = exchange.prompts(project)
    assert prompt["messages"] == pair.prompt.messages
    read = engine.parse(engine.Preference, row, "row")
    assert read.messages[5] == {
        "role": "assistant",
        "content": 'get_weather({"place":"Bergen","days":[1,2]})',
    }
    engine.parse(engine.Prompt, prompt, "row")


# Imported votes


def imported(project: Project, n: int = 1, **options: Any) -> None:
    """`n` pairs with one judgement each, as a public set of preferences has them."""
    rows = [judged(("", "a" if i % 2 else "b"), ask=f"Question {i}?", **options) for i in range(n)]
    Writer(project, now=timezone.now()).add(rows)


def test_a_labelled_public_set_is_resolved_and_starts_a_round(project: Project) -> None:
    imported(project, 50)
    teaching = project.pairs.filter(prompt__held_out=False).count()
    assert exchange.counts(project) == {"pairs_open": 0, "pairs_resolved": 50, "votes": 50}
    assert exchange.resolved_since(project, None) == teaching >= 20
    version = freeze(project)
    assert exchange.resolved_since(project, version.number) == 0
    rows = list(exchange.preferences(project, version, include_simulated=False))
    assert len(rows) == 50
    vote = {"annotator": rows[0]["votes"][0]["annotator"], "strength": 2, "weight": 1.0}
    assert all(row["votes"] == [{**vote, "choice": row["votes"][0]["choice"]}] for row in rows)


def test_pairs_of_two_equal_texts_teach_nothing(project: Project) -> None:
    imported(project, 4, texts=("Same.", "Same."), models=("m1", "m2"))
    imported(project, 3)
    assert exchange.resolved_since(project, None) <= 3
    rows = exchange.preferences(project, freeze(project), include_simulated=False)
    assert {row["completion_a"] == row["completion_b"] for row in rows} == {False}


def test_where_some_people_taught_no_reward_model_they_alone_compare_policies(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    make_pairs(2, kind="evaluation")
    exchange.set_evaluators(project, ["ann-ben"])
    assert exchange.has_evaluators(project)
    assert queue.next_pair(project, ann) is None
    assert queue.next_pair(project, ben) is not None
    # Nobody is left to compare: then everybody may.
    project.memberships.filter(user=ben).update(paused_at=timezone.now())
    assert queue.next_pair(project, ann) is not None
    exchange.set_evaluators(project, [])
    assert not exchange.has_evaluators(project)


@pytest.mark.parametrize("away", ["silent", "imported", "paused", "left", "locked out", ""])
def test_comparisons_are_offered_to_others_where_those_chosen_for_them_do_not_come(
    project: Project, make_pairs: MakePairs, ann: User, ben: User, away: str
) -> None:
    (voted,) = make_pairs(1)
    vote(project, ben, "a")
    Pair.objects.filter(pk=voted.pk).update(state="resolved", open_slots=0)
    make_pairs(1, kind="evaluation")
    exchange.set_evaluators(project, ["ann-ben"])
    now, mine = timezone.now(), project.memberships.filter(user=ben)
    if away == "silent":
        Assignment.objects.update(voted_at=now - timedelta(days=15))
    elif away == "imported":
        Assignment.objects.update(voted_at=None, imported=True)
    elif away == "locked out":
        User.objects.filter(pk=ben.pk).update(is_active=False)
    elif away:
        mine.update(**({"paused_at": now} if away == "paused" else {"active": False}))
    assert exchange.release_evaluators(project) == bool(away)
    assert mine.get().evaluates == (not away)
    assert (queue.next_pair(project, ann) is not None) == bool(away)
