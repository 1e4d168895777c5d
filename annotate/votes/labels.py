"""Labels: what the standing votes of a pair amount to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.models import F, Q
from django.utils import timezone

from annotate.models import Assignment, Label, Pair, Project
from annotate.models.assignment import MAX_STRENGTH
from annotate.statements import prepared

# Agreement and labels know three classes; both_bad is a tie that says more.
CLASS = {"a": "a", "b": "b", "tie": "tie", "both_bad": "tie"}
ADJUDICATED = "adjudicated"
TIES = tuple(choice for choice, kind in CLASS.items() if kind == "tie")
CLASS_SQL = "CASE {0} WHEN 'a' THEN 'a' WHEN 'b' THEN 'b' ELSE 'tie' END"
"""CLASS of a column in SQL; voted columns hold nothing else."""
SIGN = {"a": 1, "b": -1, "tie": 0}


def same_answer(one: str, other: str) -> Q:
    """That two columns of choices are of one class: what makes an answer to a gold pair right."""
    both_tied = Q(**{f"{one}__in": TIES, f"{other}__in": TIES})
    return Q(**{one: F(other)}) | both_tied


class Verdict(NamedTuple):
    """The aggregate of one pair's votes."""

    outcome: str
    """a, b, tie, or split when no class has more votes than every other."""
    fraction_a: float
    """Share of the votes for A, ties counting half."""
    margin: float | None
    """|mean signed strength| / MAX_STRENGTH, in 0 to 1; None where no strength is known."""
    n_votes: int


_STORED = (
    *("outcome", "vote_fraction", "margin", "n_votes", "method"),
    *("p_a", "p_tie", "p_b"),
)
# One statement, because this is on the path of every vote that resolves a pair.
STORE = """
    INSERT INTO annotate_label (pair_id, updated_at, {columns}) VALUES (%(pair)s, %(now)s, {values})
    ON CONFLICT (pair_id) DO UPDATE SET updated_at = excluded.updated_at, {changes}
""".format(
    columns=", ".join(_STORED),
    values=", ".join(f"%({name})s" for name in _STORED),
    changes=", ".join(f"{name} = excluded.{name}" for name in _STORED),
)
UNKNOWN = Verdict(outcome="split", fraction_a=0.5, margin=0.0, n_votes=0)
"""Of a pair without votes."""


def verdict(votes: Iterable[tuple[str, int | None]]) -> Verdict | None:
    """Aggregate votes of (choice, strength); None without votes.

    The margin is taken from the votes whose strength is known, a tie counting as 0. Where A or B
    was chosen, but nobody said how much better it is, there is none.
    """
    counts = {"a": 0, "tie": 0, "b": 0}
    signed = known = 0
    for choice, strength in votes:
        kind = CLASS[choice]
        counts[kind] += 1
        if strength is not None and kind != "tie":
            signed += SIGN[kind] * strength
            known += 1
    n = sum(counts.values())
    if not n:
        return None
    margin = None
    if known or counts["tie"] == n:
        margin = abs(signed) / (known + counts["tie"]) / MAX_STRENGTH
    return Verdict(
        outcome=majority(counts),
        fraction_a=(counts["a"] + counts["tie"] / 2) / n,
        margin=margin,
        n_votes=n,
    )


def majority(counts: dict[str, int]) -> str:
    """The class with the most votes; split when two share the lead."""
    first, second, *_ = sorted(counts.values(), reverse=True)
    return "split" if first == second else max(counts, key=lambda kind: counts[kind])


# As `standing().weighing()` has them, beside what a reviewer decided.
VOTES = """
    SELECT a.choice, a.strength, decision.choice, decision.strength
    FROM annotate_assignment a
    JOIN annotate_pair p ON p.id = a.pair_id
    LEFT JOIN annotate_adjudication decision ON decision.pair_id = a.pair_id
    WHERE a.pair_id = %(pair)s AND a.state = 'voted' AND NOT a.surplus
        AND NOT EXISTS (
            SELECT 1 FROM annotate_membership member
            WHERE member.project_id = p.project_id AND member.user_id = a.annotator_id
                AND member.weight = 0
        )
"""


def refresh(pair: Pair) -> None:
    """Write the pair's label from its standing votes; a pair without votes has none.

    What a reviewer decided stays, whatever the votes say. People of weight 0 say nothing.
    """
    rows = prepared.rows(VOTES, {"pair": pair.pk})
    aggregate = verdict((choice, strength) for choice, strength, *_ in rows)
    if aggregate is None:
        Label.objects.filter(pair=pair).exclude(method=ADJUDICATED).delete()
        return
    _, _, choice, strength = rows[0]
    _store(pair, decided(aggregate, choice, strength) if choice else columns(aggregate))


def refresh_of(project: Project, user_id: int) -> None:
    """Write the labels of the decided pairs on which that person's votes stand: their weight
    became 0, or is no longer."""
    votes = Assignment.objects.in_project(project).standing().filter(annotator=user_id)
    done = votes.exclude(pair__state=Pair.State.OPEN).exclude(pair__kind__in=Pair.OUTSIDE_LABELS)
    for pair_id in done.values_list("pair_id", flat=True).order_by("pair_id"):
        refresh(Pair(pk=pair_id))


def decide(pair: Pair, choice: str, strength: int) -> None:
    """Make a reviewer's answer the pair's label."""
    votes = Assignment.objects.filter(pair=pair).standing().weighing()
    aggregate = verdict(votes.values_list("choice", "strength"))
    _store(pair, decided(aggregate or UNKNOWN, choice, strength))


def _store(pair: Pair, label: dict[str, Any]) -> None:
    prepared.execute(STORE, {"pair": pair.pk, "now": timezone.now()} | label)


def columns(aggregate: Verdict) -> dict[str, Any]:
    """The label row's columns; the probabilities wait for the next refresh of reliabilities."""
    return {
        "outcome": aggregate.outcome,
        "vote_fraction": aggregate.fraction_a,
        "margin": aggregate.margin,
        "n_votes": aggregate.n_votes,
        "method": "majority",
        **dict.fromkeys(("p_a", "p_tie", "p_b")),
    }


def decided(aggregate: Verdict, choice: str, strength: int) -> dict[str, Any]:
    """The columns under a reviewer's decision, beside which the votes are still worth knowing."""
    kind = CLASS[choice]
    return columns(aggregate) | {
        "outcome": kind,
        "margin": strength / MAX_STRENGTH,
        "method": ADJUDICATED,
        **{f"p_{name}": float(name == kind) for name in ("a", "tie", "b")},
    }
