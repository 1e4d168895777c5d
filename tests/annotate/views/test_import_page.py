from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from annotate import queue
from annotate.models import Import, Prompt
from annotate.models.job import Job
from tests.annotate.jobs.files import checked, imported, judged, lines, pair, sent, work_off

URL = "/projects/desk/import/"


def upload(client, *rows, name="rows.jsonl"):
    """Send a form with these rows; the address of the import's page."""
    file = SimpleUploadedFile(name, lines(*rows))
    answer = client.post(URL, {"file": file})
    assert answer.status_code == 302, answer.text
    return answer["Location"]


def test_an_admin_sends_a_file_sees_its_pairs_and_imports_them(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, *(pair(i) for i in range(7)))
    assert "Waiting for a worker" in client.get(page).text
    work_off()
    seen = client.get(page).text
    assert "Q4" in seen and "two 4" in seen and "Q5" not in seen
    assert "Import 7 pairs" in seen and not Prompt.objects.exists()
    assert client.post(page + "start/", {}).status_code == 302
    work_off()
    assert "Imported." in client.get(page).text and project.pairs.count() == 7
    listed = client.get(URL).text
    assert "rows.jsonl" in listed and ">7 prompts, 14 completions, 7 pairs</span>" in listed


def test_the_list_names_every_kind_of_thing_that_a_file_added(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, *({"prompt": f"Q{i}"} for i in range(40)))
    work_off()
    client.post(page + "start/", {})
    work_off()
    assert '<span class="number">40 prompts</span>' in client.get(URL).text


def test_a_file_without_pairs_says_so_before_it_is_imported(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, {"prompt": "Q1"}, {"prompt": "Q2"})
    work_off()
    enough = r'class="notice"><strong>0 pairs\.</strong> 2 prompts, which are enough to begin'
    assert re.search(enough, client.get(page).text)
    page = upload(client, {"prompt": "Q1", "completion": "One."})
    work_off()
    assert re.search(r'notice-bad"><strong>0 pairs\.', client.get(page).text)
    page = upload(client, pair())
    work_off()
    assert "0 pairs." not in client.get(page).text


def test_a_file_of_refused_rows_says_why_and_asks_for_columns_only_where_there_are_some(
    client_for, project, zed
):
    client = client_for(zed)
    file = SimpleUploadedFile("rows.jsonl", b'{"prompt": "Q", "margin": NaN}\n')
    page = client.post(URL, {"file": file})["Location"]
    work_off()
    seen = client.get(page).text
    assert seen.count("No row of the file can be read. The first: line 1: margin: NaN is not") == 2
    assert "Read other columns" not in seen
    page = upload(client, {"user_id": "anna", "instance_id": "7", "label_annotations": {}})
    work_off()
    seen = client.get(page).text
    assert "No row can be imported as it is read now. The first: line 1: instance_id: " in seen
    assert "If other columns hold its fields, choose them." in seen and "Read other" in seen


def test_a_question_is_answered_on_the_page_before_the_button_works(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, {"prompt": "Q", "choosen": "x", "rejected": "y"})
    work_off()
    seen = client.get(page).text
    assert "looks like “chosen”" in seen
    assert re.search(r"<button[^>]* disabled[^>]*>Import", seen)
    assert client.post(page + "start/", follow=True).status_code == 200
    assert not Prompt.objects.exists()
    client.post(page + "columns/", {"answer-0": "yes"})
    work_off()
    client.post(page + "start/", {f"field-{n}": c for n, c in mapping_of(page).items()})
    work_off()
    assert project.pairs.count() == 1


def mapping_of(page: str) -> dict[str, str]:
    import_ = Import.objects.get(uuid=page.rstrip("/").rsplit("/", 1)[1])
    return import_.report["check"]["mapping"]


def test_columns_that_were_changed_are_looked_at_before_they_are_imported(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, {"question": "Q", "good": "x", "bad": "y"})
    work_off()
    chosen = {"field-prompt": "question", "field-chosen": "good", "field-rejected": "bad"}
    answer = client.post(page + "start/", chosen, follow=True)
    assert "Look at the pairs once more" in answer.text
    work_off()
    assert not Prompt.objects.exists() and "Import 1 pair" in client.get(page).text
    client.post(page + "start/", chosen)
    work_off()
    assert project.pairs.count() == 1


def test_refused_rows_are_named_with_their_value_and_to_be_taken_away(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, pair(), pair(1, tags="=1+1"), b'{"broken')
    work_off()
    seen = client.get(page).text
    assert "2 rows refused" in seen and "a list of short texts" in seen and "=1+1" in seen
    table = client.get(page + "report/")
    text = b"".join(table.streaming_content).decode()
    assert "attachment" in table["Content-Disposition"]
    assert text.splitlines()[0] == "kind,file,unit,line,field,reason,value"
    assert "'=1+1" in text, "a spreadsheet would run it"
    plain = client.get(page + "report/?as=jsonl")
    rows = [json.loads(line) for line in b"".join(plain.streaming_content).splitlines()]
    assert [(one["line"], one["value"]) for one in rows] == [(2, "=1+1"), (3, "")]


def test_judged_pairs_may_be_labels_or_be_asked_about_as_well(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, judged())
    work_off()
    assert "Use their votes as labels" in client.get(page).text
    client.post(page + "start/", {"judged": "ask"} | fields(page))
    assert Import.objects.get().options["judged"] == "ask"
    assert "Use their votes" not in client.get(upload(client, {"prompt": "x"})).text


def fields(page: str) -> dict[str, str]:
    return {f"field-{name}": column for name, column in mapping_of(page).items()}


def test_progress_asks_for_itself_and_comes_to_an_end(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, pair())
    part = client.get(page + "progress/")
    assert part.status_code == 200 and "every 1s" in part.text and "<html" not in part.text
    work_off()
    part = client.get(page + "progress/")
    assert part.status_code == 286 and part["HX-Refresh"] == "true"


def test_the_page_says_when_no_worker_comes(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, pair())
    assert "make worker" not in client.get(page).text
    Import.objects.update(queued_at=timezone.now() - timedelta(seconds=30))
    assert "No worker has taken it up for 30 s. Start one with: make worker" in (
        client.get(page).text
    )


def test_the_page_says_when_it_waits_for_another_import(client_for, project, zed):
    other = sent(project, zed, pair())
    Import.objects.filter(pk=other.pk).update(state=Job.State.RUNNING, heartbeat_at=timezone.now())
    client = client_for(zed)
    page = upload(client, pair())
    Import.objects.exclude(pk=other.pk).update(queued_at=timezone.now() - timedelta(seconds=30))
    assert "It waits for another import." in client.get(page).text


def test_cancelling_from_the_page(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, pair())
    client.post(page + "cancel/")
    work_off()
    assert "Nothing was imported." in client.get(page).text and not Prompt.objects.exists()


@pytest.mark.parametrize(("body", "message"), [(b"\n", "no rows"), (b"%PDF-1.4 x", "PDF")])
def test_a_file_that_cannot_be_read_is_explained(client_for, project, zed, body, message):
    client = client_for(zed)
    page = upload(client, body)
    work_off()
    seen = client.get(page).text
    assert "Not imported." in seen and message in seen


def test_a_missing_and_an_oversized_file_are_explained(client_for, project, zed, monkeypatch):
    client = client_for(zed)
    assert "Choose a file first" in client.post(URL).text
    monkeypatch.setattr("annotate.importing.http_uploads.MAX_REQUEST", 10)
    answer = client.post(URL, {"file": SimpleUploadedFile("rows.jsonl", lines(pair()))})
    assert answer.status_code == 413 and "import_data" in answer.text


def test_names_and_texts_of_strangers_are_escaped(client_for, project, zed):
    client, hostile = client_for(zed), "<img src=x onerror=alert(1)>"
    page = upload(client, pair(**{hostile: hostile}, prompt=hostile), name=hostile)
    work_off()
    for address in (URL, page):
        assert "<img src=x" not in client.get(address).text


def test_files_of_the_server_are_offered_where_there_are_folders_of_them(
    client_for, project, zed, settings, tmp_path
):
    client = client_for(zed)
    assert "lies on the server" not in client.get(URL).text
    (tmp_path / "set.jsonl").write_bytes(lines(pair()))
    settings.IMPORT_ROOTS = [str(tmp_path)]
    assert "set.jsonl" in client.get(URL).text
    answer = client.post(URL, {"server_file": "set.jsonl"})
    work_off()
    assert "Import 1 pair" in client.get(answer["Location"]).text
    assert "no such file" in client.post(URL, {"server_file": "../x"}).text


def test_an_import_on_which_somebody_voted_stays_and_says_why(client_for, project, zed, ann):
    client = client_for(zed)
    import_ = imported(project, zed, pair())
    page = f"{URL}{import_.uuid}/"
    assert "Remove 1 pair" in client.get(page).text
    lease = queue.next_pair(project, ann)
    queue.vote(ann, lease.token, choice="a")
    assert re.search(r"<button[^>]* disabled[^>]*>Undo this import", client.get(page).text)
    client.post(page + "undo/")
    work_off()
    assert project.pairs.count() == 1


def test_an_import_is_taken_back_as_a_whole(client_for, project, zed):
    client = client_for(zed)
    kept = imported(project, zed, judged(0))
    import_ = imported(project, zed, *(judged(i) for i in range(3)))
    page = f"{URL}{import_.uuid}/"
    client.post(page + "undo/")
    work_off()
    assert "Taken back" in client.get(page).text
    assert project.pairs.count() == 1 and project.prompts.get().imported_by == kept


def test_a_check_of_another_project_is_not_found(client_for, project, root):
    from annotate.models import Project

    other = Project.objects.create(slug="other", name="Other")
    import_ = checked(other, root, pair())
    client = client_for(root)
    for part in ("", "progress/", "report/"):
        assert client.get(f"{URL}{import_.uuid}/{part}").status_code == 404
    assert client.post(f"{URL}{import_.uuid}/start/").status_code == 404


def test_the_list_takes_a_fixed_number_of_queries(
    client_for, project, zed, django_assert_max_num_queries
):
    for i in range(12):
        checked(project, zed, pair(i))
    client = client_for(zed)
    with django_assert_max_num_queries(12):
        client.get(URL)
