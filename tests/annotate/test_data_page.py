from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from annotate import queue
from annotate.models import Prompt

URL = "/projects/desk/data/"
IMPORT = URL + "import/"
ROW = {"prompt": "Q", "completion_a": "one", "completion_b": "two"}


def upload(client, *rows: object, name: str = "rows.jsonl", **fields: str):
    body = b"\n".join(r if isinstance(r, bytes) else json.dumps(r).encode() for r in rows)
    return client.post(IMPORT, {"file": SimpleUploadedFile(name, body), **fields})


def test_it_lists_pairs_with_their_votes(client_for, project, make_pairs, olga, ann):
    make_pairs(2)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="tie")
    page = client_for(olga).get(URL).text
    assert "2 pairs, newest first" in page
    assert "0 · 1 · 0" in page and "Where is my order 1?" in page


@pytest.mark.parametrize("text", ["ORDER 7", "7 is on its way", 'Café "7"\nnext'])
def test_search_finds_text_in_prompts_and_completions(client_for, project, make_pairs, olga, text):
    make_pairs(9)
    prompt = Prompt.objects.get(messages=[{"role": "user", "content": "Where is my order 7?"}])
    prompt.messages[0]["content"] += ' Café "7"\nnext'
    prompt.save()
    page = client_for(olga).get(URL, {"q": text}).text
    assert "1 pair, newest first" in page and "Order 7 is on its way." in page


def test_the_state_filters_and_an_unknown_state_is_refused(
    client_for, project, make_pairs, olga, ann, ben
):
    make_pairs(3)
    for user in (ann, ben):
        queue.vote(user, queue.next_pair(project, user).token, choice="a")
    client = client_for(olga)
    assert "1 pair, newest" in client.get(URL, {"state": "resolved"}).text
    assert "2 pairs, newest" in client.get(URL, {"state": "open"}).text
    assert "No pair matches" in client.get(URL, {"state": "retired"}).text
    assert client.get(URL, {"state": "lost"}).status_code == 400


def test_pages_keep_the_search_and_an_odd_page_number_is_harmless(
    client_for, project, make_pairs, olga
):
    make_pairs(55)
    client = client_for(olga)
    first = client.get(URL, {"q": "order"}).text
    assert "Page 1 of 2" in first and "?page=2&amp;q=order" in first
    assert "Page 2 of 2" in client.get(URL, {"q": "order", "page": "99"}).text
    assert "Page 1 of 2" in client.get(URL, {"page": "x"}).text


def test_search_survives_odd_characters(client_for, project, make_pairs, olga):
    make_pairs(1)
    for text in ("%", "_", "\\", "\x00", "'; --", "\u202e", "x" * 5000):
        assert client_for(olga).get(URL, {"q": text}).status_code == 200


def test_texts_are_escaped(client_for, project, make_pairs, olga):
    (pair,) = make_pairs(1)
    pair.completion_b.text = "<img src=x onerror=alert(1)>" * 20
    pair.completion_b.save()
    assert "<img src=x" not in client_for(olga).get(URL).text


def test_the_list_takes_a_fixed_number_of_queries(
    client_for, project, make_pairs, olga, django_assert_max_num_queries
):
    make_pairs(40)
    client = client_for(olga)
    with django_assert_max_num_queries(7):
        client.get(URL, {"q": "order"})


def test_only_admins_see_the_import_form(client_for, project, olga, zed):
    assert "Import nothing if any row" not in client_for(olga).get(URL).text
    assert "Import nothing if any row" in client_for(zed).get(URL).text


def test_an_admin_imports_a_file_and_reads_what_happened(client_for, project, zed):
    page = upload(client_for(zed), ROW, {"prompt": "P"})
    assert page.status_code == 200 and "Imported" in page.text
    assert project.pairs.count() == 1 and project.prompts.count() == 2


def test_the_same_upload_twice_adds_nothing(client_for, project, zed):
    for _ in range(2):
        assert upload(client_for(zed), ROW).status_code == 200
    assert project.pairs.count() == 1


def test_refused_rows_are_named_on_the_page(client_for, project, zed):
    page = upload(client_for(zed), ROW, {"prompt": "P", "completion_a": "x"}, b'{"broken')
    assert "line 2: completion_b: the column is missing" in page.text
    assert "line 3: not valid JSON" in page.text and project.pairs.count() == 1


def test_strict_and_dry_run_write_nothing(client_for, project, zed):
    client = client_for(zed)
    page = upload(client, ROW, {"q": 1}, strict="on")
    assert page.status_code == 400 and "Nothing was imported" in page.text
    page = upload(client, ROW, dry_run="on")
    assert page.status_code == 200 and "Nothing was written" in page.text
    assert not Prompt.objects.exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [(b'[{"prompt": "x"}]', "JSON array"), (b"\n", "no rows"), ("ü".encode("utf-16"), "UTF-16")],
)
def test_a_file_that_cannot_be_read_is_explained(client_for, project, zed, body, message):
    page = upload(client_for(zed), body)
    assert page.status_code == 400 and message in page.text


def test_a_missing_and_an_oversized_file_are_explained(client_for, project, zed, monkeypatch):
    client = client_for(zed)
    assert client.post(IMPORT).status_code == 400
    monkeypatch.setattr("annotate.importing.uploads.MAX_UPLOAD", 10)
    page = upload(client, ROW)
    assert page.status_code == 413 and "import_data" in page.text


def test_roles_strangers_and_wrong_methods(client_for, client, project, ann, olga, zed, eve, root):
    people = (ann, olga, zed, eve, root)
    codes = [client_for(user).get(URL).status_code for user in people]
    assert codes == [403, 200, 200, 404, 200]
    codes = [upload(client_for(user), ROW).status_code for user in people]
    assert codes == [403, 403, 200, 404, 200]
    assert client_for(olga).post(URL).status_code == 405
    assert client_for(zed).get(IMPORT).status_code == 405
    assert client.get(URL).status_code == client.post(IMPORT).status_code == 302
