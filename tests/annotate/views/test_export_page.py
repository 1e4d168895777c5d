from __future__ import annotations

import html
import re

from annotate import exchange, queue
from annotate.exporting import FORMATS, export_job, freezing

URL = "/projects/desk/export/"


def test_without_versions_it_says_how_to_make_one(client_for, project, zed):
    assert "No version yet" in client_for(zed).get(URL).text


def test_an_admin_makes_a_version_and_downloads_it_by_its_link(
    client_for, project, make_pairs, zed, ann
):
    make_pairs(1)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="a")
    client = client_for(zed)
    page = client.post(URL, follow=True)
    assert "Version 1 holds the votes" in page.text
    assert project.dataset_versions.get().created_by == zed
    links = re.findall(r'href="(/api/[^"]*export[^"]*version=1)" download', page.text)
    assert len(links) == len(FORMATS) + 1
    for link in links:
        answer = client.get(html.unescape(link))
        assert answer.status_code == 200 and b"".join(answer)


def test_pressing_twice_makes_one_version(client_for, project, zed):
    client = client_for(zed)
    client.post(URL)
    client.post(URL)
    assert project.dataset_versions.count() == 1


def test_links_with_simulated_votes_appear_only_where_they_train(
    client_for, project, make_pairs, zed, ann
):
    make_pairs(1)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="a", simulated=True)
    freezing.freeze(project)
    assert "include_simulated" not in client_for(zed).get(URL).text
    project.train_on_simulated = True
    project.save()
    assert "include_simulated=1" in client_for(zed).get(URL).text


def test_roles_strangers_and_wrong_methods(client_for, client, project, ann, olga, zed, eve, root):
    codes = [client_for(user).get(URL).status_code for user in (ann, olga, zed, eve, root)]
    assert codes == [403, 403, 200, 404, 200]
    codes = [client_for(user).post(URL).status_code for user in (ann, olga, eve)]
    assert codes == [403, 403, 404] and not project.dataset_versions.exists()
    assert client_for(zed).delete(URL).status_code == 405
    assert client.get(URL).status_code == 302


def voted(project, make_pairs, *people, n=2, choice="a"):
    make_pairs(n)
    for user in people:
        for _ in range(n):
            queue.vote(user, queue.next_pair(project, user).token, choice=choice)
    return freezing.freeze(project)


def test_a_format_is_shown_with_its_advice_its_counts_and_its_first_row(
    client_for, project, make_pairs, zed, ann, ben
):
    voted(project, make_pairs, ann, ben)
    client = client_for(zed)
    page = client.get(URL).text
    assert "RewardTrainer" in page and "&quot;chosen&quot;: [" in page
    for name, one in FORMATS.items():
        shown = client.get(URL, {"format": name, "version": 1}).text
        assert html.escape(one.read_by) in shown and "The first row" in shown, name
    page = client.get(URL, {"format": "trl"}).text
    assert "ties</a>: " not in page
    assert "<dt>Rows</dt><dd>2</dd>" in page and "<dt>No majority</dt><dd>0</dd>" in page
    assert "<dt>Two equal texts</dt><dd>0</dd>" in page and "both_bad" not in page


def test_a_large_version_is_written_by_a_worker_and_downloaded(
    client_for, project, make_pairs, zed, ann, ben, settings, tmp_path, monkeypatch
):
    settings.HOME = tmp_path
    monkeypatch.setattr(export_job, "LARGE", 1)
    version = voted(project, make_pairs, ann, ben)
    client = client_for(zed)
    page = client.get(URL, {"format": "votes"}).text
    assert "prepared in the background" in page and "The first row" not in page
    given = {"format": "votes", "version": version.number, "compression": "none"}
    page = client.post(f"{URL}new/", given, follow=True).text
    assert "Waiting" in page and 'hx-trigger="every 1s"' in page
    for uuid in exchange.waiting_jobs():
        assert exchange.run_job(uuid)
    done = client.get(f"{URL}progress/")
    assert done.status_code == 286
    [link] = re.findall(r'href="(/projects/desk/export/[^"]+/)" download', done.text)
    file = b"".join(client.get(link))
    told = FORMATS["votes"].lines(version, part="votes", include_simulated=False)
    assert project.exports.get().size > 0 and b"vote_id" in b"".join(told)
    assert file[:2] == b"PK"


def test_an_export_that_waits_is_cancelled(client_for, project, make_pairs, zed, ann):
    voted(project, make_pairs, ann, n=1)
    client = client_for(zed)
    client.post(f"{URL}new/", {"format": "trl", "version": 1})
    one = project.exports.get()
    client.post(f"{URL}{one.uuid}/cancel/")
    one.refresh_from_db()
    assert one.state == "cancelled" and exchange.waiting_jobs() == []
    assert client.get(f"{URL}{one.uuid}/").status_code == 404


def test_a_version_has_a_page_with_what_is_in_it_and_what_is_new(
    client_for, project, make_pairs, zed, ann, ben
):
    voted(project, make_pairs, ann, ben)
    queue.undo(ann, project)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="b")
    make_pairs(1)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="tie")
    version = freezing.freeze(project)
    exchange.publish_model_version(
        project, name="reward-1", kind="reward", state="candidate", dataset_version=2, metrics={}
    )
    page = client_for(zed).get("/projects/desk/versions/2/")
    assert version.sha256 in page.text and "reward-1" in page.text
    held, difference = page.context["held"], page.context["difference"]
    assert (held.outcomes["a"], held.outcomes["split"], held.outcomes["tie"]) == (1, 1, 1)
    assert dict(difference.votes) == {"changed": 1, "added": 1}
    assert dict(difference.labels) == {"changed": 1, "added": 1}
    assert "first version" in client_for(zed).get("/projects/desk/versions/1/").text
    assert client_for(zed).get("/projects/desk/versions/9/").status_code == 404
