"""Models that were trained elsewhere, from the command to the pages and the next round."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import torch
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from annotate.models import Project
from tests.training.history import add_starter
from tests.training.rlhf import tiny
from training.dashboard import comparisons
from training.models import ModelVersion, Plan, Round, Run
from training.playground import prompt_trials
from training.rlhf.reward import reward_model
from training.rounds import start_and_cancel
from training.runs import run_inputs
from training.versions import engine_environment, model_cards, promotion, retention

Browser = Callable[[User], Client]


def add_model(folder: Path | str, *options: str) -> str:
    out = StringIO()
    call_command("add_model", str(folder), "--project", "desk", *options, stdout=out)
    return out.getvalue()


@pytest.fixture
def starter(project: Project, home: Path) -> ModelVersion:
    tiny.llama(home / "starter")
    return add_starter(project)


@pytest.fixture
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of the home, as a recipe leaves its models."""
    return tmp_path_factory.mktemp("saved")


def added(starter: ModelVersion, folder: Path, number: int = 1) -> ModelVersion:
    """The row of an added policy, without its trial."""
    return ModelVersion.objects.create(
        project=starter.project, kind="policy", number=number, path=str(folder), parent=starter
    )


def small(folder: Path, **config: object) -> Path:
    """A folder that looks like a model's: right files, no weights in them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.django_db(transaction=True)
def test_a_folder_is_checked_and_becomes_a_candidate(starter: ModelVersion, saved: Path) -> None:
    said = add_model(tiny.llama(saved / "sft", seed=1), "--note", "Recipe gpt2.")
    assert "Added policy-1 to desk." in said and "Context: 256 tokens" in said
    version = ModelVersion.objects.get(number=1)
    assert (version.kind, version.state, version.run, version.metrics) == (
        *("policy", "candidate", None),
        {},
    )
    assert version.note == f"Added from {saved / 'sft'}. Recipe gpt2."
    assert version.location == str(saved / "sft")
    assert "policy-1 (candidate)" in dict(prompt_trials.choices(starter.project)).values()
    with pytest.raises(CommandError, match="It is policy-1 of desk already"):
        add_model(f"{saved}/../{saved.name}/sft")


@pytest.mark.django_db(transaction=True)
def test_an_added_reward_model_scores_what_policies_write(
    starter: ModelVersion, saved: Path
) -> None:
    scorer = reward_model.new(
        tiny.llama(saved / "trunk"), pooling="last", max_length=128, device=torch.device("cpu")
    )
    scorer.save(saved / "reward_model")
    assert "Score of a sample reply" in add_model(saved / "reward_model")
    assert add_model(saved / "reward_model", "--promote") == "reward-1 is in use now.\n"
    version = ModelVersion.objects.rewards().promoted().get()
    assert (version.number, version.parent) == (1, None)
    run = comparisons.start(starter.project, [starter, added(starter, saved / "trunk", 2)])
    run.directory.mkdir(parents=True)
    run_inputs.prepare(run)
    config = json.loads((run.directory / engine_environment.CONFIG).read_text())
    assert config["reward_models"] == {"reward": str(saved / "reward_model")}
    assert config["models"] == {
        "policy-0": str(Path(starter.location)),
        "policy-2": str(saved / "trunk"),
    }


@pytest.mark.django_db(transaction=True)
def test_a_project_without_a_starter_begins_with_what_is_promoted(
    project: Project, home: Path, saved: Path
) -> None:
    assert "policy-0 is in use now" in add_model(tiny.llama(saved / "sft"), "--promote")
    first = ModelVersion.objects.get()
    assert (first.number, first.state, first.location) == (0, "promoted", str(saved / "sft"))
    assert not Plan.objects.exists(), "all settings follow from the model"


def test_a_candidate_of_a_project_without_a_starter_becomes_it_when_it_is_put_in_use(
    project: Project, home: Path, saved: Path, zed: User, client_for: Browser
) -> None:
    version = ModelVersion.objects.create(
        project=project, kind="policy", number=1, path=str(tiny.llama(saved / "sft"))
    )
    address = f"/projects/desk/models/{version.pk}/promote/"
    client_for(zed).post(address, {"reason": "It reads well."})
    version.refresh_from_db()
    first = ModelVersion.objects.get(number=0)
    assert (first.path, first.state, version.state) == (version.path, "promoted", "retired")


def test_what_cannot_be_put_in_use_is_refused_before_anything_is_written(
    starter: ModelVersion, saved: Path
) -> None:
    tiny.t5(saved / "t5")
    with pytest.raises(CommandError, match="in use: one of them is an encoder-decoder"):
        add_model(saved / "t5", "--promote")
    assert not ModelVersion.objects.filter(number__gt=0).exists() and not Run.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_model_that_fails_its_check_leaves_nothing_behind(
    starter: ModelVersion, saved: Path
) -> None:
    with pytest.raises(CommandError, match=r"model\.safetensors is damaged"):
        add_model(small(saved / "broken", architectures=["LlamaForCausalLM"], model_type="llama"))
    assert not ModelVersion.objects.filter(number__gt=0).exists() and not Run.objects.exists()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights as safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "holds no tokenizer"),
        (lambda folder: (folder / "config.json").unlink(), "no readable config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "holds no JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "holds no settings"),
        (lambda folder: small(folder, architectures=["ViTModel"]), "names ViTModel"),
        (lambda folder: small(folder), "names no architecture"),
        (
            lambda folder: (folder / "adapter_config.json").write_text(
                '{"base_model_name_or_path": "/gone", "task_type": "CAUSAL_LM"}'
            ),
            "no adapter_model.safetensors",
        ),
        (lambda folder: small(folder, architectures=["GPT2ForSequenceClassification"]), "reward"),
    ],
)
def test_what_is_no_policy_is_refused_before_it_is_loaded(
    starter: ModelVersion, saved: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(small(saved, architectures=["GPT2LMHeadModel"]))
    with pytest.raises(CommandError, match=why):
        add_model(saved, "--kind", "policy")
    assert not ModelVersion.objects.filter(number__gt=0).exists()


@pytest.mark.parametrize("folder", ["./nowhere", "/no/such/folder"])
def test_a_folder_that_is_not_there_is_named(starter: ModelVersion, folder: str) -> None:
    with pytest.raises(CommandError, match=f"There is no model folder {folder}"):
        add_model(folder)


def test_its_page_says_that_it_was_added_and_its_card_invents_nothing(
    starter: ModelVersion, saved: Path, zed: User, client_for: Browser
) -> None:
    version = added(starter, tiny.llama(saved / "sft"))
    browser = client_for(zed)
    text = browser.get(f"/projects/desk/models/{version.pk}/").content.decode()
    listed = text[text.index('<ol class="turns"') : text.index("</ol>")]
    assert "Added:" in listed and "policy-0" not in listed
    assert f"trained elsewhere and added to {starter.project.name}" in text
    row = browser.get("/projects/desk/models/").content.decode().split('id="policy-1"')[1]
    assert row.split('data-label="Comes from"><div>')[1].split()[0] == "added"
    card = model_cards.card(version)
    assert "trained elsewhere" in card and "people's comparisons" not in card
    assert browser.get(f"/projects/desk/models/{version.pk}/download/").status_code == 200


def test_the_lineage_of_an_added_reward_model_is_itself(
    starter: ModelVersion, saved: Path, olga: User, client_for: Browser
) -> None:
    version = ModelVersion.objects.create(
        project=starter.project, kind="reward", number=1, path=str(saved)
    )
    page = client_for(olga).get(f"/projects/desk/models/{version.pk}/").content.decode()
    listed = page[page.index('<ol class="turns"') : page.index("</ol>")]
    assert "reward-1" in listed and "policy-0" not in listed
    assert "reward-1: trained elsewhere." in page


def test_a_promoted_one_gives_way_to_the_starter_when_it_is_demoted(
    starter: ModelVersion, saved: Path, zed: User, client_for: Browser
) -> None:
    version = added(starter, tiny.llama(saved / "sft", seed=1))
    address = f"/projects/desk/models/{version.pk}/"
    browser = client_for(zed)
    browser.post(f"{address}promote/", {"reason": "It reads well."})
    version.refresh_from_db()
    assert version.state == "promoted"
    browser.post(f"{address}demote/", {"reason": "It does not."})
    starter.refresh_from_db()
    assert starter.state == "promoted"


def test_a_policy_of_other_tokens_cannot_become_the_one_that_rounds_train(
    starter: ModelVersion, saved: Path, zed: User, client_for: Browser
) -> None:
    folder = tiny.llama(saved / "other")
    tokens = json.loads((folder / "tokenizer.json").read_text())
    tokens["model"]["vocab"] |= {"Ġparcel": tokens["model"]["vocab"]["Ġthe"]}
    (folder / "tokenizer.json").write_text(json.dumps(tokens))
    version = added(starter, folder)
    text = (
        client_for(zed)
        .post(f"/projects/desk/models/{version.pk}/promote/", {"reason": "Try."}, follow=True)
        .content.decode()
    )
    assert "rounds cannot go on from it: its tokenizer has other tokens" in text
    starter.refresh_from_db()
    assert starter.state == "promoted"


@pytest.mark.parametrize(
    ("path", "why"),
    [("t5", "one of them is an encoder-decoder"), ("someone/tiny-chat", "cannot be told")],
)
def test_so_does_one_that_reads_otherwise_or_is_out_of_sight(
    starter: ModelVersion, saved: Path, path: str, why: str
) -> None:
    tiny.t5(saved / "t5")
    version = added(starter, saved / path if path == "t5" else Path(path))
    with pytest.raises(promotion.Refused, match=why):
        promotion.promote(version)


def test_without_a_starter_it_stays_a_candidate(project: Project, saved: Path) -> None:
    version = ModelVersion.objects.create(project=project, kind="policy", number=1, path=str(saved))
    with pytest.raises(promotion.Refused, match="no starter"):
        promotion.promote(version)


def test_a_round_begins_with_a_promoted_one_and_takes_a_number_of_its_own(
    a_round: Round, home: Path, saved: Path
) -> None:
    Run.objects.filter(round=a_round).update(state="done")
    Round.objects.filter(pk=a_round.pk).update(state="done")
    tiny.llama(home / "starter")
    number = start_and_cancel.next_number(a_round.project)
    policy = added(ModelVersion.objects.get(number=0), tiny.llama(saved / "sft", seed=1), number)
    promotion.promote(policy)
    ModelVersion.objects.create(
        project=a_round.project, kind="reward", number=number + 1, path=str(saved), state="promoted"
    )
    later = start_and_cancel.start_round(a_round.project, enqueue=False)
    assert (a_round.number, number, later.number) == (1, 2, 4)
    assert later.config["policy"] == str(saved / "sft")
    assert later.config["last_reward"] == ""


def test_pruning_never_touches_its_folder(starter: ModelVersion, saved: Path, home: Path) -> None:
    inside = tiny.llama(home / "models" / "sft")
    for number, folder in enumerate((saved, inside), start=1):
        ModelVersion.objects.filter(pk=added(starter, folder, number).pk).update(state="retired")
    assert retention.plan(starter.project, keep=0).removals == ()
