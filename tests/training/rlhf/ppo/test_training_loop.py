from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.rlhf import tiny
from training.rlhf.config import ConfigError, LoraConfig, PPOConfig
from training.rlhf.language import lora_adapters, pretrained
from training.rlhf.language.response_states import Sequences
from training.rlhf.ppo import load_and_save, training_loop
from training.rlhf.ppo.actor_critic import Reading
from training.rlhf.ppo.best_checkpoint import Judge
from training.rlhf.ppo.experience import Experience, Rollouts
from training.rlhf.ppo.load_and_save import trained_weights
from training.rlhf.ppo.ppo_checkpoints import OtherSettings
from training.rlhf.ppo.update import PPO
from training.rlhf.reward.score_functions import Score
from training.rlhf.rows import Prompt
from training.rlhf.run import checkpoints
from training.rlhf.run.failures import Diverged, ModelError, OutOfMemory
from training.rlhf.run.run_directory import Fenced, Stopped
from training.rlhf.run.work import Work

LORA = LoraConfig(r=4)
TOY: dict[str, Any] = {
    "updates": 4,
    "batch_size": 8,
    "minibatch_size": 4,
    "epochs": 2,
    "max_new_tokens": 6,
    "learning_rate": 3e-3,
    "checkpoint_every": 2,
    "target_update_kl": None,
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    return tiny.llama(tmp_path / "starter")


def likes_e(chats: list[Any], replies: list[str]) -> list[float]:
    return [float(reply.count("e")) for reply in replies]


def train(
    starter: Path,
    work: Path,
    *,
    score: Score = likes_e,
    stop_at: int | None = None,
    stop_with: type[Exception] = Stopped,
    prompts: list[Prompt] | None = None,
    policy: Path | None = None,
    judge: Judge | None = None,
    **changes: Any,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Run PPO in `work`; return its summary and every update's metrics.

    `stop_at` ends it at the edge of that update.
    """
    seen: list[dict[str, float]] = []

    def guard() -> None:
        if stop_at is not None and len(seen) >= stop_at:
            raise stop_with

    summary = training_loop.train(
        policy or starter,
        starter,
        prompts or tiny.prompts(10),
        score,
        PPOConfig(**(TOY | changes)),
        work / "model",
        Work(
            seed=3,
            device=torch.device("cpu"),
            checkpoints=work / "checkpoints",
            report=lambda step, total, metrics: seen.append(metrics),
            guard=guard,
        ),
        judge=judge,
    )
    return summary, seen


def learner(starter: Path, *, score: Score = likes_e, **changes: Any) -> PPO:
    config = PPOConfig(**(TOY | changes))
    actor = load_and_save.load(starter, starter, config, device=torch.device("cpu"), seed=0)
    tokenizer = pretrained.load_tokenizer(starter)
    prompts = tiny.prompts(10)
    return PPO(Rollouts(actor, tokenizer, prompts, score=score, config=config, seed=3))


def rolled_out(subject: PPO, update: int) -> tuple[Sequences, Reading, torch.Tensor, list[Reading]]:
    """An update's batch, and how the models read it."""
    queries = subject.rollouts.queries(update)
    batch = subject.rollouts.batch(queries, subject.rollouts.respond(queries, update))
    return batch, *subject.rollouts.read(batch, update)


def written(work: Path) -> dict[str, torch.Tensor]:
    found = {}
    for file in sorted((work / "model").glob("*.safetensors")):
        found |= {f"{file.name}:{name}": value for name, value in load_file(str(file)).items()}
    return found


def assert_same_weights(first: Path, second: Path) -> None:
    one, two = written(first), written(second)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


# Learning


@pytest.mark.parametrize(("lora", "rate"), [(None, 1e-2), (LORA, 3e-3)], ids=["full", "lora"])
def test_the_reward_goes_up_on_a_toy_task(tmp_path, lora, rate):
    summary, _ = train(
        tiny.llama(tmp_path / "starter", sharpness=4.0),
        tmp_path / "run",
        updates=16,
        batch_size=32,
        minibatch_size=16,
        epochs=3,
        learning_rate=rate,
        kl_coef=0.01,
        missing_eos_penalty=0.0,
        checkpoint_every=99,
        lora=lora,
    )
    assert summary["reward_last"] > summary["reward_first"] + 2
    assert summary["kl"] > 0.5


def test_a_penalty_for_not_ending_teaches_the_policy_to_end(starter, tmp_path):
    _, seen = train(
        starter,
        tmp_path / "run",
        score=lambda chats, replies: [0.0] * len(replies),
        updates=16,
        batch_size=32,
        minibatch_size=16,
        epochs=3,
        learning_rate=1e-2,
        kl_coef=0.0,
        missing_eos_penalty=2.0,
        checkpoint_every=99,
    )
    assert seen[-1]["eos_rate"] > seen[0]["eos_rate"] + 0.3
    assert seen[-1]["length"] < seen[0]["length"]


def test_the_result_is_a_model_folder_that_loads_and_differs_from_the_starter(starter, tmp_path):
    summary, seen = train(starter, tmp_path / "run", updates=2)
    assert summary["updates"] == len(seen) == 2
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        trained = pretrained.load_causal(tmp_path / "run" / "model")(ids).logits
        assert not torch.allclose(trained, pretrained.load_causal(starter)(ids).logits)
    assert (tmp_path / "run" / "model" / "value_head.safetensors").exists()
    assert pretrained.load_tokenizer(tmp_path / "run" / "model").chat_template


def test_the_result_of_lora_is_an_adapter_that_the_next_round_goes_on_from(starter, tmp_path):
    train(starter, tmp_path / "one", lora=LORA)
    promoted = tmp_path / "one" / "model"
    assert lora_adapters.adapter_base(promoted) == str(starter)
    _, seen = train(starter, tmp_path / "two", lora=LORA, policy=promoted, updates=1)
    assert seen[0]["kl"] != 0
    assert lora_adapters.adapter_base(tmp_path / "two" / "model") == str(starter)


# What the first update looks like


@pytest.mark.parametrize("kind", ["llama", "gpt2", "smollm2"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_the_first_update_of_the_first_round_has_no_kl(tmp_path, kind, lora):
    starter = getattr(tiny, kind)(tmp_path / "starter")
    _, seen = train(starter, tmp_path / "run", updates=1, lora=lora)
    assert seen[0]["kl"] == 0


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_the_ratio_is_exactly_one_at_the_first_minibatch(starter, lora):
    subject = learner(starter, gradient_accumulation=2, lora=lora)
    batch, old, _, _ = rolled_out(subject, 0)
    first = next(subject.rollouts.minibatches(batch, 0, epoch=0))
    for rows in first:
        part = batch.select(rows)
        reading = subject.actor.read(part, temperature=subject.config.temperature)
        assert torch.equal(reading.logprobs, old.logprobs[rows, : reading.logprobs.shape[1]])


def test_the_policy_is_read_at_the_temperature_it_sampled_with(starter):
    subject = learner(starter, temperature=0.6)
    batch, old, _, _ = rolled_out(subject, 0)
    row = int(batch.lengths.argmax())
    start, n = int(batch.starts[row]), int(batch.lengths[row])
    with torch.no_grad():
        logits = subject.actor.model(batch.ids[row : row + 1]).logits[0]
    expected = (logits[start - 1 : start + n - 1] / 0.6).log_softmax(-1)
    chosen = expected.gather(-1, batch.ids[row, start : start + n, None])[:, 0]
    torch.testing.assert_close(old.logprobs[row, :n], chosen, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_mixed_precision_trains_float32_weights_towards_the_same_policy(starter, lora):
    whole, half = (learner(starter, dtype=d, lora=lora) for d in ("float32", "bfloat16"))
    expected, metrics = whole.step(0), half.step(0)
    # A full reference is kept in bfloat16, the policy in float32: they differ by rounding.
    assert abs(metrics["kl"]) < (0.05 if lora is None else 1e-6)
    assert metrics["entropy"] == pytest.approx(expected["entropy"], rel=0.01)
    assert {tensor.dtype for tensor in trained_weights(half.actor).values()} == {torch.float32}


def test_a_pad_token_that_equals_eos_changes_nothing(tmp_path):
    same = tiny.smollm2(tmp_path / "same")
    apart = tiny.smollm2(tmp_path / "apart")
    tiny.tokenizer().save_pretrained(str(apart))
    assert pretrained.load_tokenizer(same).pad_token != pretrained.load_tokenizer(apart).pad_token
    _, first = train(same, tmp_path / "one", updates=2)
    _, second = train(apart, tmp_path / "two", updates=2)
    assert first == second
    assert first[0]["length"] > 1


# Optimiser steps


@pytest.mark.parametrize("accumulation", [1, 2])
def test_there_is_one_optimiser_step_per_minibatch(starter, accumulation):
    subject = learner(starter, epochs=3, gradient_accumulation=accumulation)
    metrics = subject.step(0)
    assert metrics["optimiser_steps"] == 3 * 8 / 4
    counts = {int(state["step"]) for state in subject.optimizer.state.values()}
    assert counts == {6}


def test_gradient_accumulation_changes_nothing_but_memory(starter):
    whole, split = (learner(starter, gradient_accumulation=n) for n in (1, 4))
    expected, metrics = whole.step(0), split.step(0)
    assert metrics == pytest.approx(expected, abs=1e-4)
    for name, value in trained_weights(split.actor).items():
        torch.testing.assert_close(value, trained_weights(whole.actor)[name], atol=2e-4, rtol=1e-3)


def test_reusing_the_first_reading_changes_nothing_but_time(starter):
    # Gradient checkpointing keeps no graph between the phases, so it reads everything again.
    fast, slow = (learner(starter, epochs=1, gradient_checkpointing=on) for on in (False, True))
    expected, metrics = slow.step(0), fast.step(0)
    assert metrics == pytest.approx(expected, abs=1e-6)
    for name, value in trained_weights(fast.actor).items():
        gradient, other = value.grad, trained_weights(slow.actor)[name].grad
        torch.testing.assert_close(gradient, other, atol=1e-6, rtol=1e-5)


def test_a_constant_in_every_score_changes_nothing(starter):
    def shifted(chats: list[Any], replies: list[str]) -> list[float]:
        return [value - 30 for value in likes_e(chats, replies)]

    near, far = (learner(starter, score=s, score_clip=None) for s in (likes_e, shifted))
    for update in range(3):
        found, other = near.step(update), far.step(update)
        assert other["reward"] == pytest.approx(found["reward"] - 30, abs=1e-4)
        for name in ("kl", "policy_loss", "value_loss", "grad_norm"):
            assert other[name] == pytest.approx(found[name], abs=1e-3, rel=1e-3), name


def test_the_policy_is_read_once_per_minibatch_when_there_is_one_epoch(starter):
    subject = learner(starter, epochs=1, minibatch_size=8, lora=LORA)
    reads: list[bool] = []
    subject.actor.model.get_base_model().model.register_forward_hook(
        lambda *_: reads.append(torch.is_grad_enabled())
    )
    batch, old, _, readings = rolled_out(subject, 0)
    assert reads.count(True) == len(readings) >= 1
    experience = Experience(batch, old.logprobs, old.values, batch.mask, batch.mask)
    subject._optimise(0, experience, readings)
    assert reads.count(True) == len(readings)


def test_gradients_of_policy_and_critic_are_clipped(starter):
    subject = learner(starter, max_grad_norm=1e-3)
    assert subject.step(0)["grad_norm"] > 1e-3
    for group in subject.optimizer.param_groups:
        grads = [p.grad.norm() for p in group["params"] if p.grad is not None]
        assert 0 < torch.stack(grads).norm().item() <= 1e-3 * 1.001


def test_an_update_that_moves_too_far_leaves_its_remaining_epochs(starter):
    calm = learner(starter, epochs=6, learning_rate=3e-2, target_update_kl=1e-4).step(0)
    assert calm["optimiser_steps"] == 2
    assert calm["approx_kl"] > 1e-4


def test_a_learning_rate_that_decays_reaches_its_last_step_small(starter):
    subject = learner(starter, learning_rate_decay="linear", critic_learning_rate=1e-4)
    subject.step(3)
    rates = [group["lr"] for group in subject.optimizer.param_groups]
    assert rates == pytest.approx([3e-3 / 4, 1e-4 / 4])


@pytest.mark.parametrize(
    ("decay", "shares"),
    [
        ("none", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4]),
    ],
)
def test_a_learning_rate_rises_in_the_warm_up_and_then_decays(decay, shares):
    config = PPOConfig(updates=6, warmup_updates=2, learning_rate_decay=decay)
    assert [config.rate_share(update) for update in range(6)] == pytest.approx(shares)


def test_a_warm_up_that_never_ends_is_refused():
    with pytest.raises(ConfigError, match="warmup_updates must be less"):
        PPOConfig(updates=4, warmup_updates=4)


# KL


def test_adaptive_kl_moves_within_a_short_round(starter, tmp_path):
    _, seen = train(starter, tmp_path / "run", updates=6, kl_coef=0.1, kl_target=50.0)
    assert seen[-1]["kl_coef"] < 0.8 * seen[0]["kl_coef"]
    _, fixed = train(starter, tmp_path / "fixed", updates=3, kl_coef=0.1)
    assert {metrics["kl_coef"] for metrics in fixed} == {0.1}


def test_a_round_ends_when_the_policy_has_drifted_too_far(starter, tmp_path):
    summary, seen = train(
        starter, tmp_path / "run", updates=30, learning_rate=3e-2, kl_coef=0.0, stop_kl=3.0
    )
    assert seen[-1]["kl"] > 3.0
    assert all(metrics["kl"] <= 3.0 for metrics in seen[:-1])
    assert summary["stopped_early"] == 1.0
    again, more = train(
        starter, tmp_path / "run", updates=30, learning_rate=3e-2, kl_coef=0.0, stop_kl=3.0
    )
    assert (again, more) == (summary, [])


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_a_heavy_kl_coefficient_holds_the_policy_to_the_reference(starter, tmp_path, estimator):
    changes = {"updates": 8, "learning_rate": 1e-2, "kl_estimator": estimator}
    free, _ = train(starter, tmp_path / "free", kl_coef=0.0, **changes)
    held, _ = train(starter, tmp_path / "held", kl_coef=2.0, **changes)
    assert held["kl"] < free["kl"] / 2


# Scores


def test_scores_come_from_chats_and_clean_text_and_never_from_held_out_prompts(starter, tmp_path):
    prompts = [replace(p, held_out=n % 2 == 0) for n, p in enumerate(tiny.prompts(10))]
    allowed = [prompt.messages for prompt in prompts if not prompt.held_out]

    def score(chats: list[Any], replies: list[str]) -> list[float]:
        assert all(chat in allowed for chat in chats)
        assert not any(token in reply for reply in replies for token in (tiny.END, tiny.START))
        return [0.0] * len(replies)

    train(starter, tmp_path / "run", score=score, prompts=prompts)


def test_every_prompt_is_used_once_before_any_is_used_again(starter, tmp_path):
    used: list[str] = []

    def score(chats: list[Any], replies: list[str]) -> list[float]:
        used.extend(chat[0]["content"] for chat in chats)
        return [0.0] * len(replies)

    prompts = [
        Prompt(prompt_id=str(n), messages=[{"role": "user", "content": f"Tell me about {n}."}])
        for n in range(12)
    ]
    train(starter, tmp_path / "run", score=score, prompts=prompts, updates=3)
    assert len(set(used[:12])) == 12
    assert sorted(used[:12]) == sorted(used[12:])
    assert used[:12] != used[12:]


def test_a_round_without_training_prompts_is_refused(starter, tmp_path):
    with pytest.raises(ValueError, match="no prompt"):
        train(starter, tmp_path / "run", prompts=[replace(tiny.prompts(1)[0], held_out=True)])


def test_a_prompt_longer_than_the_context_loses_its_left_and_is_counted(starter, tmp_path):
    turn = {"role": "user", "content": "Tell me about the parcel. " * 60}
    long = Prompt(prompt_id="long", messages=[turn])
    summary, seen = train(
        starter,
        tmp_path / "run",
        prompts=[*tiny.prompts(3), long],
        updates=2,
        max_prompt_length=10_000,
        kl_coef=0.0,
    )
    assert summary["prompts_truncated"] == 1
    assert seen[0]["kl"] == 0  # sampled and read with the same prompt
    ids = learner(starter, max_prompt_length=10_000).rollouts.prompts
    assert max(map(len, ids)) <= 256 - TOY["max_new_tokens"]


def test_replies_longer_than_the_context_are_refused_with_both_numbers(starter, tmp_path):
    with pytest.raises(ModelError, match=r"max_new_tokens is 256.* context of 256"):
        train(starter, tmp_path / "run", max_new_tokens=256)


def test_running_out_of_memory_says_what_to_lower_and_leaves_no_model(starter, tmp_path):
    def greedy(chats: list[Any], replies: list[str]) -> list[float]:
        torch.empty(2**50)
        return [0.0] * len(replies)

    with pytest.raises(OutOfMemory, match=r"raise ppo\.gradient_accumulation"):
        train(starter, tmp_path / "run", score=greedy)
    assert not (tmp_path / "run" / "model").exists()


def constant(value: float) -> Score:
    return lambda chats, replies: [value] * len(replies)


@pytest.mark.parametrize(
    ("score", "changes", "low", "high"),
    [
        (0.0, {}, 0.0, 1e-6),
        (0.0, {"length_penalty": 1.0}, 1.0, 50.0),
        (0.0, {"missing_eos_penalty": 3.0}, 1.0, 50.0),
        (1e3, {"score_clip": None}, 1e5, 1e6),
        (1e3, {"score_clip": 2.0}, 0.1, 2.0),
        (1e3, {"score_clip": None, "normalise_scores": True}, 0.0, 1e-6),
    ],
)
def test_what_is_done_to_a_score_reaches_the_returns(starter, score, changes, low, high):
    # A critic that has learnt to expect nothing: its loss is half the mean square of the returns.
    alone = {"epochs": 1, "minibatch_size": 8, "kl_coef": 0.0, "missing_eos_penalty": 0.0}
    subject = learner(starter, score=constant(score), **(alone | {"lam": 1.0} | changes))
    torch.nn.init.constant_(subject.actor.value_head.outer.weight, 1e-9)
    assert low <= subject.step(0)["value_loss"] <= high


def test_an_entropy_bonus_keeps_the_policy_undecided(tmp_path):
    sharp = tiny.llama(tmp_path / "sharp", sharpness=4.0)
    changes = {"updates": 4, "learning_rate": 1e-2, "kl_coef": 0.0, "epochs": 3}
    _, plain = train(sharp, tmp_path / "plain", **changes)
    _, undecided = train(sharp, tmp_path / "undecided", entropy_coef=1.0, **changes)
    assert undecided[-1]["entropy"] > plain[-1]["entropy"] + 0.5


# Divergence


def failing_after(updates: int, value: float) -> Score:
    calls = [0]

    def score(chats: list[Any], replies: list[str]) -> list[float]:
        calls[0] += 1
        return [1.0] * (len(replies) - 1) + [value if calls[0] > updates else 1.0]

    return score


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_ends_the_run_and_keeps_the_last_checkpoint(
    starter, tmp_path, value
):
    with pytest.raises(Diverged, match=r"score of a reply is (nan|inf)"):
        train(starter, tmp_path / "run", score=failing_after(3, value))
    saved = checkpoints.latest(tmp_path / "run" / "checkpoints")
    assert saved is not None
    assert saved.step == 2
    assert not (tmp_path / "run" / "model").exists()
    _, seen = train(starter, tmp_path / "run")
    assert len(seen) == 2


@pytest.mark.parametrize("epochs", [1, 4])
def test_weights_that_explode_end_the_run_with_a_clear_error(starter, tmp_path, epochs):
    with pytest.raises(Diverged, match="finite"):
        train(starter, tmp_path / "run", learning_rate=1e38, epochs=epochs, checkpoint_every=1)
    assert checkpoints.latest(tmp_path / "run" / "checkpoints") is None


def test_one_gradient_that_is_not_finite_is_skipped(starter):
    subject = learner(starter, epochs=1)
    parameter = next(iter(subject.actor.parameters().values()))
    calls = [0]

    def poison(gradient: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        return gradient * math.nan if calls[0] == 1 else gradient

    parameter.register_hook(poison)
    metrics = subject.step(0)
    assert metrics["skipped"] == 0.5  # the first of two steps
    assert all(bool(tensor.isfinite().all()) for tensor in trained_weights(subject.actor).values())


# Stopping and resuming


RESUMABLE: list[tuple[str, dict[str, Any]]] = [
    ("full", {}),
    ("lora", {"lora": LORA}),
    ("bfloat16", {"dtype": "bfloat16"}),
    ("lora in bfloat16", {"dtype": "bfloat16", "lora": LORA}),
    (
        "everything",
        {
            "gradient_accumulation": 2,
            "kl_target": 1.0,
            "kl_estimator": "k3",
            "normalise_scores": True,
            "learning_rate_decay": "cosine",
            "warmup_updates": 2,
            "entropy_coef": 0.01,
            "whiten_rewards": True,
            "length_penalty": 0.1,
        },
    ),
]


@pytest.mark.parametrize("changes", [c for _, c in RESUMABLE], ids=[name for name, _ in RESUMABLE])
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one(starter, tmp_path, changes):
    changes = changes | {"updates": 5}
    whole_summary, whole = train(starter, tmp_path / "whole", **changes)
    with pytest.raises(Stopped):
        train(starter, tmp_path / "parts", stop_at=3, **changes)
    saved = checkpoints.latest(tmp_path / "parts" / "checkpoints")
    assert saved is not None
    assert saved.step == 3  # at the edge, not at checkpoint_every
    torch.manual_seed(99)  # a new process knows nothing of the old one's generators
    summary, rest = train(starter, tmp_path / "parts", **changes)
    assert rest == whole[3:]
    assert summary == whole_summary
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_a_run_killed_at_a_random_update_repeats_the_lost_ones_exactly(starter, tmp_path, lora):
    kill_and_compare(starter, tmp_path, lora)


@pytest.mark.long
@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_kills_at_five_random_updates(starter, tmp_path, lora, attempt):
    kill_and_compare(starter, tmp_path, lora)


def kill_and_compare(starter: Path, folder: Path, lora: LoraConfig | None) -> None:
    update = random.Random().randint(1, 4)
    changes = {"updates": 5, "checkpoint_every": 2, "lora": lora}
    _, whole = train(starter, folder / "whole", **changes)
    with pytest.raises(KeyboardInterrupt):
        train(starter, folder / "parts", stop_at=update, stop_with=KeyboardInterrupt, **changes)
    torch.manual_seed(update)  # a new process knows nothing of the old one's generators
    _, rest = train(starter, folder / "parts", **changes)
    kept = (update - 1) // 2 * 2  # killed before the checkpoint of its update
    assert rest == whole[kept:]
    assert_same_weights(folder / "whole", folder / "parts")


def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(starter, tmp_path):
    _, whole = train(starter, tmp_path / "whole", checkpoint_every=1)
    with pytest.raises(Stopped):
        train(starter, tmp_path / "parts", stop_at=3, checkpoint_every=1)
    newest = tmp_path / "parts" / "checkpoints" / "step-00000003" / "state.pt"
    newest.write_bytes(newest.read_bytes()[:100])
    _, rest = train(starter, tmp_path / "parts", checkpoint_every=1)
    assert rest == whole[2:]
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_a_score_that_draws_from_torch_resumes_too(starter, tmp_path):
    def noisy() -> Callable[[list[Any], list[str]], list[float]]:
        return lambda chats, replies: torch.rand(len(replies)).tolist()

    _, whole = train(starter, tmp_path / "whole", score=noisy())
    with pytest.raises(Stopped):
        train(starter, tmp_path / "parts", score=noisy(), stop_at=2)
    _, rest = train(starter, tmp_path / "parts", score=noisy())
    assert rest == whole[2:]


def test_a_process_that_lost_its_run_writes_nothing_more(starter, tmp_path):
    with pytest.raises(Fenced):
        train(starter, tmp_path / "run", stop_at=2, stop_with=Fenced)
    assert checkpoints.latest(tmp_path / "run" / "checkpoints") is None
    assert not (tmp_path / "run" / "model").exists()


def test_a_finished_run_started_again_trains_nothing_and_writes_the_same(starter, tmp_path):
    first, _ = train(starter, tmp_path / "run")
    before = written(tmp_path / "run")
    second, seen = train(starter, tmp_path / "run")
    assert (second, seen) == (first, [])
    assert all(
        torch.equal(before[name], value) for name, value in written(tmp_path / "run").items()
    )


def test_checkpoints_of_other_settings_are_refused(starter, tmp_path):
    train(starter, tmp_path / "run", updates=2)
    with pytest.raises(OtherSettings, match=r"differs in settings: .* remove the folder"):
        train(starter, tmp_path / "run", updates=2, kl_coef=0.5)


def test_checkpoints_of_a_policy_whose_folder_was_replaced_are_refused(starter, tmp_path):
    policy = Path(shutil.copytree(starter, tmp_path / "policy"))
    train(starter, tmp_path / "run", updates=2, policy=policy)
    train(starter, tmp_path / "run", updates=2, policy=shutil.copytree(policy, tmp_path / "moved"))
    pretrained.save_model(
        pretrained.load_causal(tiny.llama(tmp_path / "other", sharpness=4.0)),
        pretrained.load_tokenizer(starter),
        policy,
    )
    with pytest.raises(OtherSettings, match="differs in policy:"):
        train(starter, tmp_path / "run", updates=2, policy=policy)


def test_a_stop_before_the_first_update_trains_nothing(starter, tmp_path):
    with pytest.raises(Stopped):
        train(starter, tmp_path / "run", stop_at=0)
    assert not (tmp_path / "run").exists()
