"""The list of pairs by agreement."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from annotate.models import Pair
from annotate.quality import pairs_by_agreement

URL = "/projects/desk/quality/pairs/"
START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def voted(make_pairs):
    """Seven pairs with votes (A, tie, B), margins and times, and one with a single vote."""
    rows = [
        ((2, 0, 0), 0.5),
        ((1, 0, 1), -3.0),
        ((1, 1, 1), None),
        ((0, 0, 2), 0.5),
        ((2, 0, 1), 1.25),
        ((0, 2, 0), None),
        ((1, 0, 2), -0.1),
    ]
    pairs = make_pairs(8, wanted=5, asked=5, open_slots=2)
    for i, (pair, ((a, tie, b), margin)) in enumerate(zip(pairs, rows, strict=False)):
        Pair.objects.filter(pk=pair.pk).update(
            stream="random",
            first="a",
            second="a",
            n_a=a,
            n_tie=tie,
            n_b=b,
            margin=margin,
            last_vote_at=START + timedelta(hours=i * 5 % 7),
        )
    Pair.objects.filter(pk=pairs[7].pk).update(first="a", n_a=1)
    return pairs


def walk(project, **how):
    """All rows of the list, a page at a time."""
    found, after = [], ""
    while True:
        page = pairs_by_agreement.page(project, after=after, **how)
        found += page.pairs
        if page.next is None:
            return found
        after = str(page.next)


@pytest.mark.parametrize("size", [1, 2, 50])
@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("agreement", [1, 2, 4, 6, 0, 3, 5]),
        ("-agreement", [0, 3, 5, 4, 6, 1, 2]),
        ("-votes", [2, 4, 6, 0, 1, 3, 5]),
        ("-margin", [1, 4, 0, 3, 6, 2, 5]),
        ("margin", [2, 5, 6, 0, 3, 4, 1]),
        ("last", [0, 3, 6, 2, 5, 1, 4]),
        ("-last", [4, 1, 5, 2, 6, 3, 0]),
    ],
)
def test_every_order_shows_each_pair_once_however_long_a_page_is(
    project, voted, monkeypatch, order, wanted, size
):
    monkeypatch.setattr(pairs_by_agreement, "PAGE", size)
    assert [voted.index(pair) for pair in walk(project, order=order)] == wanted


def test_agreement_is_how_often_two_of_the_votes_are_the_same(project, voted):
    found = {voted.index(pair): pair.agreement for pair in pairs_by_agreement.page(project).pairs}
    assert found == {0: 1, 1: 0, 2: 0, 3: 1, 4: pytest.approx(1 / 3), 5: 1, 6: pytest.approx(1 / 3)}


def test_streams_simulated_votes_and_checks_are_told_apart(project, voted):
    for i, columns in enumerate(
        ({"stream": "active"}, {"firsts_simulated": True}, {"kind": "gold"})
    ):
        Pair.objects.filter(pk=voted[i].pk).update(**columns)
    shown = {
        how: sorted(
            voted.index(pair) for pair in walk(project, stream=how[0], include_simulated=how[1])
        )
        for how in (("all", False), ("all", True), ("active", False), ("random", False))
    }
    assert shown == {
        ("all", False): [0, 3, 4, 5, 6],
        ("all", True): [0, 1, 3, 4, 5, 6],
        ("active", False): [0],
        ("random", False): [3, 4, 5, 6],
    }


def test_each_pair_links_to_its_page_and_the_next_page_is_a_link(
    client_for, voted, olga, monkeypatch
):
    monkeypatch.setattr(pairs_by_agreement, "PAGE", 4)
    client = client_for(olga)
    page = client.get(URL + "?sort=-last").text
    assert f'href="/projects/desk/pairs/{voted[4].pk}/"' in page and "2 A · 0 tie · 1 B" in page
    assert 'aria-sort="descending"' in page and "First page" not in page
    (following,) = re.findall(r'rel="next" href="([^"]+)"', page)
    rest = client.get(URL + following.replace("&amp;", "&")).text
    assert f"/pairs/{voted[0].pk}/" in rest and f"/pairs/{voted[4].pk}/" not in rest
    assert "First page" in rest and 'rel="next"' not in rest
    assert URL in client.get("/projects/desk/quality/").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"sort": "id"},
        {"stream": "check"},
        {"after": "nonsense"},
        {"after": "nan_1"},
        {"after": "0.5_99999999999999999999"},
        {"sort": "last", "after": "0.5_1"},
        {"sort": "votes", "after": "inf_1"},
        {"sort": "last", "after": "2026-03-01T00:00:00_1"},
        {"sort": "last", "after": "9999-12-31T23:59:59-12:00_1"},
    ],
)
def test_a_wrong_address_is_refused(client_for, voted, olga, wrong):
    assert client_for(olga).get(URL + "?" + urlencode(wrong)).status_code == 400


def test_only_reviewers_may_look_and_an_empty_list_says_so(client_for, project, ann, olga, eve):
    codes = [client_for(user).get(URL).status_code for user in (ann, olga, eve)]
    assert codes == [403, 200, 404]
    assert "No pair here" in client_for(olga).get(URL).text
