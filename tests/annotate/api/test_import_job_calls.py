from __future__ import annotations

import io
import json
import zipfile
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotate.importing import limits
from annotate.models import Assignment, Import, Prompt
from tests.annotate.jobs.files import imported, lines, pair, work_off

IMPORTS = "/api/v1/projects/desk/imports/"
UPLOADS = "/api/v1/projects/desk/uploads/"


def send(client, *rows, query=""):
    return client.post(IMPORTS + query, lines(*rows), content_type="application/x-ndjson")


def test_a_file_becomes_a_job_that_is_looked_at_started_and_watched(api_for, project, zed):
    client = api_for(zed)
    answer = send(client, pair(), {"prompt": ""}, query="?name=rows.jsonl")
    assert answer.status_code == 202
    job = answer.json()
    assert (job["state"], job["name"], job["checked"]) == ("checking", "rows.jsonl", None)
    assert answer["Location"] == job["url"] == f"{IMPORTS}{job['id']}/"
    work_off()
    job = client.get(job["url"]).json()
    assert job["state"] == "ready" and job["format"] and job["shape"]
    assert job["checked"]["added"]["pairs"] == 1 and job["checked"]["refused"] == 1
    assert not Prompt.objects.exists()
    started = client.post(job["url"] + "start/")
    assert started.status_code == 202 and started.json()["state"] == "importing"
    work_off()
    job = client.get(job["url"]).json()
    assert (job["state"], job["share"], job["report"]["added"]["pairs"]) == ("done", 1.0, 1)
    assert job["report"]["problems"][0]["line"] == 2
    report = client.get(job["url"] + "report/")
    told = [json.loads(line) for line in b"".join(report.streaming_content).splitlines()]
    assert [one["line"] for one in told] == [2]


def test_multipart_is_taken_with_the_files_own_name(api_for, project, zed):
    file = SimpleUploadedFile("of my tool.jsonl", lines(pair()))
    answer = api_for(zed).post(IMPORTS, {"file": file}, format="multipart")
    assert answer.status_code == 202 and answer.json()["name"] == "of my tool.jsonl"


def test_files_of_an_archive_that_hold_no_rows_are_named(api_for, client_for, project, zed):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pairs.jsonl", lines(pair()))
        archive.writestr("scan.png", b"\x89PNG")
    client, file = api_for(zed), SimpleUploadedFile("set.zip", packed.getvalue())
    job = client.post(IMPORTS + "?auto=1", {"file": file}, format="multipart").json()
    work_off()
    job = client.get(job["url"]).json()
    assert (job["state"], job["left_out"]) == ("done", ["scan.png"])
    page = client_for(zed).get(f"/projects/desk/import/{job['id']}/").content.decode()
    assert "Left out, as they hold no rows: scan.png." in page


def test_auto_needs_no_second_call(api_for, project, zed):
    client = api_for(zed)
    job = send(client, pair(), query="?auto=1&judged=ask").json()
    work_off()
    job = client.get(job["url"]).json()
    assert job["state"] == "done" and project.pairs.count() == 1 and job["judged"] == "ask"


def test_a_question_is_answered_and_a_mapping_given(api_for, project, zed):
    client = api_for(zed)
    job = send(client, {"question": "Q", "choosen": "x", "rejected": "y"}).json()
    work_off()
    job = client.get(job["url"]).json()
    assert job["state"] == "asking" and "choosen" in job["obstacle"]
    assert [one["column"] for one in job["questions"]] == ["question", "choosen"]
    assert client.post(job["url"] + "start/").status_code == 409
    wrong = client.patch(job["url"], {"mapping": {"prompt": "nowhere"}}, format="json")
    assert wrong.status_code == 400 and "nowhere" in wrong.json()["detail"]
    changed = client.patch(
        job["url"],
        {
            "mapping": {"prompt": "question"},
            "answers": [{"column": "choosen", "field": "chosen", "yes": True}],
        },
        format="json",
    )
    assert changed.status_code == 200 and changed.json()["state"] == "checking"
    work_off()
    job = client.get(job["url"]).json()
    assert job["state"] == "ready"
    assert job["mapping"] == {"prompt": "question", "chosen": "choosen", "rejected": "rejected"}
    client.post(job["url"] + "start/")
    work_off()
    assert project.pairs.count() == 1


def test_several_columns_are_one_field_by_answers_or_a_mapping(api_for, project, zed):
    client = api_for(zed)
    one = {"prompt": "P", "choosen": "x", "rejected": "y"}
    other = {"prompt": "Q", "Chosen": "x", "rejected": "y"}
    job = send(client, one, other).json()
    work_off()
    asked = client.get(job["url"]).json()["questions"]
    answers = [{"column": one["column"], "field": one["field"], "yes": True} for one in asked]
    told = client.patch(job["url"], {"answers": answers}, format="json").json()
    assert sorted(told["mapping"]["chosen"]) == ["Chosen", "choosen"]
    work_off()
    job = client.get(job["url"]).json()
    assert (job["state"], job["checked"]["accepted"]) == ("ready", 2)
    again = client.patch(job["url"], {"mapping": job["mapping"]}, format="json")
    assert again.status_code == 200 and again.json()["mapping"] == job["mapping"]


def test_options_are_changed_and_strict_keeps_a_file_with_refused_rows_out(api_for, project, zed):
    client = api_for(zed)
    job = send(client, pair(), {"prompt": ""}, query="?strict=1").json()
    work_off()
    refused = client.post(job["url"] + "start/")
    assert refused.status_code == 409 and "1 row is refused" in refused.json()["detail"]
    client.patch(job["url"], {"strict": False}, format="json")
    assert client.post(job["url"] + "start/").status_code == 202
    unknown = client.patch(job["url"], {"judged": "maybe"}, format="json")
    assert unknown.status_code == 400


def test_cancel_and_what_cannot_be_cancelled(api_for, project, zed):
    client = api_for(zed)
    job = send(client, pair()).json()
    assert client.post(job["url"] + "cancel/").json()["state"] == "cancelled"
    assert client.post(job["url"] + "cancel/").status_code == 409
    work_off()
    assert not Prompt.objects.exists()


def test_a_file_is_sent_in_pieces_and_goes_on_where_it_broke_off(api_for, project, zed):
    client, body = api_for(zed), lines(*(pair(i) for i in range(30)))
    upload = client.post(UPLOADS, {"name": "big.jsonl", "size": len(body)}, format="json")
    assert upload.status_code == 201
    upload = upload.json()

    def piece(at: int, to: int):
        return client.patch(
            upload["url"],
            body[at:to],
            content_type="application/octet-stream",
            headers={"Upload-Offset": str(at)},
        )

    assert piece(0, 700).json()["offset"] == 700
    wrong = piece(0, 700)
    assert wrong.status_code == 409 and wrong.json()["offset"] == "700"
    early = client.post(IMPORTS, {"upload": upload["upload"]}, format="json")
    assert early.status_code == 400 and "700 of" in early.json()["detail"]
    assert client.get(upload["url"]).json()["offset"] == 700
    assert piece(700, len(body)).json()["offset"] == len(body)
    job = client.post(IMPORTS, {"upload": upload["upload"], "auto": True}, format="json")
    assert job.status_code == 202 and job.json()["id"] == upload["upload"]
    work_off()
    assert project.pairs.count() == 30
    assert client.get(upload["url"]).status_code == 404


@pytest.mark.parametrize("offset", ["", "x", "-1", "1.5", "9" * 30])
def test_an_offset_that_is_no_number_is_refused(api_for, project, zed, offset):
    client = api_for(zed)
    upload = client.post(UPLOADS, {"name": "x", "size": 10}, format="json").json()
    answer = client.patch(
        upload["url"],
        b"x",
        content_type="application/octet-stream",
        headers={"Upload-Offset": offset},
    )
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"upload": str(uuid4())},
        {"upload": "x"},
        {"server_file": "/etc/passwd"},
        {"server_file": "x", "upload": str(uuid4())},
        {"file": "x"},
        {"upload": None},
    ],
)
def test_a_new_import_names_one_file_that_is_there(api_for, project, zed, body):
    answer = api_for(zed).post(IMPORTS, body, format="json")
    assert answer.status_code == 400 and not Import.objects.exists()


def test_a_file_that_is_too_large_for_one_request_is_sent_to_uploads(api_for, project, zed):
    answer = api_for(zed).post(IMPORTS, b" " * 50_000_001, content_type="text/plain")
    assert answer.status_code == 413 and "uploads/" in answer.json()["detail"]


def test_an_upload_that_is_too_large_is_refused_before_a_byte_is_sent(api_for, project, zed):
    body = {"name": "x", "size": limits.MAX_FILE + 1}
    assert api_for(zed).post(UPLOADS, body, format="json").status_code == 400
    answer = api_for(zed).post(UPLOADS, {"name": "x", "size": 0}, format="json")
    assert answer.status_code == 400 and "The file is empty." in answer.json()["detail"]


def test_the_list_is_newest_first_and_goes_on_by_cursor_or_as_it_did_by_number(
    api_for, project, zed
):
    client = api_for(zed)
    for i in range(5):
        send(client, pair(i), query=f"?name=f{i}")
    names, address = [], f"{IMPORTS}?page_size=2"
    while address:
        page = client.get(address).json()
        names += [one["name"] for one in page["results"]]
        address = page["next"]
    assert names == ["f4", "f3", "f2", "f1", "f0"]
    third = Import.objects.get(file_name="f2")
    older = client.get(f"{IMPORTS}?before={third.pk}").json()
    assert [one["name"] for one in older["results"]] == ["f1", "f0"] and older["next"] is None
    for wrong in ("before=x", "before=-1", "cursor=x", "page_size=0"):
        assert client.get(f"{IMPORTS}?{wrong}").status_code == 400


def test_an_import_belongs_to_its_project(api_for, project, zed, root):
    from annotate.models import Project

    other = Project.objects.create(slug="other", name="Other")
    import_ = imported(project, zed, pair())
    address = reverse("api-import-one", args=[other.slug, import_.uuid])
    assert api_for(root).get(address).status_code == 404


def test_importing_at_once_tells_the_texts_of_its_warnings(api_for, project, zed):
    answer = api_for(zed).post(
        "/api/v1/projects/desk/import/",
        lines(pair(completion_a=42, votes={"u1": "a"})),
        content_type="application/x-ndjson",
    )
    body = answer.json()
    assert answer.status_code == 200 and body["warnings"] == 1
    assert body["warned"][0]["field"] == "completion_a" and "42" in body["warned"][0]["reason"]
    assert Assignment.objects.count() == 1


def test_many_imports_in_an_hour_are_slowed_down_and_looking_is_not(api_for, project, zed):
    client = api_for(zed)
    codes = [client.post(IMPORTS, {}, format="json").status_code for _ in range(61)]
    assert codes[-1] == 429 and client.get(IMPORTS).status_code == 200
