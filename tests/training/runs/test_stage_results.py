from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate.models import Assignment, Completion, Pair, Project
from training.models import Lost, ModelVersion, Plan, Round, Run, StageResult
from training.rlhf.round import STAGES
from training.runs import first_pairs, run_inputs, stage_results
from training.versions import promotion


def counts(project: Project) -> dict[str, int]:
    return {
        "pairs": project.pairs.count(),
        "open": project.pairs.filter(state="open").count(),
        "completions": Completion.objects.filter(prompt__project=project).count(),
        "models": project.model_versions.count(),
        "stages": StageResult.objects.count(),
    }


def test_applying_every_stage_again_changes_nothing(
    run: Run, supervise: Callable[..., Run]
) -> None:
    supervise(run)
    before = counts(run.project)
    assert before["stages"] == len(STAGES)
    Run.objects.update(state="queued")
    held = Run.objects.claim(run.pk, owner="another")
    assert held is not None
    assert [stage_results.apply(held, stage.name) for stage in STAGES] == [False] * len(STAGES)
    assert counts(run.project) == before


def test_who_does_not_hold_the_run_cannot_apply_a_stage(
    run: Run, supervise: Callable[..., Run]
) -> None:
    supervise(run)
    StageResult.objects.filter(stage="propose").delete()
    with pytest.raises(Lost):
        stage_results.apply(run, "propose")
    assert not StageResult.objects.filter(stage="propose").exists()


def test_model_versions_know_where_they_come_from(run: Run, supervise: Callable[..., Run]) -> None:
    supervise(run)
    policy = ModelVersion.objects.policies().get(number=1)
    reward = ModelVersion.objects.rewards().get(number=1)
    assert policy.parent is not None
    assert (policy.parent.name, policy.state, policy.run) == ("policy-0", "promoted", run)
    assert (reward.parent, reward.state, reward.dataset_version) == (None, "promoted", 1)
    assert policy.metrics["win_rate"] == 0.7
    assert policy.path == f"runs/{run.uuid}/train_policy/model"


@pytest.fixture
def strict_round(a_round: Round) -> Round:
    """A round that allows half of the KL that its policy comes to have."""
    a_round.config["gates"]["kl_max"] = 1.5
    a_round.save(update_fields=["config"])
    return a_round


def test_a_policy_is_judged_by_the_gates_of_its_run_whatever_the_plan_says_by_then(
    strict_round: Round, run: Run, supervise: Callable[..., Run], client: Client, root: User
) -> None:
    run.directory.mkdir(parents=True)
    run_inputs.prepare(run)
    Plan.objects.update(config={"gates": {"kl_max": 99.0}})
    Round.objects.update(config={})
    supervise(run)
    policy = ModelVersion.objects.policies().get(run=run)
    assert policy.state == "candidate"
    assert "KL to the starter (nats): 3, outside (at most 1.5)" in policy.note
    client.force_login(root)
    page = client.get(f"/projects/{run.project.slug}/models/{policy.pk}/").content.decode()
    assert "at most 1.5" in page and "at most 99" not in page


def test_new_pairs_name_their_round_and_how_they_were_chosen(
    run: Run, supervise: Callable[..., Run]
) -> None:
    supervise(run)
    added = run.project.pairs.filter(source="round-1")
    assert added.filter(kind="normal", stream="active", priority=1.0).count() == 50
    evaluation = added.filter(kind="evaluation")
    assert evaluation.count() == 50
    assert {pair.wanted for pair in evaluation} == {1}
    sides = evaluation.values_list("completion_a__policy", "completion_b__policy")
    assert {frozenset(pair) for pair in sides} == {frozenset(("policy-1", "starter"))}


def test_untouched_pairs_of_the_policy_before_leave_the_queue(
    run: Run, supervise: Callable[..., Run], make_pairs: Callable[..., list[Pair]], ann: Any
) -> None:
    stale, offered = make_pairs(2, source="starter")
    (imported,) = make_pairs(1, source="import")
    Assignment.objects.create(
        pair=offered,
        annotator=ann,
        left="a",
        stream="random",
        leased_at=run.created_at,
        state="skipped",
    )
    supervise(run)
    states = Pair.objects.in_bulk([stale.pk, offered.pk, imported.pk])
    assert states[stale.pk].state == "retired"
    assert states[offered.pk].state == "open"
    assert states[imported.pk].state == "open"


def test_a_policy_that_was_not_promoted_displaces_no_pairs(
    run: Run, supervise: Callable[..., Run], make_pairs: Callable[..., list[Pair]]
) -> None:
    (pair,) = make_pairs(1, source="starter")
    Project.objects.update(promotion="human")
    run.refresh_from_db()
    supervise(run)
    pair.refresh_from_db()
    assert pair.state == "open"
    assert run.project.pairs.filter(source="round-1").exists()


def test_adopting_a_starter_twice_keeps_the_first(project: Project) -> None:
    first = promotion.adopt_starter(project, "one")
    assert promotion.adopt_starter(project, "two") == first
    assert (first.name, first.state, first.path) == ("policy-0", "promoted", "one")


def completion(prompt: str, text: str) -> dict[str, str]:
    return {"prompt_id": prompt, "key": f"{prompt}-{text}", "text": text}


def test_first_pairs_use_each_distinct_completion_once() -> None:
    texts = ["yes", "no", "yes  ", "maybe", "  ", "never"]
    pairs = first_pairs.pairs(completion("p", text) for text in texts)
    used = [pair[side] for pair in pairs for side in ("completion_a", "completion_b")]
    assert len(pairs) == 2
    assert len(set(used)) == 4
    assert {pair["stream"] for pair in pairs} == {"random"}


def test_first_pairs_are_the_same_in_any_order_of_completions() -> None:
    rows = [completion(prompt, text) for prompt in "pqr" for text in ("a", "b", "c", "d")]
    assert first_pairs.pairs(rows) == first_pairs.pairs(reversed(rows))


def test_a_prompt_whose_completions_read_the_same_has_no_pair() -> None:
    assert first_pairs.pairs([completion("p", "Yes."), completion("p", " Yes. ")]) == []
