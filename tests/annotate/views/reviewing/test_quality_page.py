from __future__ import annotations

import re

import pytest
from django.urls import reverse

from annotate import queue
from annotate.models import Pair
from annotate.statistics import published_agreement
from annotate.statistics.agreement import agreement
from annotate.statistics.interval_plot import Estimate, plot

URL = "/projects/desk/quality/"
NO_PAIRS = "no pair has votes of two people"


def vote(project, user, choice, **how):
    queue.vote(user, queue.next_pair(project, user).token, choice=choice, **how)


@pytest.fixture
def judged(project, make_pairs, ann, ben):
    """Four pairs with two votes: three agree, one does not."""
    make_pairs(4)
    for one, two in ("aa", "bb", "aa", "ab"):
        vote(project, ann, one)
        vote(project, ben, two)


def test_it_shows_agreement_with_its_interval_and_where_it_comes_from(client_for, judged, olga):
    page = client_for(olga).get(URL).content.decode()
    assert "both gave the same answer on 75.0\xa0% of the pairs" in page
    assert re.search(r"<b>75\.0\xa0%</b><br>\s*<span class=\"muted\">\d+\.\d to \d+\.\d\xa0%", page)
    assert "about all pairs, because the random stream has fewer than 200 yet" in page
    assert "InstructGPT, training labelers" in page and "Ouyang" in page
    assert "ask for at least 200" in page
    assert "poor" not in page.lower()


def test_it_explains_what_is_not_defined_and_never_shows_nan(
    client_for, project, olga, make_pairs, ann
):
    make_pairs(1)
    for votes in range(2):  # nothing to show, then a table without a value
        page = client_for(olga).get(URL).content.decode()
        assert "no pair has two votes yet" in page
        assert ("Krippendorff" in page) is bool(votes)
        visible = re.sub(r"<[^>]*>", " ", page)
        assert not re.search(r"\b(nan|none|inf)\b", visible, re.IGNORECASE)
        if not votes:
            queue.vote(ann, queue.next_pair(project, ann).token, choice="a")


def test_it_names_annotators_by_pseudonym_and_lists_divided_pairs(client_for, judged, olga):
    page = client_for(olga).get(URL).content.decode()
    assert "ann-ann" in page and "ann-ben" in page
    assert "1 A · 0 tie · 1 B" in page


def test_the_streams_stand_side_by_side_with_their_pairs(client_for, judged, olga):
    Pair.objects.filter(key="pair-0").update(stream="active")
    page = client_for(olga).get(URL).text
    heads = re.findall(
        r"<th scope=\"col\" class=\"number\">(.*?)<br><span class=\"plain\">(.*?)<", page
    )
    assert heads == [
        ("Random stream", "3 pairs"),
        ("Chosen to teach", "1 pair"),
        ("All pairs", "4 pairs"),
    ]


def test_the_sections_below_can_be_about_one_stream(client_for, judged, olga):
    Pair.objects.filter(key="pair-0").update(stream="active", policy="chosen-policy")
    client = client_for(olga)
    assert "chosen-policy" not in client.get(URL + "?stream=random").text
    assert "chosen-policy" in client.get(URL + "?stream=active").text
    assert client.get(URL + "?stream=check").status_code == 400


def test_simulated_votes_can_be_shown_only_where_they_train(
    client_for, project, make_pairs, olga, ann, ben
):
    make_pairs(1)
    vote(project, ann, "a", simulated=True)
    vote(project, ben, "a", simulated=True)
    client = client_for(olga)
    page = client.get(URL + "?simulated=1").text
    assert "With simulated" not in page and NO_PAIRS in page
    project.train_on_simulated = True
    project.save()
    assert NO_PAIRS in client.get(URL).text
    page = client.get(URL + "?simulated=1").text
    assert NO_PAIRS not in page and "on 100.0\xa0% of the pairs" in page


def test_its_markup_obeys_the_content_security_policy(client_for, judged, olga):
    page = client_for(olga).get(URL).content.decode()
    assert not re.search(r"\sstyle=|<style|<script(?![^>]*src=)|\son\w+=", page)
    assert page.count("<svg") >= 2 and "<circle" in page


def test_hostile_text_is_escaped(client_for, project, make_pairs, olga, ann, ben):
    (pair,) = make_pairs(1)
    pair.completion_a.text = "<script>alert(1)</script>"
    pair.completion_a.save()
    vote(project, ann, "a")
    vote(project, ben, "b")
    assert "<script>alert" not in client_for(olga).get(URL).text


def test_only_reviewers_and_admins_of_the_project_may_look(
    client_for, client, project, ann, olga, zed, eve, root
):
    codes = {
        user.username: client_for(user).get(URL).status_code for user in (ann, olga, zed, eve, root)
    }
    assert codes == {"ann": 403, "olga": 200, "zed": 200, "eve": 404, "root": 200}
    assert client.get(URL).status_code == 302
    assert client_for(olga).post(URL).status_code == 405
    assert client_for(root).get("/projects/nowhere/quality/").status_code == 404


def test_it_takes_a_fixed_number_of_queries(
    client_for, project, make_pairs, olga, ann, ben, django_assert_max_num_queries
):
    make_pairs(12)
    for _ in range(12):
        vote(project, ann, "a")
        vote(project, ben, "b")
    client = client_for(olga)
    with django_assert_max_num_queries(17):
        client.get(reverse("quality", args=["desk"]))


@pytest.mark.parametrize(
    ("agreeing", "words"),
    [(0.5, "below what comparable"), (0.74, "in the range"), (0.95, "above what comparable")],
)
def test_the_reading_compares_the_interval_with_published_figures(agreeing, words):
    n = round(1000 * agreeing)
    found = agreement(
        [[2, 0, 0]] * (n // 2) + [[0, 0, 2]] * (n - n // 2) + [[1, 0, 1]] * (1000 - n)
    )
    assert words in published_agreement.reading(found)[-1]


def test_the_plot_keeps_every_interval_inside_and_in_proportion():
    drawn = plot(
        [
            Estimate(name="x", value=0.5, low=0.34, high=0.61),
            Estimate(name="y", value=1, low=1, high=1),
        ],
        title="Agreement",
        axis="share",
    )
    assert [tick.text for tick in drawn.ticks] == [f"{n}0\xa0%" for n in range(3, 11)]
    first, second = drawn.bars
    assert drawn.ticks[0].x < first.left < first.x < first.right < second.x == drawn.ticks[-1].x
    assert first.x == pytest.approx(drawn.ticks[2].x)


def test_a_plot_of_effects_shows_where_no_effect_lies():
    drawn = plot(
        [
            Estimate(name="length", value=0.31, low=0.22, high=0.4),
            Estimate(name="lists", value=0.1, low=0.02, high=0.18),
        ],
        title="Effects",
        axis="log odds",
        mark=0.0,
        write="{:.2f}".format,
    )
    assert drawn.mark == drawn.ticks[0].x and drawn.ticks[0].text == "0.00"
    assert drawn.bars[0].text == "0.31" and drawn.bars[0].right == drawn.ticks[-1].x
    assert plot([], title="", axis="") is None


def test_without_pairs_an_admin_is_led_to_an_import_and_with_pairs_to_labelling(
    client_for, project, make_pairs, zed
):
    client = client_for(zed)
    page = client.get("/projects/desk/quality/").text.split("<main")[1]
    assert 'href="/projects/desk/import/">Import a file</a>' in page and "label/" not in page
    make_pairs(1)
    page = client.get("/projects/desk/quality/").text.split("<main")[1]
    assert 'href="/projects/desk/label/">Label</a>' in page and "import/" not in page
