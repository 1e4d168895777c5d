"""The settings of a round, however they come: page, API, command, file, or by themselves."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from annotate.models import Project
from tests.training.history import add_policy, add_starter, make_round
from tests.training.model_files import write_model
from training.models import ModelVersion, Plan, Round, Run
from training.plans import round_settings
from training.plans.round_settings import Choice, SettingsRefused
from training.rounds import automatic_start, start_and_cancel
from training.runs import run_inputs

Api = Callable[[User], APIClient]
ROUNDS = "/api/v1/projects/desk/rounds/"
SETTINGS = ROUNDS + "settings/"
ESTIMATE = ROUNDS + "estimate/"


@pytest.fixture
def ready(voted: Project, home: Path) -> Project:
    """Enough votes, and a starter of the size of SmolLM2: a round can start."""
    write_model(home / "starter")
    add_starter(voted)
    return voted


def test_a_round_proposes_by_the_project_s_rule_unless_its_settings_name_another(
    ready: Project,
) -> None:
    ready.acquisition = "bald"
    assert round_settings.planned(ready).propose.acquisition == "bald"
    named = Choice(config={"propose": {"acquisition": "fisher"}})
    assert round_settings.resolve(ready, named)["propose"]["acquisition"] == "fisher"


def start(project: Project, **chosen: Any) -> dict[str, Any]:
    """The configuration of a round that was started so."""
    choice = Choice(**chosen) if chosen else None
    config = start_and_cancel.start_round(project, enqueue=False, choice=choice).config
    Round.objects.update(state="done")
    return dict(config)


def test_a_round_of_a_real_model_trains_adapters_by_the_advised_method(ready: Project) -> None:
    config = start(ready)
    assert config["optimiser"] == "dpo", "50 resolved pairs"
    assert config["pairs"]["lora"]["r"] == 16
    round_ = Round.objects.get()
    assert (round_.preset, round_.chosen) == ("balanced", {})


def test_what_was_chosen_stands_in_place_of_the_presets(ready: Project) -> None:
    config = start(
        ready, preset="quick", config={"optimiser": "ppo", "ppo": {"kl_coef": 0.2, "lora": None}}
    )
    assert (config["ppo"]["kl_coef"], config["ppo"]["lora"], config["ppo"]["updates"]) == (
        0.2,
        None,
        20,
    )
    assert Round.objects.get().chosen["ppo"] == {"kl_coef": 0.2, "lora": None}


def test_rounds_that_start_by_themselves_have_the_saved_settings(ready: Project) -> None:
    round_settings.save(ready, Choice(preset="quick", config={"ppo": {"updates": 7}}))
    ready.round_after = 10
    ready.save(update_fields=["round_after"])
    assert automatic_start.start_if_due(ready)
    round_ = Round.objects.get()
    assert (round_.preset, round_.config["ppo"]["updates"]) == ("quick", 7)


def test_a_round_starts_from_the_version_that_was_named(ready: Project, home: Path) -> None:
    other = add_policy(make_round(ready, 1), state="candidate")
    (home / other.path).mkdir(parents=True)
    assert start(ready)["policy"].endswith("/starter")
    assert start(ready, policy="policy-1")["policy"] == str(home / other.path)
    ModelVersion.objects.filter(pk=other.pk).update(pruned_at="2026-01-01T00:00Z")
    with pytest.raises(start_and_cancel.WrongSettings, match="no policy policy-1 with weights"):
        start(ready, policy="policy-1")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"ppo": {"kl_coef": -1}}, "ppo.kl_coef"),
    ({"ppo": {"updats": 3}}, "ppo.updats"),
    ({"pairs": {"lora": {"r": 0}}}, "pairs.lora.r"),
    ({"optimiser": "magic"}, "optimiser"),
    ({"propose": {"acquisition": "tarot"}}, "propose.acquisition"),
    ({"starter": "/etc"}, "starter"),
    ({"seed": 3}, "seed"),
    ({"tracker": "wandb"}, "tracker"),
    ({"evaluate": {"judge": {"path": "/srv/judge"}}}, "evaluate.judge.path"),
    ({"reward": {"judge_base": "/srv/other"}}, "reward.judge_base"),
    ({"sample": {"endpoint": {"url": "http://10.0.0.1/v1"}}}, "sample.endpoint.url"),
    ({"evaluate": {"endpoint": {"url": "file:///etc"}}}, "evaluate.endpoint.url"),
    ({"ppo": 3}, "ppo"),
]


@pytest.mark.parametrize(("config", "name"), WRONG)
def test_a_wrong_setting_is_refused_by_name_before_anything_is_written(
    config: dict[str, Any], name: str, ready: Project, zed: User, api_for: Api
) -> None:
    for method, url in (("post", ROUNDS), ("post", ESTIMATE), ("put", SETTINGS)):
        answer = getattr(api_for(zed), method)(url, {"config": config}, format="json")
        assert answer.status_code == 400
        assert list(answer.json()["errors"]) == [f"config.{name}"]
    assert not Round.objects.exists() and not Plan.objects.exists()
    assert not ready.dataset_versions.exists(), "votes are not frozen"


def test_all_wrong_settings_are_told_at_once(ready: Project) -> None:
    with pytest.raises(SettingsRefused) as refused:
        round_settings.resolve(ready, Choice(config={"ppo": {"kl_coef": -1, "updates": 0}}))
    assert sorted(refused.value.problems) == ["ppo.kl_coef", "ppo.updates"]


def test_servers_that_the_operator_named_may_write(ready: Project, settings: Settings) -> None:
    settings.ENDPOINT_HOSTS = ["http://gpu-host:8000"]
    written = {"sample": {"endpoint": {"url": "http://GPU-host:8000/v1/"}}}
    config = start(ready, config=written)
    assert config["sample"]["endpoint"]["url"] == "http://gpu-host:8000/v1"
    settings.ENDPOINT_HOSTS = []
    with pytest.raises(start_and_cancel.WrongSettings, match="not among the servers"):
        start(ready, config=written)


def test_the_api_starts_a_round_and_saves_its_settings(
    ready: Project, zed: User, olga: User, api_for: Api
) -> None:
    body = {"preset": "careful", "config": {"ppo": {"updates": 9}}, "save_settings": True}
    answer = api_for(zed).post(ROUNDS, body, format="json")
    assert answer.status_code == 201
    assert (answer.json()["preset"], answer.json()["chosen"]) == ("careful", body["config"])
    assert answer.json()["estimate"]["memory_gib"] > 1
    told = api_for(olga).get(SETTINGS).json()
    assert (told["preset"], told["config"]) == ("careful", body["config"])
    assert told["settings"]["ppo"]["updates"] == told["differs"]["ppo.updates"] == 9
    assert told["optimiser_advised"] == "dpo"


def test_the_api_saves_settings_and_starts_nothing(
    ready: Project, zed: User, olga: User, api_for: Api
) -> None:
    body = {"preset": "quick", "config": {"device": "cpu"}}
    assert api_for(olga).put(SETTINGS, body, format="json").status_code == 403
    assert api_for(zed).put(SETTINGS, body, format="json").status_code == 200
    plan = Plan.objects.get()
    assert (plan.preset, plan.config) == ("quick", {"device": "cpu"})
    assert not Round.objects.exists()


def test_the_api_estimates_and_writes_nothing(ready: Project, zed: User, api_for: Api) -> None:
    answer = api_for(zed).post(ESTIMATE, {"preset": "quick"}, format="json").json()
    assert answer["settings"]["ppo"]["updates"] == 20
    assert 0.5 < answer["estimate"]["memory_gib"] < 10
    assert answer["estimate"]["seconds"] is None
    assert "No idea yet" in answer["estimate"]["time_basis"]
    assert not Round.objects.exists() and not Plan.objects.exists()


@pytest.mark.parametrize("body", [{"preset": "reckless"}, {"config": [1]}, {"policy": "policy-9"}])
def test_a_choice_of_another_shape_is_400(
    body: dict[str, Any], ready: Project, zed: User, api_for: Api
) -> None:
    answer = api_for(zed).post(ROUNDS, body, format="json")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == list(body)
    assert not Round.objects.exists()


# The command


def test_the_command_takes_a_file_and_single_settings(ready: Project, tmp_path: Path) -> None:
    file = tmp_path / "round.yaml"
    file.write_text("ppo: {updates: 5, learning_rate: 1e-5}\nevaluate: {prompts: 9}\n")
    out = StringIO()
    options = ["--config", str(file), "--set", "ppo.updates=6", "--preset", "quick"]
    call_command("run_round", "--project", "desk", *options, "--estimate", stdout=out)
    assert "Memory: about" in out.getvalue() and "No idea yet" in out.getvalue()
    assert not Round.objects.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "ppo.kl_coef=-1"], "ppo.kl_coef must be at least 0"),
        (["--set", "ppo.kl_coef"], "expected name=value"),
        (["--set", "ppo.kl_coef=[1"], "--set ppo.kl_coef"),
        (["--config", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (["--policy", "policy-7"], "no policy policy-7"),
    ],
)
def test_the_command_refuses_what_is_wrong(options: list[str], said: str, ready: Project) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("run_round", "--project", "desk", *options)
    assert not Round.objects.exists() and not ready.dataset_versions.exists()


def test_the_operators_command_may_name_files_of_the_server(ready: Project) -> None:
    config = {"evaluate": {"judge": {"path": "/srv/judge"}}, "tracker": "none"}
    assert start(ready, config=config, operator=True)["evaluate"]["judge"]["path"] == "/srv/judge"


# Rules beside the reward model


def test_rules_that_the_operator_named_join_the_score(
    ready: Project, zed: User, api_for: Api, settings: Settings
) -> None:
    settings.REWARD_FUNCTIONS = ["brief=house_rules:brief", "polite=house_rules:polite"]
    config = {"reward_functions": {"brief": 0.5}}
    answer = api_for(zed).post(ROUNDS, {"config": config}, format="json")
    assert answer.status_code == 201
    assert Round.objects.get().config["reward_functions"] == {"house_rules:brief": 0.5}


@pytest.mark.parametrize("name", ["os:system", "unknown", "house_rules:brief"])
def test_no_other_function_can_be_named_by_page_or_api(
    name: str, ready: Project, zed: User, api_for: Api, settings: Settings
) -> None:
    settings.REWARD_FUNCTIONS = ["brief=house_rules:brief"]
    body = {"config": {"reward_functions": {name: 1}}}
    answer = api_for(zed).post(ROUNDS, body, format="json")
    assert answer.status_code == 400
    assert "There is no rule" in answer.json()["errors"][f"config.reward_functions.{name}"][0]
    assert not Round.objects.exists()


def test_a_rule_that_the_operator_took_away_runs_no_more(
    ready: Project, zed: User, api_for: Api, settings: Settings
) -> None:
    settings.REWARD_FUNCTIONS = ["brief=house_rules:brief"]
    body = {"config": {"reward_functions": {"brief": 1.0}}, "save_settings": True}
    assert api_for(zed).post(ROUNDS, body, format="json").status_code == 201
    settings.REWARD_FUNCTIONS = []
    waiting = Run.objects.get()
    waiting.directory.mkdir(parents=True)
    with pytest.raises(run_inputs.CannotPrepare, match="There is no rule brief any more"):
        run_inputs.prepare(waiting)
    Round.objects.update(state="done")
    with pytest.raises(start_and_cancel.WrongSettings, match="There is no rule brief"):
        start_and_cancel.start_round(ready)
    with pytest.raises(CommandError, match="There is no rule brief"):
        call_command("run_round", "--project", "desk", "--estimate")


# What the operator's command chose stays, and stays the operator's

OPERATORS = {
    "threads": 3,
    "tracker": "none",
    "evaluate": {"judge": {"path": "/srv/judge"}},
    "reward_functions": {"house.rules:brief": 0.5},
}


@pytest.fixture
def operated(ready: Project, settings: Settings) -> Project:
    """A project whose saved settings the operator chose."""
    settings.TRAINING_THREADS = 1
    round_settings.save(ready, Choice(config=OPERATORS, operator=True))
    return ready


def test_a_round_that_starts_by_itself_has_what_the_operator_chose(operated: Project) -> None:
    config = start(operated)
    assert config["threads"] == 3 and config["evaluate"]["judge"]["path"] == "/srv/judge"
    assert config["reward_functions"] == {"house.rules:brief": 0.5}


def test_the_page_saves_beside_what_the_operator_chose(
    operated: Project, zed: User, client_for: Callable[[User], Client]
) -> None:
    page = client_for(zed)
    for updates in (7, 8):
        fields = {"ppo.updates": str(updates), "optimiser": "ppo", "act": "save"}
        answer = page.post("/projects/desk/rounds/start/", fields)
        assert answer.status_code == 302, answer.content.decode()
        chosen = {"optimiser": "ppo", "ppo": {"updates": updates}}
        assert Plan.objects.get().config == OPERATORS | chosen
    assert start(operated)["threads"] == 3


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"threads": 4}, "threads"),
        ({"evaluate": {"judge": {"path": "/etc"}}}, "evaluate.judge.path"),
        ({"reward": {"judge_base": "/etc"}}, "reward.judge_base"),
        ({"reward_functions": {"house.rules:brief": 0.9}}, "reward_functions.house.rules:brief"),
        ({"reward_functions": {"os:system": 0.5}}, "reward_functions.os:system"),
    ],
)
def test_the_api_keeps_what_the_operator_chose_and_changes_none_of_it(
    operated: Project, zed: User, api_for: Api, change: dict[str, Any], name: str
) -> None:
    kept = api_for(zed).put(SETTINGS, {"config": OPERATORS | {"ppo": {"updates": 7}}}, "json")
    assert kept.status_code == 200, kept.json()
    answer = api_for(zed).put(SETTINGS, {"config": OPERATORS | change}, "json")
    assert answer.status_code == 400 and list(answer.json()["errors"]) == [f"config.{name}"]
    # Once given up, it is the operator's again to choose.
    assert api_for(zed).put(SETTINGS, {"config": {}}, "json").status_code == 200
    assert api_for(zed).put(SETTINGS, {"config": OPERATORS}, "json").status_code == 400
