"""The whole API held to its own schema: cases that Schemathesis makes from it, as every role.

No answer is an error of the server, has a status or a media type that the schema does not name, or
a body that differs from what it says. Ids of an address are mostly those of rows that exist.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.cache import cache
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from annotate import queue
from annotate.exporting import freezing
from annotate.exporting.export_files import Options
from annotate.gold.gold_pairs import make_gold
from annotate.jobs import export_actions, import_actions
from annotate.jobs.job_runner import run_job
from annotate.models import AiAnnotator, ApiToken, Assignment, Batch, Pair, Project
from annotate.review import adjudication
from config.wsgi import application
from tests.annotate.webhooks.receiver import hook_of
from training.models import Run

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
Known = dict[str, list[Any]]


@functools.cache
def operations() -> list[Any]:
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema/", application)
    return [one.ok() for one in schema.get_all_operations()]


def populated(project: Project, pairs: list[Pair], voters: list[User], reviewer: User) -> Known:
    """Votes, a decision, a gold pair, a version, jobs: something behind every address."""
    for voter in voters:
        for choice in ("left", "tie"):
            lease = queue.next_pair(project, voter)
            assert lease is not None
            queue.vote_side(voter, lease.token, choice)
        queue.next_pair(project, voter)
    adjudication.decide(reviewer, pairs[0], choice="a", strength=2)
    make_gold(pairs[-1], expected="b")
    version = freezing.freeze(project, by=reviewer)
    exports = [export_actions.begin(version, reviewer, "csv", Options()) for _ in range(2)]
    checked = [
        import_actions.receive(project, reviewer, BytesIO(line), "rows.jsonl")
        for line in (b'{"prompt": "Hi"}\n', b'{"prompt": "Hi", "choosen": "a", "rejected": "b"}\n')
    ]
    for job in (exports[0], *checked):
        run_job(str(job.uuid))
    options = {"sources": []}
    writing = Run.objects.create(
        project=project, kind="completions", state="failed", options=options
    )
    sources = {"sources": [{"folder": "/m"}], "from": "/m", "make": "starter", "kind": ""}
    check = Run.objects.create(project=project, kind="check", state="failed", options=sources)
    sent = import_actions.announce(project, reviewer, "more.jsonl", 100)
    return {
        "slug": ["desk"],
        "token": [*Assignment.objects.values_list("token", flat=True)],
        "exports": [export.uuid for export in exports],
        "imports": [import_.uuid for import_ in checked],
        "uploads": [sent.uuid],
        "pair_id": [pair.pk for pair in pairs],
        "prompt_id": [pair.prompt_id for pair in pairs],
        "completion_id": [pairs[0].completion_a_id],
        "member_id": [*project.memberships.values_list("pk", flat=True)],
        "number": [1, 2],
        "hook_id": [hook_of(project).pk],
        "batch_id": [Batch.objects.create(project=project, name="Some").pk],
        "ai_annotator_id": [judge_of(project).pk],
        "completions-runs": [writing.uuid],
        "model-checks": [check.uuid],
    }


def judge_of(project: Project) -> AiAnnotator:
    told = {"kind": "chat", "model": "desk", "source": {"url": "https://api.example.org/v1"}}
    return AiAnnotator.objects.create(project=project, name="J", constitution="Be kind.", **told)


@st.composite
def cases(draw: st.DrawFn, known: Known) -> Any:
    case = draw(draw(st.sampled_from(operations())).as_strategy())
    for name in case.path_parameters:
        of = case.operation.path.split("/")[5] if name == "uuid" else name
        if draw(st.sampled_from([True] * 9 + [False])):
            case.path_parameters[name] = draw(st.sampled_from(known[of]))
    return case


@pytest.mark.parametrize(
    "examples", [50, pytest.param(20_000, marks=pytest.mark.long)], ids=["some", "all"]
)
def test_every_answer_is_one_that_the_schema_names(
    transactional_db: None,
    project: Project,
    make_pairs: Callable[..., list[Pair]],
    ann: User,
    ben: User,
    olga: User,
    zed: User,
    examples: int,
) -> None:
    known = populated(project, make_pairs(6), [zed, ann, ben], olga)
    members = project.memberships.filter(simulated=False)
    roles = dict(members.values_list("pk", "role"))
    secrets = [ApiToken.issue(person)[1] for person in (zed, zed, zed, olga, ann)]

    @given(case=cases(known), secret=st.sampled_from([*secrets, "unknown"]))
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def hold(case: Any, secret: str) -> None:
        # Or throttles, and admins who let nobody in any more, would answer most of it.
        cache.clear()
        for pk, role in roles.items():
            members.filter(pk=pk).update(role=role, active=True)
        case.headers = {**(case.headers or {}), "Authorization": f"Token {secret}"}
        case.call_and_validate(checks=CHECKS)

    hold()
