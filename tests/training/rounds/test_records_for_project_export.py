"""Rounds, runs and model versions leave with a whole project, as records with a hash."""

from __future__ import annotations

import json

from annotate import exchange
from annotate.exporting.project.project_file_writer import project_lines, record_sha256
from training.models import ModelVersion, Round, Run, StageResult


def test_what_ended_leaves_as_records_and_no_weights(project, client_for, zed):
    ended = Round.objects.create(project=project, number=1, state="done", dataset_version=1)
    Round.objects.create(project=project, number=2, state="running")
    run = Run.objects.create(project=project, round=ended, state="done")
    StageResult.objects.create(run=run, stage="train_reward", metrics={"steps": 3.0})
    starter = ModelVersion.objects.create(project=project, kind="policy", number=0, path="x/y")
    version = ModelVersion.objects.create(
        project=project,
        kind="policy",
        number=1,
        path="runs/secret-folder",
        parent=starter,
        run=run,
        dataset_version=1,
        metrics={"accuracy": 0.75},
    )
    version.decisions.create(state="promoted", note="It wins.")
    frozen = exchange.freeze(project)
    lines = [json.loads(line) for line in project_lines(frozen)]
    records = {line["name"]: line for line in lines if line["type"] == "record"}
    assert list(records) == ["round-1", str(run.uuid), "policy-0", "policy-1"]
    for one in records.values():
        assert one["sha256"] == record_sha256(one["record"])
    policy = records["policy-1"]["record"]
    assert policy["metrics"] == {"accuracy": 0.75}
    assert (policy["parent"], policy["run"]) == ("policy-0", str(run.uuid))
    assert [made["note"] for made in policy["decisions"]] == ["It wins."]
    assert records[str(run.uuid)]["record"]["stages"][0]["metrics"] == {"steps": 3.0}
    assert "secret-folder" not in json.dumps(lines)
    project.training_records.create(
        **{name: records["policy-1"][name] for name in ("kind", "name", "sha256", "record")}
    )
    page = client_for(zed).get("/projects/desk/versions/1/").text
    assert records["policy-1"]["sha256"] in page and "It wins." in page
