"""Training on the project's home: where the loop stands, and what it has brought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.db.models import DurationField, Exists, ExpressionWrapper, F, Sum
from django.utils import timezone

from annotate import exchange
from training.dashboard import round_charts
from training.figures.charts import Chart
from training.figures.run_progress import accuracy_told, results_of
from training.models import ModelVersion, Round, Run, StageResult, Worker
from training.rlhf.round import EVALUATE, TRAIN_REWARD
from training.rounds import schedule_limits
from training.rounds.automatic_start import next_time
from training.rounds.start_and_cancel import MIN_TRAINING_PAIRS

ENDED = {Round.State.FAILED: "failed", Round.State.CANCELLED: "was cancelled"}


@dataclass(frozen=True, kw_only=True)
class Next:
    """The next thing to happen, in words, and how far it is."""

    title: str
    advice: str
    at: datetime | None = None
    """The time that the schedule names."""
    live: Round | None = None
    toward: int = 0
    of: int = 0


def home_part(project: exchange.Project, figures: exchange.Figures, **_: Any) -> exchange.HomePart:
    """Steps and figures of the training side; it answers `exchange.home_wanted`."""
    policies = list(ModelVersion.objects.policies().filter(project=project).order_by("number"))
    rounds = Round.objects.filter(project=project)
    done = Exists(rounds.filter(state=Round.State.DONE))
    last = rounds.annotate(any_done=done).order_by("-number").first()
    results = results_of(project)
    context = {
        "next": _next(project, figures, last, starter=bool(policies)),
        "last": last,
        "policy": next((one for one in policies if one.state == one.State.PROMOTED), None),
        "reward": _reward_accuracy(results),
        "won": _newest(results, EVALUATE),
        "people": _people(policies),
        "hours": _training_time(project),
        "charts": _charts(policies, results),
    }
    trained = last is not None and last.any_done  # type: ignore[attr-defined]  # Annotated above.
    return exchange.HomePart(
        steps=_steps(policies, trained),
        next="training/home_next.html",
        figures="training/home_figures.html",
        charts="training/home_charts.html",
        context=context,
    )


def _steps(policies: list[ModelVersion], trained: bool) -> tuple[exchange.Step, ...]:
    return (
        exchange.Step(
            name="model",
            title="Choose a model",
            why="It writes the replies that people compare, and learns from their votes.",
            done=bool(policies),
            action="Add a model",
            page="model-add",
        ),
        exchange.Step(
            name="round",
            title="Finish a first round",
            why="A round trains on the votes and shows whether people would prefer the new model.",
            done=trained,
            action="Rounds",
            page="rounds",
        ),
    )


def _next(
    project: exchange.Project, figures: exchange.Figures, last: Round | None, *, starter: bool
) -> Next:
    if last is not None and last.state in (Round.State.QUEUED, Round.State.RUNNING):
        state = last.get_state_display().lower()
        advice = "Votes that arrive now count for the next round."
        return Next(title=f"Round {last.number} is {state}", advice=advice, live=last)
    if not starter:
        return Next(
            title="No round yet",
            advice="Rounds need a model to improve. Until there is one, votes are collected and "
            "can be exported.",
        )
    if last is None:
        voted = exchange.training_pairs(project, most=MIN_TRAINING_PAIRS)
        if left := MIN_TRAINING_PAIRS - voted:
            pairs = f"{left} more pair{'s' * (left != 1)} with a vote"
            return Next(
                title=f"{pairs} until a round can start",
                advice="A pair of a training prompt counts once it has a vote for a side.",
                toward=voted,
                of=MIN_TRAINING_PAIRS,
            )
    version = last.dataset_version if last else None
    fresh = exchange.kept_fresh_pairs(project, version)
    if fresh is None:
        fresh = exchange.resolved_since(project, version)
    return _by_itself(project, figures, last, fresh)


def _by_itself(
    project: exchange.Project, figures: exchange.Figures, last: Round | None, fresh: int
) -> Next:
    """The start that nobody has to ask for."""
    failed = ""
    if last is not None and last.state in ENDED:
        failed = f"Round {last.number} {ENDED[Round.State(last.state)]}. "
    since = last.created_at if last else project.created_at
    at = _at(project, since)
    if held := schedule_limits.held(project, timezone.now()):
        return Next(title="No round starts by itself now", advice=f"{failed}{held}", at=at)
    left = project.round_after - fresh
    if project.round_after and left > 0:
        return Next(
            title=f"{_pairs(left)} until the next round",
            advice=f"{failed}{_when(figures, left)}",
            at=at,
            toward=fresh,
            of=project.round_after,
        )
    if project.round_after:
        advice = f"{failed}Enough pairs are resolved: a worker starts it by itself."
        of = project.round_after
        return Next(title="The next round is due", advice=advice, toward=of, of=of)
    if not fresh:
        return Next(title="Nothing new to learn from yet", advice=f"{failed}{_waiting(0)}", at=at)
    how = "" if at else "Rounds start only by hand in this project. "
    return Next(title="Ready for a round", advice=f"{failed}{how}{_waiting(fresh)}", at=at)


def _waiting(fresh: int) -> str:
    return f"{fresh:,} newly resolved pair{'s' * (fresh != 1)} would teach it something."


def _pairs(n: int) -> str:
    return f"{n:,} more resolved pair{'s' * (n != 1)}"


def _at(project: exchange.Project, since: datetime) -> datetime | None:
    line = project.round_schedule
    zone = schedule_limits.schedule_of(project).time_zone if line else None
    at = next_time(line, since, zone) if line else None
    return at if at and at.year < datetime.max.year else None


def _when(figures: exchange.Figures, left: int) -> str:
    """The days that the pairs take at the pace of the last week; nothing where nobody votes."""
    if not figures.votes_a_day or not figures.settled:
        return ""
    votes_per_pair = figures.votes / figures.settled
    days = ceil(left * votes_per_pair / figures.votes_a_day)
    about = "within a day" if days <= 1 else f"in about {days:,} days"
    return f"At the last week’s pace, {about}. "


def _newest(results: Iterable[StageResult], stage: str) -> StageResult | None:
    return next((one for one in reversed(list(results)) if one.stage == stage), None)


def _people(policies: Iterable[ModelVersion]) -> dict[str, Any] | None:
    """People's verdict on the newest policy that they have judged."""
    for policy in reversed(list(policies)):
        human = policy.metrics.get("human")
        if human:
            return {**human, "policy": policy, "n": _compared(human)}
    return None


def _compared(human: Mapping[str, Any]) -> int:
    """Comparisons behind a verdict; former versions kept them by their outcome."""
    return int(human.get("n", sum(human.get(key, 0) for key in ("wins", "losses", "ties"))))


def _training_time(project: exchange.Project) -> timedelta:
    took = ExpressionWrapper(F("finished_at") - F("started_at"), output_field=DurationField())
    runs = Run.objects.filter(project=project, worker=Worker.GPU, finished_at__isnull=False)
    total = runs.filter(started_at__isnull=False).aggregate(total=Sum(took))["total"]
    return total or timedelta()


def _reward_accuracy(results: Iterable[StageResult]) -> dict[str, Any] | None:
    """Held-out accuracy of the newest reward model, with its interval and the pairs it is of."""
    newest = _newest(results, TRAIN_REWARD)
    if newest is None:
        return None
    told = accuracy_told(newest.metrics)
    if told.value is None or not told.pairs or newest.run.round is None:
        return None
    return {**told._asdict(), "round": newest.run.round}


def _charts(policies: list[ModelVersion], results: list[StageResult]) -> list[Chart]:
    human = {one.number: one.metrics.get("human") or {} for one in policies}
    newest = _newest(results, EVALUATE)
    drawn = [
        round_charts.win_rates(results, human),
        round_charts.reward_against_kl(newest.run if newest else None),
    ]
    return [chart for chart in drawn if chart is not None]
