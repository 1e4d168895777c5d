from __future__ import annotations

import html
import re

from django.core.cache import cache

from annotate import queue
from annotate.exporting import freezing

URL = "/projects/desk/export/"


def test_without_versions_it_says_how_to_make_one(client_for, project, zed):
    assert "No version yet" in client_for(zed).get(URL).text


def test_an_admin_makes_a_version_and_downloads_it_by_its_link(
    client_for, project, make_pairs, zed, ann
):
    cache.clear()
    make_pairs(1)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="a")
    client = client_for(zed)
    page = client.post(URL, follow=True)
    assert "Version 1 holds the votes" in page.text
    assert project.dataset_versions.get().created_by == zed
    links = [
        html.unescape(link) for link in re.findall(r'href="(/api/[^"]*export[^"]*)"', page.text)
    ]
    assert len(links) == 5
    files = [b"".join(client.get(link)) for link in links]
    assert [len(file.splitlines()) for file in files] == [1, 0, 1, 0, 1]


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
