"""Replies from a server, against a small one that speaks the same protocol."""

from __future__ import annotations

import dataclasses
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.fake_endpoint import Server
from tests.training.rlhf import tiny, world
from training.rlhf import rows
from training.rlhf.__main__ import main
from training.rlhf.completions import openai_endpoint, sampling
from training.rlhf.completions.openai_endpoint import Endpoint, EndpointError
from training.rlhf.completions.writers import Reply, Settings
from training.rlhf.config import ConfigError, EndpointConfig, JudgeConfig, SampleConfig
from training.rlhf.evaluation import kl_and_perplexity, llm_judge
from training.rlhf.rows import Completion
from training.rlhf.run.run_directory import USAGE
from training.rlhf.run.work import Work

SETTINGS = Settings(temperature=0.7, max_new_tokens=8, batch_size=2, top_p=0.9)
CHATS = [[{"role": "user", "content": f"Tell me about parcel {i}."}] for i in range(6)]


def ask(server: Server, *, seed: int = 1, **changes: Any) -> list[Reply]:
    config = EndpointConfig(url=server.url, **changes)
    return Endpoint(config, "desk").reply(CHATS, SETTINGS, seed=seed)


def test_every_chat_gets_its_own_reply_with_its_own_seed(server: Server) -> None:
    replies = ask(server)
    assert len({reply.seed for reply in replies}) == len(CHATS)
    for chat, reply in zip(CHATS, replies, strict=True):
        assert reply.text == f"desk {reply.seed} {chat[-1]['content']}"
        assert reply.finished and reply.logprobs == [-0.5, -1.5] and reply.ids == []
    assert ask(server) == replies and ask(server, seed=2) != replies
    sent = server.asked[0]
    assert sent["path"] == "/v1/chat/completions"
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"]) == (0.7, 0.9, 8)


def test_a_server_that_tells_no_logprobs_leaves_them_empty(server: Server) -> None:
    server.tells_logprobs = False
    assert all(reply.logprobs == [] for reply in ask(server))


def test_no_more_requests_at_a_time_than_asked_for(server: Server) -> None:
    ask(server, concurrency=2)
    assert server.most_together <= 2


def test_a_busy_server_is_asked_again(server: Server) -> None:
    calm = ask(server)
    server.failures = [
        (503, {}, b"loading"),
        (429, {"Retry-After": "0"}, b'{"error": {"message": "slow down"}}'),
        (500, {}, b"{}"),
    ]
    assert ask(server) == calm


def test_one_that_stays_busy_is_given_up_with_what_it_said(server: Server) -> None:
    server.failures = [(429, {}, b'{"error": {"message": "no more today"}}')] * 100
    with pytest.raises(EndpointError, match=r"is busy \(429\): no more today"):
        ask(server, retries=2, concurrency=1)
    assert len(server.asked) == 3  # the other chats were not asked


@pytest.mark.parametrize(
    ("code", "said", "message"),
    [
        (404, b'{"detail": "no model"}', r"knows no model desk, .* \(404\): no model"),
        (400, b'{"detail": "too long"}', r"refuses the request \(400\): too long"),
        (302, b"", r"sends requests on to another address \(302\), which is not followed"),
        (401, b'{"error": {"message": "who?"}}', r"wants another key than PAIRLOOP_ENDPOINT_KEY"),
        (200, b"<html>hello</html>", "answers no chat completion: '<html>"),
        (200, b'{"choices": []}', "answers no chat completion"),
    ],
)
def test_what_cannot_get_better_is_said_at_once(
    server: Server, code: int, said: bytes, message: str
) -> None:
    server.failures = [(code, {}, said)] * 6
    with pytest.raises(EndpointError, match=message):
        ask(server, concurrency=1)
    assert len(server.asked) == 1


def test_the_key_comes_from_the_environment_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(server)
    monkeypatch.setenv("PAIRLOOP_ENDPOINT_KEY", "s3cret")
    ask(server)
    assert set(server.keys[:6]) == {None} and set(server.keys[6:]) == {"Bearer s3cret"}


def test_a_reply_can_be_read_while_it_is_written(server: Server) -> None:
    desk = Endpoint(EndpointConfig(url=server.url), "desk")
    pieces = list(desk.stream(CHATS[0], SETTINGS, seed=3))
    assert len(pieces) > 3 and "".join(pieces).split() == [
        "desk",
        "3",
        "Tell",
        "me",
        "about",
        "parcel",
        "0.",
    ]
    server.failures = [(503, {}, b"later")]
    with pytest.raises(EndpointError, match=r"is busy \(503\): later"):
        list(desk.stream(CHATS[0], SETTINGS, seed=3))


def test_an_absent_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_endpoint, "FIRST_WAIT", 0.01)
    with socket.socket() as taken:  # bound and not listening: nobody else can answer there
        taken.bind(("127.0.0.1", 0))
        config = EndpointConfig(url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", retries=1)
        with pytest.raises(EndpointError, match="no server answers at http"):
            Endpoint(config, "desk").reply(CHATS, SETTINGS, seed=0)


# Sampling and evaluation


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.starter(tmp_path_factory.mktemp("starter"))


def draw(starter: Path, out: Path, **server: Any) -> list[Completion]:
    out.mkdir(exist_ok=True)
    sampling.sample_completions(
        starter,
        {"starter": starter},
        world.prompts(40),
        SampleConfig(prompts=10, per_prompt=2, batch_size=2, endpoint=EndpointConfig(**server)),
        out,
        Work.in_folder(out, seed=1, device="cpu", silent=True),
        compared=3,
    )
    return list(rows.read(Completion, out / "completions.jsonl"))


def test_completions_come_from_a_server_and_go_on_after_it_failed(
    server: Server, starter: Path, tmp_path: Path
) -> None:
    names = {"url": server.url, "model": "new-desk", "other": "old-desk"}
    straight = draw(starter, tmp_path / "a", **names)
    assert {(c.policy, c.text.split()[0]) for c in straight} == {
        ("new", "new-desk"),
        ("starter", "old-desk"),
    }
    total = len(server.asked)
    assert all(c.n_tokens > 8 and c.finish_reason == "stop" for c in straight)
    refusal: tuple[int, dict[str, str], bytes] = (
        400,
        {},
        b'{"error": {"message": "out of adapters"}}',
    )
    server.failures = [*[None] * 8, *[refusal] * 8]
    with pytest.raises(EndpointError, match=r"refuses the request \(400\): out of adapters"):
        draw(starter, tmp_path / "b", **names)
    server.failures, before = [], len(server.asked)
    assert draw(starter, tmp_path / "b", **names) == straight
    assert len(server.asked) - before == total - 8  # the first chunk is on disk


def test_a_server_that_loads_by_path_is_asked_for_the_folders(
    server: Server, starter: Path, tmp_path: Path
) -> None:
    draw(starter, tmp_path / "out", url=server.url)
    assert {body["model"] for body in server.asked} == {str(starter)}


def test_naming_only_the_new_policy_is_refused(
    server: Server, starter: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="both names"):
        draw(starter, tmp_path / "out", url=server.url, model="desk")


def test_the_kl_of_replies_from_elsewhere_is_read_here(starter: Path, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    reference = sampling.Policy(starter, device=cpu)
    policy = sampling.Policy(tiny.llama(tmp_path / "other", seed=5), device=cpu)
    settings = Settings(temperature=0.7, max_new_tokens=8, batch_size=2)
    own = policy.reply(CHATS, settings, seed=0)
    expected = kl_and_perplexity.kl_to(reference, CHATS, own, settings)
    untold = [dataclasses.replace(reply, logprobs=[]) for reply in own]
    found = kl_and_perplexity.kl_to(reference, CHATS, untold, settings, reader=policy)
    assert found == pytest.approx(expected, abs=1e-3) and found > 0.5


def test_the_command_line_says_what_is_wrong_in_one_line(
    starter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.write(tmp_path / "prompts.jsonl", world.prompts(8))
    server = {"url": "http://127.0.0.1:9/v1", "retries": 0}
    job = {
        "policy": str(starter),
        "prompts": str(tmp_path / "prompts.jsonl"),
        "sample": {"endpoint": server},
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    out = str(tmp_path / "run" / "sample")
    assert main(["sample", "--config", str(tmp_path / "job.json"), "--out", out]) == USAGE
    assert "error: no server answers at http://127.0.0.1:9/v1" in capsys.readouterr().err


def test_a_server_can_judge_pairs_and_is_asked_in_both_orders(server: Server) -> None:
    """Its answers begin with its name: a judge that always says A is never consistent."""
    config = JudgeConfig(endpoint=EndpointConfig(url=server.url, model="A"))
    ask_judge = llm_judge.load_judge(config, device=torch.device("cpu"))
    texts = [f"reply {i}" for i in range(len(CHATS))]
    found = llm_judge.judge(ask_judge, CHATS, texts, ["another"] * len(CHATS))
    assert {(one.points, one.consistent) for one in found} == {(0.5, False)}
    assert len(server.asked) == 2 * len(CHATS)
    assert {sent["temperature"] for sent in server.asked} == {0.0}
    seen = [sent["messages"][0]["content"] for sent in server.asked]
    assert sum("[Reply A]\nanother" in text for text in seen) == len(CHATS)
