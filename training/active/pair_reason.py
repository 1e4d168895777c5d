"""The ranking's own word on why a pair is asked, for its page."""

from __future__ import annotations

from typing import Any

from training.active.queue_notice import notice
from training.figures.number_format import percent
from training.models import ActiveState


def pair_reason(pair: Any, **_: Any) -> list[str]:
    """Sentences; it answers `exchange.reasons_wanted`."""
    state = ActiveState.objects.filter(project=pair.project_id).select_related("project").first()
    if state is None:
        return []
    if state.cause:
        return [notice(state)]
    told = (state.report.get("next") or {}).get(pair.key)
    if told is None:
        return []
    probability, deviation = told
    sure = f"knows the log-odds to ± {deviation:.1f} (one standard deviation)"
    return [f"The head gives A {percent(probability, 0)}, and {sure}."]
