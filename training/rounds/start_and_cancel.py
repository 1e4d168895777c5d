"""Start, cancel and retry rounds: what an admin, the scheduler and the command line ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction

from annotate import exchange
from training.models import Round, Run, RunKind
from training.plans import expected_cost, round_settings
from training.plans.round_settings import Choice, SettingsRefused
from training.rlhf.config import RoundConfig, from_dict, to_dict
from training.runs import run_states, task_queue
from training.versions.added_models import next_number

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MIN_TRAINING_PAIRS = 12
"""40 votes of a project that asks two or three people about each pair; no held-out votes, because
accuracy is measured out of fold until there are enough of them."""


class RoundRefused(Exception):
    """The round cannot start; the message is for people."""


class NotEnoughVotes(RoundRefused):
    """Too few pairs have votes."""


class RoundRunning(RoundRefused):
    """The project has a live round already."""


class Archived(RoundRefused):
    """The project is archived."""


class NoStarter(RoundRefused):
    """The project has no policy to start from."""


class WrongSettings(RoundRefused):
    """A setting that the engine does not take; `problems` tells of each by its dotted name."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(f"The settings of the round are wrong: {'; '.join(problems.values())}.")
        self.problems = problems


def start_round(
    project: exchange.Project,
    *,
    by: User | None = None,
    trigger: str = "admin",
    seed: int | None = None,
    enqueue: bool = True,
    choice: Choice | None = None,
) -> Round:
    """Freeze the project's votes and queue a round on them.

    Args:
        choice: its settings; None takes those that the project's rounds usually have.
        trigger: what asked for it: admin, votes, schedule or command.
        seed: of everything random in the round; None takes its number.
        enqueue: False leaves the run to the caller, who supervises it.

    Raises:
        Archived, RoundRunning, NotEnoughVotes, NoStarter, WrongSettings
    """
    # Before freezing, which makes votes final. Again by the constraint: of two starts one gets on.
    _require_active(project)
    _lineage(project)
    require_votes(project)
    choice = choice or round_settings.saved(project)
    settled = _resolved(project, choice)
    estimate = expected_cost.estimate(project, settled)
    version = exchange.freeze(project, by=by).number
    try:
        with transaction.atomic():
            exchange.lock(project)
            config = _config(project, settled, policy=choice.policy, seed=seed)
            round_ = Round.objects.create(
                project=project,
                number=config["number"],
                trigger=trigger,
                dataset_version=version,
                started_by=by,
                config=config,
                preset=choice.preset,
                chosen=choice.config,
                estimate=estimate.record(),
            )
            run = Run.objects.create(kind=RunKind.ROUND, round=round_, project=project)
            if enqueue:
                task_queue.hand_to_worker(run)
    except IntegrityError as error:
        raise RoundRunning("Another round of this project was started just now.") from error
    return round_


def refusal(project: exchange.Project) -> str:
    """Why no round can start now, in words for people; empty when one can."""
    try:
        _require_readiness(project)
    except RoundRefused as error:
        return str(error)
    return ""


def _require_readiness(project: exchange.Project) -> None:
    """Raises: Archived, RoundRunning, NotEnoughVotes, NoStarter."""
    _require_active(project)
    _require_none_live(project)
    _lineage(project)
    _require_pairs(project)


def require_votes(project: exchange.Project) -> None:
    """Find all that a round wants besides a policy. Raises: Archived, RoundRunning,
    NotEnoughVotes."""
    _require_active(project)
    _require_none_live(project)
    _require_pairs(project)


def _require_active(project: exchange.Project) -> None:
    if why := exchange.archived_refusal(project):
        raise Archived(why)


def _require_none_live(project: exchange.Project) -> None:
    if (live := project.rounds.live().first()) is not None:
        raise RoundRunning(f"Round {live.number} of this project is {live.state}.")


def _require_pairs(project: exchange.Project) -> None:
    """Find the pairs that the frozen votes will hold, so that a start that is offered does not fail
    for want of them. Raises: NotEnoughVotes."""
    pairs = exchange.training_pairs(project, most=MIN_TRAINING_PAIRS)
    if pairs < MIN_TRAINING_PAIRS:
        raise NotEnoughVotes(
            f"A round wants votes for a side on at least {MIN_TRAINING_PAIRS} pairs of training "
            f"prompts. So far: {pairs}."
        )
    if not exchange.has_both_kinds_of_prompts(project):
        raise NotEnoughVotes(
            "A round wants prompts to train on and held-out prompts to measure on, and this "
            "project has one kind alone: about one prompt in ten is held out. Add more prompts."
        )


def cancel(round_: Round) -> bool:
    """Stop a live round; finished stages stay. False when it was over already.

    A running one ends when its supervisor has stopped the process, at the edge of a step.
    """
    return run_states.cancel(Run.objects.filter(round=round_))


def retry(round_: Round) -> bool:
    """Queue a failed or cancelled round again; it goes on after its last finished stage.

    Raises:
        Archived: the project is.
        RoundRunning: another round of the project is live.
    """
    _require_active(round_.project)
    try:
        with transaction.atomic():
            return any(run_states.reopen(run) for run in Run.objects.filter(round=round_))
    except IntegrityError as error:
        raise RoundRunning("Another round of this project is live.") from error


def _lineage(project: exchange.Project, policy_name: str = "") -> dict[str, str]:
    """Folders the round starts from: starter, policy and last reward model.

    Args:
        policy_name: of the policy; empty takes the promoted one.
    """
    policies = project.model_versions.policies()
    starter = policies.filter(number=0).first()
    if starter is None:
        raise NoStarter(
            "This project has no policy to train yet. An admin adds one on Models: Add a model."
        )
    named = round_settings.version_named(project, policy_name) if policy_name else None
    policy = named or policies.promoted().first() or starter
    # One that was added may be of any architecture: it scores, and nothing is trained from it.
    reward = project.model_versions.rewards().filter(run__isnull=False).first()
    return {
        "starter": starter.location,
        "policy": policy.location,
        "last_reward": reward.location if reward else "",
    }


def _resolved(project: exchange.Project, choice: Choice) -> dict[str, Any]:
    """Raises: WrongSettings."""
    try:
        return round_settings.resolve(project, choice)
    except SettingsRefused as error:
        raise WrongSettings(error.problems) from error


def _config(
    project: exchange.Project, settled: dict[str, Any], *, policy: str, seed: int | None
) -> dict[str, Any]:
    """The round's whole configuration: its settings, and what follows from the project's state.

    Holds while the project is locked: what is promoted, and what has weights.
    """
    number = next_number(project)
    given = settled | _lineage(project, policy)
    given |= {"number": number, "seed": number if seed is None else seed}
    return to_dict(from_dict(RoundConfig, given))
