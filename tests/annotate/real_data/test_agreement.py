"""Agreement and style on real votes of three people: PandaLM's test set, 999 pairs."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import krippendorff
import numpy as np
import pytest

from annotate.statistics.agreement import agreement, cohen_kappa
from annotate.statistics.style_effects import elements, fit

FILE = Path(os.environ["PAIRLOOP_DATA"]) / "pandalm" / "pairs_votes.jsonl"
CLASSES = ("a", "tie", "b")


@pytest.fixture(scope="module")
def rows():
    with FILE.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def answers(rows):
    """(pairs, people): positions in CLASSES."""
    people = sorted(rows[0]["votes"])
    return np.array([[CLASSES.index(row["votes"][who].lower()) for who in people] for row in rows])


@pytest.fixture(scope="module")
def found(answers):
    return agreement([[int((row == c).sum()) for c in range(3)] for row in answers])


def test_agreement_is_what_the_reference_library_and_the_readme_say(answers, found):
    assert (found.pairs, found.votes) == (999, 2997)
    assert found.values["raw"] == pytest.approx(0.920, abs=5e-4)
    assert found.values["fleiss_kappa"] == pytest.approx(0.864, abs=5e-4)
    for level in ("nominal", "ordinal"):
        oracle = krippendorff.alpha(answers.T.astype(float), level_of_measurement=level)
        assert found.values[f"alpha_{level}"] == pytest.approx(oracle, abs=1e-9)


def test_cohens_kappas_are_those_of_the_three_couples(answers):
    kappas = []
    for one, other in itertools.combinations(answers.T, 2):
        table = np.zeros((3, 3), dtype=int)
        np.add.at(table, (one, other), 1)
        kappas.append(cohen_kappa(table))
    assert sorted(kappas) == pytest.approx([0.852, 0.862, 0.879], abs=5e-4)


def test_votes_in_three_batches_and_with_swapped_sides_give_the_same(answers, found):
    swapped = agreement([[int((row == c).sum()) for c in (2, 1, 0)] for row in answers])
    assert swapped.values == pytest.approx(found.values)
    shuffled = np.random.default_rng(0).permutation(answers)[:, ::-1]
    again = agreement([[int((row == c).sum()) for c in range(3)] for row in shuffled])
    assert again == found


def test_the_style_of_real_replies_can_be_fitted(rows, answers):
    decided = [
        (
            np.subtract(elements(str(row["response_a"])), elements(str(row["response_b"]))),
            vote == 0,
            i,
        )
        for i, (row, votes) in enumerate(zip(rows, answers, strict=True))
        for vote in votes
        if vote != 1
    ]
    differences, won, prompts = (np.array(column) for column in zip(*decided, strict=True))
    style = fit(differences, won.astype(int), prompts)
    assert style.votes == len(decided) and style.longer is not None
    assert 0.4 < style.longer < 0.8
    # Headings differ on two pairs only; they must not spoil the fit of the others.
    assert [one.element for one in style.effects] == ["length", "lists"]
    assert style.missing["headings"] == "replies differ in it on 2 prompts only"
