"""Pairs for AI annotators to vote on, and their votes, which count nowhere as a person's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q

from annotate.exchange.batches import batched
from annotate.models import AiAnnotator, AiVote, Assignment, DatasetVersion, Pair, Project
from annotate.models.pair import PairQuerySet
from annotate.quality.vote_weights import mean_trust
from annotate.queue import write
from annotate.votes import ai_agreement


def pairs_to_judge(project: Project, annotator: int, *, most: int) -> Iterator[dict[str, Any]]:
    """Rows of pairs.jsonl: pairs without a vote of this annotator, `most` of them.

    First some that people have labelled at random, on which its agreement with them is measured,
    then open ones in the random order of the queue. Its votes on open pairs measure, too, once
    people have voted there.
    """
    labelled = _without_vote(ai_agreement.labelled(project), annotator).order_by("shuffle", "pk")
    wanted = min(most, _measurements_missing(project, annotator))
    first = list(labelled.values_list("pk", flat=True)[:wanted])
    open_ = _without_vote(to_vote_on(project), annotator).exclude(pk__in=first)
    then = open_.order_by("shuffle", "pk").values_list("pk", flat=True)[: most - len(first)]
    for batch in batched(chain(first, then.iterator())):
        pairs = Pair.objects.select_related("prompt", "completion_a", "completion_b").in_bulk(batch)
        yield from (_row(pairs[pk]) for pk in batch if pk in pairs)


def count_to_judge(project: Project, annotator: int) -> int:
    """Number of pairs that `pairs_to_judge` would give without an end."""
    labelled = _without_vote(ai_agreement.labelled(project), annotator)
    labelled = labelled.exclude(state=Pair.State.OPEN)  # open ones are counted already
    first = labelled[: _measurements_missing(project, annotator)].count()
    return first + _without_vote(to_vote_on(project), annotator).count()


def _measurements_missing(project: Project, annotator: int) -> int:
    """Labelled pairs on which the annotator has to vote before its agreement is known enough."""
    measured = AiVote.objects.filter(annotator=annotator, pair__in=ai_agreement.labelled(project))
    return max(0, ai_agreement.ENOUGH - measured.count())


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
            # Locked: an import that is undone meanwhile would take the pairs away before the votes.
            rows_of = project.pairs.filter(key__in=by_key).order_by("pk")
            locked = rows_of.select_for_update(no_key=True, of=("self",))
            pairs = dict(locked.values_list("key", "pk"))
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


@dataclass(frozen=True)
class AiTeacher:
    """An AI annotator whose votes teach: by which weight, and on which tags they do not."""

    name: str
    weight: float
    wrong_tags: frozenset[str]


def teachers(project: Project, *, include_simulated: bool) -> dict[int, AiTeacher]:
    """The annotators whose votes teach, by their numbers; none unless the project wants them.

    A vote weighs as one of a person would who agrees with people's labels as often: 2 r - 1, over
    the same of the average vote by people.
    """
    if not project.ai_votes_in_training:
        return {}
    mean = mean_trust(project, include_simulated=include_simulated)
    return {
        one.pk: AiTeacher(
            f"ai-{one.pk}",
            round(figures.trust / (mean or 1.0), 4),
            frozenset(figures.wrong_tags),
        )
        for one, figures in ai_agreement.standing(project)
        if figures.trust > 0
    }


def ai_votes_on(
    pairs: Collection[Pair], version: DatasetVersion, by: Mapping[int, AiTeacher]
) -> Mapping[int, list[dict[str, Any]]]:
    """Votes that teach on these pairs, cast before the version was made, as rows of
    preferences.jsonl have them, by the pair's number. Those of held-out prompts and those on a tag
    that the model is wrong on are left out."""
    told: dict[int, list[dict[str, Any]]] = defaultdict(list)
    if not by:
        return told
    tags = {pair.pk: {*pair.tags, *pair.prompt.tags} for pair in pairs}
    votes = AiVote.objects.that_teach().known_to(version).filter(annotator__in=by, pair__in=tags)
    rows = votes.order_by("pair", "annotator").values_list("pair", "annotator", "choice")
    for pair, annotator, choice in rows:
        teacher = by[annotator]
        if not teacher.wrong_tags & tags[pair]:
            vote = {"annotator": teacher.name, "choice": choice, "weight": teacher.weight}
            told[pair].append(vote)
    return told


def voted_by_models_alone(
    project: Project, version: DatasetVersion, by: Mapping[int, AiTeacher]
) -> PairQuerySet:
    """Pairs with votes of these annotators on which the version holds no vote of a person."""
    people = Assignment.objects.filter(
        pair=OuterRef("pk"), state=Assignment.State.VOTED, frozen_from__lte=version.number
    )
    votes = AiVote.objects.that_teach().known_to(version)
    votes = votes.filter(annotator__in=by, pair=OuterRef("pk"))
    pairs = Pair.objects.filter(Exists(votes), ~Exists(people), project=project)
    return pairs.exclude(completion_a=F("completion_b")).order_by("pk")


def surely_judged(project: Project) -> set[str]:
    """Keys of open pairs of which an AI annotator is sure that is right where people tell: votes by
    people teach more elsewhere. None unless its votes enter training, and none on a tag that it is
    wrong on."""
    if not project.ai_votes_in_training:
        return set()
    keys: set[str] = set()
    for annotator, figures in ai_agreement.standing(project):
        if not figures.is_right or figures.trust <= 0:
            continue
        votes = AiVote.objects.that_teach().sure()
        votes = votes.filter(annotator=annotator, pair__state=Pair.State.OPEN)
        wrong = set(figures.wrong_tags)
        rows = votes.values_list("pair__key", "pair__tags", "pair__prompt__tags").iterator()
        keys.update(key for key, own, of_prompt in rows if not wrong & {*own, *of_prompt})
    return keys
