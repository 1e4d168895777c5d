"""Several models answer one chat, piece by piece."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.fake_endpoint import Server
from tests.training.rlhf import tiny
from training.rlhf.completions import sampling
from training.rlhf.completions.writers import Settings
from training.rlhf.language import chat_template, generation, pretrained
from training.rlhf.metrics.texts.broken_replies import FALLBACK
from training.rlhf.reward import reward_model
from training.rlhf.serving import playground_generator
from training.rlhf.serving.playground_generator import Memory, Question

CPU = torch.device("cpu")
CHAT = [{"role": "user", "content": "Tell me about the parcel."}]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two policies and a reward model."""
    home = tmp_path_factory.mktemp("models")
    found = {"llama": tiny.llama(home / "llama"), "other": tiny.llama(home / "other", seed=1)}
    torch.manual_seed(0)
    scorer = reward_model.new(found["llama"], pooling="last", max_length=128, device=CPU)
    torch.nn.init.normal_(scorer.head.weight)  # type: ignore[union-attr, arg-type]
    scorer.save(home / "reward")
    return {name: str(path) for name, path in found.items()} | {"reward": str(home / "reward")}


def question(*paths: str, **changes: Any) -> Question:
    how: dict[str, Any] = {"max_new_tokens": 12, "seed": 3} | changes
    return Question(messages=CHAT, models=[{"path": path} for path in paths], **how)


def told(asked: Question, memory: Memory | None = None) -> list[dict[str, Any]]:
    """Everything that somebody who waits is told."""
    said: list[dict[str, Any]] = []
    playground_generator.answer(asked, memory or Memory(CPU), tell=said.append, wanted=lambda: True)
    return said


@pytest.mark.parametrize("write", [tiny.llama, tiny.gpt2, tiny.t5])
def test_a_streamed_reply_is_the_one_that_is_generated_whole(write: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    model, words = pretrained.load_causal(folder), pretrained.load_tokenizer(folder)
    how = {"max_new_tokens": 12, "temperature": 0.7, "seed": 5, "stop_ids": [2]}
    prompt = chat_template.prompt_ids(words, CHAT)
    [whole] = generation.generate(model, words, [prompt], **how)
    lengths = []
    for response in generation.stream(model, words, prompt, **how):
        lengths.append(len(response.ids))
    assert response == whole
    assert lengths == list(range(1, len(whole.ids) + 1))


def test_every_model_replies_as_it_would_alone_and_is_scored(folders: dict[str, str]) -> None:
    asked = question(folders["llama"], folders["other"], reward=folders["reward"])
    last = told(asked)[-1]
    assert last["state"] == "done"
    settings = Settings(asked.temperature, asked.max_new_tokens, 1)
    scorer = reward_model.load(folders["reward"])
    for path, reply in zip((folders["llama"], folders["other"]), last["replies"], strict=True):
        [alone] = sampling.Policy(path, device=CPU).reply([CHAT], settings, seed=asked.seed)
        assert (reply["text"], reply["tokens"]) == (alone.text, len(alone.ids))
        assert reply["score"] == pytest.approx(scorer.score([CHAT], [alone.text])[0], abs=1e-5)


def test_what_a_context_has_no_room_for_is_counted(folders: dict[str, str]) -> None:
    asked = question(folders["llama"])
    long = [{"role": "user", "content": "Tell me about the parcel. " * 60}]
    policy = sampling.Policy(folders["llama"], device=CPU)
    room = generation.prompt_room(policy.model, asked.max_new_tokens)
    over = len(chat_template.prompt_ids(policy.tokenizer, long)) - room
    assert over > 0
    for messages, cut in ((CHAT, 0), (long, over)):
        [reply] = told(replace(asked, messages=messages))[-1]["replies"]
        assert (reply["cut"], reply["error"]) == (cut, "")


def test_texts_grow_while_they_are_written(
    folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playground_generator, "TELL_SECONDS", 0.0)
    said = told(question(folders["llama"], folders["llama"]))
    counts = [[one["tokens"] for one in at["replies"]] for at in said if at["state"] == "writing"]
    assert counts[:3] == [[1, 1], [2, 2], [3, 3]]  # both at a time, not one after the other


def test_what_is_wrong_with_one_model_is_said_beside_it_and_the_others_go_on(
    folders: dict[str, str], tmp_path: Path
) -> None:
    asked = question(str(tmp_path), folders["llama"], reward=str(tmp_path / "none"))
    broken, fine = told(asked)[-1]["replies"]
    assert "config.json is missing" in broken["error"] and broken["text"] == ""
    assert fine["tokens"] and fine["score"] is None
    assert "Not scored: there is no model folder" in fine["error"]


def test_numbers_that_are_none_are_said_instead_of_written(
    folders: dict[str, str], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    scorer = reward_model.new(folders["llama"], pooling="last", max_length=128, device=CPU)
    torch.nn.init.constant_(scorer.head.weight, torch.nan)  # type: ignore[union-attr, arg-type]
    scorer.save(tmp_path / "reward")
    [reply] = told(question(folders["llama"], reward=str(tmp_path / "reward")))[-1]["replies"]
    assert reply["text"] and reply["score"] is None
    assert reply["error"] == "Not scored: the reward model's scores are not finite"
    [reply] = told(question(folders["llama"], temperature=1e-300))[-1]["replies"]
    assert reply["error"] == "the model's probabilities are not finite"


def test_a_reply_that_never_ends_is_called_truncated(folders: dict[str, str]) -> None:
    [reply] = told(question(folders["llama"], max_new_tokens=2))[-1]["replies"]
    assert not reply["finished"] and reply["fault"] in ("truncated", "empty")
    assert reply["shown"] == FALLBACK


def test_a_longer_reply_than_the_model_can_write_is_refused_in_words(
    folders: dict[str, str],
) -> None:
    [reply] = told(question(folders["llama"], max_new_tokens=256))[-1]["replies"]
    assert "leaves no room for a prompt" in reply["error"]


def test_a_model_behind_a_server_stands_beside_the_others(
    folders: dict[str, str],
    server: Server,
) -> None:
    served = {"url": server.url, "model": "desk-7"}
    asked = Question(messages=CHAT, models=[served, {"path": folders["llama"]}], seed=4)
    heard, local = told(asked)[-1]["replies"]
    assert heard["text"] == "desk-7 4 Tell me about the parcel." and heard["finished"]
    assert local["tokens"] and not local["error"]


def test_only_what_the_last_question_needed_stays_in_memory(folders: dict[str, str]) -> None:
    memory = Memory(CPU)
    told(question(folders["llama"], folders["other"], reward=folders["reward"]), memory)
    kept = memory.policies[folders["llama"]]
    told(question(folders["llama"]), memory)
    assert memory.policies == {folders["llama"]: kept} and memory.rewards == {}


def test_a_spool_is_served_in_order_until_nobody_asks(
    folders: dict[str, str], tmp_path: Path
) -> None:
    for name in ("inbox", "outbox"):
        (tmp_path / name).mkdir()
    for name, path in (("2", folders["other"]), ("1", folders["llama"])):
        asked = {"messages": CHAT, "models": [{"path": path}], "max_new_tokens": 4}
        (tmp_path / "inbox" / f"{name}.json").write_text(json.dumps(asked))
    (tmp_path / "inbox" / "3.json").write_text('{"models": 7}')
    playground_generator.serve(tmp_path, idle=0.3, device=CPU)
    answers = [json.loads((tmp_path / "outbox" / f"{n}.json").read_text()) for n in (1, 2, 3)]
    assert [answer["state"] for answer in answers] == ["done"] * 3
    assert [len(answer["replies"]) for answer in answers] == [1, 1, 0]
    assert "TypeError" in answers[2]["error"]


def test_a_question_that_is_taken_away_ends_the_answer(
    folders: dict[str, str], tmp_path: Path
) -> None:
    for name in ("inbox", "outbox"):
        (tmp_path / name).mkdir()
    file, out = tmp_path / "inbox" / "1.json", tmp_path / "outbox" / "1.json"
    model = tiny.llama_model()
    with torch.no_grad():
        model.lm_head.weight[2] = 0  # the end token becomes unlikely
    folder = tiny.write(tmp_path / "endless", model, tiny.tokenizer())
    asked = {"messages": CHAT, "models": [{"path": str(folder)}], "max_new_tokens": 200}
    file.write_text(json.dumps(asked))

    def take_away() -> None:
        while not out.exists():
            time.sleep(0.005)
        file.unlink()

    thread = threading.Thread(target=take_away)
    thread.start()
    playground_generator.serve(tmp_path, idle=0.3, device=CPU)
    thread.join()
    assert json.loads(out.read_text())["state"] != "done"
