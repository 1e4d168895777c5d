from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForSequenceClassification, DistilBertConfig, DistilBertModel

from tests.training.rlhf import tiny, trunks, world
from training.rlhf import rows
from training.rlhf.config import ConfigError, LoraConfig, RewardConfig
from training.rlhf.metrics import calibration
from training.rlhf.reward import (
    held_out_report,
    optimiser_loop,
    reward_data,
    reward_model,
    reward_training,
)
from training.rlhf.reward.score_functions import Scale
from training.rlhf.rows import Preference, Rating, Vote
from training.rlhf.run.failures import Diverged
from training.rlhf.run.run_directory import Stopped
from training.rlhf.run.work import Work

CPU = torch.device("cpu")
QUICK = RewardConfig(epochs=1.0, batch_size=8, max_length=128, checkpoint_every=2)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return world.starter(tmp_path_factory.mktemp("starter"))


def train(
    starter: Path,
    out: Path,
    preferences: list[Preference] | list[Rating],
    config: RewardConfig = QUICK,
    *,
    stop_after: int | None = None,
    stop_with: type[BaseException] = Stopped,
    seed: int = 1,
    **options: Any,
) -> tuple[reward_model.RewardModel, dict[str, float], list[tuple[int, dict[str, float]]]]:
    """Train; `stop_after` asks for a stop at the edge of that step."""
    seen: list[tuple[int, dict[str, float]]] = []

    def guard() -> None:
        if seen and seen[-1][0] == stop_after:
            raise stop_with

    model, metrics = reward_training.train(
        starter,
        preferences,
        config,
        out / "model",
        Work(
            seed,
            CPU,
            out / "checkpoints",
            report=lambda done, _, numbers: seen.append((done, numbers)),
            guard=guard,
        ),
        **options,
    )
    return model, metrics, seen


@pytest.mark.parametrize("pooling", ["root", "sum", "mean", "last"])
def test_it_learns_a_planted_rule(starter: Path, tmp_path: Path, pooling: Any) -> None:
    votes = world.preferences(120)
    config = RewardConfig(
        epochs=4.0, batch_size=16, max_length=128, pooling=pooling, learning_rate=2e-3
    )
    model, metrics, _ = train(starter, tmp_path, votes, config)
    fresh = world.preferences(200, seed=9)
    held_out = [p for p in fresh if p.held_out]
    assert held_out_report.held_out(model, held_out).metrics()["accuracy"] > 0.9
    assert metrics["pairs_train"] == sum(not p.held_out for p in votes)
    assert metrics["votes_train"] == 2 * metrics["pairs_train"]


def test_no_held_out_or_evaluation_pair_and_none_without_votes_is_trained_on(starter: Path) -> None:
    model = reward_model.new(starter, pooling="mean", max_length=128, device=CPU)
    votes = world.preferences(12)
    kept = [p for p in votes if not p.held_out]
    changed = [
        Preference(**(vars(kept[0]) | {"kind": "evaluation"})),
        Preference(**(vars(kept[1]) | {"votes": ()})),
        Preference(**(vars(kept[2]) | {"votes": (Vote(annotator="a", choice="a", weight=0.0),)})),
    ]
    found = reward_data.examples([p for p in votes if p.held_out] + changed + kept[3:], model.read)
    assert [example.prompt_id for example in found] == [p.prompt_id for p in kept[3:]]


def test_early_stopping_never_looks_at_a_prompt_it_trains_on(starter: Path) -> None:
    model = reward_model.new(starter, pooling="mean", max_length=128, device=CPU)
    many = [
        Preference(**(vars(p) | {"prompt_id": str(i // 2), "held_out": False}))
        for i, p in enumerate(world.preferences(200))
    ]
    trainer = optimiser_loop.Trainer(model, reward_data.examples(many, model.read), QUICK, seed=0)
    inside, outside = ({e.prompt_id for e in part} for part in (trainer.train, trainer.slice))
    assert outside and not inside & outside


def test_training_and_scoring_see_the_same_tokens(starter: Path) -> None:
    model = reward_model.new(starter, pooling="mean", max_length=128, device=CPU)
    row = world.preferences(1)[0]
    (example,) = reward_data.examples([row], model.read)
    seen: list[list[int]] = []
    forward = model.forward
    model.forward = lambda texts: (seen.extend(t.ids for t in texts), forward(texts))[1]  # type: ignore[method-assign]
    model.score([row.messages, row.messages], [row.completion_a, row.completion_b])
    assert sorted(seen) == sorted([example.first.ids, example.second.ids])
    assert example.first.ids[-example.first.reply - 1 :] != example.second.ids


def test_a_long_pair_is_cut_and_counted_but_never_dropped(starter: Path, tmp_path: Path) -> None:
    votes = world.preferences(12)
    long = Preference(
        **(vars(votes[0]) | {"messages": [{"role": "user", "content": "the parcel " * 200}]})
    )
    _, metrics, _ = train(starter, tmp_path, [long, *votes[1:]])
    assert metrics["truncated"] == 1
    assert metrics["pairs_train"] == sum(not p.held_out for p in votes)


def test_a_saved_model_scores_as_the_trained_one(starter: Path, tmp_path: Path) -> None:
    votes = world.preferences(12)
    model, _, _ = train(starter, tmp_path, votes)
    chats, texts = [p.messages for p in votes], [p.completion_a for p in votes]
    again = reward_model.load(tmp_path / "model")
    assert again.score(chats, texts) == model.score(chats, texts)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert plain.config.num_labels == 1 and plain.config.reward_pooling == "root"


def test_a_score_does_not_depend_on_the_batch_around_it(starter: Path, tmp_path: Path) -> None:
    votes = world.preferences(12)
    model, _, _ = train(starter, tmp_path, votes)
    chats, texts = [p.messages for p in votes], [p.completion_a for p in votes]
    alone = [model.score([c], [t])[0] for c, t in zip(chats, texts, strict=True)]
    assert model.score(chats, texts) == pytest.approx(alone, abs=1e-5)
    assert model.score(chats, texts, batch_size=5) == pytest.approx(alone, abs=1e-5)


def test_a_pad_token_that_is_the_end_token_changes_nothing(tmp_path: Path) -> None:
    base = tiny.smollm2(tmp_path / "smol")
    model, _, _ = train(base, tmp_path, world.preferences(12))
    row = world.preferences(1)[0]
    text = model.read(row.messages, row.completion_a)
    assert text.ids[-1] == model.tokenizer.pad_token_id
    both = model.score([row.messages] * 2, [row.completion_a, row.completion_a + " today" * 9])
    assert both[0] == pytest.approx(model.score([row.messages], [row.completion_a])[0], abs=1e-5)


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_a_resumed_run_equals_an_undisturbed_one(
    starter: Path, tmp_path: Path, stop_after: int
) -> None:
    votes = [Preference(**(vars(p) | {"held_out": False})) for p in world.preferences(40)]
    config = RewardConfig(
        epochs=2.0, batch_size=8, max_length=128, slice_share=0.4, checkpoint_every=2
    )
    _, straight, first = train(starter, tmp_path / "a", votes, config)
    with pytest.raises(Stopped):
        train(starter, tmp_path / "b", votes, config, stop_after=stop_after)
    _, resumed, second = train(starter, tmp_path / "b", votes, config)
    assert straight == pytest.approx(resumed, abs=0, nan_ok=True)
    assert first[stop_after:] == second
    weights = [load_file(tmp_path / run / "model" / "model.safetensors") for run in "ab"]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_killed_at_a_random_step_ends_with_the_same_weights(
    starter: Path, tmp_path: Path
) -> None:
    kill_and_compare(starter, tmp_path, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.parametrize("lora", [None, LoraConfig(r=2)], ids=["full", "lora"])
def test_kills_at_five_random_steps(
    starter: Path, tmp_path: Path, lora: LoraConfig | None, attempt: int
) -> None:
    kill_and_compare(starter, tmp_path, dataclasses.replace(QUICK, lora=lora))


def kill_and_compare(starter: Path, folder: Path, config: RewardConfig) -> None:
    votes, step = world.preferences(64), random.Random().randint(1, 5)
    train(starter, folder / "a", votes, config)
    killed = {"stop_after": step, "stop_with": KeyboardInterrupt}
    with pytest.raises(KeyboardInterrupt):
        train(starter, folder / "b", votes, config, **killed)
    torch.manual_seed(step)  # a new process knows nothing of the old one's generators
    train(starter, folder / "b", votes, config)
    weights = [load_file(folder / run / "model" / "model.safetensors") for run in "ab"]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_checkpoints_of_other_votes_are_refused(starter: Path, tmp_path: Path) -> None:
    votes = world.preferences(24)
    with pytest.raises(Stopped):
        train(starter, tmp_path, votes, stop_after=1)
    with pytest.raises(ConfigError, match="other settings, votes or seed"):
        train(starter, tmp_path, votes[1:])


def test_checkpoints_of_another_base_are_refused(starter: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(starter, tmp_path, world.preferences(24), stop_after=1)
    other = tiny.llama(tmp_path / "other", seed=1)
    with pytest.raises(ConfigError, match="checkpoints of another base"):
        train(other, tmp_path, world.preferences(24))


def test_a_warm_start_knows_from_the_first_step_what_the_earlier_model_had_learnt(
    starter: Path, tmp_path: Path
) -> None:
    config = RewardConfig(epochs=4.0, max_length=128, learning_rate=2e-3)
    train(starter, tmp_path / "a", world.preferences(120), config)
    few = [p for p in world.preferences(12, seed=5) if not p.held_out]
    quick = dataclasses.replace(config, epochs=1.0, learning_rate=1e-5)
    warm, _, _ = train(tmp_path / "a" / "model", tmp_path / "b", few, quick)
    fresh = [p for p in world.preferences(200, seed=9) if p.held_out]
    assert held_out_report.held_out(warm, fresh).metrics()["accuracy"] > 0.9


def test_scores_that_are_equal_count_half_in_the_training_accuracy(
    starter: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(QUICK, probe=False, heads=1)
    _, _, seen = train(starter, tmp_path, world.preferences(12), config)
    assert seen[0][1]["train_accuracy"] == 0.5


def test_where_no_step_helped_the_head_is_fitted_once_more_with_adapters_too(
    starter: Path, tmp_path: Path
) -> None:
    votes = [Preference(**(vars(p) | {"held_out": False})) for p in world.preferences(64)]
    spoilt = dataclasses.replace(QUICK, learning_rate=0.5, slice_share=0.4)
    scores = []
    for name, lora in (("full", None), ("lora", LoraConfig(r=2))):
        config = dataclasses.replace(spoilt, lora=lora)
        model, metrics, _ = train(starter, tmp_path / name, votes, config)
        assert metrics["best_step"] == 0
        scores.append(model.score([p.messages for p in votes], [p.completion_a for p in votes]))
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_the_judge_is_another_model_of_other_prompts(starter: Path, tmp_path: Path) -> None:
    model = reward_model.new(starter, pooling="mean", max_length=128, device=CPU)
    found = reward_data.examples(world.preferences(60), model.read)
    drawn = reward_data.bootstrap(found, seed=2)
    assert {e.prompt_id for e in drawn} < {e.prompt_id for e in found}
    assert max(e.weight for e in drawn) > max(e.weight for e in found)
    first, _, _ = train(starter, tmp_path / "a", world.preferences(24))
    judge, _, _ = train(starter, tmp_path / "b", world.preferences(24), seed=2, resample=True)
    chat, text = world.prompts()[0].messages, "good parcel"
    assert first.score([chat], [text]) != judge.score([chat], [text])


def test_ties_pull_scores_together(starter: Path, tmp_path: Path) -> None:
    votes = world.preferences(40)
    tie = (Vote(annotator="a", choice="tie"), Vote(annotator="b", choice="both_bad"))
    tied = [votes[0], *(Preference(**(vars(p) | {"votes": tie})) for p in votes[1:])]

    def spread(preferences: list[Preference], out: Path) -> float:
        model, _, _ = train(starter, out, preferences)
        return float(np.abs(held_out_report.held_out(model, votes).logits).mean())

    assert spread(tied, tmp_path / "tied") < 0.1 * spread(votes, tmp_path / "decided")


@pytest.mark.parametrize("loss", ["rao_kupper", "davidson"])
def test_a_tie_model_learns_the_rule_and_how_often_people_tie(
    starter: Path, tmp_path: Path, loss: Any
) -> None:
    tie = (Vote(annotator="a", choice="tie"), Vote(annotator="b", choice="tie"))
    votes = [
        Preference(**(vars(p) | {"votes": tie, "completion_b": p.completion_a}))
        if i % 5 == 0
        else p
        for i, p in enumerate(world.preferences(120))
    ]
    config = RewardConfig(epochs=4.0, max_length=128, learning_rate=2e-3, loss=loss)
    model, metrics, _ = train(starter, tmp_path, votes, config)
    fresh = [p for p in world.preferences(200, seed=9) if p.held_out]
    assert held_out_report.held_out(model, fresh).metrics()["accuracy"] > 0.9
    saved = reward_model.load(tmp_path / "model").classifier.config
    assert (saved.reward_loss, saved.reward_tie) == (loss, metrics["tie"])
    assert metrics["tie"] > 0


def test_ratings_are_learnt_by_regression(starter: Path, tmp_path: Path) -> None:
    ratings = [
        Rating(
            prompt_id=p.prompt_id,
            messages=p.messages,
            completion=text,
            score=10.0 * sum(word in text for word in world.KIND) + 100,
            held_out=p.held_out,
        )
        for p in world.preferences(120)
        for text in (p.completion_a, p.completion_b)
    ]
    config = RewardConfig(
        epochs=6.0, max_length=128, learning_rate=3e-3, loss="regression", pooling="sum"
    )
    model, metrics, _ = train(starter, tmp_path, ratings, config)
    again = reward_model.load(tmp_path / "model")
    found = held_out_report.held_out_ratings(again, ratings)
    assert found == held_out_report.held_out_ratings(model, ratings)
    assert found["pearson"] > 0.9 and found["rmse"] < 7 and found["accuracy"] > 0.85
    assert metrics["ratings_train"] == 180 and found["ratings_held_out"] == 60


def test_pairs_and_ratings_are_not_taken_for_each_other(starter: Path, tmp_path: Path) -> None:
    config = RewardConfig(loss="regression")
    with pytest.raises(ConfigError, match="regression learns ratings"):
        train(starter, tmp_path, world.preferences(8), config)
    rating = Rating(prompt_id="p", messages=world.prompts()[0].messages, completion="x", score=1.0)
    with pytest.raises(ConfigError, match="bradley_terry learns pairs"):
        train(starter, tmp_path, [rating])


def test_a_batch_in_many_passes_has_the_gradient_of_one(starter: Path, tmp_path: Path) -> None:
    votes = world.preferences(24)
    runs = []
    for tokens in (1, 100_000):
        config = RewardConfig(
            epochs=1.0, batch_size=8, max_length=128, pass_tokens=tokens, early_stopping=False
        )
        runs.append(train(starter, tmp_path / str(tokens), votes, config)[2])
    for (_, one), (_, other) in zip(*runs, strict=True):
        assert one == pytest.approx(other, rel=1e-3, nan_ok=True)


def test_a_loss_that_is_no_number_ends_the_training_and_says_what_to_do(
    starter: Path, tmp_path: Path
) -> None:
    config = RewardConfig(
        epochs=2.0, batch_size=8, max_length=128, learning_rate=1e30, checkpoint_every=1
    )
    with pytest.raises(Diverged, match=r"loss is .* at step \d+: lower reward.learning_rate"):
        train(starter, tmp_path, world.preferences(40), config)
    assert not (tmp_path / "model").exists()


def test_one_annotator_is_enough_and_is_counted(starter: Path, tmp_path: Path) -> None:
    _, metrics, _ = train(starter, tmp_path / "two", world.preferences(12))
    assert metrics["annotators"] == 2
    alone = [Preference(**(vars(p) | {"votes": p.votes[:1]})) for p in world.preferences(12)]
    _, metrics, _ = train(starter, tmp_path / "one", alone)
    assert metrics["annotators"] == 1


@pytest.mark.parametrize("name", ["bert", "t5", "gpt_neo"])
def test_other_architectures_learn_a_planted_rule(tmp_path: Path, name: str) -> None:
    base = getattr(trunks, name)(tmp_path / "base")
    config = RewardConfig(epochs=10.0, max_length=96, learning_rate=3e-3)
    model, _, _ = train(base, tmp_path, world.preferences(120), config)
    fresh = [p for p in world.preferences(200, seed=9) if p.held_out]
    assert held_out_report.held_out(model, fresh).metrics()["accuracy"] > 0.8


def test_an_adapter_is_trained_and_merged(starter: Path, tmp_path: Path) -> None:
    config = RewardConfig(
        epochs=2.0, batch_size=8, max_length=128, lora=LoraConfig(r=4), learning_rate=5e-3
    )
    model, _, seen = train(starter, tmp_path, world.preferences(40), config)
    assert not (tmp_path / "model" / "adapter_config.json").exists()
    again = reward_model.load(tmp_path / "model")
    chat = world.prompts()[0].messages
    assert again.score([chat], ["good day"]) == model.score([chat], ["good day"])
    losses = [numbers["loss"] for _, numbers in seen]
    assert losses[-1] < losses[0]
    before = reward_model.new(starter, pooling="mean", max_length=128, device=CPU)
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(
        before.classifier.state_dict()[name], again.classifier.state_dict()[name]
    )


def test_an_encoder_with_its_own_head_can_be_a_reward_model(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    torch.manual_seed(0)
    DistilBertModel(
        DistilBertConfig(
            vocab_size=len(words), dim=32, n_layers=1, n_heads=2, hidden_dim=64, pad_token_id=0
        )
    ).save_pretrained(tmp_path / "encoder")
    words.save_pretrained(tmp_path / "encoder")
    config = RewardConfig(epochs=12.0, batch_size=16, max_length=128, learning_rate=3e-3)
    model, _, _ = train(tmp_path / "encoder", tmp_path, world.preferences(120), config)
    assert model.pooling == "own"
    fresh = [p for p in world.preferences(200, seed=9) if p.held_out]
    assert held_out_report.held_out(model, fresh).metrics()["accuracy"] > 0.8


def test_held_out_figures_use_the_majority_and_count_draws(starter: Path, tmp_path: Path) -> None:
    votes = world.preferences(24)
    model, _, _ = train(starter, tmp_path, votes)
    draw = (Vote(annotator="a", choice="a"), Vote(annotator="b", choice="b"))
    inside = [p for p in votes if p.held_out]
    drawn = Preference(**(vars(inside[0]) | {"votes": draw}))
    seen = held_out_report.held_out(
        model, [drawn, *inside[1:], *(p for p in votes if not p.held_out)]
    )
    assert seen.pair_ids == [p.pair_id for p in inside]
    assert seen.metrics()["ties_held_out"] == 1
    assert seen.metrics()["pairs_held_out"] == len(inside) - 1


def test_pooling_over_the_reply_decides_what_a_longer_reply_is_worth(starter: Path) -> None:
    """Beside the mean, the sum grows with the length and the root with its square root."""
    found = {}
    for pooling in ("sum", "root", "mean"):
        model = reward_model.new(starter, pooling=pooling, max_length=128, device=CPU)
        text = model.read(world.prompts()[0].messages, "good parcel, good manual")
        with torch.no_grad():
            found[pooling] = model.features([text])
    n = text.reply
    torch.testing.assert_close(found["sum"], found["mean"] * n / 32)
    torch.testing.assert_close(found["root"], found["mean"] * math.sqrt(n / 32))


def test_scores_reach_ppo_on_the_scale_of_the_starters_replies() -> None:
    scale = Scale.of([1.0, 3.0, 5.0])
    scored = scale.apply(lambda chats, texts: [float(len(text)) for text in texts])
    assert scored([[], []], ["abc", "abcde"]) == pytest.approx([0.0, 2 / math.sqrt(8 / 3)])
    assert Scale.of([2.0, 2.0]).deviation > 0


def predictions(n: int = 500) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=n) * 2
    logits[:50] = logits[50:100]  # ties
    return logits, (rng.random(n) < calibration.sigmoid(logits / 3)).astype(float)


def test_auc_and_ece_equal_scikit_learn() -> None:
    logits, labels = predictions()
    assert calibration.auc(logits, labels) == pytest.approx(roc_auc_score(labels, logits))
    p = calibration.sigmoid(logits)
    observed, predicted = calibration_curve(labels, p, n_bins=10)
    sizes = np.bincount(np.minimum((p * 10).astype(int), 9), minlength=10)
    sizes = sizes[sizes > 0]
    expected = (np.abs(observed - predicted) * sizes).sum() / sizes.sum()
    assert calibration.ece(logits, labels) == pytest.approx(expected)


def test_temperature_scaling_finds_the_overconfidence() -> None:
    logits, labels = predictions(4000)
    assert calibration.temperature(logits, labels) == pytest.approx(3.0, rel=0.15)
    each = [str(i) for i in range(4000)]
    assert calibration.cross_fitted_ece(logits, labels, each) < calibration.ece(logits, labels)


def test_accuracy_counts_a_draw_of_the_model_half_and_nothing_is_nan() -> None:
    assert calibration.accuracy(np.array([1.0, -1.0, 0.0]), np.array([1.0, 1.0, 0.0])) == 0.5
    assert math.isnan(calibration.accuracy(np.zeros(0), np.zeros(0)))
    assert math.isnan(calibration.auc(np.ones(3), np.ones(3)))


def test_votes_on_a_row_read_from_disk_train_the_same(starter: Path, tmp_path: Path) -> None:
    votes = world.preferences(12)
    rows.write(tmp_path / "votes.jsonl", votes)
    read = list(rows.read(Preference, tmp_path / "votes.jsonl"))
    assert train(starter, tmp_path / "a", votes)[1] == pytest.approx(
        train(starter, tmp_path / "b", read)[1], abs=0, nan_ok=True
    )
