from __future__ import annotations

import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.rlhf.evaluation import comparison_metrics, comparison_table
from training.rlhf.evaluation.comparison_metrics import MeasuredReply, Metric, ReplyText
from training.rlhf.evaluation.comparison_table import Resampling
from training.rlhf.metrics.texts import diversity_and_refusals, rouge_bleu_meteor

HOW = Resampling(200, seed=1)
WORDS = ("parcel", "late", "today", "sorry", "invoice", "sent", "we", "will", "check")
REFERENCE = "Sorry, we will check the late parcel today."


def answer(i: int, model: str, text: str, **numbers: float) -> MeasuredReply:
    reference = REFERENCE if i % 2 else ""
    return MeasuredReply(
        model=model,
        prompt_id=f"p{i}",
        messages=[{"role": "user", "content": f"Question {i}?"}],
        tags=("toxic", "short") if i % 3 == 0 else ("plain",),
        reference=reference,
        text=text,
        finished=True,
        fault="",
        numbers=comparison_metrics.text_numbers(
            text, reference, finished=True, tokens=len(text.split())
        )
        | numbers,
    )


def answers(model: str, *, seed: int, n: int = 30) -> list[MeasuredReply]:
    rng = random.Random(seed)
    return [
        answer(
            i,
            model,
            " ".join(rng.choices(WORDS, k=6)),
            score_judge=rng.gauss(seed, 1.0),
            nll=rng.uniform(5, 20),
            nll_tokens=float(rng.randint(4, 9)),
        )
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def both() -> dict[str, list[MeasuredReply]]:
    return {"base": answers("base", seed=0), "new": answers("new", seed=1)}


@pytest.fixture(scope="module")
def table(both: dict[str, list[MeasuredReply]]) -> dict[str, Any]:
    for mine, base in zip(both["new"], both["base"], strict=True):
        mine.numbers["win_rate_judge"] = comparison_metrics.points(mine, base, scorer="judge")
    return comparison_table.table(both, comparison_metrics.metrics(["judge"]), HOW)


def test_means_perplexity_and_bleu_are_those_of_the_whole_group(
    both: dict[str, list[MeasuredReply]], table: dict[str, Any]
) -> None:
    rows = both["new"]
    cells = table["groups"]["all"]["models"]["new"]
    scores = [row.numbers["score_judge"] for row in rows]
    assert cells["score_judge"]["value"] == pytest.approx(sum(scores) / len(rows))
    nats = sum(row.numbers["nll"] for row in rows)
    tokens = sum(row.numbers["nll_tokens"] for row in rows)
    assert cells["perplexity"]["value"] == pytest.approx(math.exp(nats / tokens))
    known = [row for row in rows if row.reference]
    counts = np.array(
        [sum(row.numbers[name] for row in known) for name in rouge_bleu_meteor.BLEU_COUNTS]
    )
    assert cells["bleu"]["value"] == pytest.approx(rouge_bleu_meteor.bleu(counts))
    assert cells["distinct2"]["value"] == diversity_and_refusals.distinct(
        [row.text for row in rows], 2
    )


def test_replies_without_a_reference_are_left_out_of_overlap_only(table: dict[str, Any]) -> None:
    cells = table["groups"]["all"]["models"]["new"]
    assert (cells["rougeL"]["n"], cells["length"]["n"]) == (15, 30)


def test_every_tag_has_its_own_figures_with_counts(
    both: dict[str, list[MeasuredReply]], table: dict[str, Any]
) -> None:
    assert {name: group["prompts"] for name, group in table["groups"].items()} == {
        "all": 30,
        "plain": 20,
        "short": 10,
        "toxic": 10,
    }
    toxic = [row.numbers["score_judge"] for row in both["new"] if "toxic" in row.tags]
    cell = table["groups"]["toxic"]["models"]["new"]["score_judge"]
    assert cell["value"] == pytest.approx(sum(toxic) / 10)


def test_only_the_commonest_tags_have_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison_table, "MOST_TAGS", 2)
    few = {"base": answers("base", seed=0)}
    groups = comparison_table.table(few, comparison_metrics.metrics([]), HOW)["groups"]
    assert list(groups) == ["all", "plain", "short"]


def test_differences_are_to_the_first_model_and_paired(table: dict[str, Any]) -> None:
    models = table["groups"]["all"]["models"]
    cell, base = models["new"]["score_judge"], models["base"]["score_judge"]
    assert "difference" not in base
    assert cell["difference"] == pytest.approx(cell["value"] - base["value"])
    assert cell["difference_low"] < cell["difference"] < cell["difference_high"]
    assert cell["low"] < cell["value"] < cell["high"]


def test_a_share_without_exceptions_still_has_an_interval(table: dict[str, Any]) -> None:
    cell = table["groups"]["all"]["models"]["new"]["broken_rate"]
    assert cell["value"] == cell["low"] == 0
    assert cell["high"] == pytest.approx(0.1135, abs=1e-3)  # Wilson, 0 of 30


def test_a_measure_that_nothing_has_is_left_out(table: dict[str, Any]) -> None:
    names = {measure["name"] for measure in table["measures"]}
    assert "kl" not in names and "judged_win_rate" not in names
    assert "win_rate_judge" not in table["groups"]["all"]["models"]["base"]


def test_equal_texts_and_equal_scores_count_half() -> None:
    def pair(a: str, x: float, b: str, y: float) -> float:
        mine, base = answer(0, "new", a, score_j=x), answer(0, "base", b, score_j=y)
        return comparison_metrics.points(mine, base, scorer="j")

    assert pair("a", 1, "a", 0) == pair("c", 3, "y", 3) == 0.5
    assert (pair("b", 2, "x", 1), pair("d", 0, "z", 5)) == (1.0, 0.0)


def test_a_single_reply_has_figures_without_intervals() -> None:
    one = {"base": answers("base", seed=0, n=1), "new": answers("new", seed=1, n=1)}
    cell = comparison_table.table(one, comparison_metrics.metrics(["judge"]), HOW)["groups"]["all"][
        "models"
    ]["new"]
    assert set(cell["score_judge"]) == {"value", "n", "difference"}


@pytest.mark.parametrize(("n", "drawn"), [(9, False), (10, True)])
def test_too_few_replies_are_not_resampled(n: int, drawn: bool) -> None:
    """Of two replies that both got better the bootstrap is sure, whatever the truth."""
    few = {"base": answers("base", seed=0, n=n), "new": answers("new", seed=1, n=n)}
    cells = comparison_table.table(few, comparison_metrics.metrics(["judge"]), HOW)["groups"][
        "all"
    ]["models"]["new"]
    assert ("low" in cells["score_judge"]) == ("difference_low" in cells["score_judge"]) == drawn
    assert cells["broken_rate"]["high"] < 1, "Wilson's holds for any number"


def test_a_new_metric_is_a_function_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def apologies(reply: ReplyText) -> float:
        return float("sorry" in reply.text)

    line = Metric(
        name="apologies", title="Apologies", of_text=apologies, columns=("apologies",), share=True
    )
    monkeypatch.setattr(comparison_metrics, "METRICS", (*comparison_metrics.METRICS, line))
    mine = [answer(i, "new", "sorry" if i < 12 else "late") for i in range(30)]
    table = comparison_table.table({"new": mine}, comparison_metrics.metrics([]), HOW)
    cell = table["groups"]["all"]["models"]["new"]["apologies"]
    assert cell["value"] == 0.4 and cell["low"] < 0.4 < cell["high"]
    measure = {"name": "apologies", "title": "Apologies", "better": "", "by_tag": False}
    assert measure in table["measures"]


def test_every_measure_is_explained_in_the_documentation() -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "metrics.md").read_text("utf-8")
    text, _, _ = text.partition("## While a policy learns")
    rows = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    explained = set(re.findall(r"`(\w+)`", rows))
    assert explained == {
        measure.name for measure in comparison_metrics.metrics(["NAME"], judged=True)
    }
