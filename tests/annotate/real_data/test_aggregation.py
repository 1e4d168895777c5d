"""Aggregation on a crowd's labels of web sites: AdultContent2, four classes."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from annotate.statistics.aggregation import dawid_skene, glad, vote_shares

FOLDER = Path(os.environ["PAIRLOOP_DATA"]) / "get_another_label"
CLASSES = "GPRX"


@pytest.fixture(scope="module")
def crowd():
    """item, worker, choice (the first label of each worker and item), sizes, gold."""
    first: dict[tuple[str, str], str] = {}
    with (FOLDER / "AdultContent2__labels.txt").open(encoding="utf-8") as file:
        for worker, item, label in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            first.setdefault((worker, item), label)
    workers, worker = np.unique([key[0] for key in first], return_inverse=True)
    items, item = np.unique([key[1] for key in first], return_inverse=True)
    choice = np.array([CLASSES.index(label) for label in first.values()])
    with (FOLDER / "AdultContent2__gold.txt").open(encoding="utf-8") as file:
        rows = dict(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    gold = np.array([CLASSES.find(rows.get(name, "?")) for name in items.tolist()])
    sizes = {"items": len(items), "workers": len(workers), "classes": 4}
    return item, worker, choice, sizes, gold


def accuracy(posteriors, gold) -> float:
    told = gold >= 0
    return float((posteriors.argmax(1) == gold)[told].mean())


def test_the_labels_are_those_of_the_readme(crowd):
    _, _, choice, sizes, gold = crowd
    assert len(choice) == 89_799
    assert (sizes["items"], sizes["workers"], (gold >= 0).sum()) == (11_040, 825, 333)


@pytest.mark.parametrize("method", [dawid_skene, glad], ids=["dawid_skene", "glad"])
def test_no_method_differs_from_the_majority_by_more_than_the_gold_can_tell(crowd, method):
    item, worker, choice, sizes, gold = crowd
    found = method(item, worker, choice, **sizes)
    shares = vote_shares(item, choice, items=sizes["items"], classes=4)
    simple = accuracy(shares, gold)
    assert simple == pytest.approx(0.757, abs=0.02)
    assert accuracy(found.posteriors, gold) > simple - 0.046
