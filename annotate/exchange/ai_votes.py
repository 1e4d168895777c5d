"""Pairs for AI annotators to vote on, and their votes, which count nowhere as a person's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q

from annotate.exchange.batches import batched
from annotate.models import AiAnnotator, AiVote, Pair, Project
from annotate.models.pair import PairQuerySet
from annotate.queue import write
from annotate.votes import ai_agreement


def pairs_to_judge(project: Project, annotator: int, *, most: int) -> Iterator[dict[str, Any]]:
    """Rows of pairs.jsonl: pairs without a vote of this annotator, `most` of them.

    First some that people have labelled at random, on which its agreement with them is measured,
    then open ones in the random order of the queue. Its votes on open pairs measure, too, once
    people have voted there.
    """
    measured = AiVote.objects.filter(annotator=annotator, pair__in=ai_agreement.labelled(project))
    wanted = min(most, max(0, ai_agreement.ENOUGH - measured.count()))
    labelled = _without_vote(ai_agreement.labelled(project), annotator)
    first = list(labelled.order_by("shuffle", "pk").values_list("pk", flat=True)[:wanted])
    open_ = _without_vote(to_vote_on(project), annotator).exclude(pk__in=first)
    then = open_.order_by("shuffle", "pk").values_list("pk", flat=True)[: most - len(first)]
    for batch in batched(chain(first, then.iterator())):
        pairs = Pair.objects.select_related("prompt", "completion_a", "completion_b").in_bulk(batch)
        yield from (_row(pairs[pk]) for pk in batch if pk in pairs)


def count_to_judge(project: Project, annotator: int) -> int:
    """Open pairs without a vote of this annotator."""
    return _without_vote(to_vote_on(project), annotator).count()


def to_vote_on(project: Project) -> PairQuerySet:
    """Open pairs that an AI annotator may vote on: never those that measure people or policies."""
    return Pair.objects.filter(
        project=project, state=Pair.State.OPEN, kind__in=Pair.TEACHING
    ).exclude(completion_a=F("completion_b"))


def _without_vote(pairs: PairQuerySet, annotator: int) -> PairQuerySet:
    return pairs.exclude(Exists(AiVote.objects.filter(annotator=annotator, pair=OuterRef("pk"))))


def _row(pair: Pair) -> dict[str, Any]:
    return {
        "pair_id": pair.key,
        "prompt_id": pair.prompt.sha256,
        "messages": pair.prompt.messages,
        "completion_a": pair.completion_a.text,
        "completion_b": pair.completion_b.text,
    }


def add_ai_votes(
    project: Project, annotator: int, rows: Iterable[Mapping[str, Any]], *, run: UUID
) -> Counter[str]:
    """Add rows of pair_id, choice, there, back and margin; new votes by their choice.

    Idempotent by annotator and pair: the first vote stands. Pairs that are gone are left out, and
    so is everything of an annotator that was retired meanwhile.
    """
    counts: Counter[str] = Counter()
    for batch in batched(rows):
        by_key = {row["pair_id"]: row for row in batch}
        with write():
            if not AiAnnotator.objects.filter(
                pk=annotator, project=project, retired_at=None
            ).exists():
                return counts
            pairs = dict(project.pairs.filter(key__in=by_key).values_list("key", "pk"))
            had = AiVote.objects.filter(annotator=annotator, pair__in=pairs.values())
            known = set(had.values_list("pair_id", flat=True))
            new = [
                AiVote(
                    annotator_id=annotator,
                    pair_id=pairs[key],
                    run=run,
                    **{name: row[name] for name in ("choice", "there", "back", "margin")},
                )
                for key, row in by_key.items()
                if key in pairs and pairs[key] not in known
            ]
            AiVote.objects.bulk_create(new, ignore_conflicts=True)
        counts.update(str(vote.choice) for vote in new)
    return counts


def shared_voted_pairs(project: Project, other: Project) -> bool:
    """True where two projects have votes on the same pair, known by its texts."""
    voted = Q(n_a__gt=0) | Q(n_b__gt=0) | Q(n_tie__gt=0)
    there = other.pairs.filter(voted, key=OuterRef("key"), kind__in=Pair.TEACHING)
    return project.pairs.filter(voted, Exists(there)).exists()
