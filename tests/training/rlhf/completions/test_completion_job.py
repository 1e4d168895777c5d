"""`complete`: completions by servers, kept reply by reply; without a training stack."""

from __future__ import annotations

import json
from collections import Counter
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.training.fake_endpoint import Server
from tests.training.rlhf import world
from training.rlhf import rows
from training.rlhf.__main__ import main
from training.rlhf.completions import openai_endpoint
from training.rlhf.config import CompletionsJob, ConfigError, EndpointConfig, SourceConfig
from training.rlhf.rows import Candidate, Completion
from training.rlhf.run.run_directory import DONE, STOPPED, USAGE, RunDirectory

PROMPTS = 12


def source(server: Server, model: str = "desk", name: str = "") -> dict[str, Any]:
    return {"name": name or model, "endpoint": {"url": server.url, "model": model, "retries": 1}}


def write(folder: Path, *sources: dict[str, Any], **how: Any) -> int:
    folder.mkdir(exist_ok=True)
    prompts = folder / "prompts.jsonl"
    if not prompts.exists():
        chats = [[{"role": "user", "content": f"Prompt {i}"}] for i in range(PROMPTS)]
        rows.write(prompts, ({"prompt_id": f"p{i}", "messages": c} for i, c in enumerate(chats)))
    job = {"prompts": str(prompts), "sources": list(sources), "seed": 3} | how
    (folder / "config.json").write_text(json.dumps(job))
    return main(["complete", "--config", str(folder / "config.json"), "--out", str(folder / "out")])


def read(folder: Path) -> tuple[list[Completion], list[Candidate], dict[str, float]]:
    meta = RunDirectory(folder).stage_meta("out")
    assert meta is not None
    out = folder / "out"
    completions = list(rows.read(Completion, out / "completions.jsonl"))
    return completions, list(rows.read(Candidate, out / "pairs.jsonl")), meta["metrics"]


def test_one_model_gives_pairs_of_its_own_samples(server: Server, tmp_path: Path) -> None:
    assert write(tmp_path / "run", source(server), per_prompt=5) == DONE
    completions, pairs, metrics = read(tmp_path / "run")
    assert len(completions) == PROMPTS * 5 == metrics["requests"] == len(server.asked)
    assert set(Counter(pair.prompt_id for pair in pairs).values()) == {2}
    sides = [key for pair in pairs for key in (pair.completion_a, pair.completion_b)]
    assert len(set(sides)) == len(sides)
    assert metrics["tokens_in"] == 7 * PROMPTS * 5
    assert metrics["tokens_out"] == sum(one.n_tokens for one in completions)
    assert "logprobs" not in server.asked[0]


def test_two_models_give_pairs_of_one_of_each(server: Server, tmp_path: Path) -> None:
    assert write(tmp_path / "run", source(server), source(server, "other"), per_prompt=1) == DONE
    completions, pairs, _ = read(tmp_path / "run")
    texts = {one.key: one.text.split()[0] for one in completions}
    assert len(pairs) == PROMPTS
    assert {frozenset((texts[p.completion_a], texts[p.completion_b])) for p in pairs} == {
        frozenset(("desk", "other"))
    }
    assert len({texts[pair.completion_a] for pair in pairs}) == 2  # neither is always the first


def test_the_same_seed_gives_the_same_completions(server: Server, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, source(server))
    first, second = ({one.key for one in read(tmp_path / name)[0]} for name in ("a", "b"))
    assert first == second


def test_equal_and_empty_replies_are_left_out_and_counted(server: Server, tmp_path: Path) -> None:
    server.says = lambda body: (
        "" if body["messages"][0]["content"] == "Prompt 1" else " Always  the same.\n"
    )
    write(tmp_path / "run", source(server), per_prompt=3)
    lines = [
        json.loads(line)
        for line in (tmp_path / "run/checkpoints/out/written.jsonl").read_text().splitlines()
    ]
    by_id = {line["prompt_id"]: line for line in lines}
    assert by_id["p1"]["left_out"] == {"empty": 3} and not by_id["p1"]["completions"]
    assert by_id["p2"]["equal"] == 2 and len(by_id["p2"]["completions"]) == 1
    assert read(tmp_path / "run")[1] == []


def test_a_server_that_breaks_half_way_is_asked_for_the_rest_alone(
    server: Server, tmp_path: Path
) -> None:
    write(tmp_path / "straight", source(server))
    straight = {one.key for one in read(tmp_path / "straight")[0]}
    server.asked.clear()
    server.failures = [*[None] * 9, *[(503, {}, b"gone")] * 100]
    assert write(tmp_path / "run", source(server)) == USAGE
    answered = 9
    server.failures = []
    server.asked.clear()
    assert write(tmp_path / "run", source(server)) == DONE
    assert len(server.asked) == PROMPTS * 2 - answered
    assert {one.key for one in read(tmp_path / "run")[0]} == straight


def test_what_a_killed_writer_left_of_a_line_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.failures = [*[None] * 9, *[(503, {}, b"gone")] * 100]
    one_by_one = source(server)
    one_by_one["endpoint"]["concurrency"] = 1
    write(tmp_path / "run", one_by_one)
    replies = tmp_path / "run/checkpoints/out/replies.jsonl"
    whole = replies.read_bytes()
    replies.write_bytes(whole[:-5])
    server.failures = []
    server.asked.clear()
    assert write(tmp_path / "run", one_by_one) == DONE
    assert len(server.asked) == PROMPTS * 2 - 8
    completions, _, metrics = read(tmp_path / "run")
    assert len(completions) == PROMPTS * 2 == metrics["requests"]


def test_a_prompt_that_the_server_refuses_is_counted_and_the_others_go_on(
    server: Server, tmp_path: Path
) -> None:
    refusal = (400, {}, b'{"error": {"message": "too long"}}')
    server.fails = lambda body: refusal if "Prompt 3" in str(body["messages"]) else None
    assert write(tmp_path / "run", source(server)) == DONE
    completions, _, metrics = read(tmp_path / "run")
    assert metrics["failed"] == 2 and len(completions) == (PROMPTS - 1) * 2


def test_a_server_that_refuses_everything_is_given_up(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fails = lambda body: (400, {}, b'{"error": "no such sampling"}')
    assert write(tmp_path / "run", source(server)) == USAGE
    assert "none of 20 requests was answered" in capsys.readouterr().err


def test_an_unknown_model_is_told_with_those_that_are_there(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fails = lambda body: (404, {}, b"{}")
    assert write(tmp_path / "run", source(server, "deks")) == USAGE
    told = capsys.readouterr().err
    assert "knows no model deks" in told and "offers: desk, old-desk" in told


def test_a_server_that_knows_the_length_by_its_newer_name_is_told_that(
    server: Server, tmp_path: Path
) -> None:
    refusal = (400, {}, b'{"error": "use max_completion_tokens instead"}')
    server.fails = lambda body: refusal if "max_tokens" in body else None
    assert write(tmp_path / "run", source(server)) == DONE
    assert len(read(tmp_path / "run")[0]) == PROMPTS * 2


def test_the_server_says_how_long_to_wait(server: Server) -> None:
    endpoint = openai_endpoint.Endpoint(EndpointConfig(url=server.url), "desk")
    waits = [endpoint._wait(0, asked) for asked in ("0", "61", "9999999")]
    assert waits == [0.0, 61.0, openai_endpoint.MOST_ASKED]
    soon = endpoint._wait(0, formatdate(usegmt=True))
    assert 0 <= soon <= 1
    assert endpoint._wait(0, "soon") <= openai_endpoint.FIRST_WAIT


def test_a_stop_keeps_the_replies_that_were_on_their_way(server: Server, tmp_path: Path) -> None:
    def says(body: dict[str, Any]) -> str:
        if len(server.asked) > 4:
            RunDirectory.request_stop(stopped[0])
        return f"{body['seed']}"

    stopped: list[RunDirectory] = []
    original = RunDirectory.claim

    def claim(self: RunDirectory, fence: int | None = None) -> Any:
        stopped[:] = [self]
        return original(self, fence)

    server.says = says
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "claim", claim)
        assert write(tmp_path / "run", source(server)) == STOPPED
    kept = (tmp_path / "run/checkpoints/out/replies.jsonl").read_text().splitlines()
    assert len(kept) == len(server.asked) < PROMPTS * 2
    assert write(tmp_path / "run", source(server)) == DONE
    assert len(server.asked) == PROMPTS * 2


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([{"name": "a"}], "a needs a folder or an endpoint"),
        ([{"name": "a", "folder": "x"}] * 2, "two of the same name"),
        ([{"name": n, "folder": "x"} for n in "abc"], "one or two"),
    ],
)
def test_sources_that_cannot_be_told_apart_are_refused(
    sources: list[dict[str, str]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        CompletionsJob(sources=tuple(SourceConfig(**one) for one in sources))


def test_a_model_here_and_a_server_write_beside_each_other(server: Server, tmp_path: Path) -> None:
    here = {"name": "starter", "folder": str(world.starter(tmp_path / "starter"))}
    how = {"per_prompt": 1, "max_new_tokens": 8, "device": "cpu", "threads": 1}
    assert write(tmp_path / "run", source(server), here, **how) == DONE
    lines = rows.read_json(tmp_path / "run/out/completions.jsonl")
    by_source = Counter(row["source"] for _, row in lines)
    assert by_source["desk"] == PROMPTS and by_source["starter"] > PROMPTS / 2
    completions, pairs, metrics = read(tmp_path / "run")
    assert len(pairs) == by_source["starter"] and metrics["requests"] == PROMPTS * 2
    assert all(one.n_tokens > 0 for one in completions)
