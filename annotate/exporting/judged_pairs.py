"""Pairs of a dataset version: what its votes say of each, and the texts that were compared.

A reviewer's decision counts instead of the votes. Surplus votes and those of people whose weight
was 0 say nothing; gold and retest pairs are outside labels.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator
from functools import cache, lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import F

from annotate.exporting.people_in_version import People, Person, Soft, soft_label
from annotate.exporting.raw_rows import batches, stream
from annotate.models import DatasetVersion, Pair
from annotate.models.assignment import MAX_STRENGTH
from annotate.models.content import Messages
from annotate.votes.dataset_versions import votes_in
from annotate.votes.export_values import parsed
from annotate.votes.labels import CLASS, Verdict, verdict

BATCH = 1000
VOTE = ("pair_id", "seq", "annotator_id", "choice", "strength", "left")
OUTCOMES = ("a", "b", "tie", "both_bad", "split")
DECIDED = ("a", "b")
UNDECIDED = ("tie", "both_bad", "split")


Cast = tuple[Person, str, int | None, str]
"""Author, choice, strength, and which completion was on the left."""


class Judged(NamedTuple):
    """The counted votes of one pair, taken together."""

    pair_id: int
    verdict: Verdict
    n_both_bad: int
    votes: list[Cast]
    decision: str = ""
    """The decision of a reviewer, if there is one."""

    @property
    def outcome(self) -> str:
        """The verdict, with ties that mostly say `both_bad` told apart."""
        if self.decision:
            return self.decision
        return _outcome(self.verdict, self.n_both_bad)

    @property
    def method(self) -> str:
        return "adjudicated" if self.decision else "majority"

    @property
    def soft(self) -> Soft | tuple[None, None, None]:
        """Probabilities of A, tie and B; None before reliabilities were estimated."""
        if self.decision:
            a, tie, b = (float(self.verdict.outcome == side) for side in ("a", "tie", "b"))
            return a, tie, b
        if self.votes[0][0].prior is None:
            return None, None, None
        # A side nobody knows is drawn, as annotate.quality.reliability draws it.
        drawn = self.pair_id % 2 == 1
        told = [
            (person, choice, left == "b" if left else drawn)
            for person, choice, _, left in self.votes
        ]
        return soft_label(told) or (None, None, None)

    @property
    def weight(self) -> float:
        """Mean of the weights of the votes."""
        return round(sum([vote[0].weight for vote in self.votes]) / len(self.votes), 6)

    @property
    def reliability(self) -> float | None:
        """Mean of the votes whose authors have one."""
        known = [vote[0].reliability for vote in self.votes if vote[0].reliability is not None]
        return round(sum(known) / len(known), 6) if known else None


class Side(NamedTuple):
    """A completion as it was compared."""

    text: str
    sha256: str
    messages: Messages | None
    model: str
    metadata: dict[str, Any]


class PairTexts(NamedTuple):
    """A pair and what it compares."""

    pair_id: int
    key: str
    kind: str
    stream: str
    tags: list[str]
    """The prompt's, then the pair's own."""
    metadata: dict[str, Any]
    source_margin: float | None
    retest_of: str | None
    prompt_id: str
    held_out: bool
    messages: Messages
    tools: list[Any] | None
    reference: str
    prompt_metadata: dict[str, Any]
    a: Side
    b: Side

    @property
    def split(self) -> str:
        """Held-out prompts and evaluation pairs never enter training."""
        return "test" if self.held_out or self.kind == "evaluation" else "train"

    @property
    def equal(self) -> bool:
        """True when both sides are one text: there is nothing to prefer."""
        return self.a.sha256 == self.b.sha256


def with_texts(
    version: DatasetVersion, include_simulated: bool, *, outcomes: Collection[str] = DECIDED
) -> Iterator[tuple[Judged, PairTexts]]:
    """Every pair with one of these outcomes, and its texts, in pair order.

    Pairs of two equal texts have none of the outcomes a and b; they come with the undecided ones.
    """
    undecided = not set(outcomes) & set(DECIDED)
    if undecided:
        chosen = undecided_pairs(version, include_simulated, outcomes)
    else:
        chosen = judged(version, include_simulated, outcomes=outcomes)
    for batch in batches(chosen, BATCH):
        pairs = texts(one.pair_id for one in batch)
        for one in batch:
            pair = pairs[one.pair_id]
            if undecided or not pair.equal:
                yield one, pair


def decided_pairs(version: DatasetVersion, include_simulated: bool) -> Iterator[Judged]:
    """Every pair with a winner, in pair order: those that `with_texts` gives by default.

    Read to the end, it notes the others on the version, so that their votes are found without
    looking through all.
    """
    equal, others = equal_pairs(version), array("q")
    for one in judged(version, include_simulated):
        if one.outcome in DECIDED and one.pair_id not in equal:
            yield one
        else:
            others.append(one.pair_id)
    version.undecided = {**(version.undecided or {}), include_simulated: others}


def undecided_pairs(
    version: DatasetVersion, include_simulated: bool, outcomes: Collection[str] = UNDECIDED
) -> Iterator[Judged]:
    """Every pair without a winner that has one of these outcomes, or is one text with itself."""
    known = (version.undecided or {}).get(include_simulated)
    equal = equal_pairs(version)
    return judged(version, include_simulated, pairs=known, outcomes=outcomes, besides=equal)


def equal_pairs(version: DatasetVersion) -> frozenset[int]:
    """Pairs of one text with itself, which two models wrote."""
    pairs = version.project.pairs.filter(completion_a=F("completion_b"))
    return frozenset(pairs.values_list("id", flat=True))


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Labelled pairs by outcome; those of two equal texts are `equal_texts`."""
    kinds = dict.fromkeys((*OUTCOMES, "equal_texts"), 0)
    equal = equal_pairs(version)
    for one in judged(version, include_simulated):
        kinds["equal_texts" if one.pair_id in equal else one.outcome] += 1
    return kinds


def judged(
    version: DatasetVersion,
    include_simulated: bool,
    *,
    pairs: Iterable[int] | None = None,
    outcomes: Collection[str] = OUTCOMES,
    besides: Collection[int] = (),
) -> Iterator[Judged]:
    """Every labelled pair of the version with its verdict, in pair order.

    Or those of `pairs`, which are in that order and are looked up some at a time. Of them those
    with one of the `outcomes`, and `besides` these whatever theirs are.
    """
    outside = set(
        version.project.pairs.filter(kind__in=Pair.OUTSIDE_LABELS).values_list("id", flat=True)
    )
    decided = version.decided
    people = People(version)
    for pair_id, rows in groupby(_counted_votes(version, include_simulated, pairs), itemgetter(0)):
        if pair_id in outside:
            continue
        cast = list(rows)
        majority, n_both_bad, outcome = _taken_together(tuple([vote[3:5] for vote in cast]))
        by_reviewer = decided.get(pair_id)
        if by_reviewer:
            outcome = by_reviewer[0]
        if outcome in outcomes or pair_id in besides:
            by = [(people[row[2]], row[3], row[4], row[5]) for row in cast]
            one = Judged(pair_id, majority, n_both_bad, by)
            yield _decided(one, *by_reviewer) if by_reviewer else one


def _counted_votes(
    version: DatasetVersion, include_simulated: bool, pairs: Iterable[int] | None
) -> Iterator[tuple[Any, ...]]:
    """VOTE of each vote that says something, in pair order."""
    for some in [None] if pairs is None else batches(pairs, BATCH):
        votes = votes_in(
            version,
            include_simulated=include_simulated,
            columns=VOTE,
            weighing=True,
            pairs=some,
            surplus=False,
        )
        yield from stream(votes)


@lru_cache(maxsize=4096)
def _taken_together(votes: tuple[tuple[str, int | None], ...]) -> tuple[Verdict, int, str]:
    """The verdict, how many said that both are bad, the outcome. Few such tuples are different."""
    majority = verdict(votes)
    assert majority is not None
    n_both_bad = sum(choice == "both_bad" for choice, _ in votes)
    return majority, n_both_bad, _outcome(majority, n_both_bad)


def _outcome(majority: Verdict, n_both_bad: int) -> str:
    """The verdict's, with ties that mostly say `both_bad` told apart."""
    mostly = majority.outcome == "tie" and n_both_bad * 2 > majority.n_votes
    return "both_bad" if mostly else majority.outcome


def _decided(judged: Judged, choice: str, strength: int) -> Judged:
    """The reviewer's answer over the votes, whose number and share stay what they were."""
    verdict = judged.verdict._replace(outcome=CLASS[choice], margin=strength / MAX_STRENGTH)
    return judged._replace(verdict=verdict, decision=choice)


_SIDE = ("text", "sha256", "messages", "policy", "metadata")
_OF_PAIR = ("id", "key", "kind", "stream", "tags", "metadata", "source_margin", "retest_of__key")
_OF_PROMPT = ("id", "sha256", "held_out", "messages", "tools", "reference", "tags", "metadata")
COLUMNS = (
    *_OF_PAIR,
    *("policy_a", "policy_b"),
    *(f"prompt__{name}" for name in _OF_PROMPT),
    *(f"completion_a__{name}" for name in _SIDE),
    *(f"completion_b__{name}" for name in _SIDE),
)


def texts(ids: Iterable[int]) -> dict[int, PairTexts]:
    """Pair id -> the pair with its texts."""
    prompts: dict[int, tuple[Messages, Any, Any, Any]] = {}
    return {row[0]: _texts(row, prompts) for row in text_rows(ids)}


def text_rows(ids: Iterable[int]) -> list[tuple[Any, ...]]:
    """COLUMNS of the pairs as the database has them, in the order of their numbers."""
    # Numbers are written into the statement: a thousand parameters take longer than the query.
    numbers = ",".join(map(str, map(int, ids))) or "NULL"
    with connection.cursor() as cursor:
        cursor.execute(_texts_sql().format(numbers))
        return list(cursor.fetchall())


@cache
def _texts_sql() -> str:
    """The statement of `text_rows`, in braces its numbers: Django takes as long to make it as some
    hundred rows take."""
    wanted = Pair.objects.extra(where=["annotate_pair.id IN ({})"])
    return wanted.order_by("id").values_list(*COLUMNS).query.sql_with_params()[0]


def _texts(row: tuple[Any, ...], prompts: dict[int, tuple[Messages, Any, Any, Any]]) -> PairTexts:
    tags, metadata, prompt = row[4], row[5], row[10]
    known = prompts.get(prompt)
    if known is None:
        # Neighbouring pairs are often of one prompt.
        known = prompts[prompt] = (
            parsed(row[13]),
            parsed(row[14]),
            parsed(row[16]),
            parsed(row[17]),
        )
    messages, tools, prompt_tags, of_prompt = known
    if tags != "[]":
        prompt_tags = list(dict.fromkeys([*prompt_tags, *parsed(tags)]))
    pair_id, key, kind, stream = row[:4]
    source_margin, retest_of = row[6:8]
    return PairTexts(
        pair_id,
        key,
        kind,
        stream,
        prompt_tags,
        _NOTHING if metadata == "{}" else parsed(metadata),
        source_margin,
        retest_of,
        row[11],
        bool(row[12]),
        messages,
        tools,
        row[15],
        of_prompt,
        _side(row[8], *row[18:23]),
        _side(row[9], *row[23:28]),
    )


_NOTHING: dict[str, Any] = {}


def _side(
    named: str, text: str, sha256: str, messages: str | None, policy: str, metadata: str
) -> Side:
    # The pair knows better: a text that several models wrote is one completion.
    turns = None if messages is None else parsed(messages)
    told = _NOTHING if metadata == "{}" else parsed(metadata)
    return Side(text, sha256, turns, named or policy, told)
