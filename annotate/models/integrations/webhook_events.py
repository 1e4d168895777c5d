"""Events that a project's webhooks are told of."""

from __future__ import annotations

from django.db import models


class WebhookEvent(models.TextChoices):
    """Events that a webhook may ask for, as Standard Webhooks writes types."""

    PAIR_RESOLVED = "pair.resolved", "A pair is resolved, by votes or by a decision"
    ROUND_FINISHED = "round.finished", "A round is done, failed or cancelled"
    GATE_FAILED = "gate.failed", "A new policy fails a gate"
    POLICY_PROMOTED = "policy.promoted", "A new policy is in use"
    POLICY_WAITING = "policy.waiting", "A new policy waits for people to decide"
    LOOP_PAUSED = "loop.paused", "Rounds start by themselves no more"
    JOB_DONE = "job.done", "An import or export is done, failed or cancelled"


TEST_EVENT = "webhook.test"
"""Sent on a click alone; nobody has to ask for it."""
MANY_RESOLVED = "pairs.resolved"
"""Instead of PAIR_RESOLVED where something resolves many pairs at once: one list of them."""
