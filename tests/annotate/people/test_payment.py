"""The CSV that annotators are paid by."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest

from annotate import queue
from annotate.models import Assignment, Gold, Membership, Pair
from annotate.people import payment
from annotate.people.payment import HEADINGS
from annotate.votes.formula_safe_csv import csv_line

URL = "/projects/desk/annotators/export.csv"
MONDAY, TUESDAY = (datetime(2026, 3, day, 9, tzinfo=UTC) for day in (2, 3))


def act(project, user, choice, *, at, **times):
    """A vote, or with no choice a skip, at a time of our own."""
    lease = queue.next_pair(project, user)
    if choice:
        queue.vote(user, lease.token, choice=choice, now=at, **times)
    else:
        queue.skip(user, lease.token, now=at)
    return lease


def table(client, **asked):
    response = client.get(URL, asked)
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(b"".join(response).decode())))


@pytest.fixture
def worked(project, make_pairs, ann, ben):
    make_pairs(6)
    act(project, ann, "a", at=MONDAY, active_ms=60_000, wall_ms=90_000)
    act(project, ann, "b", at=MONDAY, active_ms=30_000, wall_ms=30_000)
    act(project, ann, "", at=MONDAY)
    act(project, ann, "a", at=TUESDAY, active_ms=6_000, wall_ms=6_000)
    act(project, ben, "tie", at=TUESDAY)


def test_it_counts_each_day_and_the_whole(client_for, worked, zed):
    rows = [list(row.values()) for row in table(client_for(zed))]
    assert rows == [
        ["ann-ann", "ann", "2026-03-02", "2", "1", "1.5", "2.0", "45.0"],
        ["ann-ann", "ann", "2026-03-03", "1", "0", "0.1", "0.1", "6.0"],
        ["ann-ann", "ann", "total", "3", "1", "1.6", "2.1", "30.0"],
        ["ann-ben", "ben", "2026-03-03", "1", "0", "0.0", "0.0", ""],
        ["ann-ben", "ben", "total", "1", "0", "0.0", "0.0", ""],
    ]


def test_a_range_has_both_its_days(client_for, worked, zed):
    client = client_for(zed)

    def days(**asked):
        return [(row["name"], row["day"]) for row in table(client, **asked)]

    monday = [("ann", "2026-03-02"), ("ann", "total")]
    assert days(since="2026-03-02", until="2026-03-02") == monday == days(until="2026-03-02")
    assert len(days(since="2026-03-03")) == 4 and days(since="2026-03-04") == []
    assert days(until="9999-12-31") == days()
    assert client.get(URL, {"since": "yesterday"}).status_code == 400


def test_gold_pairs_retests_and_surplus_votes_are_paid_for(client_for, worked, ann, zed):
    first, second, third = Assignment.objects.filter(annotator=ann, state="voted")
    Pair.objects.filter(pk=first.pair_id).update(kind="gold", stream="check")
    Gold.objects.create(pair_id=first.pair_id, expected="b")
    Pair.objects.filter(pk=second.pair_id).update(kind="retest", retest_of=first.pair)
    Assignment.objects.filter(pk=third.pk).update(surplus=True)
    assert table(client_for(zed))[2]["votes"] == "3"


def test_what_was_taken_back_or_not_done_here_is_not_paid_for(
    client_for, project, worked, ann, ben, zed
):
    queue.undo(ben, project)
    Assignment.objects.filter(annotator=ann, choice="a").update(simulated=True)
    Assignment.objects.filter(annotator=ann, choice="b").update(guideline_version=0)
    assert [row["votes"] for row in table(client_for(zed))] == ["0", "0"]


def test_a_name_is_never_run_as_a_formula(client_for, worked, zed, ann):
    Membership.objects.filter(user=ann).update(pseudonym='=HYPERLINK("http://evil")')
    for name in ("@sum", "+1", "-1"):
        ann.username = name
        ann.save()
        row = table(client_for(zed))[0]
        assert row["name"] == f"'{name}" and row["annotator"].startswith("'=")


def test_a_cell_keeps_its_commas_and_quotes():
    assert csv_line(['a "b", c', -1, 0.5]) == b'"a ""b"", c",-1,0.5\r\n'


def test_an_empty_project_has_headings_alone(project):
    assert b"".join(payment.payment_lines(project)).decode().strip() == ",".join(HEADINGS)


def test_admins_find_the_link_on_the_page_and_reviewers_do_not(client_for, worked, zed, olga):
    page = "/projects/desk/annotators/"
    assert URL in client_for(zed).get(page).text
    assert URL not in client_for(olga).get(page).text
    assert client_for(olga).get(URL).status_code == 403
    assert client_for(zed).post(URL).status_code == 405
