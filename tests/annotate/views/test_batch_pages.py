"""Batches of pairs, from a selection on the data page to what the people of a batch see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate import queue
from annotate.models import Batch, Pair, Project

pytestmark = pytest.mark.django_db
MakePairs = Callable[..., list[Pair]]
ClientFor = Callable[[User], Client]


def test_an_admin_makes_a_batch_of_what_the_data_page_lists_and_gives_it_to_people(
    client_for: ClientFor, project: Project, zed: User, ann: User, make_pairs: MakePairs
) -> None:
    pairs = make_pairs(4)
    Pair.objects.filter(pk__in=[pair.pk for pair in pairs[:2]]).update(tags=["law"])
    client = client_for(zed)
    page = client.get("/projects/desk/data/?tag=law").content.decode()
    assert 'name="of" value="tag=law&amp;in=pairs"' in page
    made = client.post("/projects/desk/batches/", {"of": "tag=law&in=pairs", "name": "Law"})
    batch = Batch.objects.get()
    assert made.headers["Location"] == f"/projects/desk/batches/{batch.pk}/"
    assert set(batch.pairs.all()) == set(pairs[:2])
    member = project.memberships.get(user=ann)
    client.post(made.headers["Location"], {"people": member.pk, "only": member.pk})
    page = client.get(made.headers["Location"]).content.decode()
    assert f'name="people" value="{member.pk}" checked' in page
    assert f'name="only" value="{member.pk}" checked' in page
    assert "Pair" in client.get("/projects/desk/data/?batch=Law").content.decode()
    lease = queue.next_pair(project, ann)
    assert lease is not None and lease.pair in pairs[:2]
    own = client_for(ann).get("/projects/desk/me/").content.decode()
    assert "<b>Law</b>: you cast 0 votes, 2 pairs left for you" in own
    assert "no others" in own


def test_a_batch_that_cannot_be_made_says_why(
    client_for: ClientFor, project: Project, zed: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    client = client_for(zed)
    empty = client.post("/projects/desk/batches/", {"of": "tag=none", "name": "Law"})
    assert (empty.status_code, Batch.objects.count()) == (400, 0)
    assert "None of these pairs wants votes" in empty.content.decode()
    client.post("/projects/desk/batches/", {"of": "", "name": "Law", "most": "1"})
    again = client.post("/projects/desk/batches/", {"of": "", "name": "Law"})
    assert "A batch has this name already" in again.content.decode()
    nonsense = client.post("/projects/desk/batches/", {"of": "state=nonsense", "name": "Law"})
    assert nonsense.status_code == 400


def test_reviewers_see_batches_without_names_and_change_nothing(
    client_for: ClientFor, project: Project, zed: User, olga: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    client_for(zed).post("/projects/desk/batches/", {"of": "", "name": "Law"})
    address = f"/projects/desk/batches/{Batch.objects.get().pk}/"
    reviewer = client_for(olga)
    assert "Law" in reviewer.get("/projects/desk/batches/").content.decode()
    page = reviewer.get(address).content.decode()
    assert "<button" not in page.partition("<main")[2] and ">ann<" not in page
    assert reviewer.post(address, {}).status_code == 403
    assert reviewer.post("/projects/desk/batches/", {"of": "", "name": "x"}).status_code == 403


def test_a_batch_is_taken_apart_and_its_pairs_stay(
    client_for: ClientFor, project: Project, zed: User, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    client = client_for(zed)
    client.post("/projects/desk/batches/", {"of": "", "name": "Law"})
    project.memberships.filter(user=zed).update(batches_only=True)
    client.post(f"/projects/desk/batches/{Batch.objects.get().pk}/delete/")
    # Else nothing would ever be offered to who had this one alone.
    assert not project.memberships.filter(batches_only=True).exists()
    assert (Batch.objects.count(), Pair.objects.filter(batch=None).count()) == (0, 2)
