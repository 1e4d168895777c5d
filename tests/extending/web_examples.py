"""Use the web side's examples of docs/extending.md, over HTTP and by the commands.

For a process of its own, in the copy, with a PAIRLOOP_HOME of its own, once Django is set up.
"""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_test_environment

import annotate
from annotate.models import ApiToken, Assignment, Membership, Project
from tests.training.history import NUMBERS, add_starter, make_round
from training.models import ModelVersion, Run, StageResult
from training.rlhf.config import RoundConfig
from training.runs import stage_results
from training.versions import promotion

HERE = Path.cwd()
PEOPLE = {"ann": "annotator", "olga": "reviewer", "zed": "admin", "eve": ""}
ASKED = {"role": "user", "content": "Where is my order?"}
Browsers = dict[str, Client]


def use_all() -> None:
    assert Path(annotate.__file__).is_relative_to(HERE), "this is not the copy"
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    call_command("migrate", verbosity=0)
    setup_test_environment()
    project = Project.objects.create(slug="desk", name="Support desk")
    browsers = {name: browser(name, role, project) for name, role in PEOPLE.items()}
    use_import_format(project)
    use_file_format(project)
    use_scale(project, browsers)
    use_export_format(browsers)
    use_stage(project, browsers)
    use_gate(project, browsers)
    use_optimiser(browsers)
    use_page(project, browsers)


def browser(name: str, role: str, project: Project) -> Client:
    user = User.objects.create(username=name)
    if role:
        Membership.objects.create(project=project, user=user, role=role, pseudonym=name)
    client = Client()
    client.force_login(user)
    return client


def page(client: Client, address: str) -> str:
    response = client.get(f"/projects/desk/{address}")
    assert response.status_code == 200, (address, response.status_code)
    return response.content.decode()


def use_import_format(project: Project) -> None:
    """A duel that is judged already, and a pair that waits for people."""
    duel = {"ask": "Is it here?", "red": "On its way.", "blue": "No idea.", "won": "tie"}
    pair = {"prompt": [ASKED], "completion_a": "On its way.", "completion_b": "No idea."}
    file = settings.HOME / "duels.jsonl"
    file.write_text("\n".join(map(json.dumps, (duel | {"judge": "ben"}, pair))))
    call_command("import_data", str(file), "--project=desk", stdout=StringIO())
    judged, waiting = project.pairs.order_by("pk")
    assert judged.prompt.messages == [{"role": "user", "content": "Is it here?"}]
    assert (judged.completion_a.text, judged.n_tie) == ("On its way.", 1)
    assert waiting.prompt.messages == [ASKED]


def use_file_format(project: Project) -> None:
    file = settings.HOME / "questions.txt"
    file.write_text("#prompts\nWhere is my parcel?\n")
    call_command("import_data", str(file), "--project=desk", stdout=StringIO())
    asked = [{"role": "user", "content": "Where is my parcel?"}]
    assert project.prompts.filter(messages=asked).exists()
    project.prompts.filter(messages=asked).delete()


def use_scale(project: Project, browsers: Browsers) -> None:
    assert '<option value="five"' in page(browsers["zed"], "settings/")
    Project.objects.update(scale="five")
    shown = page(browsers["ann"], "label/")
    assert 'data-caption="A clearly better"' in shown and 'data-caption="Both bad"' in shown
    key = ApiToken.issue(User.objects.get(username="ann"))[1]
    ask: dict[str, Any] = {
        "headers": {"Authorization": f"Token {key}"},
        "content_type": "application/json",
    }
    pair = Client().post("/api/v1/projects/desk/next/", **ask).json()
    better = "left" if pair["left"]["text"] == "On its way." else "right"
    vote = f"/api/v1/assignments/{pair['assignment']}/vote/"
    refused = Client().post(vote, {"choice": better, "strength": 3}, **ask)
    assert "which has 1, 2" in refused.content.decode(), refused.content
    assert Client().post(vote, {"choice": better, "strength": 1}, **ask).status_code == 200
    cast = Assignment.objects.get(annotator__username="ann")
    assert (cast.choice, cast.strength) == ("a", 1)


def use_export_format(browsers: Browsers) -> None:
    file = settings.HOME / "openai.jsonl"
    options = ("--project=desk", "--format=openai", f"--out={file}")
    call_command("export_data", *options, stdout=StringIO())
    assert json.loads(file.read_text()) == {
        "input": {"messages": [ASKED]},
        "preferred_output": [{"role": "assistant", "content": "On its way."}],
        "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
    }
    shown = page(browsers["zed"], "export/")
    assert "?format=openai&amp;version=1" in shown and "the pairs as chats" in shown


def use_stage(project: Project, browsers: Browsers) -> None:
    run = Run.objects.get(round=make_round(project, 1, "running", done=5))
    folder = run.directory / "repeats"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"metrics": {"completions": 3, "repeats": 1}}))
    assert "Count repeats" in page(browsers["olga"], "rounds/1/")
    assert stage_results.apply(run, "repeats")
    assert StageResult.objects.get(stage="repeats").metrics["repeats"] == 1
    [told] = browsers["olga"].get("/api/v1/projects/desk/rounds/").json()["rounds"]
    assert told["stages"][-1]["title"] == "Count repeats"


def use_gate(project: Project, browsers: Browsers) -> None:
    add_starter(project)
    run = Run.objects.get()
    evaluated = StageResult.objects.get(run=run, stage="evaluate")
    evaluated.metrics = NUMBERS["evaluate"] | {"self_bleu": 0.95}
    evaluated.save()
    version = ModelVersion.objects.create(
        project=project, kind="policy", number=1, path="policy", state="candidate", run=run
    )
    promotion.judge(version, RoundConfig().gates)
    version.refresh_from_db()
    sentence = "Replies like one another (self-BLEU): 0.95, outside (at most 0.9)"
    assert version.state == "candidate" and sentence in version.note
    assert sentence in page(browsers["olga"], "rounds/1/")


def use_optimiser(browsers: Browsers) -> None:
    assert '<option value="ipo">IPO (votes alone)' in page(browsers["zed"], "rounds/new/")


def use_page(project: Project, browsers: Browsers) -> None:
    project.pairs.update(state="retired", open_slots=0)
    shown = page(browsers["olga"], "retired/")
    assert all(pair.key in shown for pair in project.pairs.all())
    assert '/projects/desk/retired/"' in page(browsers["olga"], "quality/")
    assert '/projects/desk/retired/"' not in page(browsers["ann"], "me/")
    assert browsers["ann"].get("/projects/desk/retired/").status_code == 403
    assert browsers["eve"].get("/projects/desk/retired/").status_code == 404
    assert Client().get("/projects/desk/retired/").status_code == 302
