"""The hash that seals a dataset version: of its votes, simulated ones included.

Not of an export: formats gain columns, and the hash of a version stays what it was.
"""

from __future__ import annotations

import hashlib
import json

from annotate.exporting.judged_pairs import BATCH
from annotate.exporting.raw_rows import batches, rows_of, stream
from annotate.models import DatasetVersion, Pair
from annotate.votes.dataset_versions import votes_in
from annotate.votes.export_values import parsed, pseudonyms, timestamp, uuid_text

_VOTE = (
    *("pair_id", "seq", "token", "revision", "annotator_id", "choice", "strength", "left"),
    *("reasons", "comment", "criteria", "leased_at_text", "voted_at_text", "active_ms"),
    *("first_key_ms", "wall_ms", "input", "guideline_version", "stream", "propensity"),
    *("surplus", "simulated"),
)
_encode = json.JSONEncoder(ensure_ascii=False).encode


def sha256(version: DatasetVersion) -> str:
    """Hash of one line of JSON per vote, in the order of pairs and of votes on each."""
    name, digest = pseudonyms(version.project), hashlib.sha256()
    votes = votes_in(version, include_simulated=True, columns=_VOTE)
    for batch in batches(stream(votes), BATCH):
        pairs = Pair.objects.filter(id__in={vote[0] for vote in batch}).order_by()
        keys = {
            pk: names for pk, *names in rows_of(pairs.values_list("id", "key", "prompt__sha256"))
        }
        for pair_id, _, token, revision, annotator, choice, strength, left, *rest in batch:
            reasons, comment, criteria, leased_at, voted_at, *times, surplus, simulated = rest
            row = {
                "vote_id": f"{uuid_text(token)}-{revision}",
                "pair_id": keys[pair_id][0],
                "prompt_id": keys[pair_id][1],
                "annotator": name(annotator),
                "choice": choice,
                "strength": strength,
                "left": left,
                "reasons": parsed(reasons),
                "comment": comment,
                "criteria": parsed(criteria),
                "leased_at": timestamp(leased_at),
                "voted_at": timestamp(voted_at),
                **dict(zip(_VOTE[13:20], times, strict=True)),
                "surplus": bool(surplus),
                "simulated": bool(simulated),
            }
            digest.update(_encode(row).encode() + b"\n")
    return digest.hexdigest()
