"""Format `ranked`: a prompt with all its compared completions, best first.

Their order is that of Bradley-Terry strengths fitted to the prompt's own pairs. Every completion
has, besides, half a win and half a loss against an average one: a completion that won every time
would have no strength otherwise, nor would two that no chain of pairs joins.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from annotate.exporting.formats import trl_format
from annotate.exporting.formats.text_styles import CHAT, Style, text_style
from annotate.exporting.formats.trl_format import Row
from annotate.exporting.judged_pairs import Judged, PairTexts, Side, judged, texts
from annotate.exporting.raw_rows import batches
from annotate.models import DatasetVersion
from annotate.votes.export_values import line

PARTS = {"ranked": "one line per prompt with its compared completions, best first"}
PROMPTS = 200
STEPS, TOLERANCE = 200, 1e-9
POINTS = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Prompts in the export."""
    rows = lines(version, include_simulated=include_simulated)
    return {"ranked": sum(1 for _ in rows)}


def lines(
    version: DatasetVersion, *, part: str = "ranked", include_simulated: bool, style: str = ""
) -> Iterator[bytes]:
    """JSON lines, in the order in which the prompts came."""
    written = text_style(version) if style == "text" else CHAT
    prompts = version.project.prompts.order_by("pk").values_list("pk", flat=True)
    for batch in batches(prompts.iterator(chunk_size=2000), PROMPTS):
        for of_prompt in _by_prompt(version, batch, include_simulated):
            yield line(_row(of_prompt, written))


def _by_prompt(
    version: DatasetVersion, prompts: list[int], include_simulated: bool
) -> Iterator[list[tuple[Judged, PairTexts]]]:
    ids = version.project.pairs.filter(prompt__in=prompts).values_list("pk", flat=True)
    judgements = list(judged(version, include_simulated, pairs=ids))
    pairs = texts(one.pair_id for one in judgements)
    compared = defaultdict[str, list[tuple[Judged, PairTexts]]](list)
    for one in judgements:
        compared[pairs[one.pair_id].prompt_id].append((one, pairs[one.pair_id]))
    order = version.project.prompts.filter(pk__in=prompts).order_by("pk")
    for sha256 in order.values_list("sha256", flat=True):
        if sha256 in compared:
            yield compared[sha256]


def _row(compared: list[tuple[Judged, PairTexts]], style: Style) -> Row:
    sides = dict[str, Side]()
    won = defaultdict[tuple[str, str], float](float)
    for one, pair in compared:
        sides |= {pair.a.sha256: pair.a, pair.b.sha256: pair.b}
        n = one.verdict.n_votes
        points = n * POINTS[one.decision] if one.decision else n * one.verdict.fraction_a
        won[pair.a.sha256, pair.b.sha256] += points
        won[pair.b.sha256, pair.a.sha256] += n - points
    scores = strengths(list(sides), won)
    best_first = sorted(sides, key=lambda sha: (-scores[sha], sha))
    _, pair = compared[0]
    return {
        "prompt": style.prompt(pair.messages),
        "completions": [style.reply(sides[one].text, sides[one].messages) for one in best_first],
        "ranks": [1 + sum(scores[b] > scores[a] for b in sides) for a in best_first],
        "scores": [scores[one] for one in best_first],
        "win_shares": [_share(one, won) for one in best_first],
        "tools": pair.tools,
        "n_votes": sum(one.verdict.n_votes for one, _ in compared),
        "split": pair.split,
        "tags": pair.tags,
        "models": [sides[one].model for one in best_first],
        "prompt_id": pair.prompt_id,
        "completion_ids": best_first,
        "metadata": trl_format.metadata(pair, pair.a, pair.b, ("a", "b"))
        and (pair.prompt_metadata or None),
    }


def _share(one: str, won: dict[tuple[str, str], float]) -> float:
    """Share of its votes that a completion won, ties as half."""
    wins = sum(points for (winner, _), points in won.items() if winner == one)
    losses = sum(points for (_, loser), points in won.items() if loser == one)
    return round(wins / (wins + losses), 6)


def strengths(names: list[str], won: dict[tuple[str, str], float]) -> dict[str, float]:
    """Bradley-Terry strengths as logits around 0, by the MM steps of Hunter (2004)."""
    wins = {one: 0.5 + sum(won.get((one, other), 0.0) for other in names) for one in names}
    met = {
        one: [(o, won.get((one, o), 0.0) + won.get((o, one), 0.0)) for o in names if o != one]
        for one in names
    }
    power = dict.fromkeys(names, 1.0)
    for _ in range(STEPS):
        before, power = power, dict[str, float]()
        for one in names:
            own = before[one]
            games = 1 / (own + 1) + sum(n / (own + before[other]) for other, n in met[one])
            power[one] = wins[one] / games
        if max(abs(math.log(power[one] / before[one])) for one in names) < TOLERANCE:
            break
    return {one: round(math.log(power[one]), 6) for one in names}
