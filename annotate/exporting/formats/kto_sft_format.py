"""Formats `kto` and `sft`: a prompt and one completion, with a label or to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Q, QuerySet

from annotate.exporting.formats import trl_format
from annotate.exporting.formats.text_styles import CHAT, Style, text_style, voted_pairs
from annotate.exporting.formats.trl_format import Row
from annotate.exporting.judged_pairs import Judged, PairTexts, Side, texts, with_texts
from annotate.exporting.people_in_version import People
from annotate.exporting.raw_rows import batches, stream
from annotate.models import DatasetVersion, Pair, Rating, Rewrite
from annotate.votes.export_values import line, parsed

KTO_PARTS = {"kto": "one line per completion: prompt, completion, label (true is good)"}
SFT_PARTS = {
    "sft": "the completions that won",
    "rewrites": "the better answers people wrote as they stand now",
}
LABEL = "label"
"""Name of the ratings that say good or bad."""
AS_GIVEN = Style("as given", lambda messages: messages[0]["content"], lambda text, messages: text)
STYLES = ("chat", "text")


def kto_counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Lines by label, and the pairs without a winner, which have none."""
    kinds = trl_format.pair_counts(version, part="pairs", include_simulated=include_simulated)
    rated = _ratings(version).count()
    rows = sum(1 for _ in kto_rows(version, AS_GIVEN, include_simulated=include_simulated))
    return {"kto": rows, "rated": rated, **kinds}


def kto_lines(
    version: DatasetVersion, *, part: str = "kto", include_simulated: bool, style: str = ""
) -> Iterator[bytes]:
    """Ratings of single completions, then winners and losers of pairs."""
    written = _kto_style(version, style)
    return map(line, kto_rows(version, written, include_simulated=include_simulated))


def _kto_style(version: DatasetVersion, style: str) -> Style:
    """Chats, but for a table of rated answers to plain questions, which leaves as it came."""
    if style:
        return text_style(version) if style == "text" else CHAT
    if voted_pairs(version).exists():
        return CHAT
    prompt = "completion__prompt__"
    question = Q(**{f"{prompt}messages__0__role": "user", f"{prompt}messages__1__isnull": True})
    plain = question & Q(**{f"{prompt}tools": None, "completion__messages": None})
    return CHAT if _ratings(version).exclude(plain).exists() else AS_GIVEN


def kto_rows(version: DatasetVersion, style: Style, *, include_simulated: bool) -> Iterator[Row]:
    """The same as rows in that style."""
    rated = set[tuple[str, str]]()
    for row in _rated(version, style):
        rated.add((row["prompt_id"], row["completion_id"]))
        yield row
    for one, pair in with_texts(version, include_simulated):
        better, worse = (pair.a, pair.b) if one.outcome == "a" else (pair.b, pair.a)
        for side, label in ((better, True), (worse, False)):
            # What somebody said of the completion itself says more.
            if (pair.prompt_id, side.sha256) not in rated:
                yield _labelled(one, pair, side, label, style)


def _labelled(one: Judged, pair: PairTexts, side: Side, label: bool, style: Style) -> Row:
    share = one.verdict.fraction_a if side is pair.a else 1 - one.verdict.fraction_a
    return {
        "prompt": style.prompt(pair.messages),
        "completion": style.reply(side.text, side.messages),
        "label": label,
        "tools": pair.tools,
        "vote_fraction": round(share, 6),
        "n_votes": one.verdict.n_votes,
        "weight": one.weight,
        "rater": None,
        "split": pair.split,
        "kind": pair.kind,
        "tags": pair.tags,
        "model": side.model,
        "pair_id": pair.key,
        "prompt_id": pair.prompt_id,
        "completion_id": side.sha256,
        "metadata": {**pair.prompt_metadata, **pair.metadata, **side.metadata} or None,
    }


_PROMPT = ("sha256", "held_out", "messages", "tools", "tags", "metadata")
_COMPLETION = ("text", "sha256", "messages", "policy", "metadata")


def _ratings(version: DatasetVersion) -> QuerySet[Rating]:
    """Labels of single completions as they stand now: a version numbers votes alone."""
    ratings = Rating.objects.filter(completion__prompt__project=version.project, name=LABEL)
    weightless = [int(user) for user, (weight, *_) in version.people.items() if weight == 0]
    return ratings.exclude(annotator__in=weightless).order_by("pk")


def _rated(version: DatasetVersion, style: Style) -> Iterator[Row]:
    people = People(version)
    columns = (
        *("value", "annotator_id"),
        *(f"completion__prompt__{name}" for name in _PROMPT),
        *(f"completion__{name}" for name in _COMPLETION),
    )
    for value, rater, prompt_id, held_out, messages, *rest in stream(
        _ratings(version).values_list(*columns)
    ):
        tools, tags, of_prompt, text, sha256, turns, policy, metadata = rest
        person = people[rater] if rater else None
        yield {
            "prompt": style.prompt(parsed(messages)),
            "completion": style.reply(text, parsed(turns)),
            "label": value > 0.5,
            "tools": parsed(tools),
            "vote_fraction": None,
            "n_votes": None,
            "weight": person.weight if person else 1.0,
            "rater": person.pseudonym if person else None,
            "split": "test" if held_out else "train",
            "kind": None,
            "tags": parsed(tags),
            "model": policy,
            "pair_id": None,
            "prompt_id": prompt_id,
            "completion_id": sha256,
            "metadata": {**parsed(of_prompt), **parsed(metadata)} or None,
        }


def sft_counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Winning completions, pairs without one, and better answers that people wrote."""
    kinds = trl_format.pair_counts(version, part="sft", include_simulated=include_simulated)
    return {**kinds, "rewrites": _rewrites(version).count()}


def sft_lines(
    version: DatasetVersion, *, part: str = "sft", include_simulated: bool, style: str = ""
) -> Iterator[bytes]:
    """The completions that won, or (part `rewrites`) the better answers that people wrote."""
    written = text_style(version) if style == "text" else CHAT
    if part == "rewrites":
        return map(line, _written(version, written))
    return map(line, _won(version, written, include_simulated))


def _won(version: DatasetVersion, style: Style, include_simulated: bool) -> Iterator[Row]:
    for one, pair in with_texts(version, include_simulated):
        side = pair.a if one.outcome == "a" else pair.b
        row = _labelled(one, pair, side, True, style)
        del row["label"], row["rater"]
        yield row


def _rewrites(version: DatasetVersion) -> QuerySet[Rewrite]:
    rewrites = Rewrite.objects.filter(
        assignment__pair__project=version.project,
        assignment__state="voted",
        assignment__frozen_from__lte=version.number,
    ).exclude(assignment__pair__kind__in=Pair.OUTSIDE_LABELS)
    return rewrites.order_by("pk")


def _written(version: DatasetVersion, style: Style) -> Iterator[Row]:
    columns: Any = ("assignment__pair_id", "text", "based_on")
    for batch in batches(stream(_rewrites(version).values_list(*columns)), 500):
        pairs = texts({row[0] for row in batch})
        for pair_id, text, based_on in batch:
            pair = pairs[pair_id]
            yield {
                "prompt": style.prompt(pair.messages),
                "completion": style.reply(text, None),
                "tools": pair.tools,
                "split": pair.split,
                "tags": pair.tags,
                "pair_id": pair.key,
                "prompt_id": pair.prompt_id,
                "based_on": based_on,
            }
