"""Rows that training reads: votes, prompts, and the progress of labelling."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db.models import Avg, Exists, F, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast, Length

from annotate import queue
from annotate.exchange.ai_votes import ai_votes_on, teachers, voted_by_models_alone
from annotate.exchange.batches import batched
from annotate.models import (
    Assignment,
    Completion,
    DatasetVersion,
    Label,
    Pair,
    Project,
    Prompt,
)
from annotate.models.assignment import AssignmentQuerySet
from annotate.models.content import Messages, messages_sha256
from annotate.overview import home_figures
from annotate.quality.agreement_counts import Summary
from annotate.quality.vote_weights import pseudonyms_and_weights
from annotate.review.search import NEWEST, tagged
from annotate.votes import dataset_versions
from annotate.votes.labels import ADJUDICATED, CLASS

SHOWN = ("prompt", "completion_a", "completion_b", "label")
SIDES = ("a", "tie", "b")
UNKNOWN_STRENGTH = 2
TEACHES = Q(kind__in=Pair.TEACHING) & ~Q(completion_a=F("completion_b"))
Vote = tuple[str, int, float, float, float]
"""A row of `single_votes`."""
VALUE = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}


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


def prompt_id(messages: Messages) -> str:
    """Name of a prompt in files: the hash of its chat."""
    return messages_sha256(messages)


def prompts(
    project: Project, *, unanswered: bool = False, tag: str = "", most: int | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of prompts.jsonl, in the order the prompts came; by default all.

    Args:
        unanswered: those without a completion alone.
        tag: those that have it alone.
        most: the first so many.
    """
    columns = ("messages", "held_out", "tags", "reference")
    chosen = _chosen(project, unanswered=unanswered, tag=tag)
    rows = chosen.order_by("pk").values_list("sha256", *columns)
    for sha, *values in rows[:most].iterator():
        yield {"prompt_id": sha, **dict(zip(columns, values, strict=True))}


def known_prompts(project: Project, prompt_ids: Iterable[str]) -> set[str]:
    """Those of these names that are prompts of the project."""
    there = project.prompts.filter(sha256__in=set(prompt_ids))
    return set(there.values_list("sha256", flat=True))


def _chosen(project: Project, *, unanswered: bool, tag: str) -> QuerySet[Prompt]:
    chosen = project.prompts.all()
    if unanswered:
        chosen = chosen.filter(~Exists(Completion.objects.filter(prompt=OuterRef("pk"))))
    return chosen.filter(tagged("tags", tag)) if tag else chosen


def prompt_count(
    project: Project, *, unanswered: bool = False, tag: str = "", held_out: bool = False
) -> int:
    """The number of prompts that `prompts` gives, or of those that only measure among them."""
    chosen = _chosen(project, unanswered=unanswered, tag=tag)
    return (chosen.filter(held_out=True) if held_out else chosen).count()


def prompt_length(project: Project, *, unanswered: bool = False, tag: str = "") -> float:
    """Mean characters of the first of these prompts; 0 without any."""
    first = _chosen(project, unanswered=unanswered, tag=tag).order_by("pk")[:MEASURED]
    length = Length(Cast("messages", TextField()))
    return float(first.aggregate(mean=Avg(length))["mean"] or 0.0)


def reply_lengths(project: Project) -> list[int]:
    """Characters of replies that people brought, and of references, the newest first; replies that
    a model of the project was let write are left out, as they may have been cut."""
    brought = Completion.objects.filter(prompt__project=project, sampling={})
    told = project.prompts.exclude(reference="")
    lengths: list[int] = []
    for newest, text in ((brought.order_by("-pk"), "text"), (told.order_by("-pk"), "reference")):
        rows = newest.annotate(length=Length(text)).values_list("length", flat=True)
        lengths += rows[:MEASURED]
    return lengths


MEASURED = 1000
"""Texts whose length stands for that of all: reading a million would take seconds."""


def text_lengths(project: Project) -> tuple[int, int]:
    """Characters of prompts and of completions, all but the longest twentieth; 0 without any."""
    prompts = Cast("messages", TextField())
    # Not by a join: SQLite would begin with the prompts and sort all of their completions.
    ours = Exists(project.prompts.filter(pk=OuterRef("prompt")))
    completions = Completion.objects.filter(ours)
    return (
        _usual_longest(project.prompts.annotate(size=Length(prompts))),
        _usual_longest(completions.annotate(size=Length("text"))),
    )


def _usual_longest(rows: QuerySet[Any]) -> int:
    sizes = sorted(rows.order_by("-pk").values_list("size", flat=True)[:MEASURED])
    return sizes[int(len(sizes) * 0.95)] if sizes else 0


def prompt_tags(project: Project) -> list[str]:
    """Tags of the newest prompts, to choose from."""
    newest = project.prompts.order_by("-pk")[:NEWEST].values_list("tags", flat=True)
    return sorted({tag for tags in newest for tag in tags})


def one_prompt(project: Project, pk: int | None = None) -> list[dict[str, str]] | None:
    """Messages of a prompt, or without a number of any; None when there is none."""
    prompts = project.prompts.order_by("pk").values_list("messages", flat=True)
    if pk is not None:
        return prompts.filter(pk=pk).first()
    there = prompts.count()
    return prompts[secrets.randbelow(there)] if there else None


def counts(project: Project) -> dict[str, int]:
    """pairs_open, pairs_resolved and votes: those that count, simulated ones included; in large
    projects as last counted."""
    return _counts(home_figures.progress(project))


def counts_and_fresh(project: Project, version: int | None) -> tuple[dict[str, int], int]:
    """`counts`, and the pairs that were `resolved_since` the version, as last counted alike."""
    progress, fresh = home_figures.progress_and_fresh(project, version)
    return _counts(progress), resolved_since(project, version) if fresh is None else fresh


def _counts(progress: Summary) -> dict[str, int]:
    return {
        "pairs_open": progress.open,
        "pairs_resolved": progress.resolved,
        "votes": progress.votes,
    }


def dataset_sizes(project: Project) -> dict[int, dict[str, int]]:
    """Pairs, votes and simulated votes of each dataset version, by its number."""
    rows = project.dataset_versions.values_list("number", "n_pairs", "n_votes", "n_simulated")
    return {
        number: {"pairs": pairs, "votes": votes, "simulated": simulated}
        for number, pairs, votes, simulated in rows
    }


def resolved_since(project: Project, version: int | None, *, most: int | None = None) -> int:
    """Resolved pairs that would teach something `version` does not hold (None: anything), counted
    no further than `most`."""
    fresh = training_votes(project).filter(pair=OuterRef("pk"))
    if version is not None:
        fresh = fresh.filter(Q(frozen_from=None) | Q(frozen_from__gt=version))
    pairs = Pair.objects.filter(TEACHES, project=project, prompt__held_out=False)
    # One that is only asked again has its label, and teaches what it taught.
    wanted, limit, agree = Pair.ADAPTIVE
    adaptive = Q(state=Pair.State.OPEN, wanted=wanted, limit=limit, agree=agree)
    asked_again = adaptive & Exists(Label.objects.filter(pair=OuterRef("pk")))
    pairs = pairs.filter(Q(state=Pair.State.RESOLVED) | asked_again)
    return pairs.filter(Exists(fresh)).order_by()[:most].count()


def training_pairs(project: Project, *, most: int) -> int:
    """Pairs of training prompts on which the next version would hold a vote for a side, resolved or
    not, counted no further than `most`."""
    sided = training_votes(project).filter(surplus=False, choice__in=("a", "b"))
    pairs = Pair.objects.filter(
        TEACHES,
        Exists(sided.filter(pair=OuterRef("pk"))),
        project=project,
        prompt__held_out=False,
    )
    return pairs.order_by()[:most].count()


def has_both_kinds_of_prompts(project: Project) -> bool:
    """True of a project with prompts to train on and prompts to measure on."""
    return all(project.prompts.filter(held_out=held_out).exists() for held_out in (False, True))


def training_votes(project: Project) -> AssignmentQuerySet:
    """Standing votes that count: those of simulated colleagues in the sample project alone."""
    votes = Assignment.objects.in_project(project).standing()
    return votes if project.train_on_simulated else votes.filter(simulated=False)


def open_priorities(project: Project) -> dict[str, float]:
    """The priorities of the pairs that still want votes and may be ranked, by their keys."""
    pairs = Pair.objects.filter(project=project, state=Pair.State.OPEN, kind__in=Pair.TEACHING)
    return dict(pairs.order_by().values_list("key", "priority"))


def may_be_asked_again(project: Project) -> set[str]:
    """Keys of pairs with one vote on which a ranking may ask for another, or has asked for it."""
    there = queue.may_be_asked_again(project) | queue.asked_again(project)
    return set(there.values_list("key", flat=True))


def single_votes(project: Project, *, include_simulated: bool) -> Iterator[Vote]:
    """Standing votes that teach: key of the pair, annotator, value, mass and side.

    The value is 1 for A, 0 for B, 0.5 for a tie; the mass goes by strength, as in a reward model's
    soft labels; the side is 1 where A was on the left, 0 where B was, 0.5 where nobody knows.
    """
    votes = _teaching(project, include_simulated)
    columns = ("pair__key", "annotator_id", "choice", "strength", "left")
    for row in votes.order_by().values_list(*columns).iterator():
        yield single_vote(*row)


def single_vote(key: str, annotator: int, choice: str, strength: int | None, left: str) -> Vote:
    """The row of `single_votes` that a vote becomes."""
    value = VALUE[choice]
    known = value != 0.5 and strength is not None
    mass = ((strength or 0.5) if known else UNKNOWN_STRENGTH) / 2
    return key, annotator, value, mass, {"a": 1.0, "b": 0.0}.get(left, 0.5)


ArmVote = tuple[str, int, int, str, str]
"""A row of `votes_of_arms`."""


def votes_of_arms(project: Project, *, include_simulated: bool) -> Iterator[ArmVote]:
    """Key of the pair, annotator, prompt, arm of the lease and acquisition that ranked the pair, of
    the votes that `single_votes` tells."""
    votes = _teaching(project, include_simulated).order_by()
    columns = ("pair__key", "annotator_id", "pair__prompt_id", "stream", "acquisition")
    yield from votes.values_list(*columns).iterator()


def single_vote_count(project: Project, *, include_simulated: bool) -> int:
    """The number of votes that `single_votes` tells."""
    return _teaching(project, include_simulated).count()


def _teaching(project: Project, include_simulated: bool) -> AssignmentQuerySet:
    votes = Assignment.objects.in_project(project).standing().filter(pair__kind__in=Pair.TEACHING)
    return votes if include_simulated else votes.filter(simulated=False)


def leased_pair_keys(project: Project) -> set[str]:
    """Keys of the pairs that are on somebody's screen now."""
    leases = Assignment.objects.in_project(project).leased()
    return set(leases.values_list("pair__key", flat=True))


def queue_depth(project: Project) -> int:
    """Number of pairs with a free slot."""
    free = Pair.objects.filter(project=project, open_slots__gt=0)
    return free.exclude(arms=Pair.Arms.CHECK).count()


def vote_coverage(
    project: Project, votes: Iterable[tuple[int, str]], *, most_tags: int
) -> dict[str, Any]:
    """Prompts with pairs, and those of them with a vote, by arm; the same of each tag.

    Args:
        votes: prompt and arm of each.
        most_tags: the commonest so many.

    Returns:
        `prompts`, a row, and `tags`, a list of rows with their `tag`. A row has `all`, `voted`,
        `random` and `active`.
    """
    arms: dict[int, set[str]] = {}
    for prompt, arm in votes:
        arms.setdefault(prompt, set()).add(arm)
    whole, of_tags = _Counted(), dict[str, _Counted]()
    asked = project.prompts.filter(Exists(project.pairs.filter(prompt=OuterRef("pk"))))
    for prompt, tags in asked.order_by().values_list("pk", "tags").iterator():
        for counted in (whole, *(of_tags.setdefault(tag, _Counted()) for tag in set(tags))):
            counted.add(arms.get(prompt, set()))
    common = sorted(of_tags.items(), key=lambda one: (-one[1]["all"], one[0]))[:most_tags]
    return {"prompts": dict(whole), "tags": [{"tag": tag, **row} for tag, row in common]}


class _Counted(dict[str, int]):
    """Counts of prompts: `all`, and those with a vote, by arm."""

    def __init__(self) -> None:
        super().__init__(all=0, voted=0, random=0, active=0)

    def add(self, arms: set[str]) -> None:
        self["all"] += 1
        self["voted"] += bool(arms)
        self["random"] += "random" in arms
        self["active"] += "active" in arms
