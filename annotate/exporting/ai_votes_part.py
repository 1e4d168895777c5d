"""Part `ai-votes` of the formats for TRL: what AI annotators prefer, apart from people's pairs.

Empty unless the project's settings let it leave. Pairs that measure are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotate.exporting.formats.text_styles import CHAT, Style
from annotate.exporting.judged_pairs import BATCH, PairTexts, texts
from annotate.exporting.raw_rows import batches
from annotate.models import AiVote, DatasetVersion
from annotate.votes import ai_agreement
from annotate.votes.ai_agreement import AiFigures

AI_VOTES = "ai-votes"
HOLDS = "votes of AI annotators with their weights, where the project lets them leave"
COLUMNS = ("pair_id", "annotator__name", "annotator__kind", "annotator__model", "choice", "margin")
Row = dict[str, Any]


def ai_votes(version: DatasetVersion, style: Style) -> Iterator[Row]:
    """A row per vote for a side that was cast before the version was made.

    `weight` is the share of the annotator's answers that are no guesses by its agreement with
    people as it is now, 0 on tags that it is wrong on.
    """
    project = version.project
    if not project.ai_votes_in_exports:
        return
    known = {one.name: figures for one, figures in ai_agreement.standing(project)}
    votes = AiVote.objects.of(project).that_teach().for_a_side()
    votes = votes.known_to(version).order_by("pair", "annotator")
    rows = votes.values_list(*COLUMNS).iterator(chunk_size=2000)
    for batch in batches(rows, BATCH):
        pairs = texts(row[0] for row in batch)
        for pair, name, kind, model, choice, margin in batch:
            told = {"annotator": name, "annotator_kind": kind, "annotator_model": model}
            row = _row(pairs[pair], choice, style, known[name])
            yield row | told | {"annotator_margin": margin}


def _row(pair: PairTexts, choice: str, style: Style, figures: AiFigures) -> Row:
    better, worse = (pair.a, pair.b) if choice == "a" else (pair.b, pair.a)
    wrong = bool(set(figures.wrong_tags) & set(pair.tags))
    rate = figures.compared.rate
    row: Row = {
        "prompt": style.prompt(pair.messages),
        "chosen": style.reply(better.text, better.messages),
        "rejected": style.reply(worse.text, worse.messages),
        **({"tools": pair.tools} if style is CHAT else {}),
        "weight": 0.0 if wrong else round(figures.trust, 6),
        "agreement": None if rate is None else round(rate, 6),
        "agreement_pairs": figures.compared.pairs,
    }
    return row | {
        "chosen_side": choice,
        "split": pair.split,
        "tags": pair.tags,
        "chosen_model": better.model,
        "rejected_model": worse.model,
        "pair_id": pair.key,
        "prompt_id": pair.prompt_id,
        "chosen_id": better.sha256,
        "rejected_id": worse.sha256,
    }
