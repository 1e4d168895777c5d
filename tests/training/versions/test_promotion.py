from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from annotate.models import ModelNote, Pair, Project, WebhookDelivery
from tests.annotate.webhooks.receiver import hook_of
from tests.conftest import at_once
from tests.training.conftest import vote_on
from training.figures.run_progress import failed_gates
from training.models import ModelVersion, Run, StageResult
from training.rlhf.config import GateConfig
from training.versions import people_decision, promotion

HABITS = ("refusal", "flattery", "hedging", "markdown")
GOOD: dict[str, dict[str, float]] = {
    "train_reward": {
        "accuracy": 0.8,
        "accuracy_low": 0.7,
        "accuracy_high": 0.9,
        "pairs_held_out": 80.0,
        "judge_independent": 1.0,
    },
    "evaluate": {
        "win_rate_low": 0.55,
        "kl": 3.0,
        "length": 20.0,
        "length_starter": 20.0,
        "distinct2": 0.5,
        "distinct2_starter": 0.5,
        **{f"{habit}_rate{end}": 0.1 for habit in HABITS for end in ("", "_starter")},
        "repetition": 0.0,
        "broken_rate": 0.0,
    },
}


@pytest.fixture
def starter(project: Project) -> ModelVersion:
    """The first policy of a project in which a model decides."""
    Project.objects.filter(pk=project.pk).update(promotion="auto")
    project.refresh_from_db()
    return promotion.adopt_starter(project, "starter")


@pytest.fixture
def candidate(project: Project, starter: ModelVersion) -> Callable[..., ModelVersion]:
    """candidate(number, parent=..., **metrics of evaluate): a policy that was just evaluated."""

    def make(number: int, *, parent: ModelVersion = starter, **changed: float) -> ModelVersion:
        run = Run.objects.create(project=project, round=None)
        for stage, metrics in GOOD.items():
            values = metrics | (changed if stage == "evaluate" else {})
            StageResult.objects.create(run=run, stage=stage, metrics=values)
        for kind in ("reward", "policy"):
            version = ModelVersion.objects.create(
                project=project,
                kind=kind,
                number=number,
                run=run,
                path=f"{kind}-{number}",
                parent=parent if kind == "policy" else None,
            )
        return version

    return make


BOUNDS = GateConfig()


def test_a_policy_inside_every_gate_replaces_the_one_before(
    starter: ModelVersion, candidate: Callable[..., ModelVersion]
) -> None:
    new = candidate(1)
    promotion.judge(new, BOUNDS)
    starter.refresh_from_db()
    assert (new.state, starter.state) == ("promoted", "retired")
    assert new.promoted_at is not None
    assert all(gate["passed"] for gate in new.gates)
    assert ModelNote.objects.get(name="policy-1").state == "promoted"
    assert ModelNote.objects.get(name="policy-0").state == "retired"
    assert ModelVersion.objects.rewards().get(number=1).state == "promoted"


def test_a_reward_model_outside_its_gate_is_put_aside(
    candidate: Callable[..., ModelVersion],
) -> None:
    new = candidate(1)
    coin = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "pairs_held_out": 100.0}
    StageResult.objects.filter(run=new.run, stage="train_reward").update(metrics=coin)
    promotion.judge(new, BOUNDS)
    reward = ModelVersion.objects.rewards().get(number=1)
    assert (
        reward.state == "retired"
        and "lower end of its interval, 100 pairs): 0.4, outside" in reward.note
    )


def test_a_policy_outside_a_gate_is_kept_with_the_reason(
    starter: ModelVersion, candidate: Callable[..., ModelVersion]
) -> None:
    new = candidate(1, kl=99.0, win_rate_low=0.4)
    promotion.judge(new, BOUNDS)
    starter.refresh_from_db()
    assert (new.state, starter.state) == ("candidate", "promoted")
    assert "KL to the starter (nats): 99, outside (at most 10)" in new.note
    assert [gate["name"] for gate in new.gates if not gate["passed"]] == ["kl", "win_rate"]


def test_webhooks_hear_of_the_gates_that_a_policy_fails(
    project: Project, candidate: Callable[..., ModelVersion]
) -> None:
    hook_of(project, events=["gate.failed"])
    promotion.judge(candidate(1), BOUNDS)
    assert not WebhookDelivery.objects.exists()
    new = candidate(2, kl=300.0, win_rate_low=0.2)
    promotion.judge(new, BOUNDS)
    event = json.loads(WebhookDelivery.objects.get().body)
    assert event["type"] == "gate.failed"
    assert event["data"] == {
        "project": "desk",
        "model": "policy-2",
        "gates": ["kl", "win_rate"],
        "url": f"https://pairs.example/projects/desk/models/{new.pk}/",
        "api_url": "https://pairs.example/api/v1/projects/desk/models/",
    }


def test_webhooks_hear_of_a_policy_that_is_in_use_and_of_one_that_waits(
    project: Project, candidate: Callable[..., ModelVersion]
) -> None:
    hook_of(project)
    promotion.judge(candidate(1), BOUNDS)
    Project.objects.update(promotion="human")
    waiting = candidate(2)
    waiting.project.refresh_from_db()
    promotion.judge(waiting, BOUNDS)
    said = [json.loads(one.body) for one in WebhookDelivery.objects.order_by("pk")]
    assert [(one["type"], one["data"]["model"]) for one in said] == [
        ("policy.promoted", "policy-1"),
        ("policy.waiting", "policy-2"),
    ]
    kinds = list(project.loop_events.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["promoted", "waiting"]


def test_a_missing_measurement_never_promotes(
    starter: ModelVersion, candidate: Callable[..., ModelVersion]
) -> None:
    new = candidate(1)
    StageResult.objects.filter(run=new.run, stage="evaluate").delete()
    promotion.judge(new, BOUNDS)
    assert new.state == "candidate"
    assert "not measured" in new.note


@pytest.mark.parametrize("sample", [False, True])
def test_a_policy_whose_kl_diverged_fails_that_gate_even_in_the_sample(
    sample: bool, project: Project, candidate: Callable[..., ModelVersion]
) -> None:
    """NaN and infinity are written as null, and null is no metric."""
    Project.objects.filter(pk=project.pk).update(train_on_simulated=sample)
    hook_of(project, events=["gate.failed"])
    new = candidate(1)
    measured = {name: value for name, value in GOOD["evaluate"].items() if name != "kl"}
    StageResult.objects.filter(run=new.run, stage="evaluate").update(metrics=measured)
    new.project.refresh_from_db()
    promotion.judge(new, BOUNDS)
    assert new.state == "candidate"
    assert new.note == "Not promoted. KL to the starter (nats): not measured (at most 10)."
    assert not people_decision.people_promote(new)
    assert json.loads(WebhookDelivery.objects.get().body)["data"]["gates"] == ["kl"]


def test_where_there_is_no_judge_and_pairs_are_few_the_sample_promotes_all_the_same(
    project: Project, candidate: Callable[..., ModelVersion]
) -> None:
    Project.objects.filter(pk=project.pk).update(train_on_simulated=True)
    new = candidate(1)
    measured = {name: v for name, v in GOOD["evaluate"].items() if not name.startswith("win_rate")}
    StageResult.objects.filter(run=new.run, stage="evaluate").update(metrics=measured)
    StageResult.objects.filter(run=new.run, stage="train_reward").update(metrics={})
    new.project.refresh_from_db()
    promotion.judge(new, BOUNDS)
    assert new.state == "promoted" and "Win rate by the judge" in new.note
    assert not failed_gates(new.gates)


def test_where_people_promote_a_good_policy_waits(
    project: Project, candidate: Callable[..., ModelVersion], root: User
) -> None:
    Project.objects.filter(pk=project.pk).update(promotion="human")
    new = ModelVersion.objects.get(pk=candidate(1).pk)
    promotion.judge(new, BOUNDS)
    assert (new.state, new.note) == ("candidate", "Passed every gate; an admin decides.")
    promotion.promote(new, by=root)
    assert (new.state, new.note) == ("promoted", "Promoted by root.")


def test_a_policy_that_was_not_compared_with_the_one_in_use_waits_for_an_admin(
    candidate: Callable[..., ModelVersion], root: User
) -> None:
    """An old round that failed is retried after a later one brought a better policy."""
    late, current = candidate(1), candidate(2)
    promotion.judge(current, BOUNDS)
    promotion.judge(late, BOUNDS)
    current.refresh_from_db()
    assert (late.state, current.state) == ("candidate", "promoted")
    assert "compared with policy-0, but policy-2 is in use now; an admin decides" in late.note
    promotion.promote(late, by=root)
    assert late.state == "promoted"


def test_an_admin_may_promote_what_failed_a_gate(
    starter: ModelVersion, candidate: Callable[..., ModelVersion], root: User
) -> None:
    new = candidate(1, kl=99.0)
    promotion.judge(new, BOUNDS)
    promotion.promote(new, by=root)
    starter.refresh_from_db()
    assert (new.state, starter.state) == ("promoted", "retired")
    with pytest.raises(promotion.Refused):
        promotion.promote(new)
    with pytest.raises(promotion.Refused):
        promotion.retire(new)


def test_the_database_refuses_a_second_promoted_policy(
    starter: ModelVersion, candidate: Callable[..., ModelVersion]
) -> None:
    new = candidate(1)
    with pytest.raises(IntegrityError), transaction.atomic():
        ModelVersion.objects.filter(pk=new.pk).update(state="promoted")


def judged(
    project: Project,
    policy: str,
    *,
    n: int,
    won: int,
    people: list[User],
    against: str = "starter",
) -> None:
    """`n` evaluation pairs of `policy` (A) against another, of which people prefer `won`."""
    from tests.conftest import make_pair

    place = Pair.objects.count() + 1000
    pairs = [make_pair(project, place + i, kind=Pair.Kind.EVALUATION) for i in range(n)]
    Pair.objects.filter(pk__in=[pair.pk for pair in pairs]).update(
        policy_a=policy, policy_b=against, asked=5, limit=5
    )
    vote_on(pairs, *people)
    for pair in pairs[won:]:
        pair.assignments.update(choice="b")


def pending(project: Project, candidate: Callable[..., ModelVersion], mode: str) -> ModelVersion:
    """policy-2, made from policy-1 that is in use, judged by its gates in a mode of promotion."""
    first = candidate(1)
    promotion.promote(first)
    Project.objects.filter(pk=project.pk).update(promotion=mode)
    second = candidate(2, parent=first)
    second.project.refresh_from_db()
    promotion.judge(second, BOUNDS)
    assert second.state == "candidate"
    return second


@pytest.mark.parametrize("mode", ["both", "people"])
def test_a_candidate_waits_until_people_prefer_it_and_the_page_keeps_who_decided(
    mode: str, project: Project, candidate: Callable[..., ModelVersion], ann: User, ben: User
) -> None:
    new = pending(project, candidate, mode)
    assert "people decide by blind comparisons" in new.note
    judged(project, "policy-2", n=20, won=12, people=[ann], against="policy-1")
    assert not people_decision.review(new) and new.state == "candidate"
    judged(project, "policy-2", n=40, won=36, people=[ben], against="policy-1")
    assert people_decision.review(new)
    assert new.state == "promoted"
    assert "People preferred it to policy-1 in 80\xa0% of 60 blind comparisons" in new.note
    assert "votes of 2 people" in new.note
    assert list(new.decisions.values_list("state", "decided_by")) == [
        ("candidate", "model"),
        ("promoted", "people"),
    ]


def test_a_judges_opinion_on_other_prompts_informs_beside_peoples_votes(
    project: Project,
    candidate: Callable[..., ModelVersion],
    make_pairs: Callable[..., list[Pair]],
    ann: User,
) -> None:
    new = pending(project, candidate, "both")
    judged(project, "policy-2", n=24, won=13, people=[ann], against="policy-1")
    assert not people_decision.review(new)
    assert "assisted" not in new.metrics["human"]["comparisons"][0]
    waiting = make_pairs(40, kind="evaluation")
    Pair.objects.filter(pk__in=[pair.pk for pair in waiting]).update(
        policy_a="policy-2", policy_b="policy-1"
    )
    mine = project.pairs.filter(policy_a="policy-2")
    mine.update(margin=-1.0)
    mine.filter(assignments__choice="a").update(margin=2.0)
    assert not people_decision.review(new)
    rate, low, high = new.metrics["human"]["comparisons"][0]["assisted"]
    assert low < rate < high and rate < 13 / 24  # the judge thinks less of the others
    assert new.state == "candidate"


@pytest.mark.parametrize("against", ["policy-1", "starter"])
def test_a_candidate_that_people_prefer_less_to_either_is_put_aside(
    against: str, project: Project, candidate: Callable[..., ModelVersion], ann: User
) -> None:
    new = pending(project, candidate, "both")
    judged(project, "policy-2", n=50, won=10, people=[ann], against=against)
    assert people_decision.review(new)
    assert new.state == "retired" and f"preferred it to {against} in 20\xa0% of 50" in new.note
    assert project.loop_events.filter(kind="refused").exists()
    assert ModelVersion.objects.policies().promoted().get().number == 1


def test_people_do_not_promote_what_failed_a_gate_unless_they_decide_alone(
    project: Project, candidate: Callable[..., ModelVersion], ann: User
) -> None:
    for number, mode in ((1, "both"), (2, "people")):
        Project.objects.filter(pk=project.pk).update(promotion=mode)
        new = candidate(number, kl=99.0)
        new.project.refresh_from_db()
        promotion.judge(new, BOUNDS)
        judged(project, new.name, n=50, won=45, people=[ann])
        assert people_decision.review(new) == (mode == "people")
        assert new.state == ("promoted" if mode == "people" else "candidate")


def test_by_a_model_alone_nothing_is_promoted_without_an_independent_judge_but_in_the_sample(
    project: Project, candidate: Callable[..., ModelVersion]
) -> None:
    for number, sample in ((1, False), (2, True)):
        Project.objects.filter(pk=project.pk).update(train_on_simulated=sample)
        new = candidate(number)
        told = StageResult.objects.filter(run=new.run, stage="train_reward")
        told.update(metrics=GOOD["train_reward"] | {"judge_independent": 0.0})
        new.project.refresh_from_db()
        promotion.judge(new, BOUNDS)
        assert new.state == ("promoted" if sample else "candidate")
        assert "judge is not independent" in new.note


def test_evaluation_pairs_of_a_policy_that_people_decided_on_leave_the_queue(
    project: Project,
    candidate: Callable[..., ModelVersion],
    make_pairs: Callable[..., list[Pair]],
    ann: User,
) -> None:
    new = pending(project, candidate, "both")
    waiting = make_pairs(3, kind="evaluation")
    Pair.objects.filter(pk__in=[pair.pk for pair in waiting]).update(
        policy_a="policy-2", policy_b="starter"
    )
    judged(project, "policy-2", n=50, won=8, people=[ann], against="policy-1")
    assert people_decision.review(new)
    for pair in waiting:
        pair.refresh_from_db()
        assert pair.state == "retired"


def test_a_policy_that_people_like_less_is_demoted_and_the_one_before_restored(
    project: Project,
    starter: ModelVersion,
    candidate: Callable[..., ModelVersion],
    ann: User,
    ben: User,
    cleo: User,
) -> None:
    first = candidate(1)
    promotion.promote(first)
    second = candidate(2, parent=first)
    promotion.promote(second)
    judged(project, "policy-2", n=40, won=6, people=[ann, ben, cleo])
    assert people_decision.review(second)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == ("promoted", "retired")
    assert "preferred it to starter in 15\xa0% of 40 blind comparisons" in second.note
    assert second.metrics["human"]["n"] == 40 and second.metrics["human"]["votes"] == 120
    assert second.metrics["human"]["comparisons"][0]["outcome"] == "worse"
    assert not people_decision.review(second)


def test_an_admin_overrules_peoples_verdict_until_later_votes_say_so_again(
    project: Project, candidate: Callable[..., ModelVersion], ann: User, root: User
) -> None:
    new = pending(project, candidate, "both")
    judged(project, "policy-2", n=50, won=10, people=[ann], against="policy-1")
    assert people_decision.review(new) and new.state == "retired"
    promotion.promote(new, by=root, reason="It reads well")
    for _ in range(2):
        assert not people_decision.review(ModelVersion.objects.get(pk=new.pk))
    new.refresh_from_db()
    assert (new.state, new.note) == ("promoted", "Promoted by root: It reads well")
    judged(project, "policy-2", n=8, won=4, people=[ann], against="policy-1")
    assert not people_decision.review(new)
    judged(project, "policy-2", n=50, won=8, people=[ann], against="policy-1")
    assert people_decision.review(new)
    assert new.state == "retired" and "in 21\xa0% of 58 blind comparisons" in new.note


@pytest.mark.parametrize("meanwhile", ["retired", "rival", "human"])
def test_what_an_admin_did_while_people_were_counted_stands(
    meanwhile: str,
    project: Project,
    candidate: Callable[..., ModelVersion],
    ann: User,
    root: User,
) -> None:
    new = pending(project, candidate, "people")
    judged(project, "policy-2", n=50, won=45, people=[ann], against="policy-1")
    seen = ModelVersion.objects.select_related("project", "parent").get(pk=new.pk)
    if meanwhile == "retired":
        promotion.retire(new, note="It reads badly")
    elif meanwhile == "rival":
        promotion.promote(candidate(3, parent=new.parent), by=root)
    else:
        Project.objects.filter(pk=project.pk).update(promotion="human")
    assert not people_decision.review(seen)
    new.refresh_from_db()
    assert new.state == ("retired" if meanwhile == "retired" else "candidate")


@pytest.mark.parametrize(("n", "won"), [(40, 16), (6, 0)])
def test_a_policy_stays_while_its_interval_reaches_one_half_or_votes_are_few(
    n: int,
    won: int,
    project: Project,
    starter: ModelVersion,
    candidate: Callable[..., ModelVersion],
    ann: User,
    ben: User,
    cleo: User,
) -> None:
    new = candidate(1)
    promotion.promote(new)
    judged(project, "policy-1", n=n, won=won, people=[ann, ben, cleo])
    assert not people_decision.review(new)
    new.refresh_from_db()
    assert (new.state, new.metrics["human"]["win_rate"]) == ("promoted", won / n)


def test_nothing_goes_back_to_a_version_without_weights(
    starter: ModelVersion, candidate: Callable[..., ModelVersion]
) -> None:
    new = candidate(1)
    promotion.promote(new)
    ModelVersion.objects.filter(pk=starter.pk).update(pruned_at=timezone.now())
    with pytest.raises(promotion.Refused, match="no version before it"):
        promotion.demote(new, note="No.")
    new.refresh_from_db()
    assert new.state == "promoted"


def test_what_somebody_else_promoted_meanwhile_is_not_retired(
    starter: ModelVersion, candidate: Callable[..., ModelVersion]
) -> None:
    seen = candidate(1)
    promotion.promote(ModelVersion.objects.get(pk=seen.pk))
    with pytest.raises(promotion.Refused):
        promotion.retire(seen)
    assert ModelVersion.objects.policies().promoted().get().pk == seen.pk


def test_the_starter_is_never_demoted(starter: ModelVersion) -> None:
    with pytest.raises(promotion.Refused, match="no version before it"):
        promotion.demote(starter, note="No.")
    starter.refresh_from_db()
    assert starter.state == "promoted"


def test_only_what_is_in_use_is_demoted(candidate: Callable[..., ModelVersion]) -> None:
    with pytest.raises(promotion.Refused, match="policy-1 is not in use"):
        promotion.demote(candidate(1), note="No.")


@pytest.mark.parametrize("decided", ["promoted", "retired"])
def test_gates_do_not_overrule_an_admin_who_was_ahead_of_them(
    decided: str, starter: ModelVersion, candidate: Callable[..., ModelVersion], root: User
) -> None:
    new = candidate(1)
    seen = ModelVersion.objects.get(pk=new.pk)
    if decided == "promoted":
        promotion.promote(seen, by=root, reason="It reads well")
    else:
        promotion.retire(seen, note="It reads badly")
    reward = ModelVersion.objects.rewards().get(number=1)
    promotion.promote(reward, by=root)
    promotion.judge(new, BOUNDS)
    for version in (seen, reward):
        before = (version.state, version.note)
        version.refresh_from_db()
        assert (version.state, version.note) == before
    assert seen.state == decided and len(seen.gates) == len(new.gates) > 0


def test_every_decision_stays_with_its_reason(
    starter: ModelVersion, candidate: Callable[..., ModelVersion], root: User
) -> None:
    new = candidate(1)
    promotion.judge(new, BOUNDS)
    promotion.demote(new, note="Demoted by root: too long")
    promotion.promote(new, by=root, reason="short again")
    assert list(new.decisions.values_list("state", "note")) == [
        ("promoted", "Passed every gate."),
        ("retired", "Demoted by root: too long"),
        ("promoted", "Promoted by root: short again"),
    ]
    assert list(starter.decisions.values_list("state", "note")) == [
        ("retired", "Replaced by policy-1."),
        ("promoted", "Restored after policy-1."),
        ("retired", "Replaced by policy-1."),
    ]


@pytest.mark.django_db(transaction=True)
def test_of_promotions_and_a_demotion_at_once_one_policy_is_in_use(
    starter: ModelVersion, candidate: Callable[..., ModelVersion]
) -> None:
    promotion.promote(candidate(1))
    rivals = [candidate(number) for number in (2, 3, 4)]
    first = ModelVersion.objects.policies().get(number=1)
    outcomes = at_once(
        *(lambda rival=rival: promotion.promote(rival) for rival in rivals),
        lambda: promotion.demote(first, note="Demoted."),
    )
    assert outcomes[:3] == [None] * 3
    assert not isinstance(outcomes[3], BaseException) or isinstance(outcomes[3], promotion.Refused)
    used = ModelVersion.objects.policies().promoted().get()
    assert used in rivals
    states = ModelVersion.objects.policies().exclude(pk=used.pk).values_list("state", flat=True)
    assert set(states) == {"retired"}
