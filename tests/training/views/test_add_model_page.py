"""From prompts alone to a round, by the pages: a model of one's own, and its first completions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from annotate import exchange
from annotate.models import Assignment, Membership, Project
from tests.annotate.jobs.files import work_off
from tests.training import fake_model_hub
from tests.training.conftest import vote_on
from tests.training.fake_endpoint import Server
from tests.training.fake_model_hub import Hub
from tests.training.rlhf import tiny
from training.models import ModelVersion, Run
from training.versions import added_models
from training.worker import tasks

Browser = Callable[[User], Client]
URL = "/projects/desk/models/add/"


@pytest.fixture
def roots(home: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models that admins may choose from."""
    root = tmp_path_factory.mktemp("offered")
    settings.MODEL_ROOTS = [str(root)]
    return root


def see_through(run: Run | None = None) -> Run:
    """Do a training worker's work; the run that waited for it."""
    run = run or Run.objects.filter(state="queued").latest("pk")
    tasks.supervise(run.pk)
    run.refresh_from_db()
    return run


def wish(place: str, **fields: str) -> dict[str, str]:
    return {"place": place, "make": "starter"} | fields


def address(answer: HttpResponse) -> str:
    assert answer.status_code == 302, answer.content.decode()
    return str(answer["Location"])


@pytest.mark.django_db(transaction=True)
def test_forty_prompts_and_a_folder_are_enough_for_a_round(
    root: User, client_for: Browser, roots: Path
) -> None:
    Project.objects.all().delete()
    client = client_for(root)
    made = {"name": "Parcels", "slug": "parcels", "description": "", "guidelines": "Be kind."}
    client.post("/projects/new/", made)
    rows = "prompt\n" + "".join(f"Where is parcel {i}?\n" for i in range(40))
    file = SimpleUploadedFile("prompts.csv", rows.encode())
    page = address(client.post("/projects/parcels/import/", {"file": file}))
    work_off()
    client.post(page + "start/", {"field-prompt": "prompt"})
    work_off()
    project = Project.objects.get()
    assert project.prompts.count() == 40 and not project.pairs.exists()

    shown = client.get("/projects/parcels/rounds/").content.decode()
    assert "manage.py" not in shown and 'href="/projects/parcels/models/add/"' in shown
    tiny.llama(roots / "tiny" / "llama", sharpness=4.0)
    form = client.get("/projects/parcels/models/add/").content.decode()
    assert '<option value="tiny/llama">' in form
    check = address(
        client.post("/projects/parcels/models/add/", wish("folder", folder="tiny/llama"))
    )
    assert "Waiting for a worker" in client.get(check).content.decode()
    assert see_through().error == ""
    shown = client.get(check).content.decode()
    assert "It is policy-0" in shown and "Context" in shown and "256 tokens" in shown
    assert shown.count("Where is parcel") >= 3 and "Its files name no licence" in shown
    link = re.search(r'href="(/projects/parcels/completions/\?by=\d+)"', shown)
    assert link is not None
    form = client.get(link[1]).content.decode()
    length = re.search(r'name="max_new_tokens" value="(\d+)"', form)
    assert length and 64 <= int(length[1]) <= 128  # half of the model's context

    starter = ModelVersion.objects.get()
    how = {"source": str(starter.pk), "prompts": "unanswered", "per_prompt": "2", "seed": "0"}
    how |= {"temperature": "0.9", "top_p": "1", "max_new_tokens": "24", "concurrency": "1"}
    client.post("/projects/parcels/completions/", how)
    see_through()
    shown = client.get("/projects/parcels/completions/").content.decode()
    begin = re.search(r'action="(/projects/parcels/completions/[-0-9a-f]+/start/)"', shown)
    assert begin is not None and shown.count("Where is parcel") >= 3
    client.post(begin[1])
    see_through()
    assert project.pairs.count() > 30  # the tiny model repeats itself now and then
    screen = client.get("/projects/parcels/label/").content.decode()
    assert "Where is parcel" in screen

    weights = roots / "tiny" / "llama" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    client.post("/projects/parcels/completions/", how | {"prompts": "all"})
    assert "have changed since policy-0 was checked" in see_through().error

    ann = User.objects.create_user("ann")
    Membership.objects.create(project=project, user=ann, role="annotator", pseudonym="ann")
    Assignment.objects.all().delete()  # the pair on the screen
    vote_on(list(project.pairs.all()), root, ann)
    answer = client.post("/projects/parcels/rounds/start/", {"optimiser": ""}, follow=True)
    held_out = project.pairs.filter(prompt__held_out=True).count()
    said = answer.content.decode()
    assert ("Round 1 starts" in said) == (held_out >= 3), said
    assert ("So far:" in said) == (held_out < 3)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (wish("folder", folder="/etc"), "There is no model folder /etc in those that"),
        (wish("folder", folder="../models"), "There is no model folder ../models in those"),
        (wish("folder", folder="outside"), "There is no model folder outside in those"),
        (wish("folder", folder="linked"), "leads out of the offered folders"),
        (wish("folder", folder="gguf"), "but GGUF; no others are read"),
        (wish("folder"), "Name the folder."),
        (wish("hub", hub="../models/tiny"), "looks like a path"),
        (wish("hub", hub="/models/tiny"), "looks like a path"),
        (wish("hub", hub="tiny"), "is named OWNER/NAME"),
        (wish("hub", hub="some one/tiny"), "is named OWNER/NAME"),
        (wish("hub", hub="someone/tiny", revision="../x"), "is no branch, tag or commit"),
        (wish("server", url="http://10.0.0.1/v1"), "PAIRLOOP_ENDPOINT_HOSTS"),
        ({"make": "starter"}, "This field is required"),
    ],
)
def test_a_place_that_is_not_offered_is_refused_with_a_sentence(
    fields: dict[str, str], why: str, zed: User, client_for: Browser, roots: Path, tmp_path: Path
) -> None:
    elsewhere = tiny.llama(tmp_path / "secret")
    (roots / "outside").symlink_to(elsewhere)
    linked = tiny.llama(roots / "linked")
    (linked / "model.safetensors").unlink()
    (linked / "model.safetensors").symlink_to(elsewhere / "model.safetensors")
    (tiny.llama(roots / "gguf") / "model.safetensors").rename(roots / "gguf" / "model.gguf")
    answer = client_for(zed).post(URL, fields)
    assert answer.status_code == 400 and why in answer.content.decode()
    assert not Run.objects.exists()


def test_without_roots_the_page_says_how_they_are_named(
    zed: User, client_for: Browser, project: Project, settings: Settings
) -> None:
    settings.MODEL_ROOTS = []
    shown = client_for(zed).get(URL).content.decode()
    assert "PAIRLOOP_MODEL_ROOTS=/data/models" in shown
    assert "PAIRLOOP_ENDPOINT_HOSTS" in shown


@pytest.mark.django_db(transaction=True)
def test_a_folder_that_was_turned_round_meanwhile_is_not_read(
    zed: User, client_for: Browser, roots: Path, tmp_path: Path
) -> None:
    folder, elsewhere = tiny.llama(roots / "tiny"), tiny.llama(tmp_path / "secret")
    check = address(client_for(zed).post(URL, wish("folder", folder="tiny")))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.symlink_to(elsewhere)
    run = see_through()
    assert run.state == "failed" and "There is no model folder" in run.error
    assert "It cannot be used" in client_for(zed).get(check).content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_failed_check_is_tried_again_or_removed(
    zed: User, client_for: Browser, roots: Path
) -> None:
    folder = tiny.llama(roots / "tiny")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:100])
    client = client_for(zed)
    check = address(client.post(URL, wish("folder", folder="tiny")))
    assert "Another" not in client.get(URL).content.decode()
    assert client.post(URL, wish("folder", folder="tiny")).status_code == 409
    assert client.post(check + "remove/", follow=True).status_code == 200 and Run.objects.exists()
    assert see_through().state == "failed"
    assert "is damaged: copy or download it again" in client.get(check).content.decode()
    assert "is damaged" in client.get("/projects/desk/models/").content.decode()
    (folder / "model.safetensors").write_bytes(weights)
    client.post(check + "go-on/")
    run = see_through()
    assert (run.state, ModelVersion.objects.get().number) == ("done", 0)
    assert client.post(URL, wish("folder", folder="tiny"))["Location"].endswith(
        f"/models/{ModelVersion.objects.get().pk}/"
    )
    assert client.post(check + "remove/")["Location"] == "/projects/desk/models/"
    assert not Run.objects.exists() and not run.directory.exists()


def test_a_check_that_waits_is_cancelled(zed: User, client_for: Browser, roots: Path) -> None:
    tiny.llama(roots / "tiny")
    client = client_for(zed)
    check = address(client.post(URL, wish("folder", folder="tiny")))
    client.post(check + "cancel/")
    assert "The check was cancelled" in client.get(check).content.decode()
    assert client.get(check + "progress/").status_code == 286


@pytest.mark.django_db(transaction=True)
def test_a_model_behind_a_server_is_tried_and_then_writes(
    zed: User, client_for: Browser, project: Project, home: Path, server: Server, settings: Settings
) -> None:
    settings.ENDPOINT_HOSTS = [server.url.removesuffix("/v1")]
    exchange.add_prompts(project, [{"messages": [{"role": "user", "content": "Where is it?"}]}])
    client = client_for(zed)
    check = address(client.post(URL, wish("server", url=server.url, model="desk")))
    tasks.take_runs()
    run = Run.objects.get()
    assert (run.state, run.worker, run.error) == ("done", "short", "")
    shown = client.get(check).content.decode()
    assert "It can write completions" in shown and not ModelVersion.objects.exists()
    link = re.search(r'href="(/projects/desk/completions/\?check=[-0-9a-f]+)"', shown)
    assert link is not None and server.url in client.get("/projects/desk/models/").content.decode()
    assert f'value="{server.url}"' in client.get(link[1]).content.decode()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that the workers' processes reach."""
    with fake_model_hub.running() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_TOKEN", fake_model_hub.TOKEN)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield running


@pytest.mark.django_db(transaction=True)
def test_a_model_of_the_hub_is_fetched_once_kept_and_added_by_rest(
    hub: Hub, zed: User, project: Project, roots: Path, tmp_path: Path
) -> None:
    from rest_framework.test import APIClient

    card = b"---\nlicense: apache-2.0\n---\n# Tiny\n"
    hub.add("someone/tiny", tiny.llama(tmp_path / "original"), **{"README.md": card})
    client = APIClient()
    client.force_authenticate(zed)
    asked = client.post("/api/v1/projects/desk/models/", {"hub": "someone/tiny"}, format="json")
    assert asked.status_code == 202 and asked.json()["make"] == "starter"
    run = see_through()
    assert (run.state, run.error) == ("done", "")
    told = client.get(f"/api/v1/projects/desk/model-checks/{run.uuid}/").json()
    assert (told["model"], told["report"]["licence"]) == ("policy-0", "apache-2.0")
    assert set(hub.tokens) == {None}, "the operator did not lend the token"
    version = ModelVersion.objects.get()
    assert version.path.startswith("models/someone--tiny-") and Path(version.location).is_dir()
    assert added_models.check_of(version) == run
    nothing = client.post("/api/v1/projects/desk/models/", {}, format="json")
    assert nothing.status_code == 400


OUT = "adapter_config.json in someone--adapter-5ec0de000000 leads out of the offered folders."
HUB_ID = "adapts a model that is no folder here: add a whole model."


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("offered", [True, False])
def test_an_adapter_of_the_hub_adapts_no_folder_of_this_server(
    hub: Hub,
    zed: User,
    client_for: Browser,
    project: Project,
    home: Path,
    tmp_path: Path,
    settings: Settings,
    offered: bool,
) -> None:
    (home / "models").mkdir(parents=True)
    settings.MODEL_ROOTS = [str(home / "models")] if offered else []
    small = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"{}"}
    other = home / "models" / f"else--secret-{fake_model_hub.COMMIT[:12]}"
    other.mkdir()
    for name, data in small.items():
        (other / name).write_bytes(data)
    ModelVersion.objects.create(
        project=project, kind="policy", number=1, path=f"models/{other.name}"
    )
    client = client_for(zed)
    there = {str(other): OUT, f"../{other.name}": OUT}
    bases = there if offered else {"../nowhere": OUT, "\0": OUT, "else/secret": HUB_ID}
    for base, why in bases.items():
        adapter = {"base_model_name_or_path": base, "task_type": "CAUSAL_LM"}
        hub.repos["someone/adapter"] = {
            "adapter_config.json": json.dumps(adapter).encode(),
            "adapter_model.safetensors": b"{}",
            "tokenizer.json": b"{}",
        }
        client.post(URL, wish("hub", hub="someone/adapter"))
        assert see_through().error.endswith(why), base
    # A whole model gets further: its own files are judged.
    whole = small | {"config.json": b'{"architectures": ["LlamaForCausalLM"]}'}
    hub.repos["someone/whole"] = whole
    client.post(URL, wish("hub", hub="someone/whole"))
    assert "model.safetensors is damaged" in see_through().error
    assert ModelVersion.objects.count() == 1
    assert list((home / "models").iterdir()) == [other], "what cannot be used does not stay"


def test_models_are_offered_by_their_folders_and_no_deeper(roots: Path, zed: User) -> None:
    from training.versions import model_roots

    for place in ("one", "owner/two", "a/b/c/d/five", ".hidden"):
        folder = roots / place
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    assert model_roots.offered() == ["one", "owner/two"]
