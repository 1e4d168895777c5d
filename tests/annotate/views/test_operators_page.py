"""The page for those who operate an installation."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate import queue
from annotate.models import Pair, Project
from annotate.views import operators_page

pytestmark = pytest.mark.database
ClientFor = Callable[[User], Client]
ADDRESS = "/operators/"


def test_operators_read_the_state_of_the_installation(
    client_for: ClientFor, root: User, ann: User, project: Project,
    make_pairs: Callable[..., list[Pair]],
) -> None:  # fmt: skip
    make_pairs(2)
    lease = queue.next_pair(project, ann)
    assert lease is not None
    queue.vote(ann, lease.token, choice="a")
    queue.next_pair(project, ann)
    client = client_for(root)
    client.get("/projects/")
    page = client.get(ADDRESS).content.decode()
    for title in (
        *("Votes that stand.", "Age of the oldest lease.", "Runs by kind and state."),
        *("Since a worker last reported.", "Tasks that no worker has taken."),
        "Disk of PAIRLOOP_HOME",
    ):
        assert title in page, title
    votes = page.partition("Votes that stand.")[2]
    assert '<th scope="row">desk</th><td class="number">1</td>' in votes.partition("</table>")[0]
    # Other tests of this process made requests, too: whichever took most time stand here.
    times = page.partition("<caption>Requests since the web started")[2]
    number = r'<td class="number">[1-9][\d.]*</td>'
    rows = re.findall(rf'<th scope="row">[\w:-]+</th>{number}', times)
    assert 1 <= len(rows) <= operators_page.MOST_ADDRESSES


def test_staff_have_a_link_to_it_and_others_neither_link_nor_page(
    client_for: ClientFor, root: User, zed: User, eve: User
) -> None:
    assert ADDRESS in client_for(root).get("/projects/").content.decode()
    for user in (zed, eve):
        client = client_for(user)
        assert client.get(ADDRESS).status_code == 403
        assert ADDRESS not in client.get("/projects/").content.decode()
