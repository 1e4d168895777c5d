from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qsl

import pytest

from annotate import queue
from annotate.models import Flag, Pair, Prompt
from annotate.review import search
from annotate.votes.export_values import pseudonyms
from tests.annotate.tool_chat import tool_pair

URL = "/projects/desk/data/"


def listed(answer) -> list[str]:
    """The pairs that a page links to, from top to bottom."""
    return re.findall(r">Pair (\d+)<", answer.text)


@pytest.fixture
def found(client_for, olga):
    """found(**filters): what a reviewer finds."""
    client = client_for(olga)
    return lambda **filters: client.get(URL, filters)


@pytest.fixture
def stock(project, make_pairs, ann, ben, cleo):
    """Four pairs by name: agreed, split, single and new."""
    agreed, split, single, new = make_pairs(4)
    for pair, choices in ((agreed, "aa"), (split, "ab"), (single, "b")):
        for user, choice in zip((ann, ben), choices, strict=False):
            cast(user, pair, choice)
    return {"agreed": agreed, "split": split, "single": single, "new": new}


def cast(user, pair, choice):
    """A vote on this pair, whatever else is in the queue."""
    Pair.objects.update(shuffle=1)
    Pair.objects.filter(pk=pair.pk).update(shuffle=0)
    lease = queue.next_pair(pair.project, user)
    assert lease.pair_id == pair.pk
    queue.vote(user, lease.token, choice=choice)


def test_it_lists_pairs_with_their_votes(found, project, make_pairs, ann):
    make_pairs(2)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="tie")
    page = found().text
    assert "2 pairs, newest first" in page
    assert "0 · 1 · 0" in page and "Where is my order 1?" in page


def test_pairs_that_check_people_and_retired_ones_are_counted_apart(found, make_pairs):
    make_pairs(4)
    make_pairs(2, kind=Pair.Kind.GOLD, stream=Pair.Stream.CHECK)
    make_pairs(1, kind=Pair.Kind.RETEST, stream=Pair.Stream.CHECK)
    make_pairs(1, state=Pair.State.RETIRED, open_slots=0)
    said = "4 pairs, 2 gold pairs, 1 retest and 1 retired pair, newest first"
    assert said in found().text
    assert "2 gold pairs, newest first" in found(kind="gold").text
    assert "8 prompts, newest first" in found(**{"in": "prompts"}).text


@pytest.mark.parametrize("text", ["ORDER 7", "7 is on its way", 'Café "7"\nnext'])
@pytest.mark.parametrize("what", ["pairs", "prompts", "votes"])
def test_search_finds_text_in_prompts_and_replies(found, project, make_pairs, ann, text, what):
    pairs = make_pairs(9)
    prompt = pairs[7].prompt
    prompt.messages[0]["content"] += ' Café "7"\nnext'
    prompt.save()
    cast(ann, pairs[7], "a")
    cast(ann, pairs[8], "a")
    page = found(q=text, **{"in": what}).text
    assert f"1 {what[:-1]}, newest first" in page and "Where is my order 7?" in page


@pytest.mark.parametrize(
    ("agreement", "names"),
    [("agreed", ["agreed"]), ("split", ["split"]), ("single", ["single"]), ("none", ["new"])],
)
def test_pairs_are_found_by_how_far_their_votes_agree(found, stock, agreement, names):
    assert listed(found(agreement=agreement)) == [str(stock[name].pk) for name in names]


def test_pairs_are_found_by_state_kind_stream_and_flag(found, stock, make_pairs, ann):
    (gold,) = make_pairs(1, kind="gold", stream="check")
    Flag.objects.create(pair=stock["new"], annotator=ann, kind="pii")
    assert listed(found(state="resolved")) == [str(stock["agreed"].pk)]
    assert "No pair matches" in found(state="retired").text
    assert listed(found(kind="gold")) == listed(found(stream="check")) == [str(gold.pk)]
    assert listed(found(flagged="on")) == [str(stock["new"].pk)]


def test_pairs_are_found_by_tag_round_and_the_policy_that_wrote_a_side(found, make_pairs):
    plain, tagged, evaluation = make_pairs(3, source="round-2")
    tagged.prompt.tags = ["refund", "Ärger"]
    tagged.prompt.save()
    Pair.objects.filter(pk=plain.pk).update(source="round-22")
    Pair.objects.filter(pk=evaluation.pk).update(policy_a="policy-2", policy_b="starter")
    assert listed(found(tag="Ärger")) == [str(tagged.pk)]
    assert listed(found(tag="fund")) == []
    assert listed(found(round="22")) == listed(found(round="round-22")) == [str(plain.pk)]
    assert listed(found(policy="policy-2")) == [str(evaluation.pk)]
    assert len(listed(found(policy="starter"))) == 3
    page = found().text
    assert '<option value="round-2">' in page and '<option value="refund">' in page


def test_an_annotator_is_found_by_pseudonym_and_by_name_only_where_names_may_be_read(
    client_for, found, stock, zed
):
    assert len(listed(found(annotator="ann-ben"))) == 2
    assert listed(found(annotator="ben")) == listed(found(annotator="nobody")) == []
    page = found(annotator="ann-ann", **{"in": "votes"}).text
    assert "3 votes" in page and "ann-ann" in page and ">ann<" not in page
    page = client_for(zed).get(URL, {"annotator": "ben", "in": "votes"}).text
    assert "2 votes" in page and ">ben<" in page


def test_a_superuser_without_a_place_in_the_project_is_found_by_pseudonym(
    found, project, make_pairs, root
):
    (pair,) = make_pairs(1)
    cast(root, pair, "a")
    assert listed(found(annotator=pseudonyms(project)(root.pk))) == [str(pair.pk)]


def test_filters_narrow_each_other_and_hold_for_all_three_lists(found, stock):
    both = {"annotator": "ann-ben", "agreement": "split"}
    assert listed(found(**both)) == [str(stock["split"].pk)]
    assert "1 prompt," in found(**both, **{"in": "prompts"}).text
    votes = found(**both, **{"in": "votes"}).text
    assert "1 vote," in votes and "B better" in votes
    assert "2 votes," in found(agreement="split", **{"in": "votes"}).text


def test_prompts_without_pairs_are_listed_and_lead_to_the_pairs_of_the_others(
    found, project, make_pairs
):
    one, _ = make_pairs(2)
    Prompt.objects.create(project=project, messages=[{"role": "user", "content": "Alone"}])
    page = found(**{"in": "prompts"}).text
    assert "3 prompts" in page and "Alone" in page and "none" in page
    assert f"?in=pairs&amp;prompt={one.prompt_id}" in page
    pairs = found(prompt=one.prompt_id)
    assert listed(pairs) == [str(one.pk)] and f"of prompt {one.prompt_id}" in pairs.text


@pytest.mark.parametrize(
    "bad",
    [{"state": "lost"}, {"kind": "x"}, {"agreement": "1"}, {"in": "people"}, {"prompt": "x"}],
)
def test_a_choice_that_does_not_exist_is_refused(found, project, bad):
    assert found(**bad).status_code == 400


def test_pages_follow_each_other_without_gaps_and_keep_the_search(found, make_pairs):
    pairs = [str(pair.pk) for pair in make_pairs(110)][::-1]
    seen, address = [], "?q=order"
    while address:
        page = found(**dict(parse_qsl(address[1:])))
        assert "110 pairs" in page.text
        seen += listed(page)
        address = link(page, "next")
    assert seen == pairs
    last = found(q="order", before=pairs[99])
    assert "q=order" in link(last, "prev")
    middle = found(**dict(parse_qsl(link(last, "prev")[1:])))
    assert listed(middle) == pairs[50:100]
    assert listed(found(**dict(parse_qsl(link(middle, "prev")[1:])))) == pairs[:50]


def link(page, rel: str) -> str:
    hit = re.search(rf'rel="{rel}" href="([^"]*)"', page.text)
    return unescape(hit[1]) if hit else ""


def test_odd_starting_points_are_harmless(found, make_pairs):
    make_pairs(3)
    for odd in ("x", "-1", "9" * 30, "٣", ""):
        assert found(before=odd).status_code == found(after=odd).status_code == 200
    assert "nothing further" in found(before="1").text


def test_a_long_list_is_counted_up_to_a_bound(found, make_pairs, monkeypatch):
    monkeypatch.setattr(search, "COUNTED", 60)
    make_pairs(61)
    assert "more than 60 pairs" in found().text


def test_htmx_gets_the_list_and_an_address_without_empty_fields(client_for, make_pairs, olga):
    make_pairs(1)
    client = client_for(olga)
    asked = {"q": "order", "state": "open", "tag": "", "flagged": "on", "in": "pairs"}
    part = client.get(URL, asked, headers={"HX-Request": "true"})
    assert "<html" not in part.text and "No pair matches" in part.text
    assert part.headers["HX-Push-Url"] == "?q=order&state=open&flagged=on&in=pairs"
    back = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in client.get(URL, asked, headers=back).text


def test_search_survives_odd_characters(found, project, make_pairs):
    make_pairs(1)
    for text in ("%", "_", "\\", "\x00", "'; --", "\u202e", "x" * 5000):
        for field in ("q", "tag", "policy", "round", "annotator"):
            assert found(**{field: text}).status_code == 200


def test_texts_are_escaped(found, project, make_pairs):
    (pair,) = make_pairs(1)
    pair.completion_b.text = "<img src=x onerror=alert(1)>" * 20
    pair.completion_b.save()
    assert "<img src=x" not in found().text


@pytest.mark.parametrize("what", ["pairs", "prompts", "votes"])
def test_the_list_takes_a_fixed_number_of_queries(
    found, project, make_pairs, ann, what, django_assert_max_num_queries
):
    for pair in make_pairs(30):
        cast(ann, pair, "a")
    with django_assert_max_num_queries(16):
        found(q="order", **{"in": what})


def test_only_admins_are_led_to_imports(client_for, project, olga, zed):
    assert "/projects/desk/import/" not in client_for(olga).get(URL).text
    assert "/projects/desk/import/" in client_for(zed).get(URL).text


def test_roles_strangers_and_wrong_methods(client_for, client, project, ann, olga, zed, eve, root):
    people = (ann, olga, zed, eve, root)
    codes = [client_for(user).get(URL).status_code for user in people]
    assert codes == [403, 200, 200, 404, 200]
    assert client_for(olga).post(URL).status_code == 405
    assert client.get(URL).status_code == 302


@pytest.mark.parametrize("tag", ["rainy day", "weather"])
@pytest.mark.parametrize("what", ["pairs", "prompts"])
def test_a_tag_is_found_on_the_pair_and_on_the_prompt(found, project, make_pairs, tag, what):
    tool_pair(project)
    make_pairs(2)
    page = found(tag=tag, **{"in": what}).text
    assert f"1 {what[:-1]}, newest first" in page and "Is it raining here?" in page


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("TRAVEL", True),  # of the prompt, as text
        ("annotation_batch", True),  # a name
        ("source=travel desk", True),
        ("source=travel", False),  # not this value
        ("score_overall=7.5", True),  # of a reply
        ("score_overall=7", False),
        ("id=4", True),  # nested, of the pair
        ("id = 4", True),
        ("note=café 100%", True),
        ("note=café 1000", False),
        ("caf_", False),
        ("nowhere", False),
    ],
)
@pytest.mark.parametrize("what", ["pairs", "prompts"])
def test_metadata_are_found_by_text_and_by_name_and_value(
    found, project, make_pairs, text, there, what
):
    tool_pair(project, metadata={"annotation_batch": {"id": 4}, "note": "café 100%"})
    make_pairs(2)
    page = found(metadata=text, **{"in": what}).text
    assert ("Is it raining here?" in page) == there
    assert "Where is my order" not in page


def test_tags_of_pairs_are_offered_beside_those_of_prompts(found, project):
    tool_pair(project)
    page = found().text
    assert 'value="rainy day"' in page and 'value="weather"' in page
