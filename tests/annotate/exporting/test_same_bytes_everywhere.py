"""A version of the same project leaves as the same bytes from every database."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from annotate.exporting import FORMATS, freezing
from annotate.models import Assignment, Completion, DatasetVersion, Membership, Pair, Prompt
from tests.annotate.exporting.written import ASKED, CALLED, TOOLS, add_chat

AT = datetime(2026, 2, 3, 4, 5, 6, 70_000, tzinfo=UTC)
META = {
    "zeta": 1.0,
    "a": [{"content": "c", "role": "user"}, None, 1e-7],
    "nested": {"bb": 1, "a": 2},
}
EXPECTED = {
    "votes": "35f27b9d8dce0f776ff8c9884735eef964553ada58a6853f30ad474f255ac49c",
    "trl-conversational": "4568c6e86b96898681e2a17123ae11163a5a1e0e1e2fe23679a5fc5e80368f14",
    "trl": "81cb0dc45e794589ca2e5b3a8d593a037826a6acb55b882559ec32493661c118",
    "kto": "4b20e55f909ca757c3f11c0bfc69735f40d1dacf4e0d7557a1454dc21029940d",
    "ranked": "5313c9c58d0fe3428d8ef18e28556284083635d82cd506939392f705a52c7151",
    "csv": "d396b66e86cc8cd473714ad5fa4679bcad5dfecf7c49dfd11b99049a2be39d4b",
}
"""SHA-256 of the exports below, from SQLite; PostgreSQL has to give the same."""


@pytest.fixture
def version(project, settings) -> DatasetVersion:
    settings.SECRET_KEY = "fixed"
    people = [User.objects.create_user(name) for name in ("u1", "u2")]
    for n, user in enumerate(people):
        estimate = {"prior": [0.4, 0.2, 0.4], "confusion": [[0.8, 0.1, 0.1]] * 3}
        Membership.objects.create(
            project=project,
            user=user,
            pseudonym=f"ann-{n}",
            weight=1.0 + n / 3,
            reliability=0.9 - n / 7,
            estimate=estimate,
        )
    first = add_chat(
        project, 0, ASKED, [CALLED, "I cannot."], TOOLS, metadata=META, tags=["é", "b"]
    )
    second = add_chat(project, 1, [{"content": "Hï?\u2028", "role": "user"}], ["Yes.", "No."])
    Prompt.objects.filter(pk=second.prompt_id).update(metadata=META, tags=["x"])
    Completion.objects.filter(pk=second.completion_a_id).update(metadata={"score": 3.0})
    for n, (pair, user) in enumerate((p, u) for p in (first, second) for u in people):
        Assignment.objects.create(
            pair=pair,
            annotator=user,
            token=UUID(int=n + 1),
            state="voted",
            choice="a" if n else "both_bad",
            strength=n % 4,
            left="ab"[n % 2],
            stream="random",
            propensity=1 / 3,
            leased_at=AT,
            voted_at=AT.replace(microsecond=0) if n else AT,
            seq=n % 2 + 1,
            criteria={"safe": "a", "helpful": "tie"},
            comment="so",
        )
    Pair.objects.update(state="resolved", open_slots=0, stream="random")
    return freezing.freeze(project)


@pytest.mark.parametrize("format", EXPECTED)
def test_an_export_is_the_same_on_every_database(version, format):
    chosen = FORMATS[format]
    lines = chosen.lines(version, part=chosen.main_part, include_simulated=False)
    assert hashlib.sha256(b"".join(lines)).hexdigest() == EXPECTED[format]


def test_the_hash_of_a_version_is_the_same_on_every_database(version):
    assert version.sha256 == "fc7401ee35b01a39ada055968d1f99e85fcc8dd3905cc6bb584728d4ffb78479"
