"""The loop's state at a glance: what the page, the API and the command line all show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from annotate import exchange
from training.figures.run_progress import with_results
from training.models import ModelVersion, Round, Run, Worker, WorkerBeat
from training.models.training_round import RoundQuerySet
from training.rounds import schedule_limits, start_and_cancel

SILENT_AFTER = timedelta(seconds=90)
"""A worker reports every few seconds; after this it counts as gone."""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A project between two rounds.

    `blocked` says why none can start now, `held` why none would by itself.
    """

    votes: int
    pairs_open: int
    pairs_resolved: int
    resolved_since: int
    round_after: int
    schedule: str
    policy: str
    live: Round | None
    blocked: str
    held: str

    @property
    def toward(self) -> int:
        """Progress towards the automatic round, at most `round_after`."""
        return min(self.resolved_since, self.round_after)

    @property
    def title(self) -> str:
        if self.live is not None:
            return f"Round {self.live.number} is {self.live.get_state_display().lower()}"
        return "No round can start yet" if self.blocked else "Ready for a round"

    @property
    def advice(self) -> str:
        """A sentence or two on what happens next."""
        if self.live is not None:
            return "Votes that arrive now count for the next round."
        return " ".join(part for part in (self.blocked, self.held or self._by_itself()) if part)

    def _by_itself(self) -> str:
        left = self.round_after - self.resolved_since
        if self.round_after and left > 0:
            text = f"A round starts by itself after {left} more resolved pair{'s' * (left != 1)}"
            return f"{text}, or on the schedule {self.schedule}." if self.schedule else f"{text}."
        if self.round_after:
            return "" if self.blocked else "A worker starts the next round by itself."
        if self.schedule:
            return f"A round starts by itself on the schedule {self.schedule}."
        return "Rounds start only by hand in this project."


def state(project: exchange.Project) -> Loop:
    """Count and look up everything that `Loop` holds."""
    triggered = project.round_after or project.round_schedule
    live, last = project.rounds.live_and_last()
    policy = ModelVersion.objects.filter(project=project).policies().promoted().first()
    version = last.dataset_version if last else None
    counts, fresh = exchange.counts_and_fresh(project, version)
    return Loop(
        votes=counts["votes"],
        pairs_open=counts["pairs_open"],
        pairs_resolved=counts["pairs_resolved"],
        resolved_since=fresh,
        round_after=project.round_after,
        schedule=project.round_schedule,
        policy=policy.name if policy else "",
        live=live,
        blocked=start_and_cancel.refusal(project),
        held=schedule_limits.held(project, timezone.now()) if triggered else "",
    )


def history(project: exchange.Project) -> RoundQuerySet:
    """The project's rounds from the latest on, with what a list shows of them."""
    return with_results(Round.objects.filter(project=project))


def silent_worker(run: Run | None) -> str:
    """Advice when nobody works on a live run and no worker of its kind reports; else empty."""
    if run is not None and run.lease_until is not None and run.lease_until > timezone.now():
        return ""  # perhaps on a command line, which is no worker
    return absent_worker(run.worker if run else Worker.GPU)


def absent_worker(kind: str = Worker.GPU) -> str:
    """Advice when no worker of this kind reports; empty when one does."""
    name, target = WORKERS[kind]
    beat = WorkerBeat.objects.filter(kind=kind).first()
    if beat is None:
        return f"No {name} has ever reported. Start one with: make {target}"
    age = timezone.now() - beat.seen_at
    if age <= SILENT_AFTER:
        return ""
    minutes = max(1, round(age.total_seconds() / 60))
    return (
        f"No {name} has reported for {minutes} min (last on {beat.host}). "
        f"Start one with: make {target}"
    )


WORKERS: dict[str, tuple[str, str]] = {
    Worker.GPU: ("training worker", "worker-gpu"),
    Worker.SHORT: ("worker", "worker"),
}
"""The name of each kind, and what starts one."""
