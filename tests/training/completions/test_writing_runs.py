"""Runs that write completions by a server: real processes, a server in this one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import threading
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings as DjangoSettings

from annotate import exchange
from annotate.models import Completion, Pair, Project, Prompt
from tests.training.completions.conftest import KEY, PROMPTS, options, started
from tests.training.conftest import QUICK, vote_on
from tests.training.fake_endpoint import Server, said
from training.completions import token_usage_and_cost, writing_runs
from training.models import Metric, Run
from training.rlhf.completions.pairs_from_replies import finished_prompt
from training.rlhf.completions.writers import Settings
from training.runs import run_states, streamed_rows, supervisor
from training.versions import promotion

pytestmark = pytest.mark.django_db(transaction=True)


def see_through(run: Run) -> Run:
    supervisor.supervise(run, pace=QUICK)
    run.refresh_from_db()
    return run


def once_after(n: int, server: Server, act: Callable[[], Any]) -> None:
    """Have something happen while the n-th request is answered."""
    from django.db import connection

    def says(body: dict[str, Any]) -> str:
        with server.lock:
            now = len(server.asked) >= n and not done
            if now:
                done.append(True)
        if now:
            try:
                act()
            finally:
                connection.close()
        return said(body)

    done: list[bool] = []
    server.says = says


def test_a_killed_process_goes_on_and_repeats_at_most_what_was_on_its_way(
    asked: Project, server: Server
) -> None:
    def kill() -> None:
        os.kill(Run.objects.get().pid or 0, signal.SIGKILL)

    once_after(6, server, kill)
    run = see_through(started(asked, server))
    assert run.state == "done" and run.fence > 1
    assert Completion.objects.count() == PROMPTS * 2
    assert Pair.objects.count() == PROMPTS
    assert len(server.asked) - PROMPTS * 2 <= 2  # requests at a time
    result = token_usage_and_cost.result(run)
    assert (result.prompts, result.completions, result.pairs) == (PROMPTS, PROMPTS * 2, PROMPTS)
    assert token_usage_and_cost.usage(run).requests == PROMPTS * 2


def test_a_cancelled_run_keeps_what_it_wrote_and_goes_on(asked: Project, server: Server) -> None:
    def cancel() -> None:
        # What is on its way arrives when the process knows that it shall end.
        server.open.clear()
        threading.Timer(1.0, server.open.set).start()
        run_states.cancel(Run.objects.all())

    once_after(5, server, cancel)
    run = see_through(started(asked, server))
    assert run.state == "cancelled"
    kept = Completion.objects.count()
    before = len(server.asked)
    assert 2 <= kept < PROMPTS * 2 and token_usage_and_cost.usage(run).requests == before
    writing_runs.go_on(run, enqueue=False)
    run = see_through(run)
    assert run.state == "done" and len(server.asked) == PROMPTS * 2
    assert Completion.objects.count() == PROMPTS * 2 and Pair.objects.count() == PROMPTS


def test_completions_know_their_model_and_how_they_were_sampled(
    asked: Project, server: Server
) -> None:
    run = see_through(
        started(asked, server, other="endpoint", other_model="old-desk", per_prompt=1)
    )
    assert run.state == "done"
    one = Completion.objects.filter(policy="desk").first()
    assert one is not None
    assert (
        one.text == said({"model": "desk", "messages": one.prompt.messages} | one.sampling).strip()
    )
    assert one.sampling == {
        "seed": one.sampling["seed"],
        "temperature": 0.9,
        "top_p": 1.0,
        "n_tokens": len(one.text.split()),
        "finish_reason": "stop",
    }
    assert one.source == f"endpoint-{run.pk}"
    sides = Pair.objects.values_list("completion_a__policy", "completion_b__policy")
    assert {frozenset(pair) for pair in sides} == {frozenset(("desk", "old-desk"))}


def test_the_key_is_in_no_file_no_row_and_no_export(
    asked: Project, server: Server, home: Path, ann: User, capfd: pytest.CaptureFixture[str]
) -> None:
    run = see_through(started(asked, server, most=2))
    assert run.state == "done" and set(server.keys) == {f"Bearer {KEY}"}
    server.fails = lambda body: (401, {}, f'{{"error": "not with {KEY}"}}'.encode())
    failed = see_through(started(asked, server, prompts="all"))
    assert failed.state == "failed"
    assert "wants another key than" in failed.error and "not with …" in failed.error
    files = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert len(files) > 10 and not any(KEY.encode() in text for text in files)
    rows = [repr(row) for row in chain(Run.objects.values(), Metric.objects.values())]
    assert not any(KEY in row for row in rows)
    vote_on(list(Pair.objects.all()), ann)
    call_command("export_data", "--project", "desk", "--format", "votes", "--out", home / "votes")
    output = capfd.readouterr()
    assert KEY not in (home / "votes").read_text() + output.out + output.err


def test_a_process_gets_no_keys_but_those_of_its_servers(
    asked: Project, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.runs import run_kinds

    monkeypatch.setenv("PAIRLOOP_ENDPOINT_KEY_OTHER_EXAMPLE_ORG", "another")
    given = run_kinds.environment(started(asked, server))
    assert {name for name in given if "ENDPOINT_KEY" in name} == {"PAIRLOOP_ENDPOINT_KEY_127_0_0_1"}


def test_a_server_that_is_no_longer_allowed_is_not_asked(
    asked: Project, server: Server, settings: DjangoSettings
) -> None:
    run = started(asked, server)
    settings.ENDPOINT_HOSTS = []
    run = see_through(run)
    assert run.state == "failed" and "PAIRLOOP_ENDPOINT_HOSTS" in run.error
    assert server.asked == []


def test_going_on_asks_no_server_that_is_no_longer_allowed(
    asked: Project, server: Server, settings: DjangoSettings
) -> None:
    server.fails = lambda body: (401, {}, b"{}")
    run = see_through(started(asked, server))
    tried = len(server.asked)
    settings.ENDPOINT_HOSTS = []
    writing_runs.go_on(run, enqueue=False)
    run = see_through(run)
    assert run.state == "failed" and "PAIRLOOP_ENDPOINT_HOSTS" in run.error
    assert len(server.asked) == tried


def test_replies_to_a_prompt_that_was_taken_away_meanwhile_are_left_out(
    asked: Project, server: Server
) -> None:
    run = started(asked, server)
    once_after(1, server, lambda: Prompt.objects.latest("pk").delete())
    run = see_through(run)
    assert run.state == "done" and Completion.objects.count() == (PROMPTS - 1) * 2
    assert token_usage_and_cost.result(run).left_out["orphaned"] == 2


def test_rows_that_are_read_again_are_not_added_again(asked: Project, server: Server) -> None:
    run = see_through(started(asked, server, most=2))
    before = token_usage_and_cost.result(run)
    assert before.pairs == 2
    Run.objects.filter(pk=run.pk).update(state="running", owner="me", lease_until=run.finished_at)
    run.refresh_from_db()
    streamed_rows.take_in(run)
    assert token_usage_and_cost.result(run) == before
    run.options.pop("taken")  # as of a database that was put back
    streamed_rows.take_in(run)
    again = token_usage_and_cost.result(run)
    assert (again.prompts, again.completions, again.pairs, again.known) == (2, 0, 0, 4)
    assert Pair.objects.count() == 2


def test_the_command_writes_here_and_says_what_came_of_it(asked: Project, server: Server) -> None:
    out = io.StringIO()
    how = {"url": server.url, "model": "desk", "price_out": 1e6, "most": 2, "stdout": out}
    call_command("write_completions", project="desk", **how)
    assert "2 prompts, 4 new completions, 2 new pairs; 4 requests, 28 tokens in" in out.getvalue()
    assert ", cost " in out.getvalue()
    with pytest.raises(
        CommandError, match=r"url: https://api.example.org is not among the servers"
    ):
        call_command(
            "write_completions", project="desk", url="https://api.example.org/v1", model="x"
        )
    with pytest.raises(CommandError, match="Name the model"):
        call_command("write_completions", project="desk", url=server.url)


@pytest.mark.long
def test_a_model_of_the_project_writes_beside_a_server(
    asked: Project, server: Server, home: Path
) -> None:
    from tests.training.rlhf import world

    world.starter(home / "starter")
    promotion.adopt_starter(asked, "starter")
    wishes = {"other": "policy-0", "per_prompt": 1, "max_new_tokens": 8}
    run = see_through(started(asked, server, **wishes))
    assert (run.worker, run.state, run.error) == ("gpu", "done", "")
    own = Completion.objects.filter(policy="starter").exclude(sampling__n_tokens=0)
    assert own.count() == PROMPTS == Pair.objects.count()
    assert set(Completion.objects.values_list("source", flat=True)) == {f"completions-{run.pk}"}


def test_an_estimate_is_measured_by_a_preview(asked: Project, server: Server) -> None:
    wanted = options(asked, server, price_in=1e6, price_out=5e5, max_new_tokens=100)
    guess = token_usage_and_cost.estimate(asked, wanted)
    assert (guess.prompts, guess.requests, guess.tokens_out) == (6, 12, 1200)
    assert guess.tokens_in > 50 and not guess.measured
    preview = writing_runs.preview(asked, wanted)
    assert see_through(preview).state == "done"
    told = token_usage_and_cost.estimate(asked, writing_runs.wanted_by(preview), preview)
    assert told.measured and told.tokens_in == 7 * 12 and told.tokens_out < 200
    assert told.cost == told.tokens_in + told.tokens_out / 2
    assert not Completion.objects.exists()
    assert writing_runs.wanted_by(preview) == wanted


class Died(Exception):
    """The supervisor is gone in the middle of a transaction."""


@hypothesis.given(cuts=st.lists(st.integers(0, 9000), max_size=6), dies_at=st.integers(0, 6))
@hypothesis.settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_lines_are_taken_in_once_wherever_reading_and_dying_fall(
    asked: Project, server: Server, cuts: list[int], dies_at: int
) -> None:
    """The file grows in any pieces, each read by a supervisor that knows the database alone."""
    run = started(asked, server)
    held = {"state": "running", "owner": "me", "lease_until": timezone.now()}
    Run.objects.filter(pk=run.pk).update(**held)
    whole = written(asked)
    file = run.directory / streamed_rows.checkpoint(run, "written.jsonl")
    file.parent.mkdir(parents=True)
    for step, end in enumerate([*sorted(cuts), len(whole)]):
        file.write_bytes(whole[:end])
        if step == dies_at:
            with contextlib.suppress(Died), transaction.atomic():
                streamed_rows.take_in(Run.objects.get(pk=run.pk))
                raise Died
        streamed_rows.take_in(Run.objects.get(pk=run.pk))
    run.refresh_from_db()
    result = token_usage_and_cost.result(run)
    assert (result.prompts, result.completions, result.pairs) == (PROMPTS, PROMPTS * 2, PROMPTS)
    assert (Completion.objects.count(), Pair.objects.count()) == (PROMPTS * 2, PROMPTS)
    for rows in (Pair.objects.all(), Completion.objects.all(), Run.objects.all()):
        rows.delete()


def written(project: Project) -> bytes:
    """The lines that a process leaves of the project's prompts, two replies each."""
    settings, lines = Settings(1.0, 64, 8), b""
    for row in exchange.prompts(project):
        replies = [
            {"prompt_id": row["prompt_id"], "source": "desk", "sample": i, "text": f"Reply {i} é"}
            | {"finished": True, "seed": i, "tokens_in": 3, "tokens_out": 4}
            for i in range(2)
        ]
        line = finished_prompt(row["prompt_id"], replies, settings, ["desk"])
        lines += json.dumps(line, ensure_ascii=False).encode() + b"\n"
    return lines
