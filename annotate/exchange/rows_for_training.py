"""Rows of preferences.jsonl: pairs with the votes that a reward model learns from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db.models import F, Q

from annotate.exchange.ai_votes import ai_votes_on, teachers, voted_by_models_alone
from annotate.exchange.batches import batched
from annotate.exchange.votes_for_ranking import UNKNOWN_STRENGTH
from annotate.models import DatasetVersion, Pair, Project
from annotate.quality.vote_weights import pseudonyms_and_weights
from annotate.votes import dataset_versions
from annotate.votes.labels import ADJUDICATED, CLASS

SHOWN = ("prompt", "completion_a", "completion_b", "label")
SIDES = ("a", "tie", "b")
TEACHES = Q(kind__in=Pair.TEACHING) & ~Q(completion_a=F("completion_b"))


def preferences(
    project: Project, version: DatasetVersion | int, *, include_simulated: bool
) -> Iterator[dict[str, Any]]:
    """Rows of preferences.jsonl: every pair the version holds votes on, in the order of pairs.

    All standing votes, not their majority; surplus votes and pairs that do not teach, among them
    those of two equal texts, are left out, pairs of held-out prompts are marked. Constant memory.

    A vote's weight is its author's `Membership.weight` times trust / (mean trust of the votes),
    with trust = max(2 * reliability - 1, 0.05), 0 for a coin flip; who has no reliability yet
    counts as average. `soft` is [P(a), P(tie), P(b)] where the label rests on the same votes, and
    `decided` the answer of the reviewer whose decision the version holds. Where the project wants
    it, `ai_votes` has the votes of AI annotators, and pairs on which only these voted follow.
    """
    if isinstance(version, int):
        version = project.dataset_versions.get(number=version)
    people = pseudonyms_and_weights(project, include_simulated=include_simulated)
    decided, by = version.decided, teachers(project, include_simulated=include_simulated)
    columns = ("pair_id", "seq", "annotator_id", "choice", "strength", "surplus")
    votes = dataset_versions.votes_in(version, include_simulated=include_simulated, columns=columns)
    counted = (row for row in votes.iterator() if not row[5])
    by_pair = ((key, list(group)) for key, group in groupby(counted, key=itemgetter(0)))
    for batch in batched(by_pair):
        pairs = Pair.objects.filter(TEACHES).select_related(*SHOWN)
        teaching = pairs.in_bulk([key for key, _ in batch])
        models = ai_votes_on(teaching.values(), version, by)
        for key, cast in batch:
            if key in teaching:
                choice, _ = decided.get(key, ("", 0))
                row = _preference(teaching[key], cast, people, decided=choice)
                yield row | _by_models(models, key)
    alone = voted_by_models_alone(project, version, by) if by else Pair.objects.none()
    for more in batched(alone.select_related(*SHOWN).iterator(chunk_size=2000)):
        models = ai_votes_on(more, version, by)
        for pair in more:
            if told := _by_models(models, pair.pk):
                yield _preference(pair, [], people) | told


def _by_models(models: Mapping[int, list[dict[str, Any]]], pair: int) -> dict[str, Any]:
    """The column of votes by models; none where there are none."""
    return {"ai_votes": models[pair]} if models.get(pair) else {}


def open_pairs(project: Project, *, most: int) -> Iterator[dict[str, Any]]:
    """Rows of preferences.jsonl without votes: pairs that still want some, the best `most`."""
    pairs = Pair.objects.filter(project=project, state=Pair.State.OPEN, kind__in=Pair.TEACHING)
    for pair in pairs.select_related(*SHOWN).order_by("-priority", "pk")[:most].iterator():
        yield _preference(pair, [], {})


def _preference(
    pair: Pair,
    cast: list[tuple[Any, ...]],
    people: dict[int, tuple[str, float]],
    *,
    decided: str = "",
) -> dict[str, Any]:
    votes = []
    for _, _, annotator, choice, strength, _ in cast:
        pseudonym, weight = people[annotator]
        # "Negligibly better" has strength 0; where neither is better it says nothing. A file
        # that does not say how much better one is counts as "clearly".
        known = choice in ("a", "b") and strength is not None
        strength = strength if known else UNKNOWN_STRENGTH
        vote = {"annotator": pseudonym, "choice": choice, "strength": strength}
        votes.append(vote | {"weight": weight})
    return {
        "pair_id": pair.key,
        "prompt_id": pair.prompt.sha256,
        "messages": pair.prompt.messages,
        "completion_a": pair.completion_a.text,
        "completion_b": pair.completion_b.text,
        "stream": pair.stream,
        "held_out": pair.prompt.held_out,
        "kind": pair.kind,
        "votes": votes,
        "soft": _soft(pair, len(votes), decided),
        "decided": decided,
    }


def _soft(pair: Pair, votes: int, decided: str) -> list[float] | None:
    """Probabilities of A, tie and B; None where the label rests on something else."""
    if decided:
        return [float(CLASS[decided] == side) for side in SIDES]
    label = getattr(pair, "label", None)
    # The certainty of a decision made since the version is none that its votes gave.
    if label is None or label.method == ADJUDICATED or label.n_votes != votes or label.p_a is None:
        return None
    return [round(p, 6) for p in (label.p_a, label.p_tie, label.p_b)]
