from __future__ import annotations

import gzip
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotate import queue
from annotate.models import Prompt


def url(name: str, slug: str = "desk") -> str:
    return reverse(f"api-{name}", args=[slug])


def vote(project, user, choice, **how):
    queue.vote(user, queue.next_pair(project, user).token, choice=choice, **how)


ROW = {"prompt": "Q", "completion_a": "one", "completion_b": "two"}


def jsonl(*rows: object) -> bytes:
    return b"\n".join(json.dumps(row).encode() for row in rows)


def send(client, body: bytes, query: str = ""):
    return client.post(url("import") + query, body, content_type="application/x-ndjson")


# agreement


def test_agreement_has_the_documented_keys_and_intervals(
    api_for, project, make_pairs, olga, ann, ben
):
    make_pairs(2)
    for user, choices in ((ann, "ab"), (ben, "aa")):
        for choice in choices:
            vote(project, user, choice)
    answer = api_for(olga).get(url("agreement")).json()
    assert (answer["stream"], answer["pairs"], answer["votes"]) == ("all", 2, 4)
    assert answer["raw"] == 0.5
    keys = {"raw", "alpha_nominal", "alpha_ordinal", "fleiss_kappa"}
    assert keys <= set(answer) and set(answer["ci95"]) == keys
    low, high = answer["ci95"]["raw"]
    assert 0 <= low <= 0.5 <= high <= 1


def test_agreement_without_overlap_is_null_with_a_reason(api_for, project, olga):
    answer = api_for(olga).get(url("agreement"), {"stream": "random"}).json()
    assert answer["stream"] == "random" and answer["raw"] is None
    assert answer["ci95"]["raw"] is None
    assert "no pair has two votes" in answer["explanations"]["raw"]


def test_agreement_of_every_vote_is_asked_for_with_votes_every(
    api_for, project, make_pairs, olga, ann, ben, cleo
):
    make_pairs(1)
    for user, choice in ((ann, "a"), (ben, "b"), (cleo, "b")):
        vote(project, user, choice)
    client = api_for(olga)
    assert client.get(url("agreement")).json()["raw"] == 0
    every = client.get(url("agreement"), {"votes": "every"}).json()
    assert (every["raw"], every["votes"]) == (pytest.approx(1 / 3), 3)


@pytest.mark.parametrize("query", ["stream=active", "votes=2", "include_simulated=maybe"])
def test_agreement_refuses_a_bad_parameter_by_name(api_for, project, olga, query):
    answer = api_for(olga).get(f"{url('agreement')}?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["errors"]


# export


def test_export_streams_the_version_and_counts_it_in_headers(
    api_for, project, make_pairs, zed, ann
):
    make_pairs(2)
    vote(project, ann, "b")
    vote(project, ann, "tie")
    answer = api_for(zed).get(url("export"), {"format": "trl"})
    assert answer.status_code == 200 and answer.streaming
    rows = [json.loads(line) for line in b"".join(answer).splitlines()]
    assert len(rows) == 1 and rows[0]["chosen"].endswith("No idea.")
    assert answer["X-Pairloop-Trl"] == answer["X-Pairloop-Tie"] == "1"
    assert answer["X-Pairloop-Version"] == "1"
    assert 'filename="desk-v1-trl.jsonl"' in answer["Content-Disposition"]
    ties = api_for(zed).get(url("export"), {"format": "trl", "part": "ties"})
    assert json.loads(b"".join(ties))["outcome"] == "tie"


def test_export_twice_gives_the_same_bytes_and_no_new_version(
    api_for, project, make_pairs, zed, ann
):
    make_pairs(1)
    vote(project, ann, "a")
    client = api_for(zed)
    one, two = (b"".join(client.get(url("export"), {"format": "votes"})) for _ in range(2))
    assert one == two and json.loads(one)["annotator"] == "ann-ann"
    assert project.dataset_versions.count() == 1


def test_export_of_an_old_version_survives_an_undo(api_for, project, make_pairs, zed, ann):
    make_pairs(1)
    vote(project, ann, "a")
    client = api_for(zed)
    before = b"".join(client.get(url("export"), {"format": "votes"}))
    queue.undo(ann, project)
    assert b"".join(client.get(url("export"), {"format": "votes"})) == b""
    again = client.get(url("export"), {"format": "votes", "version": 1})
    assert b"".join(again) == before


def test_export_leaves_simulated_votes_out_unless_asked(api_for, project, make_pairs, zed, ann):
    make_pairs(1)
    vote(project, ann, "a", simulated=True)
    client = api_for(zed)
    answer = client.get(url("export"), {"format": "votes"})
    assert b"".join(answer) == b"" and answer["X-Pairloop-Simulated-Left-Out"] == "1"
    asked = client.get(url("export"), {"format": "votes", "include_simulated": "true"})
    assert json.loads(b"".join(asked))["simulated"] is True


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("format=xlsx", "Known formats: csv, hf, kto"),
        ("", "Known formats: csv, hf, kto"),
        ("format=trl&version=9", "no dataset version 9"),
        ("format=trl&version=-1", "whole number"),
        ("format=trl&version=x", "whole number"),
        ("format=trl&part=votes", "trl, ties"),
        ("format=trl&include_simulated=2", "Must be one of"),
    ],
)
def test_export_refuses_bad_parameters_and_names_what_it_knows(
    api_for, project, zed, query, message
):
    answer = api_for(zed).get(f"{url('export')}?{query}")
    assert answer.status_code == 400
    assert message in answer.content.decode()


def test_export_is_given_to_clients_that_ask_for_ndjson(api_for, project, zed):
    answer = api_for(zed).get(
        url("export"), {"format": "votes"}, headers={"Accept": "application/x-ndjson"}
    )
    assert answer.status_code == 200


# import


def test_import_adds_rows_and_reports_them(api_for, project, zed):
    answer = send(api_for(zed), jsonl(ROW, {"prompt": "P"}))
    assert answer.status_code == 200
    assert answer.json()["added"]["pairs"] == 1 and answer.json()["written"]
    assert project.prompts.count() == 2


def test_import_twice_adds_nothing(api_for, project, zed):
    client = api_for(zed)
    send(client, jsonl(ROW))
    assert set(send(client, jsonl(ROW)).json()["added"].values()) == {0}


def test_import_takes_a_form_upload_and_gzip(api_for, project, zed):
    file = SimpleUploadedFile("rows.jsonl.gz", gzip.compress(jsonl(ROW)))
    answer = api_for(zed).post(url("import"), {"file": file}, format="multipart")
    assert answer.status_code == 200 and project.pairs.count() == 1


def test_import_reports_refused_rows_and_keeps_the_others(api_for, project, zed):
    answer = send(api_for(zed), jsonl(ROW, {"prompt": ""}) + b'\n{"broken')
    body = answer.json()
    assert (answer.status_code, body["accepted"], body["refused"]) == (200, 1, 2)
    assert [(p["line"], p["field"]) for p in body["problems"]] == [(2, "prompt"), (3, "")]
    assert project.pairs.count() == 1


@pytest.mark.parametrize(
    ("body", "query", "message"),
    [
        (b'{"broken', "", "line 1: not valid JSON"),
        (jsonl(ROW, {"q": 1}), "?strict=1", "line 2: prompt: the column is missing"),
        (b"", "", "The file is missing"),
        (b"\n\n", "", "no rows"),
        (b"%PDF-1.4 x", "", "PDF"),
        (b'[{"prompt": "Q"}', "", "After row 1"),
        (jsonl(ROW), "?dry_run=perhaps", "dry_run"),
    ],
)
def test_import_of_a_bad_file_is_400_with_a_reason_and_writes_nothing(
    api_for, project, zed, body, query, message
):
    answer = send(api_for(zed), body, query)
    assert answer.status_code == 400
    assert message in answer.content.decode()
    assert not Prompt.objects.exists()


def test_import_of_an_archive_that_expands_without_end_stops(api_for, project, zed, monkeypatch):
    monkeypatch.setattr("annotate.api.direct_import_calls.MAX_REQUEST_UNPACKED", 2_000_000)
    bomb = gzip.compress(b'{"prompt": "' + b"x" * 4_000_000 + b'"}')
    answer = send(api_for(zed), bomb)
    assert answer.status_code == 400 and "more than 2,000,000 bytes" in answer.json()["detail"]


def test_import_without_a_file_in_the_form_is_400(api_for, project, zed):
    answer = api_for(zed).post(url("import"), {"note": "x"}, format="multipart")
    assert answer.status_code == 400 and "file" in answer.json()["errors"]


def test_import_of_a_file_that_is_too_large_is_413(api_for, project, zed):
    answer = send(api_for(zed), b" " * 50_000_001)
    assert answer.status_code == 413 and "import_data" in answer.json()["detail"]


def test_a_dry_run_writes_nothing(api_for, project, zed):
    answer = send(api_for(zed), jsonl(ROW), "?dry_run=1")
    assert answer.json()["added"]["pairs"] == 1 and not answer.json()["written"]
    assert not Prompt.objects.exists()


# all three


@pytest.mark.parametrize(
    ("name", "method", "needed"),
    [("agreement", "get", "olga"), ("export", "get", "zed"), ("import", "post", "zed")],
)
def test_roles_strangers_and_wrong_methods_are_refused(
    api_for, client, project, ann, olga, zed, eve, root, name, method, needed
):
    def status(user, method=method, slug="desk"):
        address = url(name, slug) + "?format=votes"
        caller = api_for(user)
        if method == "post":
            return caller.post(address, jsonl(ROW), content_type="application/x-ndjson").status_code
        return getattr(caller, method)(address).status_code

    assert status({"olga": olga, "zed": zed}[needed]) == 200
    assert status(root) == 200
    assert status(ann) == 403
    assert status(eve) == 404
    assert status(zed, slug="nowhere") == 404
    assert status(zed, method="delete") == 405
    assert status(zed, method="get" if method == "post" else "post") == 405
    assert client.get(url(name)).status_code == 401


def test_the_schema_describes_the_data_calls(client, project):
    schema = client.get(reverse("api-schema"), headers={"Accept": "application/json"}).json()
    paths = schema["paths"]
    assert "ci95" in schema["components"]["schemas"]["AgreementBody"]["properties"]
    for name in ("agreement", "export", "import"):
        assert f"/api/v1/projects/{{slug}}/{name}/" in paths
    names = {p["name"] for p in paths["/api/v1/projects/{slug}/export/"]["get"]["parameters"]}
    assert {"format", "version", "include_simulated", "part"} <= names
