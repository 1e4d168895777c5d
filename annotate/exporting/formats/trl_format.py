"""Format `trl`: explicit prompt, chosen and rejected per pair, from the votes of a version.

A reviewer's decision counts instead of the votes. Pairs without a winner (ties, both bad, no
majority) go to the part `ties`. Surplus votes, gold and retest pairs are outside labels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby, islice
from typing import Any, NamedTuple

from annotate.models import DatasetVersion, Pair
from annotate.models.assignment import MAX_STRENGTH
from annotate.models.content import Messages
from annotate.votes.dataset_versions import votes_in
from annotate.votes.export_values import line
from annotate.votes.labels import CLASS, Verdict, verdict

PARTS = {
    "trl": "one line per pair with a winner (prompt, chosen, rejected)",
    "ties": "the pairs without one",
}
BATCH = 500
VOTE = ("pair_id", "seq", "choice", "strength", "surplus")
SPEAKERS = {"user": "Human", "assistant": "Assistant", "system": "System"}


class Judged(NamedTuple):
    pair_id: int
    verdict: Verdict
    n_both_bad: int
    decision: str = ""
    """What a reviewer decided, if one did."""

    @property
    def outcome(self) -> str:
        """The verdict, with ties that mostly say `both_bad` told apart."""
        if self.decision:
            return self.decision
        ties = self.verdict.outcome == "tie"
        mostly = self.n_both_bad * 2 > self.verdict.n_votes
        return "both_bad" if ties and mostly else self.verdict.outcome


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Rows, and the pairs without a winner by kind."""
    kinds = {"trl": 0, "tie": 0, "both_bad": 0, "split": 0}
    for one in judged(version, include_simulated):
        kinds["trl" if one.outcome in ("a", "b") else one.outcome] += 1
    return kinds


def lines(
    version: DatasetVersion, *, part: str = "trl", include_simulated: bool
) -> Iterator[bytes]:
    """JSON lines of the pairs with a winner, or (part `ties`) of those without."""
    wanted = ("a", "b") if part == "trl" else ("tie", "both_bad", "split")
    row = preference if part == "trl" else _undecided
    for one, pair in with_texts(version, include_simulated, outcomes=wanted):
        yield line(row(one, pair))


def with_texts(
    version: DatasetVersion, include_simulated: bool, *, outcomes: Collection[str] = ("a", "b")
) -> Iterator[tuple[Judged, dict[str, Any]]]:
    """Every pair with one of these outcomes, and its texts (see `texts`), in pair order."""
    chosen = (one for one in judged(version, include_simulated) if one.outcome in outcomes)
    while batch := list(islice(chosen, BATCH)):
        pairs = texts([one.pair_id for one in batch])
        yield from ((one, pairs[one.pair_id]) for one in batch)


def judged(version: DatasetVersion, include_simulated: bool) -> Iterator[Judged]:
    """Every labelled pair of the version with its verdict, in pair order."""
    outside = set(
        version.project.pairs.filter(kind__in=Pair.OUTSIDE_LABELS).values_list("id", flat=True)
    )
    decided = version.decided
    votes = votes_in(version, include_simulated=include_simulated, columns=VOTE)
    for pair_id, group in groupby(votes.iterator(chunk_size=2000), key=lambda vote: vote[0]):
        choices = [(choice, strength) for _, _, choice, strength, surplus in group if not surplus]
        majority = verdict(choices)
        if majority is not None and pair_id not in outside:
            n_both_bad = sum(choice == "both_bad" for choice, _ in choices)
            judged = Judged(pair_id, majority, n_both_bad)
            yield _decided(judged, *decided[pair_id]) if pair_id in decided else judged


def _decided(judged: Judged, choice: str, strength: int) -> Judged:
    """The reviewer's answer over the votes, whose number and share stay what they were."""
    outcome = CLASS[choice]
    verdict = judged.verdict._replace(outcome=outcome, margin=strength / MAX_STRENGTH)
    return judged._replace(verdict=verdict, decision=choice)


def texts(ids: list[int]) -> dict[int, dict[str, Any]]:
    """Pair id -> the columns that a row has besides the verdict."""
    rows = Pair.objects.filter(id__in=ids).values(
        "id",
        "key",
        "kind",
        "prompt__messages",
        "prompt__sha256",
        "prompt__held_out",
        "completion_a__text",
        "completion_a__sha256",
        "completion_b__text",
        "completion_b__sha256",
    )
    return {row["id"]: dict(row) for row in rows}


def prompt_text(messages: Messages) -> str:
    """A prompt as one string: a single question as it is, a dialogue in the HH-RLHF form."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        return messages[0]["content"]
    turns = [f"\n\n{SPEAKERS[m['role']]}: {m['content']}" for m in messages]
    return "".join(turns) + "\n\nAssistant:"


def split_of(pair: dict[str, Any]) -> str:
    """Held-out prompts and evaluation pairs never enter training."""
    held_out = pair["prompt__held_out"] or pair["kind"] == Pair.Kind.EVALUATION
    return "test" if held_out else "train"


def preference(judged: Judged, pair: dict[str, Any]) -> dict[str, Any]:
    """The row of a pair with a winner."""
    won = judged.verdict
    better, worse = ("a", "b") if won.outcome == "a" else ("b", "a")
    return {
        "prompt": prompt_text(pair["prompt__messages"]),
        "chosen": pair[f"completion_{better}__text"],
        "rejected": pair[f"completion_{worse}__text"],
        "margin": round(won.margin, 6),
        "vote_fraction": round(won.fraction_a if better == "a" else 1 - won.fraction_a, 6),
        "n_votes": won.n_votes,
        "method": "adjudicated" if judged.decision else "majority",
        "split": split_of(pair),
        "pair_id": pair["key"],
        "prompt_id": pair["prompt__sha256"],
        "chosen_id": pair[f"completion_{better}__sha256"],
        "rejected_id": pair[f"completion_{worse}__sha256"],
    }


def _undecided(judged: Judged, pair: dict[str, Any]) -> dict[str, Any]:
    return {
        "prompt": prompt_text(pair["prompt__messages"]),
        "completion_a": pair["completion_a__text"],
        "completion_b": pair["completion_b__text"],
        "outcome": judged.outcome,
        "vote_fraction_a": round(judged.verdict.fraction_a, 6),
        "n_votes": judged.verdict.n_votes,
        "n_both_bad": judged.n_both_bad,
        "method": "adjudicated" if judged.decision else "majority",
        "split": split_of(pair),
        "pair_id": pair["key"],
        "prompt_id": pair["prompt__sha256"],
        "completion_a_id": pair["completion_a__sha256"],
        "completion_b_id": pair["completion_b__sha256"],
    }
