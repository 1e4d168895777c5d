"""Formats `trl` and `trl-conversational`: explicit prompt, chosen and rejected per pair.

The first is text, for models without a chat template; the second chats, with tools. Other formats
hold the same rows in other files: `preference` has the columns of a pair with a winner,
`undecided` those of a pair without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from annotate.exporting import judged_pairs
from annotate.exporting.ai_votes_part import AI_VOTES, HOLDS, ai_votes
from annotate.exporting.formats.text_styles import CHAT, Style, text_style
from annotate.exporting.judged_pairs import DECIDED, UNDECIDED, Judged, PairTexts, with_texts
from annotate.models import DatasetVersion
from annotate.votes.dataset_versions import votes_in
from annotate.votes.export_values import line

TIES = "the pairs without a winner: ties, both bad, no majority, and those of two equal texts"
WINNERS = "one line per pair with a winner (prompt, chosen, rejected)"
PARTS = {"trl": WINNERS, "ties": TIES, AI_VOTES: HOLDS}
CHAT_PARTS = {"trl-conversational": WINNERS, "ties": TIES, AI_VOTES: HOLDS}

Row = dict[str, Any]
Rows = Callable[[Judged, PairTexts], Row]


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Rows, and the pairs without a winner by kind."""
    return pair_counts(version, part="trl", include_simulated=include_simulated)


def chat_counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Rows, and the pairs without a winner by kind."""
    return pair_counts(version, part="trl-conversational", include_simulated=include_simulated)


def pair_counts(version: DatasetVersion, *, part: str, include_simulated: bool) -> dict[str, int]:
    """Rows of the part with the winners, and the pairs without one by kind."""
    kinds = judged_pairs.counts(version, include_simulated=include_simulated)
    return {part: kinds.pop("a") + kinds.pop("b"), **kinds}


def lines(
    version: DatasetVersion, *, part: str = "trl", include_simulated: bool
) -> Iterator[bytes]:
    """JSON lines of the pairs with a winner, or (part `ties`) of those without, as text."""
    return _lines(version, text_style(version), part, include_simulated)


def chat_lines(
    version: DatasetVersion, *, part: str = "trl-conversational", include_simulated: bool
) -> Iterator[bytes]:
    """The same as chats."""
    return _lines(version, CHAT, part, include_simulated)


def _lines(
    version: DatasetVersion, style: Style, part: str, include_simulated: bool
) -> Iterator[bytes]:
    if part == AI_VOTES:
        return map(line, ai_votes(version, style))
    rows = ties if part == "ties" else winners
    return map(line, rows(version, style, include_simulated=include_simulated))


def winners(
    version: DatasetVersion, style: Style, *, include_simulated: bool, margins: bool | None = None
) -> Iterator[Row]:
    """A row per pair with a winner; without `margins` the row has no such column.

    By default chats have the column where every margin is known, because reward trainers that
    find it want numbers, and texts where one is.
    """
    if margins is None:
        test = margins_are_known if style is CHAT else a_margin_is_known
        margins = test(version, include_simulated)
    written = preference(style, margins=margins)
    pairs = with_texts(version, include_simulated, outcomes=DECIDED)
    return (written(one, pair) for one, pair in pairs)


def ties(version: DatasetVersion, style: Style, *, include_simulated: bool) -> Iterator[Row]:
    """A row per pair without a winner."""
    pairs = with_texts(version, include_simulated, outcomes=UNDECIDED)
    return (undecided(style, one, pair) for one, pair in pairs)


def margins_are_known(version: DatasetVersion, include_simulated: bool) -> bool:
    """False when a vote for a side says nothing of its strength."""
    return not _votes_for_a_side(version, include_simulated, strength=None)


def a_margin_is_known(version: DatasetVersion, include_simulated: bool) -> bool:
    """True when a vote for a side, or a reviewer, says how much better it is."""
    told = _votes_for_a_side(version, include_simulated, strength__isnull=False)
    return bool(version.decisions) or told


def _votes_for_a_side(version: DatasetVersion, include_simulated: bool, **only: Any) -> bool:
    """True when there is one."""
    votes = votes_in(
        version,
        include_simulated=include_simulated,
        columns=("pair_id", "seq"),
        weighing=True,
        surplus=False,
        choice__in=DECIDED,
        **only,
    )
    return bool(votes[:1])


def preference(style: Style, *, margins: bool = True) -> Rows:
    """The function that writes a pair with a winner in that style.

    Without `margins` the row has no column of that name: trainers that use one refuse nulls.
    """
    write_prompt, write_reply, chat = style.prompt, style.reply, style is CHAT

    def row(one: Judged, pair: PairTexts) -> Row:
        won = one.verdict
        first = won.outcome == "a"
        better, worse = (pair.a, pair.b) if first else (pair.b, pair.a)
        written: Row = {
            "prompt": write_prompt(pair.messages),
            "chosen": write_reply(better.text, better.messages),
            "rejected": write_reply(worse.text, worse.messages),
        }
        if chat:
            written["tools"] = pair.tools
        if margins:
            written["margin"] = None if won.margin is None else round(won.margin, 6)
        share = won.fraction_a if first else 1 - won.fraction_a
        return written | {
            "source_margin": pair.source_margin,
            "vote_fraction": round(share, 6),
            "n_votes": won.n_votes,
            "method": one.method,
            **soft(one),
            "chosen_side": won.outcome,
            "weight": one.weight,
            "reliability": one.reliability,
            "split": pair.split,
            "kind": pair.kind,
            "stream": pair.stream,
            "tags": pair.tags,
            "chosen_model": better.model,
            "rejected_model": worse.model,
            "pair_id": pair.key,
            "prompt_id": pair.prompt_id,
            "chosen_id": better.sha256,
            "rejected_id": worse.sha256,
            "metadata": metadata(pair, better, worse, ("chosen", "rejected")),
        }

    return row


def undecided(style: Style, one: Judged, pair: PairTexts) -> Row:
    """A pair without a winner in that style."""
    row: Row = {
        "prompt": style.prompt(pair.messages),
        "completion_a": style.reply(pair.a.text, pair.a.messages),
        "completion_b": style.reply(pair.b.text, pair.b.messages),
    }
    if style is CHAT:
        row["tools"] = pair.tools
    return row | {
        "outcome": one.outcome,
        "equal_texts": pair.equal,
        "vote_fraction_a": round(one.verdict.fraction_a, 6),
        "n_votes": one.verdict.n_votes,
        "n_both_bad": one.n_both_bad,
        "method": one.method,
        **soft(one),
        "weight": one.weight,
        "reliability": one.reliability,
        "split": pair.split,
        "kind": pair.kind,
        "stream": pair.stream,
        "tags": pair.tags,
        "model_a": pair.a.model,
        "model_b": pair.b.model,
        "pair_id": pair.key,
        "prompt_id": pair.prompt_id,
        "completion_a_id": pair.a.sha256,
        "completion_b_id": pair.b.sha256,
        "metadata": metadata(pair, pair.a, pair.b, ("a", "b")),
    }


def soft(one: Judged) -> dict[str, float | None]:
    """The soft label in columns: probabilities of A, tie and B."""
    a, tie, b = one.soft
    return {"p_a": a, "p_tie": tie, "p_b": b}


def metadata(pair: PairTexts, one: Any, other: Any, names: tuple[str, str]) -> Row | None:
    """Other columns of the source: the pair's over the prompt's, those of a reply by its name."""
    if not (pair.prompt_metadata or pair.metadata or one.metadata or other.metadata):
        return None
    held = {**pair.prompt_metadata, **pair.metadata}
    for name, side in zip(names, (one, other), strict=True):
        if side.metadata:
            held[name] = side.metadata
    return held or None
