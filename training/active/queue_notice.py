"""The state of the queue's order in one sentence, for the page, the pair's page and REST."""

from __future__ import annotations

from training.active.acquisition_titles import TITLES
from training.active.arm_comparison import Comparison
from training.active.fallback_causes import Cause
from training.active.learning_forecast import AHEAD
from training.figures.number_format import percent
from training.models import ActiveState

MINUS = "\N{MINUS SIGN}"
NOTHING_YET = "Pairs are asked at random: no round has proposed pairs yet."


def notice(state: ActiveState | None) -> str:
    """The order in which pairs are asked, and for a random one its cause."""
    if state is None or state.counted_at is None:
        return NOTHING_YET
    if state.cause:
        return f"Pairs are asked at random: {_because(state)}."
    if state.acquisition == "random":
        return "Pairs are asked at random, as the settings say."
    share = state.project.random_share
    title = TITLES.get(state.acquisition, state.acquisition).partition(":")[0]
    return f"Pairs are ranked by {title}; {percent(share, 0)} of them are drawn at random."


def _because(state: ActiveState) -> str:
    facts, told = state.facts, state.comparison
    match state.cause:
        case Cause.NO_NUMBERS:
            share = facts.get("no_numbers", 1.0)
            return f"the features of {percent(share, 0)} of the open pairs are no numbers"
        case Cause.CONSTANT:
            return "nearly all open pairs have the same features on both sides"
        case Cause.EXHAUSTED:
            return "no open pair has features, which the next round will write"
        case Cause.DRIFTED:
            return "the open pairs are unlike those with votes, so the head knows nothing of them"
        case Cause.MISCALIBRATED:
            slope, low, high = (facts.get(f"slope{end}", 0.0) for end in ("", "_low", "_high"))
            return (
                "on held-out prompts the head is surer than it is right "
                f"(slope {slope:.2f}, {low:.2f} to {high:.2f}; 1 is right)"
            )
        case Cause.LOSS if told:
            return f"at equal votes random order teaches more ({points_with_ends(told)})"
        case Cause.LOSS:
            return "at equal votes random order taught more"
    return state.why or "votes have taught no head yet"


def points_with_ends(told: dict[str, float]) -> str:
    """The gain of a stored comparison with its interval, as "+2.1 points, 0.3 to 3.9"."""
    low, high = points(told["low"], sign=False), points(told["high"], sign=False)
    return f"{points(told['gain'])} points, {low} to {high}"


def points(share: float, *, sign: bool = True) -> str:
    """A share as percentage points with one decimal and, by default, its sign."""
    value = round(100 * share, 1) + 0.0
    return f"{value:{'+' if sign else ''}.1f}".replace("-", MINUS)


def verdict(state: ActiveState) -> str:
    """The live control in one sentence."""
    told = state.comparison
    if not told:
        if state.acquisition == "random":
            return "Not measured: the acquisition of this project is random."
        if state.counted_at is None or state.cause == Cause.NO_HEAD:
            return "Not measurable yet: votes have taught no head."
        when = f" before about {state.measurable_at:,} votes" if state.measurable_at else " yet"
        return f"Not measurable{when}: it takes {state.lacking or 'more votes'}."
    if told["low"] > 0:
        return "Active order teaches more than random order at equal votes."
    if told["high"] < 0:
        return "Active order teaches less than random order at equal votes."
    return "Not decided: the interval holds zero."


def votes_saved(state: ActiveState) -> tuple[str, str] | None:
    """Votes that active order has saved so far, and their interval, as written; None before that
    can be measured. Each active vote was worth so many random ones."""
    worth = Comparison(**state.comparison).worth() if state.comparison else None
    cast = state.report.get("active_votes", 0)
    if worth is None or not cast:
        return None
    value, low, high = (f"{round(cast * (one - 1)):,}".replace("-", MINUS) for one in worth)
    return value, f"{low} to {high}"


def gain(state: ActiveState) -> tuple[str, str]:
    """The gain of the stored comparison in points, and its interval; empty before there is one."""
    told = state.comparison
    if not told:
        return "", ""
    ends = [points(told[end], sign=False) for end in ("low", "high")]
    return points(told["gain"]), " to ".join(ends)


def advice(state: ActiveState) -> str:
    """The forecast in one sentence: votes for another point, or that more bring too little."""
    told = state.report.get("forecast")
    if not told:
        missing = state.report.get("lacking")
        return f"No forecast yet: it takes {missing}." if missing else "No forecast yet."
    if told["stop"]:
        return (
            f"Stop here: the next {AHEAD} votes bring at most {points(told['gain_high'])} points, "
            "less than the noise."
        )
    if told["point"] is None:
        return "One point more is further away than the votes so far can tell."
    ends = (
        f"{told['point_low'] or 0:,} to {told['point_high']:,}"
        if told["point_high"]
        else (f"at least {told['point_low']:,}" if told["point_low"] else "")
    )
    return f"About {told['point']:,} more votes for +1 point{f' ({ends})' if ends else ''}."
