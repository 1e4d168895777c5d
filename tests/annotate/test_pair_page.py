from __future__ import annotations

from annotate import adjudication, datasets, queue
from annotate.models import Flag


def test_the_history_names_everything_in_order(client_for, project, make_pairs, ann, ben, olga):
    (pair,) = make_pairs(1, margin=1.5)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="a", active_ms=2500)
    queue.skip(ben, queue.next_pair(project, ben).token)
    datasets.freeze(project)
    Flag.objects.create(pair=pair, annotator=ann, kind="pii")
    adjudication.decide(olga, pair, choice="b", strength=2)
    page = client_for(olga).get(f"/projects/desk/pairs/{pair.pk}/").text
    steps = ("reward-model margin 1.50", "2.5 s", "skipped", "flagged: personal data", "decided: B")
    places = [page.index(step) for step in steps]
    assert places == sorted(places) and "ann-ann" in page and "starter" in page
    assert "in dataset versions from 1 on" in page


def test_a_pair_of_nowhere_is_not_found(client_for, olga, make_pairs):
    assert client_for(olga).get("/projects/desk/pairs/999999/").status_code == 404
