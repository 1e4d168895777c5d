"""Rows of pairs, votes and labels: read back as states, and written from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connection

from annotate.importing.imported_row import Judgement
from annotate.importing.storage.bulk_insert import Columns, json_text, new_tokens, stored_time
from annotate.importing.storage.content_batch import ContentBatch
from annotate.importing.storage.import_context import SOURCE, ImportContext, Outcome
from annotate.importing.storage.pair_states import Cast, PairState
from annotate.models import Assignment, ImportChange, Label, Pair, Project
from annotate.models.content import is_held_out
from annotate.queue import recount, revision, slots
from annotate.queue.recount import Quota, StandingVote
from annotate.votes import labels
from annotate.webhooks import outbox

Table = ImportChange.Table
Row = tuple[Any, ...]
Said = tuple[tuple[str, int | None], ...]
# Members of an enumeration take longer to bind than plain text.
OPEN, NORMAL = Pair.State.OPEN.value, Pair.Kind.NORMAL.value
BOTH = Pair.Arms.BOTH.value
NO_GUIDELINES = 0
"""Version of the guidelines of votes that were cast elsewhere."""

_PAIRS = Columns(
    Pair,
    (
        *("id", "project_id", "prompt_id", "completion_a_id", "completion_b_id", "key"),
        *("policy_a", "policy_b", "source_margin", "tags", "metadata", "source_ids", "shuffle"),
        *("cast", "left_balance", "created_at", "imported_by_id", "asked", "open_slots", "state"),
        *("resolved_at", *Quota._fields, *recount.Counted._fields),
    ),
    stream="",
    source=SOURCE,
    policy="",
    margin=None,
    priority=0.0,
    retest_of_id=None,
    only_for_id=None,
)
_VOTES = Columns(
    Assignment,
    (
        *("pair_id", "annotator_id", "token", "left", "choice", "strength", "reasons", "comment"),
        *("criteria", "criteria_asked", "voted_at", "seq", "wall_ms", "metadata", "acted_at"),
        "imported_by_id",
    ),
    state=Assignment.State.VOTED.value,
    stream="",
    skip_reason="",
    input="",
    guideline_version=NO_GUIDELINES,
    surplus=False,
    simulated=False,
    imported=True,
    revision=1,
)
_LABELS = Columns(
    Label,
    ("pair_id", "outcome", "vote_fraction", "margin", "n_votes", "updated_at"),
    method="majority",
)


def stored_states(project: Project, keys: Collection[str]) -> list[PairState]:
    """The pairs of these keys, with the votes that stand on them."""
    columns = (
        *("key", "completion_a__sha256", "policy_a", "completion_b__sha256", "policy_b"),
        *("prompt__sha256", "id", "source_ids", "tags", "metadata", "source_margin"),
        *("imported_by_id", "state", "adjudication__pk"),
    )
    states: dict[int, PairState] = {}
    pairs = project.pairs.filter(key__in=keys).values_list(*columns)
    for key, text_a, a, text_b, b, prompt, number, *rest in pairs:
        source_ids, tags, metadata, margin, by, state, decision = rest
        states[number] = PairState(
            key,
            (text_a, a),
            (text_b, b),
            prompt,
            id=number,
            source_ids=source_ids,
            tags=tags,
            metadata=metadata,
            margin=margin,
            imported_by=by,
            is_open=state == Pair.State.OPEN,
            is_decided=decision is not None,
        )
    votes = Assignment.objects.filter(pair__in=states).voted().order_by("pair_id", "seq", "pk")
    for pair, annotator, choice, strength, number in votes.values_list(
        "pair_id", "annotator_id", "choice", "strength", "pk"
    ):
        states[pair].votes[annotator] = Cast(choice, strength, id=number)
    return list(states.values())


class Settled(NamedTuple):
    """State and label of a new pair by its votes, whoever cast them."""

    state: str
    asked: int
    counted: recount.Counted
    label: Row
    """Outcome, share of A, margin, number of votes; empty of a pair without a label."""


@lru_cache(maxsize=10_000)
def _settled(quota: Quota, votes: Said, weighing: Said, of_one_text: bool) -> Settled:
    """Apply the rules to votes of (choice, strength): most files hold few combinations.

    Those that are `weighing` make the label.
    """
    standing = [StandingVote(*vote, by=0, at=None, simulated=False) for vote in votes]
    counted = recount.tally(standing, wanted=quota.wanted)
    counts = _slot_counts(quota, counted)
    state, asked = recount.state_and_asked(counts, of_one_text=of_one_text)
    aggregate = labels.verdict(weighing)
    label = () if state == OPEN or aggregate is None else tuple(aggregate)
    return Settled(str(state), asked, counted, label)


@dataclass
class PairRows:
    """Writes the pairs and votes of a batch in the caller's transaction."""

    context: ImportContext
    contents: ContentBatch
    outcome: Outcome
    _known: list[PairState] = field(default_factory=list)
    _new: list[PairState] = field(default_factory=list)
    _pairs: list[Row] = field(default_factory=list)
    _votes: list[Row] = field(default_factory=list)
    _labels: list[Row] = field(default_factory=list)

    def prepare(self, states: Iterable[PairState]) -> None:
        """Number the new pairs and make their rows, outside any transaction."""
        for state in states:
            (self._new if state.id is None else self._known).append(state)
        tokens = new_tokens(sum(len(state.fresh) for state in self._new))
        weightless = self.context.annotators.weightless
        for number, state in zip(_PAIRS.take_ids(len(self._new)), self._new, strict=True):
            state.id = number
            quota, shuffle = self._quota_of_new(state)
            cast = [state.votes[annotator] for annotator in state.fresh]
            votes = weighing = tuple([(vote.choice, vote.strength) for vote in cast])
            if weightless and not weightless.isdisjoint(state.fresh):
                by = zip(state.fresh, votes, strict=True)
                weighing = tuple(vote for annotator, vote in by if annotator not in weightless)
            settled = _settled(quota, votes, weighing, state.of_one_text)
            self._pairs.append(self._pair(state, cast, quota, settled, shuffle))
            if cast:
                self._votes += self._vote_rows(state, tokens, after=0)
            if settled.label:
                self._labels.append((number, *settled.label, self.context.at))

    def store(self) -> None:
        """Write everything in the caller's transaction."""
        # First the rows that others may want as well, in the order in which everybody locks them.
        self._lock_and_change(self._known)
        _PAIRS.insert(self._pairs)
        _VOTES.insert(self._votes)
        _LABELS.insert(self._labels)
        if self.context.project.stop_when_certain and self.context.judged == "ask":
            # Whether a label is certain is told by stored votes. Webhooks hear of pairs that were
            # here and open; of those that a file brings resolved, the end of its job tells.
            judged = [state.id for state in self._new if state.fresh and state.id]
            recount.recount(judged, now=self.context.now)

    def _quota_of_new(self, state: PairState) -> tuple[Quota, float]:
        """The quota of a new pair, and its place in the random order."""
        n = len(state.fresh)
        if n and self.context.judged == "labels":
            return Quota(NORMAL, BOTH, n, n, 0), Pair.place_in_order(state.key)
        asked = Pair.quota(
            self.context.project,
            Pair.Kind.NORMAL,
            key=state.key,
            held_out=is_held_out(state.prompt),
        )
        quota = Quota(*map(asked.__getitem__, Quota._fields))
        quota = quota._replace(kind=str(quota.kind), arms=str(quota.arms))
        return _with_votes_of_a_file(quota, n), asked["shuffle"]

    def _pair(
        self, state: PairState, cast: list[Cast], quota: Quota, settled: Settled, shuffle: float
    ) -> Row:
        context, completions = self.context, self.contents.completions
        (text_a, a), (text_b, b) = state.a, state.b
        n = len(cast)
        return (
            state.id,
            context.project_id,
            self.contents.prompts[state.prompt].id,
            completions[state.prompt, text_a].id,
            completions[state.prompt, text_b].id,
            state.key,
            a,
            b,
            state.margin,
            json_text(state.tags),
            json_text(state.metadata, "{}"),
            json_text(state.source_ids),
            shuffle,
            n,
            _left_balance(cast),
            context.at,
            context.by_id,
            settled.asked,
            settled.asked - n,
            settled.state,
            None if settled.state == OPEN else context.at,
            *quota,
            *_with_people_and_times(settled.counted, state.fresh, cast),
        )

    def _vote_rows(self, state: PairState, tokens: Iterator[str], *, after: int) -> Iterator[Row]:
        """Rows of the votes that the batch adds, numbered on from `after`."""
        by, at = self.context.by_id, self.context.at
        for seq, annotator in enumerate(state.fresh, start=after + 1):
            vote = state.votes[annotator]
            said = vote.judgement
            assert said, "a fresh vote has its judgement"
            metadata = {**vote.extra, **said.metadata} if vote.extra else said.metadata
            yield (
                state.id,
                annotator,
                next(tokens),
                said.left,
                said.choice,
                said.strength,
                json_text(said.reasons),
                said.comment,
                json_text(said.criteria, "{}"),
                said.criteria_asked,
                stored_time(said.at),
                seq,
                said.wall_ms,
                json_text(metadata, "{}"),
                at,
                by,
            )

    def _lock_and_change(self, states: list[PairState]) -> None:
        """Add to pairs that were there before, and let the rules say what follows."""
        numbers = {state.id: state for state in states if state.id and state.is_touched}
        if not numbers:
            return
        slots.lock(numbers)
        rows = Pair.objects.filter(pk__in=numbers).values_list("pk", "cast", *Quota._fields)
        again: list[int] = []
        updates: list[Row] = []
        votes: list[Row] = []
        tokens = new_tokens(sum(len(state.fresh) for state in numbers.values()))
        for number, cast, *quota in rows:
            state = numbers[number]
            votes += self._vote_rows(state, tokens, after=cast)
            updates.append(_update_of(state))
            if state.is_recounted:
                again.append(number)
                of_quota = dict(zip(Quota._fields, quota, strict=True))
                self.outcome.changes(Table.PAIR, number, of=state.imported_by, **of_quota)
        _VOTES.insert(votes)
        if updates:
            with connection.cursor() as cursor:
                cursor.executemany(_UPDATE, updates)
        for number in again:
            self._revise(numbers[number])
        outbox.tell_resolved(recount.recount(again, now=self.context.now, quota=self._quota))

    def _quota(self, pair: Pair, votes: int) -> Quota:
        """The votes of a file were all asked for, whatever the project asks of its own pairs."""
        quota = Quota(pair.kind, pair.arms, pair.wanted, pair.limit, pair.agree)
        if pair.kind in Pair.OUTSIDE_LABELS:
            return quota
        if self.context.judged == "labels":
            return quota._replace(wanted=votes, limit=votes, agree=0)
        return _with_votes_of_a_file(quota, votes)

    def _revise(self, state: PairState) -> None:
        """Change stored votes; those that a dataset version holds become revisions."""
        fresh = set(state.fresh)
        for annotator, vote in state.votes.items():
            if vote.judgement is None or annotator in fresh:
                continue
            stored = Assignment.objects.select_related("pair").get(pk=vote.id or 0)
            before = {name: _plain(getattr(stored, name)) for name in REVISED}
            self.outcome.changes(Table.VOTE, stored.pk, of=stored.imported_by_id, **before)
            revision.keep_revision(stored)
            for name, value in _said(vote.judgement, vote.extra).items():
                setattr(stored, name, value)
            stored.save(update_fields=(*REVISED, "revision", "frozen_from"))


def _with_votes_of_a_file(quota: Quota, votes: int) -> Quota:
    """The quota with room for them; a second one was not cast because of the first."""
    wanted = max(quota.wanted, min(votes, 2))
    return quota._replace(wanted=wanted, limit=max(quota.limit, votes))


REVISED = (
    *("choice", "strength", "left", "reasons", "comment", "criteria", "criteria_asked"),
    *("voted_at", "wall_ms", "metadata"),
)
"""Columns that a later vote of the same person on the same pair replaces."""
_UPDATE = (
    "UPDATE annotate_pair SET source_ids = %s, tags = %s, metadata = %s, source_margin = %s, "
    '"cast" = "cast" + %s, left_balance = left_balance + %s WHERE id = %s'
)


def _update_of(state: PairState) -> Row:
    described = (
        json_text(state.source_ids),
        json_text(state.tags),
        json_text(state.metadata, "{}"),
    )
    cast = [state.votes[annotator] for annotator in state.fresh]
    added = (len(cast), _left_balance(cast))
    return (*described, state.margin, *added, state.id)


def _said(judgement: Judgement, extra: dict[str, Any]) -> dict[str, Any]:
    return {
        "choice": judgement.choice,
        "strength": judgement.strength,
        "left": judgement.left,
        "reasons": list(judgement.reasons),
        "comment": judgement.comment,
        "criteria": dict(judgement.criteria),
        "criteria_asked": judgement.criteria_asked,
        "voted_at": judgement.at,
        "wall_ms": judgement.wall_ms,
        "metadata": {**extra, **judgement.metadata},
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _with_people_and_times(counted: recount.Counted, people: list[int], cast: list[Cast]) -> Row:
    """The counts of a new pair with who cast its first votes, and when, where that is known."""
    if not cast:
        return counted
    n_a, n_b, n_tie, first, second, *_ = counted
    times = [vote.judgement.at for vote in cast if vote.judgement]
    known = [moment for moment in times if moment is not None]
    return (
        n_a,
        n_b,
        n_tie,
        first,
        second,
        people[0],
        people[1] if second else None,
        stored_time(times[1]) if second and known else None,
        stored_time(max(known)) if known else None,
        False,
    )


def _slot_counts(quota: Quota, counted: recount.Counted) -> slots.SlotCounts:
    """Of a pair that is not stored: nobody holds a place of it, and no model has seen it."""
    return slots.SlotCounts(
        id=0,
        kind=quota.kind,
        state=Pair.State.OPEN,
        n_a=counted.n_a,
        n_b=counted.n_b,
        n_tie=counted.n_tie,
        cast=0,
        wanted=quota.wanted,
        limit=quota.limit,
        agree=quota.agree,
        asked=0,
        open_slots=0,
        margin=None,
    )


def _left_balance(cast: list[Cast]) -> int:
    """Times that A was on the left minus times that B was, as far as the file says."""
    balance = 0
    for vote in cast:
        if vote.judgement and vote.judgement.left:
            balance += 1 if vote.judgement.left == "a" else -1
    return balance
