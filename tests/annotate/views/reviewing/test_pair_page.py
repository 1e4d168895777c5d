from __future__ import annotations

import re

import pytest

from annotate import queue
from annotate.exporting import freezing
from annotate.models import Flag, Pair, Project
from annotate.review import adjudication, pair_history


@pytest.fixture
def told(client_for, olga):
    """told(pair): what a reviewer reads on the pair's page."""
    return lambda pair: client_for(olga).get(f"/projects/desk/pairs/{pair.pk}/").text


def in_order(page, *steps):
    places = [page.index(step) for step in steps]
    assert places == sorted(places)


def test_the_history_names_everything_in_order(told, project, make_pairs, ann, ben, olga):
    (pair,) = make_pairs(1, margin=1.5)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="a", active_ms=2500)
    queue.skip(ben, queue.next_pair(project, ben).token, reason="hard")
    freezing.freeze(project)
    Flag.objects.create(pair=pair, annotator=ann, kind="pii")
    adjudication.decide(olga, pair, choice="b", strength=2, rationale="It <i>invents</i>.")
    page = told(pair)
    in_order(
        page,
        "Queued by import, offered: random and active",
        "by the random arm (probability",
        "voted: A better, 2.5 s",
        "skipped: Too hard or not my field",
        "Dataset version 1 took 1 vote in",
        "warned: personal data",
        "decided: B better",
    )
    assert "It &lt;i&gt;invents" in page and "The warning of personal data was settled" in page
    assert "81.8\xa0%" in page and "logit 1.50" in page and "ann-ann" in page and "starter" in page


def test_a_changed_vote_is_told_with_the_versions_that_keep_what_it_was(
    told, project, make_pairs, ann
):
    (pair,) = make_pairs(1)
    own = queue.vote(ann, queue.next_pair(project, ann).token, choice="a").assignment
    freezing.freeze(project)
    side = "left" if own.left == "b" else "right"
    queue.revise(ann, own.token, side=side, strength=3)
    queue.remark(ann, own.token, reasons=["Clarity"], comment="B answers <b>")
    page = told(pair)
    assert "voted: A better" in page and "dataset version 1 keeps it" in page
    assert re.search(r"voted: B much better, Clarity.*<blockquote[^>]*>B answers &lt;b&gt;", page)


def test_better_answers_retests_and_lapsed_leases_are_told(told, project, make_pairs, ann, ben):
    Project.objects.update(allow_rewrites=True)
    (pair,) = make_pairs(1)
    own = queue.vote(ann, queue.next_pair(project, ann).token, choice="a").assignment
    queue.rewrite(ann, own.token, side="left", text="It comes on Monday.")
    lease = queue.next_pair(project, ben)
    queue.release_expired(project, now=lease.expires_at.replace(year=lease.expires_at.year + 1))
    (again,) = make_pairs(1, kind="retest", retest_of=pair, only_for=ann)
    page = told(pair)
    assert "wrote a better answer, from" in page and "It comes on Monday." in page
    assert "the lease ended without an answer" in page
    assert f">pair {again.pk}</a>" in page and f">pair {pair.pk}</a>" in told(again)


def test_sides_lead_to_the_policy_and_the_round_that_wrote_them(told, make_pairs):
    (pair,) = make_pairs(1, source="round-3", policy_a="policy-3", policy_b="starter")
    pair.completion_a.source = "round-3"
    pair.completion_a.save()
    page = told(pair)
    assert 'href="/projects/desk/models/#policy-3"' in page
    assert page.count('href="/projects/desk/rounds/3/"') == 2
    assert [side.policy for side in pair_history.authors(Pair.objects.get())] == [
        "policy-3",
        "starter",
    ]


@pytest.mark.parametrize("source", ["round-", "round-٣", "round-7x", "import", ""])
def test_a_source_that_is_no_round_has_no_number(source):
    assert pair_history.round_of(source) is None


def test_a_persons_own_votes_lead_to_the_history_only_where_it_may_be_read(
    client_for, project, make_pairs, ann, olga
):
    (pair,) = make_pairs(1)
    for user, links in ((ann, False), (olga, True)):
        queue.vote(user, queue.next_pair(project, user).token, choice="a")
        page = client_for(user).get("/projects/desk/votes/").text
        assert (f"/pairs/{pair.pk}/" in page) == links


@pytest.mark.parametrize(("margin", "probability"), [(-2000.0, "0.0\xa0%"), (2000.0, "100.0\xa0%")])
def test_a_margin_however_large_is_a_probability(told, make_pairs, margin, probability):
    (pair,) = make_pairs(1, margin=margin)
    assert probability in told(pair)


def test_a_pair_of_nowhere_is_not_found(client_for, olga, make_pairs):
    assert client_for(olga).get("/projects/desk/pairs/999999/").status_code == 404


def test_the_side_that_won_is_marked(told, project, make_pairs, ann, ben):
    (pair,) = make_pairs(1)
    assert "card-chosen" not in told(pair)
    for person in (ann, ben):
        queue.vote(person, queue.next_pair(project, person).token, choice="b")
    page = told(pair)
    assert page.count("card-chosen") == 1
    in_order(page, 'aria-labelledby="side-A"', "card-chosen", 'aria-labelledby="side-B"')
