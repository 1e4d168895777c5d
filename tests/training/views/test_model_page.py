from __future__ import annotations

import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from huggingface_hub import ModelCard
from pytest_django import Settings

from annotate.models import DatasetVersion, Pair, Project
from tests.training.history import SAMPLE, add_policy, add_starter, make_round, write_samples
from training.models import ModelVersion, Run
from training.rlhf.config import GateConfig
from training.rlhf.metrics.gates import gates
from training.versions import model_cards, zip_archive

Browser = Callable[[User], Client]
URL = "/projects/desk/models/"


@pytest.fixture(autouse=True)
def home(settings: Settings, tmp_path: Path) -> Path:
    settings.HOME = tmp_path
    return tmp_path


@pytest.fixture
def candidate(project: Project) -> ModelVersion:
    """policy-1, outside its KL gate, beside the starter in use; with the reward model before it."""
    add_starter(project)
    DatasetVersion.objects.create(
        project=project, number=1, sha256="0" * 64, n_pairs=150, n_votes=412, n_simulated=12
    )
    policy = add_policy(make_round(project, 1), state="candidate", kl=52.4)
    ModelVersion.objects.create(
        project=project,
        kind="reward",
        number=1,
        run=policy.run,
        dataset_version=1,
        path=f"runs/{policy.run.uuid}/train_reward/model",  # type: ignore[union-attr]
        metrics={"accuracy": 0.81, "judge_accuracy": 0.78},
    )
    return policy


def page(client: Client, version: ModelVersion) -> str:
    answer = client.get(f"{URL}{version.pk}/")
    assert answer.status_code == 200
    return str(answer.content.decode())


def press(client: Client, version: ModelVersion, button: str, reason: str = "it reads well") -> str:
    address = f"{URL}{version.pk}/"
    answer = client.post(f"{address}{button}/", {"reason": reason}, follow=True)
    assert answer.redirect_chain == [(address, 302)]
    version.refresh_from_db()
    return str(answer.content.decode())


@pytest.fixture
def weights(home: Path) -> Callable[..., Path]:
    """weights(version, {"config.json": text}): the folder of a version with these files."""

    def write(version: ModelVersion, files: dict[str, str]) -> Path:
        folder = home / version.path
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
        return folder

    return write


def test_it_shows_figures_with_intervals_gates_and_samples(
    candidate: ModelVersion, olga: User, client_for: Browser
) -> None:
    write_samples(Run.objects.get(pk=candidate.run_id), SAMPLE)
    text = page(client_for(olga), candidate)
    assert re.search(r"Win rate</th><td class=\"number\">0.660</td><td[^>]*>0.590 to 0.720", text)
    assert "KL to the starter (nats)" in text and "52.4" in text
    assert "Where is my &lt;b&gt;order&lt;/b&gt;?" in text


def test_the_lineage_goes_from_the_votes_back_to_the_starter_in_words_and_drawn(
    candidate: ModelVersion, olga: User, client_for: Browser
) -> None:
    text = page(client_for(olga), candidate)
    drawing = text[text.index('<svg class="graph"') : text.index("</svg>", text.index("graph"))]
    names = re.findall(r"graph-name[^>]*>([^<]+)<", drawing)
    assert names == ["policy-0", "dataset v1", "reward-1", "policy-1"]
    listed = text[text.index('<ol class="turns"') : text.index("</ol>")]
    words = " ".join(re.sub("<[^>]+>", " ", listed).replace("\N{NO-BREAK SPACE}", "").split())
    assert words == (
        "Start: policy-0 in use Round 1 : dataset v1 (412 votes, 12 simulated) → "
        "reward-1 with its judge (accuracy 78.0%) → policy-1 candidate"
    )


def test_a_long_history_is_drawn_without_its_middle_and_listed_whole(
    candidate: ModelVersion, olga: User, client_for: Browser
) -> None:
    for number in range(2, 13):
        newest = add_policy(make_round(candidate.project, number), state="candidate")
        ModelVersion.objects.filter(pk=newest.pk).update(
            parent=ModelVersion.objects.policies().get(number=number - 1)
        )
    text = page(client_for(olga), newest)
    drawing = text[text.index('<svg class="graph"') : text.index("</svg>", text.index("graph"))]
    assert "policy-0" in drawing and "policy-12" in drawing and ">policy-5<" not in drawing
    assert ">policy-5<" in text


def test_a_reward_model_has_a_page_and_no_decisions(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    text = page(client_for(zed), ModelVersion.objects.rewards().get())
    assert "it scores replies" in text and ">policy-1<" in text
    assert "Promote" not in text


def test_the_card_is_what_hubs_read_and_names_no_path_and_no_person(
    candidate: ModelVersion, zed: User, client_for: Browser, home: Path
) -> None:
    press(client_for(zed), candidate, "promote")
    ModelVersion.objects.filter(number=0).update(path="someone/tiny-chat")
    text = model_cards.card(ModelVersion.objects.get(pk=candidate.pk))
    head = ModelCard(text).data.to_dict()
    assert head["base_model"] == "someone/tiny-chat"
    assert (head["library_name"], head["pipeline_tag"]) == ("transformers", "text-generation")
    assert "412 votes, 12 of them simulated on 150 pairs" in text
    assert "| Win rate | 0.660 | 0.590 to 0.720 |" in text
    assert "| ppo.updates |" in text and "## Limits" in text
    assert "zed" not in text and str(home) not in text and "runs/" not in text


def test_the_card_tells_a_gate_that_was_rightly_not_measured_from_one_that_was_failed(
    candidate: ModelVersion,
) -> None:
    metrics: dict[str, dict[str, float | None]] = {
        "train_reward": {"accuracy": 0.54, "pairs_held_out": 13.0},
        "evaluate": {"kl": 2.0, "broken_rate": 0.7, "repetition": float("nan")},
    }
    candidate.gates = [dataclasses.asdict(gate) for gate in gates(metrics, GateConfig())]
    table = model_cards.card(candidate).partition("## Gates")[2].partition("## ")[0]
    said = {
        title.partition(" (")[0].strip("| "): last.strip("| ")
        for title, *_, last in (line.split(" | ") for line in table.splitlines() if "|" in line)
    }
    assert said["Reward model accuracy on held-out votes"] == "not measured"
    assert said["Win rate by the judge, a second reward model"] == "not measured"
    assert said["KL to the starter"] == "yes"
    assert said["Broken replies"] == "no"
    assert said["Repetition within a reply"] == "no"


def test_a_name_cannot_break_out_of_the_card(candidate: ModelVersion) -> None:
    candidate.project.name = "Desk\n---\nlicense: mit\n# <script>"
    text = model_cards.card(candidate)
    assert "license" not in yaml.safe_load(text.split("---")[1])
    assert "license" not in ModelCard(text).data.to_dict()
    assert "<script>" not in text.replace("\\<", "")


def test_a_download_holds_the_model_and_its_card_and_nothing_else(
    candidate: ModelVersion, zed: User, client_for: Browser, weights: Callable[..., Path]
) -> None:
    weights(
        candidate,
        {
            "model.safetensors": "weights",
            "config.json": "{}",
            "chat_template.jinja": "{{ x }}",
            "optimizer.pt": "state",
            "training_args.bin": "pickle",
            "README.md": "another card",
        },
    )
    answer = client_for(zed).get(f"{URL}{candidate.pk}/download/")
    assert answer["Content-Disposition"] == 'attachment; filename="desk-policy-1.zip"'
    with zipfile.ZipFile(io.BytesIO(b"".join(answer))) as archive:
        assert archive.testzip() is None
        names = {name.removeprefix("desk-policy-1/") for name in archive.namelist()}
        assert names == {"README.md", "model.safetensors", "config.json", "chat_template.jinja"}
        assert archive.read("desk-policy-1/model.safetensors") == b"weights"
        assert archive.read("desk-policy-1/README.md").decode() == model_cards.card(candidate)


def test_a_large_model_is_sent_in_small_pieces(
    candidate: ModelVersion, weights: Callable[..., Path]
) -> None:
    folder = weights(candidate, {"config.json": "{}"})
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(24 * zip_archive.CHUNK)
    sizes = [len(piece) for piece in zip_archive.stream(candidate, folder)]
    assert sum(sizes) > 24 * zip_archive.CHUNK
    assert max(sizes) <= 2 * zip_archive.CHUNK


def test_an_adapter_brings_along_the_base_that_only_this_machine_has(
    candidate: ModelVersion, weights: Callable[..., Path]
) -> None:
    whole = {"model.safetensors": "base", "config.json": "{}"}
    base = weights(ModelVersion.objects.get(number=0), whole)
    adapted = json.dumps({"base_model_name_or_path": str(base), "r": 8})
    files = {"adapter_model.safetensors": "adapter", "adapter_config.json": adapted}
    folder = weights(candidate, files)
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_archive.stream(candidate, folder)))) as archive:
        config = json.loads(archive.read("desk-policy-1/adapter_config.json"))
        assert config == {"base_model_name_or_path": "base", "r": 8}
        assert archive.read("desk-policy-1/base/model.safetensors") == b"base"
        assert b"library_name: peft" in archive.read("desk-policy-1/README.md")


@pytest.mark.parametrize("named", ["../private", ".", "../model"])
def test_an_adapter_brings_along_no_folder_that_is_not_a_models(
    named: str, candidate: ModelVersion, weights: Callable[..., Path]
) -> None:
    adapted = json.dumps({"base_model_name_or_path": named})
    files = {"adapter_model.safetensors": "adapter", "adapter_config.json": adapted}
    folder = weights(candidate, files)
    (folder.parent / "private").mkdir()
    (folder.parent / "private" / "secret.json").write_text("{}")
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_archive.stream(candidate, folder)))) as archive:
        assert not [name for name in archive.namelist() if "/base/" in name]


def test_what_cannot_be_downloaded_says_why(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    assert "is not on this machine" in page(client, candidate)
    answer = client.get(f"{URL}{candidate.pk}/download/", follow=True)
    assert b"is not on this machine" in answer.content


def test_a_reviewer_sees_it_without_buttons(
    candidate: ModelVersion, olga: User, client_for: Browser
) -> None:
    text = page(client_for(olga), candidate).partition("<main")[2]
    assert "<form" not in text and "Download" not in text


def test_a_decision_needs_a_reason(candidate: ModelVersion, zed: User, client_for: Browser) -> None:
    for button in ("promote", "retire", "demote"):
        answer = client_for(zed).post(f"{URL}{candidate.pk}/{button}/", {"reason": " "})
        assert answer.status_code == 400 and b"This field is required" in answer.content
    candidate.refresh_from_db()
    assert candidate.state == "candidate"


def test_an_admin_promotes_what_failed_a_gate(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    assert "policy-1 is in use now." in press(client_for(zed), candidate, "promote")
    assert candidate.state == "promoted"
    assert candidate.note == "Promoted by zed: it reads well"
    assert ModelVersion.objects.get(number=0).state == "retired"


def test_promoting_twice_changes_nothing(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    press(client, candidate, "promote")
    first = candidate.promoted_at
    assert "in use already" in press(client, candidate, "promote")
    assert candidate.state == "promoted" and candidate.promoted_at == first


def test_an_admin_retires_a_candidate_and_twice_is_harmless(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    assert "policy-1 is retired." in press(client, candidate, "retire")
    assert "policy-1 is retired already." in press(client, candidate, "retire", "another reason")
    assert (candidate.state, candidate.note) == ("retired", "Retired by zed: it reads well")
    assert ModelVersion.objects.get(number=0).state == "promoted"


def test_demoting_restores_the_version_before(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    press(client, candidate, "promote")
    assert "policy-0 is in use again." in press(client, candidate, "demote", "it rambles")
    assert candidate.state == "retired"
    assert ModelVersion.objects.get(number=0).state == "promoted"
    said = re.findall(r"(?:Promoted|Demoted) by zed: [\w ]*\w", page(client, candidate))
    assert said[-2:] == ["Promoted by zed: it reads well", "Demoted by zed: it rambles"]
    assert page(client, candidate).count("Decided by: an admin.") == 2


def test_what_was_promoted_since_the_page_was_opened_is_not_taken_back_by_retiring_it(
    candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    press(client, candidate, "promote")
    assert "demote it instead" in press(client, candidate, "retire")
    assert candidate.state == "promoted"


def test_the_starter_has_nothing_to_go_back_to(
    project: Project, zed: User, client_for: Browser
) -> None:
    starter = add_starter(project)
    assert "has no version before it" in press(client_for(zed), starter, "demote")
    assert starter.state == "promoted"


@pytest.mark.parametrize("button", ["promote", "retire", "demote"])
def test_only_admins_press_buttons_and_only_by_post(
    button: str,
    candidate: ModelVersion,
    zed: User,
    olga: User,
    eve: User,
    client_for: Browser,
) -> None:
    url = f"{URL}{candidate.pk}/{button}/"
    assert client_for(olga).post(url).status_code == 403
    assert client_for(eve).post(url).status_code == 404
    assert client_for(zed).get(url).status_code == 405
    candidate.refresh_from_db()
    assert candidate.state == "candidate"


@pytest.mark.parametrize("button", ["promote", "retire", "demote"])
def test_versions_of_other_projects_and_reward_models_are_404(
    button: str, candidate: ModelVersion, zed: User, client_for: Browser
) -> None:
    other = Project.objects.create(slug="other", name="Other")
    foreign = add_starter(other)
    for version in (foreign, ModelVersion.objects.rewards().get()):
        assert client_for(zed).post(f"{URL}{version.pk}/{button}/").status_code == 404


def test_first_completions_are_offered_only_where_nothing_was_written(
    candidate: ModelVersion, zed: User, client_for: Browser, make_pairs: Callable[..., list[Pair]]
) -> None:
    candidate.project.prompts.create(messages=[{"role": "user", "content": "Hi"}], sha256="0" * 64)
    client = client_for(zed)
    assert "Write first completions" in page(client, candidate)
    make_pairs(1)
    assert "Write first completions" not in page(client, candidate)
