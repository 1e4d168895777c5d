"""The list of projects, making one, its settings and its guidelines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from annotate import queue
from annotate.forms.project_forms import SettingsForm
from annotate.models import Guideline, Membership, Pair, Project

LIST = "/projects/"
NEW = "/projects/new/"
SETTINGS = "/projects/desk/settings/"
ARCHIVE = f"{SETTINGS}archive/"
GUIDELINES = "/projects/desk/guidelines/"
ClientFor = Callable[[User], Client]
MakePairs = Callable[..., list[Pair]]


def settings_of(project: Project, **changed: object) -> dict[str, object]:
    """The settings form as the page would send it."""
    shown = {field.html_name: field.value() for field in SettingsForm(instance=project)}
    data = {
        name: value for name, value in shown.items() if value is not None and value is not False
    }
    return {**data, **changed}


def test_the_list_shows_own_projects_with_progress(
    client_for: ClientFor, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    Project.objects.create(slug="other", name="Somebody else's")
    make_pairs(2)
    make_pairs(1, open_slots=0, state="resolved")
    assignment = queue.next_pair(project, ann)
    assert assignment
    queue.vote(ann, assignment.token, choice="a")
    html = client_for(ann).get(LIST).content.decode()
    assert "Support desk" in html
    assert "Somebody else" not in html
    assert "1 of 3 pairs settled" in html
    assert "1 vote of yours" in html
    assert "annotator" in html


def test_the_list_takes_the_same_questions_for_many_projects(
    client_for: ClientFor, root: User, project: Project
) -> None:
    client = client_for(root)
    client.get(LIST)
    counts = []
    for n in range(2):
        Project.objects.bulk_create(Project(slug=f"p{n}{i}", name="P") for i in range(5))
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 4


def test_a_stranger_reads_how_to_get_in(client_for: ClientFor, eve: User) -> None:
    assert "invitation link" in client_for(eve).get(LIST).content.decode()
    assert client_for(eve).post(LIST).status_code == 405


def test_a_superuser_makes_a_project(client_for: ClientFor, root: User) -> None:
    client = client_for(root)
    data = {"name": "Long answers", "guidelines": "Be *kind*."}
    response = client.post(NEW, data)
    project = Project.objects.get()
    assert response.headers["Location"] == "/projects/long-answers/"
    assert Membership.objects.get().role == "admin"
    assert Guideline.objects.get().text == "Be *kind*."
    assert client.post(NEW, data).status_code == 200, "the short name is taken"
    assert Project.objects.get() == project


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": ""}, "required"),
        ({"name": "Desk", "slug": "desk"}, "is taken"),
        ({"name": "New", "slug": "new"}, "is taken"),
        ({"name": "日本"}, "Give a short name"),
        ({"name": "X", "slug": "a b"}, "Only lower-case letters, digits and hyphens"),
        ({"name": "X", "slug": "Desk_2"}, "Only lower-case letters, digits and hyphens"),
        ({"name": "X", "guidelines": "x" * 100_001}, "100 kB"),
    ],
)
def test_a_project_that_cannot_be_is_refused(
    client_for: ClientFor, root: User, project: Project, data: dict[str, str], message: str
) -> None:
    response = client_for(root).post(NEW, data)
    assert message in response.content.decode()
    assert Project.objects.count() == 1


@pytest.mark.parametrize("method", ["get", "post"])
def test_only_superusers_make_projects(client_for: ClientFor, zed: User, method: str) -> None:
    response = getattr(client_for(zed), method)(NEW, {"name": "X"})
    assert response.status_code == 403
    assert "superuser" in response.content.decode()


@pytest.mark.parametrize(("name", "status"), [("ann", 403), ("olga", 403), ("eve", 404)])
@pytest.mark.parametrize("path", [SETTINGS, ARCHIVE])
def test_only_admins_configure(
    client_for: ClientFor,
    request: pytest.FixtureRequest,
    project: Project,
    name: str,
    status: int,
    path: str,
) -> None:
    client = client_for(request.getfixturevalue(name))
    assert client.post(path, settings_of(project, name="Mine")).status_code == status
    project.refresh_from_db()
    assert (project.name, project.archived) == ("Support desk", False)


def test_an_admin_changes_settings(client_for: ClientFor, zed: User, project: Project) -> None:
    client = client_for(zed)
    data = settings_of(project, name="Desk", votes="single", daily_goal="80")
    for _ in "12":
        assert client.post(SETTINGS, data).status_code == 302
    project.refresh_from_db()
    assert (project.name, project.votes, project.daily_goal) == ("Desk", "single", 80)
    assert project.guideline_version == 1


@pytest.mark.parametrize(("rule", "stored"), [("bald", "bald"), ("", ""), ("tarot", "")])
def test_an_admin_chooses_the_rule_that_orders_open_pairs(
    client_for: ClientFor, zed: User, project: Project, rule: str, stored: str
) -> None:
    client_for(zed).post(SETTINGS, settings_of(project, acquisition=rule))
    project.refresh_from_db()
    assert project.acquisition == stored


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("random_share", "1.5"),
        ("overlap_share", "-0.1"),
        ("lease_seconds", "5"),
        ("lease_seconds", "1000000000000"),
        ("promotion", "never"),
        ("name", ""),
    ],
)
def test_a_setting_out_of_range_changes_nothing(
    client_for: ClientFor, zed: User, project: Project, field: str, value: str
) -> None:
    data = settings_of(project, description="New", **{field: value})
    response = client_for(zed).post(SETTINGS, data)
    assert response.status_code == 200
    page = response.content.decode()
    assert 'aria-invalid="true"' in page
    assert f'<a href="#id_{field}">' in page.split("<form")[-3], "above the form"
    project.refresh_from_db()
    assert project.description == ""


def test_two_admins_do_not_undo_each_other(
    client_for: ClientFor, zed: User, root: User, project: Project
) -> None:
    Project.objects.update(description="From zed")
    page = client_for(root).get(SETTINGS)
    assert "From zed" in page.content.decode()
    client_for(zed).post(SETTINGS, settings_of(project, description="From zed", lease_seconds=99))
    client_for(root).post(SETTINGS, settings_of(project, description="From zed", name="Desk"))
    project.refresh_from_db()
    assert project.name == "Desk"


def test_other_guidelines_are_a_new_version(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    client_for(zed).post(SETTINGS, settings_of(project, guidelines="Be brief."))
    project.refresh_from_db()
    assert project.guideline_version == 2
    history = Guideline.objects.order_by("version").values_list("version", "text")
    assert list(history) == [(1, "Be *kind*."), (2, "Be brief.")]


def test_guidelines_saved_meanwhile_are_not_overwritten(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    client = client_for(zed)
    client.post(SETTINGS, settings_of(project, guidelines="First."))
    response = client.post(SETTINGS, settings_of(project, guidelines="Second."))
    assert "Somebody else saved" in response.content.decode()
    project.refresh_from_db()
    assert project.guidelines == "First."


def test_a_project_is_archived_and_comes_back(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    client = client_for(zed)
    assert client.get(ARCHIVE).status_code == 405
    for answer, expected in (("yes", True), ("yes", True), ("no", False)):
        client.post(ARCHIVE, {"archived": answer})
        project.refresh_from_db()
        assert project.archived is expected


def test_guidelines_are_a_page_and_a_fragment(client_for: ClientFor, ann: User) -> None:
    client = client_for(ann)
    page = client.get(GUIDELINES).content.decode()
    fragment = client.get(GUIDELINES, headers={"HX-Request": "true"}).content.decode()
    assert "<em>kind</em>" in page
    assert "<em>kind</em>" in fragment
    assert "<html" in page
    assert "<html" not in fragment


def test_strangers_do_not_read_guidelines(
    client_for: ClientFor, eve: User, project: Project
) -> None:
    assert client_for(eve).get(GUIDELINES).status_code == 404


def test_a_missing_page_says_so(client_for: ClientFor, ann: User) -> None:
    response = client_for(ann).get("/projects/none/label/")
    assert response.status_code == 404
    assert "There is no such page" in response.content.decode()


def test_the_votes_per_pair_are_applied_to_open_pairs_where_an_admin_says_so(
    client_for: ClientFor, zed: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    client = client_for(zed)
    assert "3 pairs are open." in client.get(SETTINGS).content.decode()
    client.post(SETTINGS, settings_of(project, votes="evaluation"))
    assert set(project.pairs.values_list("asked", flat=True)) == {2}
    project.refresh_from_db()
    data = settings_of(project, votes="evaluation", apply_to_open="on")
    response = client.post(SETTINGS, data, follow=True)
    assert "3 open pairs ask for other votes now; 0 of them are done." in response.content.decode()
    assert set(project.pairs.values_list("asked", flat=True)) == {3}
    again = client.post(SETTINGS, data, follow=True)
    assert "All open pairs ask for these votes already." in again.content.decode()


def test_the_preview_shows_the_screen_that_the_typed_settings_make_and_stores_nothing(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    client = client_for(zed)
    assert 'id="preview"' in client.get(SETTINGS).content.decode()
    typed = {
        "scale": "three",
        "criteria": "Kind\n\nShort",
        "reason_chips": "Wrong",
        "allow_rewrites": "on",
    }
    shown = client.get(SETTINGS + "preview/", typed).content.decode()
    assert shown.count('class="point ') == 3 and "Both bad <kbd>4</kbd>" in shown
    assert shown.index("Kind") < shown.index("Short") < shown.index("About the")
    assert "Wrong" in shown and "Better answer" in shown and "Skip criteria" in shown
    wrong = client.get(SETTINGS + "preview/", {"scale": "none", "criteria": "x" * 41})
    assert wrong.content.decode().count('class="point ') == 7
    stored = Project.objects.get()
    assert (stored.scale, stored.criteria) == (project.scale, project.criteria)
