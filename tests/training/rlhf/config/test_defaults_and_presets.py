from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.rlhf.config import (
    OPTIMISERS,
    PRESETS,
    ConfigError,
    ModelFacts,
    RoundConfig,
    TextFacts,
    defaults_for,
    from_dict,
    merged,
    preset_settings,
    problems,
    settled,
    to_dict,
)

SMOLLM = ModelFacts(
    parameters=134_515_008,
    dtype="bfloat16",
    layers=30,
    hidden=576,
    heads=9,
    key_value=192,
    wide=1536,
    vocabulary=49_152,
    tables=1,
    context=8192,
)
TINY = replace(SMOLLM, parameters=600_000, dtype="float32", layers=2, hidden=128, context=256)
LLAMA = replace(SMOLLM, parameters=8_030_000_000, layers=32, hidden=4096, wide=14_336)


def config_for(facts: ModelFacts | None, preset: str = "balanced", **texts: int) -> RoundConfig:
    return from_dict(RoundConfig, settled(preset_settings(preset, facts, TextFacts(**texts)), {}))


@pytest.mark.parametrize("facts", [SMOLLM, LLAMA, None], ids=["135M", "8B", "unknown"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_optimiser_trains_adapters_on_a_real_model(
    facts: ModelFacts | None, optimiser: str, preset: str
) -> None:
    config = config_for(facts, preset)
    for section in (getattr(config, OPTIMISERS[optimiser].settings), config.reward):
        assert section.lora is not None and section.dtype == "auto"
    assert config.sample.dtype == config.evaluate.dtype == "auto"


def test_choosing_the_method_before_the_model_changes_no_default() -> None:
    chosen = {"optimiser": "grpo"}
    before = settled(merged(chosen, defaults_for(SMOLLM)), {})
    assert before == settled(defaults_for(SMOLLM), chosen)


def test_all_weights_of_a_tiny_model_are_trained_as_in_the_sample_project() -> None:
    config = config_for(TINY)
    assert (config.ppo.lora, config.reward.lora, config.pairs.lora) == (None, None, None)
    assert (config.threads, config.device, config.ppo.updates) == (1, "cpu", 32)
    assert config.starter == "" and config.number == 1


def test_larger_models_take_smaller_steps_and_compute_activations_twice() -> None:
    small, large = config_for(SMOLLM), config_for(LLAMA)
    assert large.ppo.learning_rate < small.ppo.learning_rate
    assert large.ppo.gradient_checkpointing and not small.ppo.gradient_checkpointing


def test_lengths_follow_the_texts() -> None:
    short, long = config_for(SMOLLM, reply=40, prompt=30), config_for(SMOLLM, reply=500, prompt=700)
    for config, reply in ((short, 40), (long, 500)):
        lengths = {
            config.ppo.max_new_tokens,
            config.groups.max_new_tokens,
            config.evaluate.max_new_tokens,
            config.sample.max_new_tokens,
        }
        assert len(lengths) == 1 and lengths.pop() >= reply
    assert long.ppo.max_prompt_length >= 700 > short.ppo.max_prompt_length
    assert long.reward.max_length >= 1200 and long.pairs.max_length >= 1200


@given(
    context=st.integers(min_value=64, max_value=100_000),
    prompt=st.integers(min_value=0, max_value=200_000),
    reply=st.integers(min_value=0, max_value=200_000),
    parameters=st.integers(min_value=1, max_value=10**12),
    preset=st.sampled_from(sorted(PRESETS)),
)
def test_any_model_and_any_texts_give_settings_that_fit_its_context(
    context: int, prompt: int, reply: int, parameters: int, preset: str
) -> None:
    facts = replace(SMOLLM, parameters=parameters, context=context)
    config = config_for(facts, preset, prompt=prompt, reply=reply)
    if parameters > 20_000_000:
        assert config.ppo.max_new_tokens < context
        assert config.reward.max_length <= context


def test_a_quick_look_does_less_and_a_careful_round_more() -> None:
    quick, usual, careful = (config_for(SMOLLM, name) for name in ("quick", "balanced", "careful"))
    assert quick.ppo.updates == 20 < usual.ppo.updates < careful.ppo.updates
    assert quick.evaluate.prompts < usual.evaluate.prompts < careful.evaluate.prompts
    assert careful.ppo.kl_coef > usual.ppo.kl_coef
    assert quick.ppo.learning_rate < usual.ppo.learning_rate, "with half of the replies a step"
    assert quick.reward.linear_probe and not usual.reward.linear_probe
    assert not config_for(TINY, "quick").reward.linear_probe, "seconds teach its trunk more"


@given(
    section=st.sampled_from(["ppo", "pairs", "groups"]),
    batch=st.integers(min_value=1, max_value=200),
    facts=st.sampled_from([SMOLLM, TINY, LLAMA]),
)
def test_a_batch_that_somebody_chose_is_cut_into_passes_that_divide_it(
    section: str, batch: int, facts: ModelFacts
) -> None:
    size = 2 * batch if section == "groups" else batch
    chosen = {section: {"batch_size": size} | ({"group_size": 2} if section == "groups" else {})}
    whole = settled(defaults_for(facts), chosen)
    config = from_dict(RoundConfig, whole)
    assert getattr(config, section).batch_size == size


def test_sizes_that_somebody_chose_are_left_alone() -> None:
    whole = settled(defaults_for(SMOLLM), {"ppo": {"batch_size": 10, "minibatch_size": 4}})
    assert whole["ppo"]["minibatch_size"] == 4
    with pytest.raises(ConfigError, match=r"ppo\.batch_size must be a multiple"):
        from_dict(RoundConfig, whole)


def test_every_wrong_setting_is_named_with_what_is_wrong() -> None:
    wrong = {
        "ppo": {"kl_coef": -1, "lora": {"r": 0}, "updats": 3},
        "sample": {"endpoint": {"model": "m"}},
        "reward": {"epochs": "two"},
        "device": "tpu",
        "gates": {"kl_max": float("inf")},
    }
    assert problems(RoundConfig, wrong) == {
        "ppo.updats": "ppo: unknown setting updats; did you mean updates?",
        "ppo.lora.r": "ppo.lora.r must be at least 1, not 0",
        "ppo.kl_coef": "ppo.kl_coef must be at least 0, not -1",
        "sample.endpoint.url": "sample.endpoint.url is missing",
        "reward.epochs": "reward.epochs must be a number, not 'two'",
        "device": "device must be one of auto, cpu, cuda",
        "gates.kl_max": "gates.kl_max must be a finite number",
    }
    assert problems(RoundConfig, to_dict(RoundConfig())) == {}
