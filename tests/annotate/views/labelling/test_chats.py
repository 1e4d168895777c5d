"""Chats with tools, thinking and images, and replies of several turns, as annotators see them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate import queue
from annotate.gold import gold_pairs
from annotate.models import Pair, Project
from tests.annotate.tool_chat import tool_pair

ClientFor = Callable[[User], Client]
LABEL = "/projects/desk/label/"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def pair(project: Project) -> Pair:
    return tool_pair(project)


def text_of(page: str) -> str:
    """The page without its tags and its head."""
    body = page[page.index("<main") :]
    return " ".join(re.sub("<[^>]+>", " ", body).replace("&quot;", '"').split())


@pytest.fixture
def screen(client_for: ClientFor, ann: User, pair: Pair) -> str:
    return client_for(ann).get(LABEL).content.decode()


def test_the_screen_shows_all_that_a_chat_holds(screen: str) -> None:
    text = text_of(screen)
    for said in (
        "1 tool get_weather",
        "Instructions You answer travellers.",
        "Developer’s instructions Never promise sunshine.",
        "get_weather The weather of a place.",
        "Image not shown: https://pictures.example/harbour.png",
        "Thinking The picture shows Bergen .",
        'Calls get_weather { "place" : "Bergen" ,',
        'Tool: get_weather {"rain": true, "mm": 0}',
    ):
        assert said in text
    assert "<img" not in screen[screen.index("<main") :]


def test_all_turns_are_open_and_the_question_is_told_apart_with_the_call_that_followed(
    screen: str,
) -> None:
    _, earlier = screen.split('class="earlier">', 1)
    before, after = earlier.split("Is it raining here?", 1)
    assert "Where to?" in before and before.rindex("</div>") > before.index("Where to?")
    assert "Where to?" not in before[before.rindex("</div>") :]
    assert "Calls get_weather" in text_of("<main" + after[: after.index('class="replies"')])
    assert '<details class="earlier"' not in screen


def test_each_reply_is_one_article_with_its_turns_under_headings(screen: str) -> None:
    articles = re.findall("<article.*?</article>", screen, re.DOTALL)
    assert len(articles) == 2
    (turned,) = [article for article in articles if "And tomorrow?" in article]
    headings = re.findall(r"<h3[^>]*>([^<]*)</h3>", turned)
    assert headings == ["Assistant", "User", "Assistant"]
    assert "<strong>rains</strong>" in turned and "<summary>Thinking</summary>" in turned
    (plain,) = [article for article in articles if article is not turned]
    assert "<h3" not in plain and "No idea." in plain


def test_source_and_differences_are_those_of_the_transcript(
    client_for: ClientFor, ann: User, pair: Pair
) -> None:
    page = client_for(ann).get(LABEL + "?view=raw").content.decode()
    sources = re.findall(r'<pre class="raw"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert len(sources) == 2 and any("user: " in text for text in map(text_in, sources))


def text_in(html: str) -> str:
    return re.sub("<[^>]+>", "", html)


def test_no_page_of_an_annotator_names_a_model_a_score_or_metadata(
    client_for: ClientFor, ann: User, pair: Pair, project: Project
) -> None:
    browser = client_for(ann)
    page = browser.get(LABEL).content.decode()
    queue.vote(ann, queue.next_pair(project, ann).token, choice="a")  # type: ignore[union-attr]
    page += browser.get("/projects/desk/votes/").content.decode()
    assert "Is it raining here?" in page
    for secret in ("secret-model", "score_overall", "7.5", "travel desk", "annotation_batch"):
        assert secret not in page


def test_my_votes_show_the_chat_and_the_turns_of_the_reply(
    client_for: ClientFor, ann: User, pair: Pair, project: Project
) -> None:
    queue.vote(ann, queue.next_pair(project, ann).token, choice="a")  # type: ignore[union-attr]
    text = text_of(client_for(ann).get("/projects/desk/votes/").content.decode())
    assert "7 turns" in text and "Calls get_weather" in text and "User And tomorrow?" in text


def test_the_qualification_shows_the_chat_as_the_screen_does(
    client_for: ClientFor, ann: User, pair: Pair, project: Project
) -> None:
    gold = gold_pairs.make_gold(pair, expected="a", explanation="", qualification=True)
    project.qualification = True
    project.save()
    page = client_for(ann).get(f"/projects/desk/qualification/{gold.pk}/").content.decode()
    assert "Calls get_weather" in text_of(page) and "secret-model" not in page


def test_hostile_text_is_harmless_wherever_a_chat_holds_it(
    client_for: ClientFor, ann: User, zed: User, pair: Pair
) -> None:
    prompt, reply = pair.prompt, pair.completion_a
    call = {"id": HOSTILE, "function": {"name": HOSTILE, "arguments": HOSTILE}}
    parts = [{"type": HOSTILE, "url": HOSTILE}]
    turn = {"content": HOSTILE, "thinking": HOSTILE, "tool_calls": [call], "parts": parts}
    prompt.messages = [
        {"role": role, "name": HOSTILE, "tool_call_id": HOSTILE, **turn}
        for role in ("system", "user", "assistant", "tool", HOSTILE)
    ]
    prompt.tools = [{"name": HOSTILE, "description": HOSTILE, "parameters": HOSTILE}, HOSTILE]
    prompt.tags = prompt.metadata = {HOSTILE: HOSTILE, "deep": {HOSTILE: [HOSTILE]}}
    prompt.save()
    reply.messages = [{"role": "assistant", **turn}]
    reply.metadata = {HOSTILE: HOSTILE}
    reply.save()
    for user, address in (
        (ann, LABEL),
        (zed, f"/projects/desk/pairs/{pair.pk}/"),
        (zed, f"/projects/desk/prompts/{prompt.pk}/"),
        (zed, "/projects/desk/data/?in=pairs"),
        (zed, "/projects/desk/data/?in=prompts"),
        (zed, f"/projects/desk/adjudicate/?pair={pair.pk}"),
        (zed, f"/projects/desk/checks/?pair={pair.pk}"),
    ):
        page = client_for(user).get(address)
        assert page.status_code == 200, address
        assert "<script>alert" not in page.text and "<img src=x" not in page.text, address
        assert "&lt;script&gt;" in page.text, address
