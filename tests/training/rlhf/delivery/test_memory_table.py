"""The arithmetic of memory and speed, and the documents that quote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.rlhf.__main__ import main
from training.rlhf.delivery import memory_table
from training.rlhf.delivery.memory_table import GIB, Load, nearest, need, speed
from training.rlhf.language import token_logprobs
from training.rlhf.run.run_directory import DONE

OPERATIONS = Path(__file__).parents[4] / "docs" / "operations.md"
EIGHT = 8.03e9


def test_full_training_takes_twenty_bytes_a_weight() -> None:
    """float32 weights, gradients and two Adam states; in bfloat16 a copy and a frozen reference."""
    found = need(nearest(EIGHT), "full")
    kept = (found.weights + found.gradients + found.optimiser) * GIB
    assert kept == pytest.approx(20 * EIGHT + 16 * 4096**2)  # and the critic's head


def test_adapters_have_the_parameters_that_peft_counts() -> None:
    """At rank 16 on all linear layers."""
    found = [memory_table.adapter_parameters(shape, 16) for shape in memory_table.SHAPES[:2]]
    assert found == [8_798_208, 41_943_040]


def test_a_frozen_trunk_takes_its_own_bytes_and_little_else() -> None:
    half, quarter = need(nearest(EIGHT), "lora"), need(nearest(EIGHT), "qlora")
    assert half.weights * GIB == pytest.approx(2 * EIGHT, rel=0.02)
    adapters = 4 * (41_943_040 + 4096**2)
    layers = 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14_336)
    tables = 2 * 128_256 * 4096  # embedding and head, which stay in bfloat16
    expected = 0.5625 * layers + 2 * tables + adapters
    assert quarter.weights * GIB == pytest.approx(expected, rel=1e-3)
    assert half.gradients + half.optimiser < 0.05 * half.weights


def test_logits_are_held_as_the_engine_holds_them() -> None:
    assert memory_table.LOGITS_KEPT == token_logprobs.LOGITS_KEPT
    assert memory_table.LOGITS_AT_ONCE == token_logprobs.LOGITS_AT_ONCE
    few, many = (need(nearest(0.5e9), "lora", Load(pass_rows=n)).logits for n in (1, 64))
    assert few * GIB == 4 * (256 * 151_936 + 3 * 2**23)
    assert many * GIB == 4 * 3 * 2**23


def test_the_cache_grows_with_what_is_sampled_together() -> None:
    shape = nearest(EIGHT)
    one = need(shape, "lora", Load(sequences=1, prompt=4096, reply=4096)).cache
    assert one == pytest.approx(1.0)  # 128 KiB per token of Llama-3.1-8B, 8,192 tokens
    assert need(shape, "lora", Load(sequences=8, prompt=4096, reply=4096)).cache == 8 * one


def test_other_sizes_lie_between_the_known_ones() -> None:
    totals = [need(nearest(p), "full").total for p in (0.5e9, 1.5e9, 4e9, 8e9, 32e9, 70e9)]
    assert totals == sorted(totals)
    assert nearest(8.03e9) == memory_table.SHAPES[1]


def test_a_larger_batch_is_sampled_faster_and_a_larger_model_slower() -> None:
    small, large = (speed(nearest(p)) for p in (0.5e9, 70e9))
    assert small.sampling > 3 * large.sampling and small.training > 100 * large.training
    together = speed(nearest(70e9), Load(sequences=128)).sampling
    assert 2 * large.sampling < together < 4 * large.sampling


def test_a_small_model_waits_for_its_kernels_and_a_large_one_for_its_weights() -> None:
    small, large = nearest(0.5e9), nearest(70e9)
    assert speed(small).sampling == pytest.approx(32 / (small.layers * memory_table.LAUNCH))
    assert speed(large, bandwidth_share=0.3).sampling < 0.6 * speed(large).sampling


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--params", "8.03e9"]) == DONE
    printed = capsys.readouterr().out.splitlines()
    assert printed == [*memory_table.table(EIGHT), memory_table.sentence(EIGHT)]


@pytest.mark.parametrize("shape", memory_table.SHAPES, ids=lambda shape: f"{shape.parameters:g}")
def test_the_documents_say_what_the_arithmetic_gives(shape: memory_table.Shape) -> None:
    text = OPERATIONS.read_text("utf-8")
    assert "\n".join(memory_table.table(shape.parameters)) in text
    assert memory_table.sentence(shape.parameters) in text
