from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from annotate import exchange
from annotate.models import Assignment, Membership, Pair, Project

MakePairs = Callable[..., list[Pair]]


def simulate(*arguments: str) -> str:
    out = StringIO()
    call_command("simulate", "--project", "desk", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_it_casts_the_votes_it_was_asked_for_and_marks_them(
    project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(20)
    said = simulate("--annotators", "4", "--votes", "30", "--seed", "3")
    votes = Assignment.objects.filter(state="voted")
    assert "30 votes" in said and votes.count() == 30
    assert not votes.filter(simulated=False).exists()
    assert Membership.objects.filter(simulated=True).count() == 4
    assert all(not user.has_usable_password() for user in User.objects.all())


def test_it_stops_with_a_message_when_nothing_is_left(
    project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    said = simulate("--annotators", "5", "--votes", "100")
    assert "were not cast" in said
    assert not Pair.objects.filter(state="open").exists()


def test_the_same_seed_casts_the_same_votes(make_pairs: MakePairs, project: Project) -> None:
    def run(slug: str) -> list[tuple[object, ...]]:
        desk = Project.objects.create(slug=slug, name=slug)
        make_pairs(12, project=desk)
        exchange_votes = Assignment.objects.in_project(desk).filter(state="voted")
        call_command("simulate", "--project", slug, "--annotators", "3", "--votes", "25",
                     "--seed", "11", stdout=StringIO(), stderr=StringIO())  # fmt: skip
        columns = ("pair__key", "annotator__username", "left", "choice", "strength", "seq")
        return list(exchange_votes.order_by("pair__key", "seq").values_list(*columns))

    assert run("one") == run("two")


@pytest.mark.parametrize(("annotators", "votes"), [("0", "5"), ("5", "0"), ("-1", "3")])
def test_it_refuses_numbers_that_mean_nothing(
    project: Project, annotators: str, votes: str
) -> None:
    with pytest.raises(CommandError):
        simulate("--annotators", annotators, "--votes", votes)


def test_it_names_the_projects_there_are(project: Project) -> None:
    with pytest.raises(CommandError, match="desk"):
        call_command("simulate", "--project", "dusk", "--annotators", "1", "--votes", "1")


def test_colleagues_are_asked_only_where_simulated_votes_train(
    project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    with pytest.raises(ValueError, match="does not train"):
        exchange.ask_colleagues(project, annotators=2, votes=4, seed=1)
    project.train_on_simulated = True
    assert exchange.ask_colleagues(project, annotators=2, votes=4, seed=1) == 4


def test_the_sample_project_is_made_once_with_its_prompts(root: User) -> None:
    first = exchange.create_sample_project(owner=root, seed=4)
    again = exchange.create_sample_project(owner=root, seed=4)
    assert first == again and first.slug == "support-desk" and first.train_on_simulated
    held_out = [row["held_out"] for row in exchange.prompts(first)]
    assert len(held_out) == 1200 and sum(held_out) >= 200
    assert Membership.objects.get(project=first, user=root).role == "admin"
    assert len(list(exchange.sample_corpus(5, seed=1))) == 5
