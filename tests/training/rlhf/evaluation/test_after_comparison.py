"""What follows a comparison: success rates, the choice of a checkpoint, the question to people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.rlhf import rows
from training.rlhf.__main__ import main
from training.rlhf.config import ConfigError
from training.rlhf.config.data_config import ScoreJob
from training.rlhf.evaluation import human_evaluation, model_selection, success_rates
from training.rlhf.metrics import intervals
from training.rlhf.run.run_directory import DONE, USAGE


def reply(model: str, prompt: int, text: str, score: float, fault: str = "") -> dict[str, Any]:
    return {
        "model": model,
        "prompt_id": f"p{prompt}",
        "messages": [{"role": "user", "content": f"Question {prompt}?"}],
        "tags": ["toxic"],
        "text": text,
        "fault": fault,
        "numbers": {"score_judge": score},
    }


@pytest.fixture
def replies(tmp_path: Path) -> str:
    """Ten prompts; the new model scores one higher, says the same once and nothing once."""
    found = [reply("old", i, f"old {i}", float(i)) for i in range(10)]
    found += [reply("new", i, f"new {i}", i + 1.0) for i in range(2, 10)]
    found += [reply("new", 0, "old 0", 9.0), reply("new", 1, "", 9.0, fault="empty")]
    rows.write(tmp_path / "replies.jsonl", found)
    return str(tmp_path / "replies.jsonl")


def test_a_success_scores_above_the_median_of_the_baseline_and_has_no_fault(replies: str) -> None:
    found = success_rates.success_rates(replies, "score_judge", "old")
    assert found["threshold"] == 4.5
    assert found["success_old"] == 0.5 and found["success_new"] == 0.7
    assert found["success_new_low"] < 0.7 < found["success_new_high"]


def test_the_intervals_of_success_know_that_the_bar_is_a_guess(tmp_path: Path) -> None:
    """Both policies score alike, so the true rate is one half; the baseline's median of 30 prompts
    misses the bar by so much that Wilson's interval alone holds it far less often than 95 %."""
    rng, covered, known = np.random.default_rng(0), 0, 0
    for trial in range(60):
        found = [
            reply(m, i, f"{m} {i}", float(rng.normal())) for m in ("old", "new") for i in range(30)
        ]
        rows.write(tmp_path / "replies.jsonl", found)
        rates = success_rates.success_rates(
            str(tmp_path / "replies.jsonl"), "score_judge", "old", seed=trial
        )
        covered += rates["success_new_low"] <= 0.5 <= rates["success_new_high"]
        low, high = intervals.wilson(rates["success_new"], 30)
        known += low <= 0.5 <= high
    assert covered >= 54 > known


def test_the_gain_over_the_baseline_is_paired_by_prompt(tmp_path: Path) -> None:
    """Where both succeed and fail on the same prompts there is no doubt about the difference."""
    found = [reply(m, i, f"{m} {i}", float(i % 3)) for m in ("old", "new") for i in range(30)]
    rows.write(tmp_path / "replies.jsonl", found)
    rates = success_rates.success_rates(str(tmp_path / "replies.jsonl"), "score_judge", "old", 0.5)
    assert rates["success_new"] == pytest.approx(2 / 3) and rates["success_new_low"] < 0.6
    assert rates["gain_new"] == rates["gain_new_low"] == rates["gain_new_high"] == 0
    assert "gain_old" not in rates
    rows.write(tmp_path / "replies.jsonl", found[:-1])
    with pytest.raises(ConfigError, match="new and old did not answer the same prompts"):
        success_rates.success_rates(str(tmp_path / "replies.jsonl"), "score_judge", "old")


def test_the_bar_of_success_may_be_fixed(replies: str) -> None:
    found = success_rates.success_rates(replies, "score_judge", "old", 8.5)
    assert found["success_old"] == 0.1 and found["success_new"] == 0.3


def test_the_checkpoint_with_the_highest_scores_is_chosen(replies: str, tmp_path: Path) -> None:
    folders = {name: str(tmp_path / name) for name in ("old", "new")}
    for folder in folders.values():
        Path(folder).mkdir()
        (Path(folder) / "name").write_text(Path(folder).name)
    found = model_selection.link_best(replies, "score_judge", folders, tmp_path)
    assert found["chosen_new"] == 1.0 and found["chosen_old"] == 0.0
    assert (tmp_path / "model" / "name").read_text() == "new"


def test_people_get_pairs_that_do_not_tell_who_wrote_them(replies: str, tmp_path: Path) -> None:
    found = human_evaluation.write_blind_pairs(replies, "new", "old", tmp_path, seed=0)
    assert found == {"pairs": 8.0, "left_out": 2.0}
    pairs = [row for _, row in rows.read_json(tmp_path / "pairs.jsonl")]
    assert {frozenset(pair) for pair in pairs} == {
        frozenset({"prompt", "completion_a", "completion_b", "tags"})
    }
    assert {pair["completion_a"].split()[0] for pair in pairs} == {"new", "old"}, "sides are drawn"
    human_evaluation.write_blind_pairs(replies, "new", "old", tmp_path, seed=0)
    assert pairs == [row for _, row in rows.read_json(tmp_path / "pairs.jsonl")]


def test_prompts_with_the_same_question_and_replies_are_asked_about_once(tmp_path: Path) -> None:
    twice = [reply(model, 0, f"It is {model}.", 0.0) for model in ("new", "old")]
    twice += [row | {"prompt_id": "again"} for row in twice]
    rows.write(tmp_path / "replies.jsonl", twice)
    found = human_evaluation.write_blind_pairs(
        str(tmp_path / "replies.jsonl"), "new", "old", tmp_path, seed=0
    )
    assert found == {"pairs": 1.0, "left_out": 1.0}
    assert len(list(rows.read_json(tmp_path / "key.jsonl"))) == 1


def exported(pairs: list[dict[str, Any]], winner: str) -> list[dict[str, Any]]:
    found = []
    for pair in pairs:
        texts = sorted((pair["completion_a"], pair["completion_b"]), key=lambda t: winner not in t)
        (asked,) = pair["prompt"]
        found.append({"prompt": asked["content"], "chosen": texts[0], "rejected": texts[1]})
    return found


def test_what_people_said_comes_back_as_a_share_with_its_interval(
    replies: str, tmp_path: Path
) -> None:
    human_evaluation.write_blind_pairs(replies, "new", "old", tmp_path, seed=0)
    pairs = [row for _, row in rows.read_json(tmp_path / "pairs.jsonl")]
    votes = exported(pairs[:5], "new") + exported(pairs[5:7], "old")
    votes.append({"prompt": "Other?", "chosen": "x", "rejected": "y"})
    rows.write(tmp_path / "votes.jsonl", votes)
    rows.write(tmp_path / "ties.jsonl", [pairs[7] | {"completion_a": "x"}, pairs[7]])
    settings = {
        "key": str(tmp_path / "key.jsonl"),
        "votes": str(tmp_path / "votes.jsonl"),
        "undecided": str(tmp_path / "ties.jsonl"),
    }
    (tmp_path / "human.json").write_text(json.dumps(settings))
    out = tmp_path / "answer"
    assert main(["human", "--config", str(tmp_path / "human.json"), "--out", str(out)]) == DONE
    found = json.loads((out / "meta.json").read_text())["metrics"]
    assert found["human_win_rate"] == 5.5 / 8 and found["pairs"] == 8 and found["ties"] == 1
    assert found["human_win_rate_low"] < 0.5 < found["human_win_rate_high"]


def test_the_same_two_replies_to_another_prompt_have_their_own_authors(tmp_path: Path) -> None:
    """One model says yes to the first question and no to the second, the other the reverse."""
    said = [("Yes.", "No."), ("No.", "Yes.")]
    found = [reply("new", i, new, 0.0) for i, (new, _) in enumerate(said)]
    found += [reply("old", i, old, 0.0) for i, (_, old) in enumerate(said)]
    chat = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Is it late?"},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Sure?"},
    ]
    found[1]["messages"] = found[3]["messages"] = chat
    rows.write(tmp_path / "replies.jsonl", found)
    human_evaluation.write_blind_pairs(
        str(tmp_path / "replies.jsonl"), "new", "old", tmp_path, seed=0
    )
    told = "\n\nSystem: Be short.\n\nHuman: Is it late?\n\nAssistant: No.\n\nHuman: Sure?"
    votes = [
        {"prompt": "Question 0?", "chosen": "Yes.", "rejected": "No."},
        {"prompt": f"{told}\n\nAssistant:", "chosen": "No.", "rejected": "Yes."},
    ]
    rows.write(tmp_path / "votes.jsonl", votes)
    answer = human_evaluation.human_win_rate(
        str(tmp_path / "key.jsonl"), str(tmp_path / "votes.jsonl")
    )
    assert answer["human_win_rate"] == 1.0 and answer["pairs"] == 2


def test_a_key_of_something_else_is_named(replies: str, tmp_path: Path) -> None:
    human_evaluation.write_blind_pairs(replies, "new", "old", tmp_path, seed=0)
    rows.write(tmp_path / "votes.jsonl", [{"prompt": "Why?", "chosen": "x", "rejected": "y"}])
    with pytest.raises(ConfigError, match=r"pairs\.jsonl, line 1: not a key"):
        human_evaluation.human_win_rate(
            str(tmp_path / "pairs.jsonl"), str(tmp_path / "votes.jsonl")
        )


def judge(chats: list[Any], texts: list[str]) -> list[float]:
    return [float(len(chat) + len(text)) for chat, text in zip(chats, texts, strict=True)]


def test_a_file_of_replies_gets_scores_that_a_reward_model_can_learn(tmp_path: Path) -> None:
    data = [{"prompt": "Why?", "completion": "x" * n} for n in range(1, 6)]
    rows.write(tmp_path / "replies.jsonl", data)
    settings = {
        "replies": str(tmp_path / "replies.jsonl"),
        "reward_function": f"{__name__}:judge",
        "batch_size": 2,
        "held_out_share": 1.0,
    }
    (tmp_path / "score.json").write_text(json.dumps(settings))
    out = tmp_path / "scores"
    assert main(["score", "--config", str(tmp_path / "score.json"), "--out", str(out)]) == DONE
    found = list(rows.read(rows.Rating, out / "scores.jsonl"))
    assert [rating.score for rating in found] == [2, 3, 4, 5, 6]
    assert all(rating.held_out for rating in found)
    assert [rating.completion for rating in found] == [row["completion"] for row in data]


def test_a_result_of_other_settings_or_replies_is_not_taken_for_what_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replies, file, out = (tmp_path / name for name in ("replies.jsonl", "score.json", "scores"))
    rows.write(replies, [{"prompt": "Why?", "completion": "So."}])
    settings = {"replies": str(replies), "reward_function": f"{__name__}:judge"}

    def score(**more: Any) -> int:
        file.write_text(json.dumps(settings | more))
        return main(["score", "--config", str(file), "--out", str(out)])

    assert score() == DONE and score(threads=1) == DONE, "threads change nothing that comes out"
    assert "scores is done already" in capsys.readouterr().err
    assert score(batch_size=2) == USAGE
    assert "scores has other settings (batch_size was 64 and is 2)" in capsys.readouterr().err
    rows.write(replies, [{"prompt": "Why?", "completion": "Because."}])
    assert score() == USAGE
    assert f"scores was made before {replies} changed: remove it" in capsys.readouterr().err


def test_no_batch_is_empty() -> None:
    with pytest.raises(ConfigError, match="batch_size must be at least 1"):
        ScoreJob(batch_size=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r, t: success_rates.success_rates(r, "score_x", "old"), "no number score_x"),
        (lambda r, t: success_rates.success_rates(r, "score_judge", "gone"), "no replies of gone"),
        (
            lambda r, t: model_selection.link_best(r, "score_judge", {"gone": "x"}, t),
            "no replies of gone",
        ),
        (
            lambda r, t: human_evaluation.write_blind_pairs(r, "new", "gone", t, seed=0),
            "no reply of gone",
        ),
        (
            lambda r, t: human_evaluation.write_blind_pairs(r, "new", "new", t, seed=0),
            "no prompt has two different",
        ),
    ],
)
def test_what_the_comparison_lacks_is_named(
    replies: str, tmp_path: Path, call: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        call(replies, tmp_path)
