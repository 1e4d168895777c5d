"""Format `votes`: one line per vote of a dataset version, in pair order, as it was cast."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from annotate.models import DatasetVersion, Pair
from annotate.votes.dataset_versions import COLUMNS, votes_in
from annotate.votes.export_values import line, pseudonyms, timestamp

PARTS = {"votes": "one line per vote"}
BATCH = 1000


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Number of lines in the export, and of simulated votes that it leaves out."""
    left_out = 0 if include_simulated else version.n_simulated
    return {"votes": version.n_votes - left_out, "simulated_left_out": left_out}


def lines(
    version: DatasetVersion, *, part: str = "votes", include_simulated: bool
) -> Iterator[bytes]:
    """JSON lines of the version's votes."""
    name = pseudonyms(version.project)
    held = votes_in(version, include_simulated=include_simulated).iterator(chunk_size=BATCH)
    votes = (dict(zip(COLUMNS, row, strict=True)) for row in held)
    while batch := list(islice(votes, BATCH)):
        keys = pair_keys({vote["pair_id"] for vote in batch})
        for vote in batch:
            yield line(_row(vote, *keys[vote["pair_id"]], name(vote["annotator_id"])))


def sha256(version: DatasetVersion) -> str:
    """Hash of the canonical export, simulated votes included."""
    digest = hashlib.sha256()
    for text in lines(version, include_simulated=True):
        digest.update(text)
    return digest.hexdigest()


def pair_keys(ids: set[int]) -> dict[int, tuple[str, str]]:
    """Pair id -> (pair key, prompt hash)."""
    rows = Pair.objects.filter(id__in=ids).values_list("id", "key", "prompt__sha256")
    return {pair_id: (key, prompt) for pair_id, key, prompt in rows}


def _row(vote: dict[str, Any], pair_key: str, prompt_id: str, annotator: str) -> dict[str, Any]:
    return {
        # The revision tells a corrected vote from the one an earlier version holds.
        "vote_id": f"{vote['token']}-{vote['revision']}",
        "pair_id": pair_key,
        "prompt_id": prompt_id,
        "annotator": annotator,
        "choice": vote["choice"],
        "strength": vote["strength"],
        "left": vote["left"],
        "reasons": vote["reasons"],
        "comment": vote["comment"],
        "criteria": vote["criteria"],
        "leased_at": timestamp(vote["leased_at"]),
        "voted_at": timestamp(vote["voted_at"]),
        "active_ms": vote["active_ms"],
        "first_key_ms": vote["first_key_ms"],
        "wall_ms": vote["wall_ms"],
        "input": vote["input"],
        "guideline_version": vote["guideline_version"],
        "stream": vote["stream"],
        "propensity": vote["propensity"],
        "surplus": vote["surplus"],
        "simulated": vote["simulated"],
    }
