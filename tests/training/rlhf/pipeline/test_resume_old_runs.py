"""A run directory as an older version left it still goes on. Its files stand here word for word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.rlhf import world
from training.rlhf.config import ConfigError, RoundConfig, load, to_dict
from training.rlhf.round import STAGES, RunDirectory, run_round

CONFIG = """
{"starter": "STARTER", "policy": "", "last_reward": "", "number": 1, "seed": 3, "threads": 1,
"device": "cpu", "reward": {"loss": "bradley_terry", "epochs": 1.0, "batch_size": 4,
"learning_rate": 0.0003, "weight_decay": 0.01, "warmup_ratio": 0.1, "max_length": 128, "margin":
0.0, "margin_by": "votes", "label_smoothing": 0.0, "centre": 0.01, "pooling": "root", "probe":
true, "early_stopping": true, "slice_share": 0.1, "soft_labels": false, "lora": null,
"quantise": "none", "dtype": "float32", "pass_tokens": 2048, "warm_start": false,
"checkpoint_every": 2}, "optimiser": "ppo", "ppo": {"updates": 4, "alarm_distinct2_ratio": 0.6,
"alarm_repetition_rise": 0.15, "alarm_perplexity_ratio": 2.0, "alarm_length_ratio": 2.0,
"alarm_eos_drop": 0.3, "batch_size": 4, "minibatch_size": 4, "epochs": 1,
"gradient_accumulation": 1, "learning_rate": 0.001, "critic_learning_rate": null,
"learning_rate_decay": "none", "warmup_updates": 0, "weight_decay": 0.0, "max_grad_norm": 1.0,
"temperature": 1.0, "max_new_tokens": 8, "max_prompt_length": 256, "gamma": 1.0, "lam": 0.95,
"clip_ratio": 0.2, "clip_value": 0.2, "value_coef": 0.1, "entropy_coef": 0.0, "kl_coef": 0.05,
"kl_estimator": "k1", "kl_target": null, "kl_horizon": null, "stop_kl": null,
"target_update_kl": 0.1, "whiten_advantages": true, "whiten_rewards": false, "score_clip": 5.0,
"normalise_scores": false, "missing_eos_penalty": 1.0, "length_penalty": 0.0, "select_every": 4,
"select_prompts": 64, "lora": null, "dtype": "float32", "gradient_checkpointing": false,
"checkpoint_every": 1}, "pairs": {"epochs": 1.0, "batch_size": 16, "gradient_accumulation": 1,
"learning_rate": 5e-05, "warmup_ratio": 0.1, "weight_decay": 0.0, "max_grad_norm": 1.0, "beta":
0.1, "label_smoothing": 0.0, "max_length": 512, "lora": null, "dtype": "float32",
"gradient_checkpointing": false, "checkpoint_every": 20}, "groups": {"updates": 24,
"alarm_distinct2_ratio": 0.6, "alarm_repetition_rise": 0.15, "alarm_perplexity_ratio": 2.0,
"alarm_length_ratio": 2.0, "alarm_eos_drop": 0.3, "batch_size": 32, "minibatch_size": 32,
"group_size": 4, "epochs": 1, "learning_rate": 0.0003, "weight_decay": 0.0, "max_grad_norm":
1.0, "beta": 0.05, "clip_ratio": 0.2, "temperature": 1.0, "max_new_tokens": 64,
"max_prompt_length": 256, "missing_eos_penalty": 1.0, "length_penalty": 0.0, "lora": null,
"dtype": "float32", "gradient_checkpointing": false, "checkpoint_every": 4}, "evaluate":
{"prompts": 8, "temperature": 0.7, "max_new_tokens": 8, "batch_size": 1, "samples": 3,
"endpoint": null, "judge": null, "resamples": 1000, "refusals": []}, "sample": {"prompts": 8,
"per_prompt": 3, "temperature": 0.9, "top_p": 1.0, "max_new_tokens": 8, "batch_size": 1,
"held_out_share": 0.15, "endpoint": null}, "propose": {"pairs": 12, "random_share": 0.3,
"evaluation_pairs": 2, "features": 8, "cold_start_votes": 20}, "gates": {"reward_accuracy_min":
0.6, "kl_max": 40.0, "length_ratio_min": 0.5, "length_ratio_max": 2.0, "distinct2_ratio_min":
0.5, "repetition_max": 0.2, "broken_max": 0.2, "alarms_max": 0.0, "win_rate_min": 0.5},
"tracker": "none"}
"""
PROMPTS = """
{"prompt_id": "p0", "messages": [{"role": "user", "content": "Where is it?"}], "held_out": false,
"tags": [], "reference": ""}
{"prompt_id": "p1", "messages": [{"role": "user", "content": "Who are you?"}], "held_out": true,
"tags": [], "reference": ""}
"""
PREFERENCES = """
{"pair_id": "q0", "prompt_id": "p0", "messages": [{"role": "user", "content": "Where is it?"}],
"completion_a": "Here.", "completion_b": "Who knows?", "stream": "random", "held_out": false,
"kind": "normal", "votes": [{"annotator": "ann", "choice": "a", "strength": 2, "weight": 1.0}],
"soft": null, "decided": ""}
{"pair_id": "q1", "prompt_id": "p0", "messages": [{"role": "user", "content": "Where is it?"}],
"completion_a": "No.", "completion_b": "On its way.", "stream": "random", "held_out": false,
"kind": "normal", "votes": [{"annotator": "bob", "choice": "b", "strength": 3, "weight": 1.0}],
"soft": null, "decided": ""}
"""
COMPLETIONS = """
{"key": "k0", "prompt_id": "p0", "text": "In the box.", "policy": "new", "seed": 7,
"temperature": 0.9, "top_p": 1.0, "n_tokens": 4, "finish_reason": "stop"}
{"key": "k1", "prompt_id": "p0", "text": "At the door.", "policy": "new", "seed": 7,
"temperature": 0.9, "top_p": 1.0, "n_tokens": 4, "finish_reason": "stop"}
{"key": "k2", "prompt_id": "p1", "text": "A helper.", "policy": "new", "seed": 7,
"temperature": 0.9, "top_p": 1.0, "n_tokens": 3, "finish_reason": "length"}
{"key": "k3", "prompt_id": "p1", "text": "Nobody.", "policy": "starter", "seed": 8,
"temperature": 0.9, "top_p": 1.0, "n_tokens": 2, "finish_reason": "stop"}
"""
META = """
{"data_sha256": {"preferences.jsonl":
"39d102b418f3b6ea5eacef7809eb2a827ff99094596c0a8292cda360b3c41598", "prompts.jsonl":
"8eea150d8f7794565dd6d675c50200fabe75693feab4f0f13565d87771c2342f"},
"metrics": {"alarms": 1.0, "kl": 0.56, "length": 8.0, "stopped_early": 0.0, "updates": 4.0},
"parents": {"policy": "STARTER", "starter": "STARTER"}, "stage": "STAGE", "stopped": "",
"versions": {"engine_sha256": "e4816f2684d38f7fa1e3d804d086691c7022329b03adc3324f1595be41749bda",
"numpy": "2.4.6", "python": "3.11.7", "torch": "2.13.0+cpu", "trl": "1.16.0"}}
"""
FINISHED = ("train_reward", "train_policy", "evaluate", "sample")


def lines(text: str) -> str:
    """JSON lines of what is broken over several lines above."""
    return text.strip().replace(",\n", ", ") + "\n"


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A round that was killed before its last stage."""
    starter, run = str(world.starter(tmp_path / "starter")), tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(CONFIG.replace("STARTER", starter))
    (run / "prompts.jsonl").write_text(lines(PROMPTS))
    (run / "preferences.jsonl").write_text(lines(PREFERENCES))
    (run / "progress.jsonl").write_text(
        '{"time": 1.5, "stage": "sample", "step": 27, "total": 27, "message": ""}\n{"time": 1.'
    )
    for stage in FINISHED:
        (run / stage).mkdir()
        meta = META.replace("STARTER", starter).replace("STAGE", stage)
        whole = json.loads(meta) | {"config": json.loads(CONFIG.replace("STARTER", starter))}
        (run / stage / "meta.json").write_text(json.dumps(whole))
    (run / "sample" / "completions.jsonl").write_text(lines(COMPLETIONS))
    return run


def test_an_old_run_goes_on_after_its_last_finished_stage(old_run: Path) -> None:
    before = {stage: (old_run / stage / "meta.json").read_bytes() for stage in FINISHED}
    run_round(old_run)
    run = RunDirectory(old_run)
    assert all(run.done(stage.name) for stage in STAGES)
    assert before == {stage: (old_run / stage / "meta.json").read_bytes() for stage in FINISHED}
    proposed = run.stage_meta("propose")
    assert proposed is not None
    assert proposed["metrics"]["labelled"] == 2.0
    assert proposed["metrics"]["evaluation"] == 1.0
    assert run.progress()[0]["stage"] == "sample", "what was told before is kept"


def test_the_settings_of_an_old_run_are_read_as_they_were_written(old_run: Path) -> None:
    written = json.loads((old_run / "config.json").read_text())
    loaded = to_dict(load(RoundConfig, old_run / "config.json"))
    assert {key: loaded[key] for key in written if not isinstance(written[key], dict)} == {
        key: value for key, value in written.items() if not isinstance(value, dict)
    }
    for section in (key for key, value in written.items() if isinstance(value, dict)):
        assert {key: loaded[section][key] for key in written[section]} == written[section]


def test_an_old_run_with_a_setting_that_is_gone_is_refused_in_one_sentence(old_run: Path) -> None:
    config = json.loads((old_run / "config.json").read_text())
    config["ppo"]["whitening"] = True
    (old_run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="ppo: unknown setting whitening; did you mean"):
        run_round(old_run)
    error = RunDirectory(old_run).error()
    assert error is not None
    assert "\n" not in error["error"]
