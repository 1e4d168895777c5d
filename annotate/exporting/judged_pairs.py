"""Pairs of a dataset version: what its votes say of each, and the texts that were compared.

A reviewer's decision counts instead of the votes. Surplus votes and those of people whose weight
was 0 say nothing; gold and retest pairs are outside labels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from django.db.models import F

from annotate.exporting.people_in_version import People, Person, Soft, soft_label
from annotate.exporting.raw_rows import batches, rows_of, stream
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
_verdict = lru_cache(maxsize=4096)(verdict)


class Judged(NamedTuple):
    """The counted votes of one pair, taken together."""

    pair_id: int
    verdict: Verdict
    n_both_bad: int
    soft: Soft | None
    """Probabilities of A, tie and B; None before reliabilities were estimated."""
    weight: float
    """Mean of the weights of the votes."""
    reliability: float | None
    """Mean of the votes whose authors have one."""
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

    @property
    def method(self) -> str:
        return "adjudicated" if self.decision else "majority"


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
    equal = equal_pairs(version) if undecided else ()
    chosen = (
        one
        for one in judged(version, include_simulated)
        if one.outcome in outcomes or one.pair_id in equal
    )
    for batch in batches(chosen, BATCH):
        pairs = texts(one.pair_id for one in batch)
        for one in batch:
            pair = pairs[one.pair_id]
            if undecided or not pair.equal:
                yield one, pair


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
    version: DatasetVersion, include_simulated: bool, *, pairs: Iterable[int] | None = None
) -> Iterator[Judged]:
    """Every labelled pair of the version (or those of `pairs`) with its verdict, in pair order."""
    outside = set(
        version.project.pairs.filter(kind__in=Pair.OUTSIDE_LABELS).values_list("id", flat=True)
    )
    decided = version.decided
    people = People(version)
    votes = votes_in(
        version,
        include_simulated=include_simulated,
        columns=VOTE,
        weighing=True,
        pairs=pairs,
        surplus=False,
    )
    for pair_id, cast in _by_pair(stream(votes)):
        if pair_id in outside:
            continue
        one = _judged(pair_id, [(people[vote[0]], *vote[1:]) for vote in cast])
        yield _decided(one, *decided[pair_id]) if pair_id in decided else one


def _by_pair(votes: Iterator[tuple[Any, ...]]) -> Iterator[tuple[int, list[tuple[Any, ...]]]]:
    pair_id, cast = 0, list[tuple[Any, ...]]()
    for vote in votes:
        if vote[0] != pair_id:
            if cast:
                yield pair_id, cast
            pair_id, cast = vote[0], []
        cast.append(vote[2:])
    if cast:
        yield pair_id, cast


def _judged(pair_id: int, cast: list[tuple[Person, str, int | None, str]]) -> Judged:
    choices = tuple([(choice, strength) for _, choice, strength, _ in cast])
    majority = _verdict(choices)
    assert majority is not None
    known = [one[0].reliability for one in cast if one[0].reliability is not None]
    return Judged(
        pair_id,
        majority,
        sum([choice == "both_bad" for choice, _ in choices]),
        soft_label([(person, choice, _flipped(pair_id, left)) for person, choice, _, left in cast]),
        round(sum([one[0].weight for one in cast]) / len(cast), 6),
        round(sum(known) / len(known), 6) if known else None,
    )


def _flipped(pair_id: int, left: str) -> bool:
    """True when B was on the left; a side nobody knows is drawn, as for reliabilities."""
    return left == "b" if left else pair_id % 2 == 1


def _decided(judged: Judged, choice: str, strength: int) -> Judged:
    """The reviewer's answer over the votes, whose number and share stay what they were."""
    outcome = CLASS[choice]
    verdict = judged.verdict._replace(outcome=outcome, margin=strength / MAX_STRENGTH)
    a, tie, b = (float(outcome == side) for side in ("a", "tie", "b"))
    return judged._replace(verdict=verdict, decision=choice, soft=(a, tie, b))


_SIDE = ("text", "sha256", "messages", "policy", "metadata")
_OF_PAIR = ("id", "key", "kind", "stream", "tags", "metadata", "source_margin", "retest_of__key")
_OF_PROMPT = ("id", "sha256", "held_out", "messages", "tools", "reference", "tags", "metadata")
_COLUMNS = (
    *_OF_PAIR,
    *("policy_a", "policy_b"),
    *(f"prompt__{name}" for name in _OF_PROMPT),
    *(f"completion_a__{name}" for name in _SIDE),
    *(f"completion_b__{name}" for name in _SIDE),
)


def texts(ids: Iterable[int]) -> dict[int, PairTexts]:
    """Pair id -> the pair with its texts."""
    query = Pair.objects.filter(id__in=list(ids)).order_by().values_list(*_COLUMNS)
    prompts: dict[int, tuple[Messages, Any, Any, Any]] = {}
    return {row[0]: _texts(row, prompts) for row in rows_of(query)}


def _texts(row: tuple[Any, ...], prompts: dict[int, tuple[Messages, Any, Any, Any]]) -> PairTexts:
    pair_id, key, kind, stream_, tags, metadata, margin, retest_of, policy_a, policy_b = row[:10]
    prompt, sha256, held_out, messages, tools, reference, prompt_tags, of_prompt = row[10:18]
    if prompt not in prompts:
        # Neighbouring pairs are often of one prompt.
        prompts[prompt] = (
            parsed(messages),
            parsed(tools),
            parsed(prompt_tags),
            parsed(of_prompt),
        )
    chat, callable_, prompt_tags, of_prompt = prompts[prompt]
    own = parsed(tags)
    return PairTexts(
        pair_id,
        key,
        kind,
        stream_,
        list(dict.fromkeys([*prompt_tags, *own])) if own else prompt_tags,
        parsed(metadata),
        margin,
        retest_of,
        sha256,
        bool(held_out),
        chat,
        callable_,
        reference,
        of_prompt,
        _side(policy_a, *row[18:23]),
        _side(policy_b, *row[23:28]),
    )


def _side(
    named: str, text: str, sha256: str, messages: str | None, policy: str, metadata: str
) -> Side:
    # The pair knows better: a text that several models wrote is one completion.
    turns = parsed(messages) if messages else None
    return Side(text, sha256, turns, named or policy, parsed(metadata))
