"""The form of a round: what it shows, checks, estimates, starts and saves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from annotate.models import Project
from tests.training.history import add_policy, add_starter, make_round
from tests.training.model_files import write_model
from training.models import Plan, Round
from training.plans.shown_settings import SHOWN
from training.rlhf import config
from training.rounds.start_and_cancel import start_round

Browser = Callable[[User], Client]
ROUNDS = "/projects/desk/rounds/"
NEW, START = ROUNDS + "new/", ROUNDS + "start/"


@pytest.fixture
def ready(voted: Project, home: Path) -> Project:
    """Enough votes, and a starter of the size of SmolLM2: a round can start."""
    write_model(home / "starter")
    add_starter(voted)
    return voted


def shown(client: Client) -> str:
    return client.get(NEW).content.decode()


def field(page: str, name: str) -> str:
    """The control of a setting."""
    [tag] = re.findall(rf'<(?:input|select)[^>]* name="{re.escape(name)}"[^>]*>', page)
    return str(tag)


# What it shows


def test_the_advised_method_is_chosen(ready: Project, zed: User, client_for: Browser) -> None:
    page = shown(client_for(zed))
    teaching = ready.pairs.filter(prompt__held_out=False).count()
    assert "Advised: DPO." in page and f"(there are {teaching})" in page
    assert '<option value="dpo" selected>' in page
    assert "that is chosen" not in page


def test_a_saved_method_is_chosen_and_said_to_be_another_than_the_advised_one(
    ready: Project, zed: User, client_for: Browser
) -> None:
    Plan.objects.create(project=ready, config={"optimiser": "ppo"})
    page = shown(client_for(zed))
    assert '<option value="ppo" selected>' in page
    assert "The settings saved for this project say PPO, so that is chosen." in page


def test_without_a_model_one_notice_leads_to_adding_one(
    project: Project, zed: User, client_for: Browser
) -> None:
    page = shown(client_for(zed))
    [notice] = re.findall(r'<p class="notice.*?</p>', page, re.DOTALL)
    assert 'href="/projects/desk/models/add/">Add a model</a>' in notice


def test_every_optimiser_of_the_engine_can_be_chosen(
    ready: Project, zed: User, client_for: Browser
) -> None:
    page = shown(client_for(zed))
    assert all(f'<option value="{name}"' in page for name in config.OPTIMISERS)
    assert "PPO (reward model)" in page and "DPO (votes alone)" in page


def test_every_field_has_its_default_its_unit_and_a_sentence(
    ready: Project, zed: User, client_for: Browser
) -> None:
    page = shown(client_for(zed))
    assert 'placeholder="24 updates"' in field(page, "ppo.updates")
    assert 'placeholder="16 replies"' in field(page, "ppo.batch_size")
    assert "As the preset says: adapters" in page
    for name, one in SHOWN.items():
        assert one.setting.text, f"{name} has no sentence beside it in the engine"
        assert f'id="id_{name}_helptext"' in page


def test_the_policies_that_a_round_may_start_from_are_listed(
    ready: Project, zed: User, client_for: Browser
) -> None:
    add_policy(make_round(ready, 1), state="candidate")
    page = shown(client_for(zed))
    assert "The policy in use" in page and '<option value="policy-1">' in page


def test_another_preset_brings_its_defaults_and_its_estimate(
    ready: Project, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    asked = {"preset": "quick", "optimiser": "ppo", "shape": "balanced dpo"}
    part = client.get(NEW, asked, HTTP_HX_REQUEST="true").content.decode()
    assert "<html" not in part and "GiB" in part
    assert 'placeholder="20 updates"' in field(part, "ppo.updates")
    same = client.get(NEW, asked | {"shape": "quick ppo"}, HTTP_HX_REQUEST="true")
    assert b"GiB" in same.content and b"ppo.updates" not in same.content


def test_it_says_while_somebody_writes_what_is_wrong(
    ready: Project, zed: User, client_for: Browser
) -> None:
    asked = {"preset": "quick", "ppo.kl_coef": "-1"}
    part = client_for(zed).get(NEW, asked, HTTP_HX_REQUEST="true").content.decode()
    assert "ppo.kl_coef must be at least 0, not -1" in part and "GiB" not in part


def test_it_says_why_no_round_can_start(project: Project, zed: User, client_for: Browser) -> None:
    add_starter(project)
    page = shown(client_for(zed))
    assert "at least 12 pairs" in page and re.search(r'id="start" disabled', page)


# What it starts


def test_an_admin_starts_a_round(ready: Project, zed: User, client_for: Browser) -> None:
    answer = client_for(zed).post(START, follow=True)
    assert answer.redirect_chain == [(ROUNDS, 302)]
    round_ = Round.objects.get()
    assert (round_.number, round_.state, round_.started_by) == (1, "queued", zed)
    assert b"Round 1 starts as soon as" in answer.content


def test_a_round_has_what_the_form_says(
    ready: Project, zed: User, client_for: Browser, settings: Settings
) -> None:
    settings.ENDPOINT_HOSTS = ["https://gpu.example"]
    form = {
        "optimiser": "ppo",
        "preset": "quick",
        "ppo.updates": "5",
        "ppo.kl_coef": "0.2",
        "ppo.lora": "all",
        "reward.lora.r": "4",
        "reward.linear_probe": "False",
        "reward.judge": "False",
        "device": "cpu",
        "sample.endpoint.url": "https://gpu.example/v1",
        "sample.endpoint.model": "new",
        "sample.endpoint.other": "starter",
        "seed": "11",
    }
    client_for(zed).post(START, form)
    whole = Round.objects.get().config
    ppo = whole["ppo"]
    assert (ppo["updates"], ppo["kl_coef"], ppo["lora"]) == (5, 0.2, None)
    assert (whole["reward"]["lora"]["r"], whole["device"], whole["seed"]) == (4, "cpu", 11)
    assert (whole["reward"]["linear_probe"], whole["reward"]["judge"]) == (False, False)
    assert whole["sample"]["endpoint"]["url"] == "https://gpu.example/v1"
    assert whole["evaluate"]["endpoint"] is None
    assert not Plan.objects.exists(), "nothing was to be kept"


def test_settings_for_coming_rounds_are_those_of_rounds_that_start_by_themselves(
    ready: Project, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    client.post(START, {"optimiser": "grpo", "preset": "quick", "groups.beta": ".3", "save": "on"})
    Round.objects.update(state="done")
    coming = start_round(ready, trigger="votes")
    assert (coming.preset, coming.config["optimiser"]) == ("quick", "grpo")
    assert coming.config["groups"]["beta"] == 0.3
    page = shown(client)
    assert '<option value="grpo" selected>' in page
    assert 'value="0.3"' in field(page, "groups.beta")
    assert re.search(r'value="quick" checked', page)


def test_settings_can_be_saved_without_a_round(
    ready: Project, zed: User, client_for: Browser
) -> None:
    form = {"optimiser": "kto", "preset": "careful", "act": "save"}
    client_for(zed).post(START, form)
    plan = Plan.objects.get()
    assert (plan.preset, plan.config) == ("careful", {"optimiser": "kto"})
    assert not Round.objects.exists()


def test_saved_settings_without_a_field_stay_and_are_named(
    ready: Project, zed: User, client_for: Browser
) -> None:
    Plan.objects.create(project=ready, config={"ppo": {"clip_ratio": 0.1, "lora": {"alpha": 8}}})
    client = client_for(zed)
    assert "ppo.clip_ratio 0.1" in shown(client)
    client.post(START, {"preset": "balanced", "ppo.updates": "3"})
    ppo = Round.objects.get().config["ppo"]
    assert (ppo["clip_ratio"], ppo["updates"], ppo["lora"]["alpha"]) == (0.1, 3, 8)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"optimiser": "magic"}, "no such way to improve a policy"),
        ({"preset": "reckless"}, "Select a valid choice"),
        ({"policy": "policy-9"}, "Select a valid choice"),
        ({"ppo.kl_coef": "-1"}, "ppo.kl_coef must be at least 0"),
        ({"ppo.updates": "many"}, "Enter a whole number"),
        ({"ppo.learning_rate": "inf"}, "Enter a number"),
        ({"pairs.lora.r": "0"}, "pairs.lora.r must be at least 1"),
        ({"sample.endpoint.url": "https://elsewhere.example/v1"}, "not among the servers"),
        ({"sample.endpoint.model": "m"}, "sample.endpoint.url is missing"),
        (
            {"ppo.batch_size": "12", "groups.batch_size": "9"},
            "must be a multiple of groups.group_size",
        ),
    ],
)
def test_a_wrong_value_starts_nothing_and_is_named(
    form: dict[str, str], said: str, ready: Project, zed: User, client_for: Browser
) -> None:
    answer = client_for(zed).post(START, form | {"save": "on"})
    assert answer.status_code == 400
    text = answer.content.decode()
    assert "Nothing was started" in text and said in text
    assert not Round.objects.exists() and not Plan.objects.exists()
    assert not ready.dataset_versions.exists(), "votes are not frozen"


def test_starting_twice_makes_one_round(ready: Project, zed: User, client_for: Browser) -> None:
    client = client_for(zed)
    client.post(START)
    assert b"Round 1 of this project is queued" in client.post(START, follow=True).content
    assert Round.objects.count() == 1


def test_too_few_votes_start_nothing(project: Project, zed: User, client_for: Browser) -> None:
    add_starter(project)
    assert b"A round wants votes" in client_for(zed).post(START, follow=True).content
    assert not Round.objects.exists()


def test_only_admins_see_it(ready: Project, olga: User, eve: User, client_for: Browser) -> None:
    assert client_for(olga).get(NEW).status_code == 403
    assert client_for(eve).get(NEW).status_code == 404


def test_rules_of_the_operator_are_fields(
    ready: Project, zed: User, client_for: Browser, settings: Settings
) -> None:
    client = client_for(zed)
    assert "Rules beside" not in shown(client)
    settings.REWARD_FUNCTIONS = ["brief=house_rules:brief"]
    assert "Rules beside the reward model" in shown(client)
    client.post(START, {"reward_functions.brief": "0.5"})
    assert Round.objects.get().config["reward_functions"] == {"house_rules:brief": 0.5}


# The page of a round


def test_a_round_shows_its_settings_and_what_changed(
    ready: Project, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    client.post(START, {"optimiser": "ppo", "preset": "quick"})
    Round.objects.update(state="done")
    client.post(START, {"optimiser": "ppo", "preset": "quick", "ppo.kl_coef": "0.2"})
    first, second = (client.get(f"{ROUNDS}{n}/").content.decode() for n in (1, 2))
    assert "Quick look" in first and "Changed since" not in first
    changed = second.partition("Changed since round 1")[2].partition("</table>")[0]
    assert re.findall(r'class="mono">([\w.]+)<', changed) == ["ppo.kl_coef"]
    assert "0.05" in changed and "0.2" in changed
    assert "settings other than the engine" in second
    assert "Expected" in second and "GiB" in second
