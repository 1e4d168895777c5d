"""The pages of a project: each role's own, in groups, and none further than two clicks."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from annotate.models.roles import Role
from annotate.templatetags.navigation import GROUPS, OWN, PAGES, SETTINGS

ROLES = {"ann": Role.ANNOTATOR, "olga": Role.REVIEWER, "zed": Role.ADMIN}


def links(html: str) -> list[str]:
    return re.findall(r'href="([^"]*)"', html)


def part(page: str, opening: str) -> str:
    """One navigation of the page."""
    return page.split(opening)[1].split("</nav>")[0] if opening in page else ""


@pytest.mark.parametrize("who", sorted(ROLES))
def test_every_page_that_a_person_may_open_is_two_clicks_away(request, client_for, project, who):
    browser = client_for(request.getfixturevalue(who))
    opened = browser.get("/projects/desk/").text
    row = links(part(opened, 'aria-label="Project"'))
    near = set(links(opened.split("<main")[0]))
    for _, title, role, group in PAGES:
        address = reverse(next(n for n, t, *_ in PAGES if t == title), args=["desk"])
        may = ROLES[who] in Role.at_least(role)
        assert (address in near) is may, title
        if may and group not in (OWN, SETTINGS):
            beside = links(part(browser.get(row[position(group, who)]).text, f"{group} pages"))
            assert address in [*row, *beside], title
    assert len(row) == len(
        {group for *_, role, group in PAGES if ROLES[who] in Role.at_least(role)} - {OWN, SETTINGS}
    )


def position(group: str, who: str) -> int:
    """The place of a group in the row of this person."""
    shown = [
        name
        for name in GROUPS
        if name not in (OWN, SETTINGS)
        and any(g == name and ROLES[who] in Role.at_least(role) for *_, role, g in PAGES)
    ]
    return shown.index(group)


def test_the_page_in_sight_and_its_group_are_marked(client_for, project, make_pairs, zed):
    browser, pair = client_for(zed), make_pairs(1)[0]
    for address, group, title in (
        ("checks/", "Quality", "Gold pairs"),
        ("models/compare/", "Training", "Compare"),
        ("leaderboard/", "Training", "Leaderboard"),
        ("export/", "Data", "Export"),
        (f"pairs/{pair.pk}/", "Data", "Browse"),
        ("webhooks/", "Settings", "Webhooks"),
    ):
        page = browser.get(f"/projects/desk/{address}").text
        local = part(page, f'aria-label="{group} pages"')
        assert f'aria-current="page">{title}</a>' in local, address
        assert local.count("aria-current") == 1
        row = page.split('class="menu-list"')[1].split("</details>")[1].split("</header>")[0]
        assert re.findall(r'aria-current="true">.*?</svg>(?:<span>)?(\w+)', row) == [group]


def test_heading_title_and_navigation_give_a_page_one_name(client_for, project, zed):
    browser = client_for(zed)
    for address, title, _role, group in PAGES:
        if group == "Home" or address == "label":
            continue
        page = browser.get(reverse(address, args=["desk"])).text
        assert re.search(rf"<h1[^>]*>{title}</h1>", page), title
        assert f"<title>{title} – " in page, title


def test_the_screen_of_annotators_has_no_second_row(client_for, project, make_pairs, ann):
    make_pairs(1)
    page = client_for(ann).get("/projects/desk/label/").text
    assert 'class="local"' not in page and 'aria-current="page"' in page


def test_names_of_pages_are_told_apart():
    titles = [title for _, title, *_ in PAGES]
    assert len({title.lower() for title in titles}) == len(titles)
    assert {group for *_, group in PAGES} == set(GROUPS)
