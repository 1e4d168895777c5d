"""The table of annotators and each one's page: what reviewers see and admins do."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from annotate import queue
from annotate.models import Assignment, Gold, Membership, Message, Pair
from annotate.people import annotator_figures
from annotate.quality import reliability

URL = "/projects/desk/annotators/"


def vote(project, user, choice, **how):
    return queue.vote(user, queue.next_pair(project, user).token, choice=choice, **how).assignment


def voted(pair, user, choice, **columns):
    """A vote as it lies in the table, for pairs that only the checks hand out."""
    now = timezone.now()
    fields = {"left": "a", "seq": 1, "strength": 2, "leased_at": now, "voted_at": now}
    fields |= {"stream": "random"} | columns
    return Assignment.objects.create(
        pair=pair, annotator=user, state="voted", choice=choice, acted_at=now, **fields
    )


def place(user):
    return Membership.objects.get(user=user)


def own(user):
    return f"{URL}{place(user).pk}/"


def row(project, user, **how):
    return next(r for r in annotator_figures.rows(project, **how) if r.annotator_id == user.pk)


@pytest.fixture
def judged(project, make_pairs, ann, ben):
    make_pairs(4)
    for one, two in ("aa", "bb", "aa", "ab"):
        vote(project, ann, one, active_ms=4000)
        vote(project, ben, two, active_ms=1000)


def test_it_counts_what_each_person_did(project, judged, ann, ben):
    one = row(project, ann)
    assert (one.votes, one.active_minutes, one.median_seconds) == (4, 16 / 60, 4.0)
    assert (one.agreement.hits, one.agreement.n) == (3, 4)
    assert row(project, ben).too_fast.value == 1.0
    assert one.left.n == 4 and one.ties.value == 0.0


def test_the_median_of_an_even_number_lies_between_the_middle_two(project, make_pairs, ann):
    make_pairs(4)
    for ms in (9000, 1000, 2000, 4000):
        vote(project, ann, "a", active_ms=ms)
    assert row(project, ann).median_seconds == 3.0


def test_only_the_first_two_votes_of_a_pair_are_compared(project, make_pairs, ann, ben, cleo):
    make_pairs(1)
    vote(project, ann, "a")
    vote(project, ben, "b")
    vote(project, cleo, "a")
    assert row(project, ann).agreement == annotator_figures.Share(0, 1)
    assert row(project, cleo).agreement == annotator_figures.Share(0, 0)


def test_both_bad_is_a_tie_in_gold_pairs_and_in_retests(project, make_pairs, ann):
    gold, other, original, again = make_pairs(4)
    for pair, expected in ((gold, "both_bad"), (other, "a")):
        Pair.objects.filter(pk=pair.pk).update(kind="gold", stream="check")
        Gold.objects.create(pair=pair, expected=expected)
    Pair.objects.filter(pk=again.pk).update(kind="retest", stream="check", retest_of=original)
    voted(gold, ann, "tie")
    voted(other, ann, "b")
    voted(original, ann, "tie")
    voted(again, ann, "both_bad")
    one = row(project, ann)
    assert one.gold == annotator_figures.Share(1, 2)
    assert one.retest == annotator_figures.Share(1, 1)
    assert one.agreement.n == 0 and one.votes == 4


def test_simulated_votes_are_left_out_unless_asked(client_for, project, make_pairs, ann, ben, olga):
    make_pairs(1)
    vote(project, ann, "a", simulated=True)
    vote(project, ben, "a")
    assert [one.pseudonym for one in annotator_figures.rows(project)] == ["ann-ben"]
    assert row(project, ben).agreement.n == 0
    assert row(project, ben, include_simulated=True).agreement.n == 1
    assert "ann-ann" not in client_for(olga).get(URL + "?simulated=1").text
    project.train_on_simulated = True
    project.save()
    assert "ann-ann" in client_for(olga).get(URL + "?simulated=1").text


def test_the_number_of_statements_does_not_grow_with_the_people(
    project, judged, cleo, olga, make_pairs, django_assert_num_queries
):
    make_pairs(2)
    for user in (cleo, olga):
        vote(project, user, "a")
    with django_assert_num_queries(7):
        assert len(annotator_figures.rows(project)) == 4


def test_somebody_without_a_place_has_a_line_and_no_page(client_for, make_pairs, root):
    voted(make_pairs(1)[0], root, "a")
    page = client_for(root).get(URL).text
    assert re.search(r'<th scope="row"><span class="mono pseudonym">ann-[0-9a-f]{8}</span>', page)


def test_the_table_is_sorted_by_any_column_with_unknown_figures_last(
    client_for, project, judged, cleo, olga
):
    vote(project, cleo, "a")

    def order(sort):
        page = client_for(olga).get(URL, {"sort": sort}).text
        return re.findall(r">ann-(\w+)</a>", page)

    assert order("seconds") == ["ben", "ann", "cleo"]
    assert order("-seconds") == ["ann", "ben", "cleo"]
    assert client_for(olga).get(URL, {"sort": "name"}).status_code == 400


def test_a_page_explains_each_share_with_its_interval(
    client_for, project, make_pairs, judged, ann, ben, olga
):
    make_pairs(6)
    for _ in range(6):
        vote(project, ann, "a")
        vote(project, ben, "a")
    page = client_for(olga).get(own(ann)).text
    assert "90.0\xa0%" in page and re.search(r"59\.6 to 98\.2\xa0%", page)
    assert "pairs asked twice with the sides swapped" in page
    assert "Where is my order" in page
    visible = re.sub(r"<[^>]*>", " ", page)
    assert not re.search(r"\b(nan|none|inf)\b", visible, re.IGNORECASE)
    assert not re.search(r"\sstyle=|<style|<script(?![^>]*src=)|\son\w+=", page)


def test_reliabilities_are_shown_once_they_are_estimated(client_for, project, judged, ann, olga):
    client, own = client_for(olga), f"{URL}{Membership.objects.get(user=ann).pk}/"
    assert "<dd>–" in client.get(own).text
    reliability.refresh_labels(project)
    estimate = f"{Membership.objects.get(user=ann).reliability:.1%}".replace("%", "\xa0%")
    assert f'<td class="number">{estimate}</td>' in client.get(URL).text
    assert f"<dd>{estimate} " in client.get(own).text


def test_few_votes_are_said_to_be_few(client_for, judged, ann, olga):
    page = client_for(olga).get(own(ann)).text
    assert re.search(r"75\.0\xa0% .*of 4.*too few to say", page)
    assert "30.1 to" not in page


def test_the_table_is_narrowed_to_a_state_and_keeps_its_order(
    client_for, project, judged, ann, ben, cleo, olga
):
    vote(project, cleo, "a")
    Membership.objects.filter(user=ann).update(paused_at=timezone.now(), paused_because="?")
    Membership.objects.filter(user=ben).update(weight=0)
    client = client_for(olga)

    def names(**asked):
        return re.findall(r">ann-(\w+)</a>", client.get(URL, asked).text)

    assert names(state="paused") == ["ann"] and names(state="left-out") == ["ben"]
    assert names(state="flagged") == [] and len(names()) == 3
    page = client.get(URL, {"state": "paused", "sort": "seconds"}).text
    assert re.search(r'href="\?state=paused&amp;sort=-votes"', page)
    assert re.search(r'href="\?state=left-out&amp;sort=seconds"', page)
    assert "Deactivated" not in page
    assert client.get(URL, {"state": "gone"}).status_code == 400


def test_account_names_are_for_admins(client_for, judged, zed, olga):
    assert '<span class="muted plain">ben</span>' in client_for(zed).get(URL).text
    assert '<span class="muted plain">ben</span>' not in client_for(olga).get(URL).text


def test_a_reviewer_looks_and_an_admin_acts(client_for, judged, ann, olga, zed):
    change = own(ann) + "change/"
    assert client_for(olga).post(change, {"weigh": "yes", "weight": "0"}).status_code == 403
    assert "Save the weight" not in client_for(olga).get(own(ann)).text
    assert client_for(zed).post(change, {"weigh": "yes", "weight": "0"}).status_code == 302
    assert place(ann).weight == 0 and Assignment.objects.filter(annotator=ann).count() == 4
    client_for(zed).post(change, {"set_goal": "yes", "daily_goal": "12"})
    assert place(ann).daily_goal == 12
    client_for(zed).post(change, {"set_goal": "yes", "daily_goal": ""})
    assert place(ann).daily_goal is None
    refused = client_for(zed).post(change, {"weigh": "yes", "weight": "2"})
    assert refused.status_code == 400 and "less than or equal to 1" in refused.text
    assert client_for(zed).post(change, {"fire": "yes"}).status_code == 400


def test_an_admin_pauses_with_a_reason_that_the_person_reads(client_for, judged, ann, zed):
    change = own(ann) + "change/"
    assert client_for(zed).post(change, {"pause": "yes", "because": ""}).status_code == 400
    client_for(zed).post(change, {"pause": "yes", "because": "Let us talk first."})
    assert place(ann).paused_at is not None
    assert "Let us talk first." in client_for(ann).get("/projects/desk/me/").text
    client_for(zed).post(change, {"resume": "yes"})
    assert place(ann).paused_at is None and place(ann).paused_because == ""


def test_a_message_is_announced_until_it_is_read(client_for, judged, ann, ben, zed):
    client_for(zed).post(own(ann) + "change/", {"send": "yes", "text": "Well done <b>you</b>"})
    client = client_for(ann)
    assert "1<span> message</span></a>" in client.get("/projects/desk/label/").text
    page = client.get("/projects/desk/me/").text
    assert "Well done &lt;b&gt;you&lt;/b&gt;" in page
    read = f"/projects/desk/me/messages/{Message.objects.get().pk}/"
    assert client_for(ben).post(read).status_code == 404
    assert client.post(read).status_code == 302
    assert "message</span></a>" not in client.get("/projects/desk/label/").text
    assert Message.objects.get().read_at is not None


def test_a_member_of_another_project_has_no_page_here(client_for, project, ann, olga):
    project.pk, project.slug = None, "other"
    project.save()
    there = Membership.objects.create(project=project, user=ann)
    assert client_for(olga).get(f"{URL}{there.pk}/").status_code == 404
