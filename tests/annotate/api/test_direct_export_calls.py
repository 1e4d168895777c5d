from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile

import pytest
from django.urls import reverse

from annotate import exchange
from annotate.exporting import FORMATS, export_job, freezing
from annotate.jobs import export_actions
from annotate.models import Export
from annotate.models.job import Job
from tests.annotate.exporting.written import export, judge

URL = "/api/v1/projects/desk/exports/"


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    settings.HOME = tmp_path / "home"


@pytest.fixture
def judged(project, make_pairs, ann, ben):
    won, tied = make_pairs(2)
    judge(project, [won], (ann, "a", 3), (ben, "a", 2))
    judge(project, [tied], (ann, "tie", 0), (ben, "both_bad", 0))


def work_off():
    for uuid in exchange.waiting_jobs():
        assert exchange.run_job(uuid)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_the_same_by_rest_and_by_command(api_for, judged, zed, format, tmp_path):
    out = export(tmp_path / "out", format)
    answer = api_for(zed).get("/api/v1/projects/desk/export/", {"format": format})
    assert answer.status_code == 200 and answer["Content-Disposition"].startswith("attachment")
    body = b"".join(answer)
    if out.is_dir():
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        assert files == {
            str(path.relative_to(out)): path.read_bytes()
            for path in out.rglob("*")
            if path.is_file()
        }
    else:
        assert body == out.read_bytes()


def test_a_part_without_rows_is_no_content_and_compression_is_asked_for(api_for, judged, zed):
    client, address = api_for(zed), "/api/v1/projects/desk/export/"
    assert client.get(address, {"format": "votes", "part": "weightless"}).status_code == 204
    packed = client.get(address, {"format": "votes", "compression": "gzip"})
    assert packed["Content-Disposition"].endswith('-votes.jsonl.gz"')
    plain = b"".join(client.get(address, {"format": "votes"}))
    assert gzip.decompress(b"".join(packed)) == plain


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("format=trl&style=text", "no such option"),
        ("format=hf&compression=gzip", "compressed as it is"),
        ("format=hf&licence=a%0Ab", "one line"),
        ("format=votes&compression=rar", "Must be one of"),
    ],
)
def test_options_that_do_not_fit_are_refused(api_for, project, zed, query, message):
    answer = api_for(zed).get(f"/api/v1/projects/desk/export/?{query}")
    assert answer.status_code == 400 and message in answer.content.decode()


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_in_the_background_is_watched_and_downloaded(
    api_for, judged, project, zed, format, tmp_path
):
    client = api_for(zed)
    answer = client.post(URL, {"format": format}, format="json")
    assert answer.status_code == 202 and answer["Location"] == answer.json()["url"]
    asked = answer.json()
    assert (asked["state"], asked["download"], asked["version"]) == ("waiting", None, 1)
    work_off()
    done = client.get(asked["url"]).json()
    assert (done["state"], done["share"]) == ("done", 1.0)
    body = b"".join(client.get(done["download"]))
    assert (len(body), hashlib.sha256(body).hexdigest()) == (done["size"], done["sha256"])
    out = export(tmp_path / "out", format)
    if body[:2] != b"PK":
        assert body == out.read_bytes()
        return
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        files = [archive.read(name) for name in archive.namelist()]
    if out.is_dir():
        written = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    else:
        written = [path.read_bytes() for path in tmp_path.glob("out*")]
    assert sorted(files) == sorted(written)
    assert [one["id"] for one in client.get(URL).json()["results"]] == [asked["id"]]


def test_a_cancelled_export_leaves_nothing_behind(api_for, judged, project, zed, settings):
    client = api_for(zed)
    asked = client.post(URL, {"format": "votes"}, format="json").json()
    assert client.post(f"{asked['url']}cancel/").json()["state"] == "cancelled"
    assert client.post(f"{asked['url']}cancel/").status_code == 409
    assert client.get(f"{asked['url']}download/").status_code == 404
    running = export_actions.begin(freezing.freeze(project), zed, "votes", export_job.Options())

    def stop(done, share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_job.perform(running, stop)
    assert [path for path in settings.HOME.rglob("*") if path.is_file()] == []


def test_files_of_old_exports_go_and_their_records_stay(api_for, judged, project, zed):
    client = api_for(zed)
    asked = client.post(URL, {"format": "votes"}, format="json").json()
    work_off()
    export_one = Export.objects.get()
    export_job.drop_old_files(export_one.finished_at)
    assert export_job.file_of(export_one) is not None
    Export.objects.update(finished_at=export_one.finished_at - export_job.KEPT * 2)
    exchange.tidy_jobs()
    export_one.refresh_from_db()
    assert export_job.file_of(export_one) is None and export_one.state == Job.State.DONE
    assert client.get(asked["url"]).json()["download"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"format": "xlsx"},
        {"format": "votes", "version": 9},
        {"format": "trl", "style": "text"},
        {"format": "hf", "compression": "gzip"},
        {"format": "votes", "colour": "red"},
    ],
)
def test_a_new_export_that_cannot_be_is_refused(api_for, judged, zed, body):
    assert api_for(zed).post(URL, body, format="json").status_code == 400
    assert not Export.objects.exists()


def test_the_schema_describes_the_exports(client, project):
    schema = client.get(reverse("api-schema"), headers={"Accept": "application/json"}).json()
    assert {"get", "post"} <= schema["paths"]["/api/v1/projects/{slug}/exports/"].keys()
    assert "sha256" in schema["components"]["schemas"]["ExportBody"]["properties"]
    assert json.dumps(schema)
