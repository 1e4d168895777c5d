"""What an import keeps besides texts and votes, on the pages of reviewers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate import queue
from annotate.models import Completion, Import, Pair, Project, Rating
from tests.annotate.tool_chat import tool_pair
from tests.annotate.views.labelling.test_chats import text_of

ClientFor = Callable[[User], Client]


@pytest.fixture
def pair(project: Project) -> Pair:
    by = Import.objects.create(project=project, file_name="kettles.jsonl")
    pair = tool_pair(project, imported_by=by, source_margin=2.5, policy_b="other-model")
    pair.prompt.imported_by = by
    pair.prompt.save()
    Rating.objects.create(completion=pair.completion_a, name="helpfulness", value=3.5)
    Rating.objects.create(completion=pair.completion_b, name="label", value=0)
    return pair


@pytest.fixture
def told(client_for: ClientFor, olga: User) -> Callable[[str], str]:
    """told(address): what a reviewer reads there."""
    return lambda address: text_of(client_for(olga).get(f"/projects/desk/{address}").text)


def test_the_pairs_page_shows_what_the_source_said(told: Any, pair: Pair) -> None:
    page = told(f"pairs/{pair.pk}/")
    for said in (
        "rainy day weather",
        "Imported from kettles.jsonl on",
        "on the source’s own scale 2.5",
        'annotation_batch { "id": 4 }',
        "source travel desk",
        "score_overall 7.5",
        "helpfulness 3.5",
        "label bad",
        "secret-model-9",
        "other-model",
        "Calls get_weather",
        "User And tomorrow?",
    ):
        assert said in page


def test_tags_lead_to_the_pairs_that_have_them(
    client_for: ClientFor, olga: User, pair: Pair
) -> None:
    page = client_for(olga).get(f"/projects/desk/pairs/{pair.pk}/").text
    assert 'href="/projects/desk/data/?in=pairs&amp;tag=rainy%20day"' in page


def test_a_prompts_page_has_its_replies_with_their_ratings(told: Any, pair: Pair) -> None:
    page = told(f"prompts/{pair.prompt_id}/")
    for said in ("Imported from kettles.jsonl", "source travel desk", "helpfulness 3.5"):
        assert said in page
    assert "2 replies" in page and "1 pair" in page and "secret-model-8" in page


def test_only_reviewers_of_the_project_see_a_prompts_page(
    client_for: ClientFor, ann: User, eve: User, pair: Pair
) -> None:
    for user, status in ((ann, 403), (eve, 404)):
        answer = client_for(user).get(f"/projects/desk/prompts/{pair.prompt_id}/")
        assert answer.status_code == status
    assert client_for(ann).get("/projects/desk/prompts/999999/").status_code in (403, 404)


def test_the_list_of_prompts_leads_to_their_pages(
    client_for: ClientFor, olga: User, pair: Pair
) -> None:
    page = client_for(olga).get("/projects/desk/data/?in=prompts").text
    assert f'href="/projects/desk/prompts/{pair.prompt_id}/"' in page


def test_an_imported_vote_is_marked_with_what_is_not_known_of_it(
    told: Any, project: Project, pair: Pair, ann: User
) -> None:
    vote = queue.vote(ann, queue.next_pair(project, ann).token, choice="b").assignment  # type: ignore[union-attr]
    pair.assignments.filter(pk=vote.pk).update(
        imported=True, strength=None, left="", stream="", voted_at=None
    )
    unknown = "imported strength not known side not known time not known"
    assert f"B better {unknown}" in told("data/?in=votes")
    assert f"B better {unknown}" in told(f"adjudicate/?pair={pair.pk}")


def test_the_pairs_page_has_what_the_source_said_of_each_imported_vote(
    told: Any, project: Project, pair: Pair, ann: User
) -> None:
    vote = queue.vote(ann, queue.next_pair(project, ann).token, choice="b").assignment  # type: ignore[union-attr]
    said = {"imported": True, "metadata": {"rater_country": "NO"}}
    pair.assignments.filter(pk=vote.pk).update(**said)
    page = told(f"pairs/{pair.pk}/")
    # The arm is the mark of earlier releases, which made a side and a time up.
    assert "ann-ann: B better imported side not known time not known" in page
    assert "rater_country NO" in page


def test_a_title_is_what_the_user_said_last_even_if_a_tool_spoke_after(
    told: Any, project: Project, pair: Pair
) -> None:
    assert str(pair.prompt) == "Is it raining here? [image: harbour.png]"
    assert "Is it raining here?" in told("data/?in=pairs")
    pair.prompt.messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": ""},
    ]
    assert pair.prompt.title == "Be kind."
    pair.prompt.messages = [{"role": "user", "content": " "}]
    assert pair.prompt.title == "(no text)"


def test_a_prompt_with_many_replies_has_them_page_by_page(told: Any, pair: Pair) -> None:
    Completion.objects.bulk_create(
        Completion(prompt=pair.prompt, text=f"Reply {i}.", sha256=str(i), source="x")
        for i in range(60)
    )
    first, second = (told(f"prompts/{pair.prompt_id}/?page={n}") for n in (1, 2))
    assert "62 replies" in first and "62 replies" in second
    assert "Reply 59." in first and "Reply 59." not in second
    assert "Reply 0." in second and "Reply 0." not in first and "Page 2 of 2" in second


def test_pairs_are_found_by_what_the_source_said_of_their_votes(
    told: Any, project: Project, pair: Pair, ann: User
) -> None:
    vote = queue.vote(ann, queue.next_pair(project, ann).token, choice="b").assignment  # type: ignore[union-attr]
    pair.assignments.filter(pk=vote.pk).update(metadata={"batch": "june"})
    for what in ("pairs", "prompts", "votes"):
        assert "Is it raining here?" in told(f"data/?in={what}&metadata=batch%3Djune")
        assert "Is it raining here?" not in told(f"data/?in={what}&metadata=batch%3Djuly")
