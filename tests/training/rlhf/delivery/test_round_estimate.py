"""The arithmetic of a round's memory and work, and the command that prints it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.model_files import write_model
from training.rlhf.__main__ import main
from training.rlhf.config import (
    OPTIMISERS,
    LoraConfig,
    PPOConfig,
    RewardConfig,
    RoundConfig,
    defaults_for,
    from_dict,
    read_facts,
    settled,
)
from training.rlhf.delivery.round_estimate import Amounts, adapter_parameters, memory, work
from training.rlhf.run.run_directory import DONE, USAGE


def test_ppo_on_smollm2_takes_what_was_measured(tmp_path: Path) -> None:
    """1.78 GiB on two cores: 8 replies of 64 tokens to prompts of about 50, two to a pass, and a
    rule for the score; the arithmetic counts two reward models beside."""
    facts = read_facts(write_model(tmp_path / "model"))
    assert facts is not None
    ppo = PPOConfig(
        batch_size=8,
        minibatch_size=8,
        gradient_accumulation=4,
        max_prompt_length=50,
        lora=LoraConfig(),
    )
    needed = memory(facts, RoundConfig(ppo=ppo))["train_policy"]
    scorers = 2 * 4 * facts.parameters / 2**30
    assert needed - scorers == pytest.approx(1.78, rel=0.25)


def test_adapters_of_smollm2_are_counted_as_peft_makes_them(tmp_path: Path) -> None:
    facts = read_facts(write_model(tmp_path / "model"))
    assert facts is not None and adapter_parameters(facts, 16) == 4_884_480


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_the_defaults_of_a_small_real_model_keep_within_six_gib(
    optimiser: str, tmp_path: Path
) -> None:
    facts = read_facts(write_model(tmp_path / "model"))
    config = from_dict(RoundConfig, settled(defaults_for(facts), {"optimiser": optimiser}))
    assert facts is not None and max(memory(facts, config).values()) < 6


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_all_weights_in_float32_take_more(optimiser: str, tmp_path: Path) -> None:
    facts = read_facts(write_model(tmp_path / "model", parameters=1_000_000_000))
    assert facts is not None
    section = OPTIMISERS[optimiser].settings
    adapters, whole = (
        from_dict(
            RoundConfig,
            settled(defaults_for(facts), {"optimiser": optimiser, section: {"lora": lora}}),
        )
        for lora in ({}, None)
    )
    assert memory(facts, whole)["train_policy"] > memory(facts, adapters)["train_policy"] + 8


def test_work_grows_with_what_is_asked_for(tmp_path: Path) -> None:
    facts = read_facts(write_model(tmp_path / "model"))
    assert facts is not None
    amounts = Amounts(pairs=100, held_out=50)
    few = work(facts, RoundConfig(), amounts)
    longer = RoundConfig(ppo=PPOConfig(updates=48), reward=RewardConfig(epochs=4.0))
    more = work(facts, longer, amounts)
    assert more["train_policy"] == pytest.approx(2 * few["train_policy"])
    assert more["train_reward"] > 1.5 * few["train_reward"]
    assert more["evaluate"] == few["evaluate"]


def test_the_command_reads_the_model_and_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(write_model(tmp_path / "model"))
    (tmp_path / "round.yaml").write_text("ppo: {lora: null, batch_size: 32}\noptimiser: ppo\n")
    assert main(["memory", "--model", model]) == DONE
    lean = capsys.readouterr().out
    assert "134,515,008 parameters, published in bfloat16" in lean
    assert main(["memory", "--model", model, "--config", str(tmp_path / "round.yaml")]) == DONE
    assert capsys.readouterr().out != lean
    assert main(["memory", "--model", str(tmp_path)]) == USAGE
    assert main(["memory", "--params", "1e9", "--gpu"]) == USAGE
