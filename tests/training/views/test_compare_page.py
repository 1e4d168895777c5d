from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from annotate import exchange
from annotate.models import Project
from tests.training.comparison import TEXTS, write
from tests.training.history import add_policy, add_starter, make_round
from training.dashboard import comparisons
from training.models import ModelVersion, Run, StageResult
from training.rlhf import __main__ as engine
from training.runs import run_inputs, run_kinds, run_states, stage_results

Browser = Callable[[User], Client]
URL = "/projects/desk/models/compare/"


@pytest.fixture
def versions(project: Project, home: Path) -> list[ModelVersion]:
    """The starter and the policies of two rounds."""
    starter = add_starter(project)
    first = add_policy(make_round(project, 1), state="retired")
    return [starter, first, add_policy(make_round(project, 2), state="candidate")]


@pytest.fixture
def compared(versions: list[ModelVersion]) -> Run:
    """A finished comparison of all three."""
    run = Run.objects.create(
        kind="compare",
        project=versions[0].project,
        state="done",
        options={"versions": [version.pk for version in versions], "seed": 0},
    )
    StageResult.objects.create(run=run, stage="compare")
    write(run.directory / "compare", {name: name for name in TEXTS})
    return run


def page(client: Client, query: str = "?v=0&v=1&v=2") -> str:
    answer = client.get(URL + query)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_it_shows_any_versions_side_by_side_with_intervals_and_plots(
    compared: Run, olga: User, client_for: Browser
) -> None:
    text = page(client_for(olga))
    assert "The same 12 held-out prompts" in text and "of 12” is" not in text
    assert text.count("<svg viewBox") >= 5
    assert "Score by reward" in text and "against policy-0" in text
    assert 'id="chart-score_reward-table"' in text  # the data of a plot as a table
    assert "No &lt;idea&gt; about 0." in text  # what models write is never markup


def test_a_difference_has_its_interval_and_a_part_of_the_replies_its_number(
    compared: Run, olga: User, client_for: Browser
) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", page(client_for(olga), "?v=0&v=1&v=2")).split())
    assert "Win rate by people \u2191 \u2013 1 [0.566, 1] of 5 1 [0.566, 1] of 5" in text
    assert re.search(r"Score by reward .*? \+\d\.\d+ \[\d\.\d+, \d\.\d+\]", text)
    assert re.search(r"Win rate by reward \u2191 \u2013 1 \[[^]]*\] 1 ", text), "all replies"


def test_a_tag_has_its_own_figures_and_replies(
    compared: Run, olga: User, client_for: Browser
) -> None:
    text = page(client_for(olga), "?v=1&v=2&tag=toxic")
    assert "order 2 today" in text and "order 3 today" not in text
    assert 'toxic <span class="number">3</span>' in text
    assert "Differences and win rates" not in text  # they are to policy-0, which is not shown


def test_a_round_compares_its_policy_with_the_one_before(
    versions: list[ModelVersion], olga: User, client_for: Browser
) -> None:
    second = versions[2]
    before = second.parent
    assert second.run is not None and before is not None
    write(second.run.directory / "evaluate", {"before": before.name, "after": second.name})
    text = page(client_for(olga), f"?v={before.number}&v=2")
    assert "measured by a round" in text
    assert f"against {before.name}" in text


def test_versions_without_common_prompts_show_what_rounds_measured_and_what_to_do(
    versions: list[ModelVersion], olga: User, zed: User, client_for: Browser
) -> None:
    text = page(client_for(olga))
    assert "Not measured on the same prompts yet" in text
    assert "python -m training.rlhf compare" in text
    assert "Ask them the same prompts" not in text
    assert "Ask them the same prompts" in page(client_for(zed))


def test_what_people_prefer_stands_beside_it(
    compared: Run, versions: list[ModelVersion], olga: User, client_for: Browser
) -> None:
    people = {"win_rate": 0.625, "win_rate_low": 0.47, "win_rate_high": 0.76}
    versions[2].metrics |= {"human": people}
    versions[2].save()
    assert "62.5\N{NO-BREAK SPACE}%" in page(client_for(olga))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text('{"models": ["x"], "groups": {}, "measures": []}'),
        lambda path: path.write_text('{"models": [], "groups": {}, "measures": []}'),
        lambda path: path.write_text(path.read_text().replace('"all"', '"every"')),
        lambda path: path.write_text(path.read_text().replace('"n": 12', f'"n": {10**400}')),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text("[]"),
    ],
)
def test_files_that_cannot_be_read_are_as_good_as_none(
    compared: Run, olga: User, client_for: Browser, spoil: Callable[[Path], Any]
) -> None:
    spoil(compared.directory / "compare" / "comparison.json")
    assert "Not measured on the same prompts yet" in page(client_for(olga))


def test_replies_that_are_elsewhere_leave_the_figures(
    compared: Run, olga: User, client_for: Browser
) -> None:
    file = compared.directory / "compare" / "replies.jsonl"
    whole = file.read_text()
    for spoilt in ('{"prompt_id": 1}\n', "[" * 100_000, whole.replace('"text"', '"said"'), ""):
        file.write_text(spoilt)
        text = page(client_for(olga))
        assert "The replies are not on this machine" in text and "Score by reward" in text


def test_a_page_of_replies_is_read_and_not_the_whole_file(
    compared: Run, olga: User, client_for: Browser
) -> None:
    file = compared.directory / "compare" / "replies.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    client = client_for(olga)
    assert "order 0 today" in page(client) and "order 6 today" not in page(client)
    second = page(client, "?v=0&v=1&v=2&page=2")
    assert "order 6 today" in second and "Page 2 of 2" in second
    for row in lines:  # measured again, since the page was seen
        row["text"] = row["text"].replace("order 6", "order \u00bb6\u00ab")
    file.write_text("".join(json.dumps(row) + "\n" for row in reversed(lines)))
    assert "order \u00bb6\u00ab today" in page(client)


@pytest.mark.parametrize("name", ["replies.jsonl", "comparison.json", "report.html"])
def test_links_out_of_the_run_folder_are_as_good_as_no_file(
    compared: Run, olga: User, client_for: Browser, tmp_path: Path, name: str
) -> None:
    """A folder that comes back from another machine may hold any link."""
    file = compared.directory / "compare" / name
    elsewhere = tmp_path / "secret"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    text = page(client_for(olga))
    assert ("The replies are not on this machine" in text) == (name == "replies.jsonl")
    assert ("Not measured on the same prompts yet" in text) == (name == "comparison.json")
    answer = client_for(olga).get(f"{URL}{compared.uuid}/report/")
    answer.close()
    assert answer.status_code == (404 if name == "report.html" else 200)


def test_links_in_a_circle_are_no_file(compared: Run, olga: User, client_for: Browser) -> None:
    file = compared.directory / "compare" / "comparison.json"
    file.unlink()
    file.symlink_to(file)
    assert "Not measured on the same prompts yet" in page(client_for(olga))


@pytest.mark.parametrize("query", ["?v=x&v=-1&v=99999999999", "?v=2", "?v=1&v=2&tag=none&page=z"])
def test_a_strange_query_is_answered_with_a_page(
    compared: Run, olga: User, client_for: Browser, query: str
) -> None:
    assert "<h1>Compare</h1>" in page(client_for(olga), query)


def test_the_report_is_a_file_to_keep(compared: Run, olga: User, client_for: Browser) -> None:
    answer = client_for(olga).get(f"{URL}{compared.uuid}/report/")
    assert answer["Content-Disposition"] == 'attachment; filename="desk-comparison.html"'
    assert b"<h1>Comparison</h1>" in answer.getvalue()
    (compared.directory / "compare" / "report.html").unlink()
    assert client_for(olga).get(f"{URL}{compared.uuid}/report/").status_code == 404


def test_an_admin_has_them_asked_the_same_prompts(
    versions: list[ModelVersion],
    home: Path,
    zed: User,
    client_for: Browser,
    make_pairs: Callable[..., Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    """From the button to the page, through the engine's own command line."""
    from tests.training.rlhf import tiny  # and torch, which nothing else here needs

    starter, _, second = versions
    make_pairs(12)
    for seed, version in enumerate((starter, second)):
        version.path = str(tiny.llama(home / f"model-{seed}", seed=seed))
        version.save()
    client = client_for(zed)
    assert client.post(f"{URL}start/", {"v": ["0", "2"]}).status_code == 302
    run = Run.objects.get(kind="compare")
    assert "waits for a training worker" in page(client, "?v=0&v=2")
    run.directory.mkdir(parents=True)
    run_inputs.prepare(run)
    config = json.loads((run.directory / "config.json").read_text())
    config["evaluate"] |= {"max_new_tokens": 4, "resamples": 20}
    (run.directory / "config.json").write_text(json.dumps(config))
    assert engine.main(run_kinds.program(run)[3:]) == 0
    held = Run.objects.claim(run.pk, owner="host:1")
    assert held is not None
    stage_results.apply(held, "compare")
    run_states.set_state(run, Run.State.DONE, rows=Run.objects.held(held))
    held_out = sum(row["held_out"] for row in exchange.prompts(run.project))
    assert f"The same {held_out} held-out prompts" in page(client, "?v=0&v=2")


def test_one_comparison_runs_at_a_time_and_can_be_cancelled(
    versions: list[ModelVersion], zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    client.post(f"{URL}start/", {"v": ["0", "1"]})
    again = client.post(f"{URL}start/", {"v": ["1", "2"]}, follow=True).content.decode()
    assert "Another comparison of this project is running" in again
    assert Run.objects.filter(kind="compare").count() == 1
    answer = client.post(f"{URL}cancel/")
    assert answer["Location"] == f"{URL}?v=0&v=1"
    assert Run.objects.get(kind="compare").state == "cancelled"
    assert "No comparison is running" in client.post(f"{URL}cancel/", follow=True).content.decode()


@pytest.mark.parametrize("chosen", [[], ["1"], ["7", "x"]])
def test_too_few_versions_start_nothing(
    versions: list[ModelVersion], zed: User, client_for: Browser, chosen: list[str]
) -> None:
    answer = client_for(zed).post(f"{URL}start/", {"v": chosen}, follow=True)
    assert "Choose two to 8 versions" in answer.content.decode()
    assert not Run.objects.filter(kind="compare").exists()


def test_a_version_whose_weights_are_gone_cannot_be_asked(versions: list[ModelVersion]) -> None:
    ModelVersion.objects.filter(pk=versions[1].pk).update(pruned_at=versions[1].created_at)
    with pytest.raises(comparisons.ComparisonRefused, match="weights of policy-1 were removed"):
        comparisons.start(versions[0].project, versions)


def test_a_live_comparison_asks_for_itself_and_ends(
    versions: list[ModelVersion], olga: User, client_for: Browser
) -> None:
    run = comparisons.start(versions[0].project, versions)
    client = client_for(olga)
    stamp = client.get(URL).context["stamp"]
    assert client.get(f"{URL}progress/?seen={stamp}").status_code == 204
    Run.objects.filter(pk=run.pk).update(step=3, total=24)
    assert b'max="24" value="3"' in client.get(f"{URL}progress/?seen={stamp}").content
    Run.objects.filter(pk=run.pk).update(state="failed", error="It has no prompts.")
    last = client.get(f"{URL}progress/?seen={stamp}")
    assert last.status_code == 286 and b"It has no prompts." in last.content


def test_the_number_of_queries_does_not_grow_with_the_comparisons(
    compared: Run, olga: User, client_for: Browser
) -> None:
    client = client_for(olga)

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            page(client)
        return len(seen)

    page(client)  # the first request of a session reads who it is by more statements
    few = queries()
    for _ in range(5):
        run = Run.objects.create(kind="compare", project=compared.project, state="done")
        StageResult.objects.create(run=run, stage="compare")
    assert queries() == few <= 12
