"""Scores of two replies to one prompt become a judged pair, where the import asks for it."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from annotate.jobs import import_actions
from annotate.models import Import, Label, Rating
from tests.annotate.jobs.files import checked, lines, work_off

STEER = [
    {"prompt": "Q1", "response": "one", "helpfulness": 4, "verbosity": 1},
    {"prompt": "Q1", "response": "two", "helpfulness": 2, "verbosity": 3},
    {"prompt": "Q2", "response": "three", "helpfulness": 3, "verbosity": 2},
    {"prompt": "Q2", "response": "four", "helpfulness": 3, "verbosity": 2},
    {"prompt": "Q3", "response": "alone", "helpfulness": 1, "verbosity": 0},
]
"""As HelpSteer2 has them: a row per reply, those to one prompt behind each other."""
ULTRA = {
    "source": "evol",
    "instruction": "Q1",
    "models": ["m1", "m2", "m3"],
    "completions": [
        {"model": f"m{n}", "response": f"reply {n}", "overall_score": score, "critique": "ok"}
        for n, score in enumerate((7.5, 2.0, 9.0), 1)
    ],
}
"""As UltraFeedback has them: a row per prompt."""


def command(project, tmp_path, rows, *flags):
    path, out = tmp_path / "rows.jsonl", StringIO()
    path.write_bytes(lines(*rows))
    call_command("import_data", str(path), "--project", project.slug, *flags, stdout=out)
    return out.getvalue()


def judged_pairs(project):
    """(texts, winner, margin) of each pair."""
    pairs = project.pairs.select_related("completion_a", "completion_b", "label").order_by("pk")
    return [
        (one.completion_a.text, one.completion_b.text, one.label.outcome, one.source_margin)
        for one in pairs
    ]


def test_rows_that_follow_each_other_are_compared_by_the_score_that_is_named(project, tmp_path):
    command(project, tmp_path, STEER, "--pairs-by", "helpfulness")
    assert judged_pairs(project) == [("one", "two", "a", 2.0), ("three", "four", "tie", 0.0)]
    assert Rating.objects.filter(name="verbosity").count() == 5
    assert project.prompts.count() == 3


def test_all_replies_of_a_row_are_compared_and_know_their_models(project, tmp_path):
    output = command(project, tmp_path, [ULTRA], "--pairs-by", "overall_score")
    assert "pairs added" in output
    assert judged_pairs(project) == [
        ("reply 1", "reply 2", "a", 5.5),
        ("reply 1", "reply 3", "b", 1.5),
        ("reply 2", "reply 3", "b", 7.0),
    ]
    assert set(project.pairs.values_list("policy_a", "policy_b")) == {
        ("m1", "m2"),
        ("m1", "m3"),
        ("m2", "m3"),
    }


def test_nobody_is_compared_unless_it_is_asked_for_and_an_unknown_score_is_named(project, tmp_path):
    with pytest.raises(CommandError, match=r"No reply has a rating 'beauty'\. Ratings: helpful"):
        command(project, tmp_path, STEER, "--pairs-by", "beauty")
    assert not Import.objects.exists()
    command(project, tmp_path, STEER)
    assert not project.pairs.exists() and Rating.objects.count() == 10


def test_the_page_offers_the_scores_and_shows_the_pairs_before_the_import(client_for, project, zed):
    import_ = checked(project, zed, *STEER)
    client, page = client_for(zed), f"/projects/desk/import/{import_.uuid}/"
    assert 'value="helpfulness"' in client.get(page).text
    client.post(page + "columns/", {"pairs_by": "helpfulness"})
    work_off()
    shown = client.get(page).text
    assert "Import 2 pairs" in shown and 'value="helpfulness" selected' in shown
    client.post(page + "start/", {"pairs_by": "helpfulness"})
    work_off()
    assert project.pairs.count() == Label.objects.count() == 2
    import_.refresh_from_db()
    import_actions.take_back(import_)
    work_off()
    assert not project.prompts.exists()


def test_a_script_chooses_the_score(api_for, project, zed):
    api, url = api_for(zed), "/api/v1/projects/desk/imports/"
    sent = api.post(
        f"{url}?auto=1&pairs_by=helpfulness",
        lines(*STEER),
        content_type="application/octet-stream",
    )
    work_off()
    body = api.get(sent.json()["url"]).json()
    assert (body["state"], body["pairs_by"]) == ("done", "helpfulness")
    assert "verbosity" in body["ratings"] and project.pairs.count() == 2
    held = checked(project, zed, *STEER, name="again.jsonl")
    answer = api.patch(f"{url}{held.uuid}/", {"pairs_by": "beauty"}, format="json")
    assert answer.status_code == 400 and "beauty" in answer.content.decode()
