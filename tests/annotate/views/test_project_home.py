"""A project's home: first steps that tick themselves, and each role's own view."""

from __future__ import annotations

import re

from annotate import queue
from annotate.models import Membership

URL = "/projects/desk/"


def steps(page: str) -> dict[str, bool]:
    """Title of each step and whether it is done."""
    lines = re.findall(r'step-title">([^<]*)<span class="visually-hidden"> \(([^)]*)\)', page)
    return {title: state == "done" for title, state in lines}


def test_the_first_steps_tick_themselves(client_for, project, make_pairs, zed, ann, ben):
    browser = client_for(zed)
    Membership.objects.exclude(user=zed).update(active=False)
    project.guidelines = ""
    project.save()
    page = browser.get(URL).text
    assert steps(page) == {
        "Write guidelines": False,
        "Bring data": False,
        "Choose a model": False,
        "Invite people": False,
        "Get first pairs": False,
        "Cast first votes": False,
        "Finish a first round": False,
    }
    for address in ("settings", "import", "models/add", "people", "label", "rounds"):
        assert f'href="/projects/desk/{address}/">' in page.split("steps-title")[-1]
    project.guidelines = "Be kind."
    project.save()
    make_pairs(2)
    Membership.objects.filter(user=ann).update(active=True)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="a")
    done = {title for title, ticked in steps(browser.get(URL).text).items() if ticked}
    assert done == {
        *("Write guidelines", "Bring data", "Invite people", "Get first pairs", "Cast first votes")
    }


def test_prompts_alone_lead_to_the_writing_of_completions(client_for, project, make_pairs, zed):
    make_pairs(1)
    project.pairs.all().delete()
    page = client_for(zed).get(URL).text
    assert "Write completions<span" in page and steps(page)["Get first pairs"] is False


def test_a_reviewer_sees_the_same_without_what_reviewers_cannot_do(client_for, project, olga):
    page = client_for(olga).get(URL).text
    assert "Invite people" in steps(page)
    for address in ("settings", "import", "people", "completions", "export", "webhooks"):
        assert f'"/projects/desk/{address}/"' not in page
    assert '"/projects/desk/rounds/"' in page and '"/projects/desk/label/"' in page


def test_an_annotator_sees_the_own_progress_and_the_guidelines_alone(
    client_for, project, make_pairs, ann, ben
):
    project.guidelines = "Be **kind**."
    project.save()
    make_pairs(2)
    for user in (ann, ben):
        queue.vote(user, queue.next_pair(project, user).token, choice="a")
    page = client_for(ann).get(URL).text
    assert "<strong>kind</strong>" in page and "<dd>1" in page
    for secret in ("First steps", "Agreement", "Reward", "policy", "/rounds/", "/data/"):
        assert secret not in page


def test_the_front_door_leads_each_person_to_their_page(client_for, client, project, ann, olga):
    assert client_for(ann).get("/").headers["Location"] == "/projects/desk/label/"
    assert client_for(olga).get("/").headers["Location"] == "/projects/desk/"
    visitor = client.get("/")
    assert visitor.status_code == 200 and 'action="/accounts/login/"' in visitor.text
    assert project.name not in visitor.text


def test_a_figure_says_what_it_is_of(client_for, project, make_pairs, olga, ann, ben):
    make_pairs(3)
    for user in (ann, ben):
        for _ in range(3):
            queue.vote(user, queue.next_pair(project, user).token, choice="a")
    page = " ".join(re.sub(r"<[^>]+>", " ", client_for(olga).get(URL).text).split())
    assert "3 of 3" in page and "6 by 2 people" in page and "3 pairs with two votes" in page
