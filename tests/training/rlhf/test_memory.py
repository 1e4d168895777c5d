"""The arithmetic of memory and speed, and the documents that quote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.rlhf import memory
from training.rlhf.__main__ import main
from training.rlhf.memory import GIB, Load, nearest, need, speed
from training.rlhf.rundir import DONE

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
EIGHT = 8.03e9


def test_full_training_takes_eighteen_bytes_a_weight() -> None:
    """float32 weights, gradients and two Adam states, and a frozen reference in bfloat16."""
    found = need(nearest(EIGHT), "full")
    kept = found.weights + found.gradients + found.optimiser
    assert kept * GIB / EIGHT == pytest.approx(18)


def test_adapters_have_the_parameters_that_peft_counts() -> None:
    """41,943,040 for Llama-3.1-8B at rank 16 on all linear layers."""
    assert memory.adapter_parameters(nearest(EIGHT), 16) == 41_943_040


def test_a_frozen_trunk_takes_its_own_bytes_and_little_else() -> None:
    half, quarter = need(nearest(EIGHT), "lora"), need(nearest(EIGHT), "qlora")
    assert half.weights * GIB == pytest.approx(2 * EIGHT, rel=0.02)
    assert quarter.weights * GIB == pytest.approx(0.53 * EIGHT, rel=0.03)
    assert half.gradients + half.optimiser < 0.05 * half.weights


def test_the_cache_grows_with_what_is_sampled_together() -> None:
    shape = nearest(EIGHT)
    one = need(shape, "lora", Load(sequences=1, prompt=4096, reply=4096)).cache
    assert one == pytest.approx(1.0)  # 128 KiB per token of Llama-3.1-8B, 8,192 tokens
    assert need(shape, "lora", Load(sequences=8, prompt=4096, reply=4096)).cache == 8 * one


def test_other_sizes_lie_between_the_known_ones() -> None:
    totals = [need(nearest(p), "full").total for p in (0.5e9, 1.5e9, 4e9, 8e9, 32e9, 70e9)]
    assert totals == sorted(totals)
    assert nearest(8.03e9) == memory.SHAPES[1]


def test_a_larger_batch_is_sampled_faster_and_a_larger_model_slower() -> None:
    small, large = (speed(nearest(p)) for p in (0.5e9, 8e9))
    assert small.sampling > 5 * large.sampling and small.training > 10 * large.training
    together = speed(nearest(8e9), Load(sequences=128)).sampling
    assert 2 * large.sampling < together < 4 * large.sampling


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--params", "8.03e9"]) == DONE
    printed = capsys.readouterr().out.splitlines()
    assert printed == [*memory.table(EIGHT), memory.sentence(EIGHT)]


@pytest.mark.parametrize("shape", memory.SHAPES, ids=lambda shape: f"{shape.parameters:g}")
def test_the_documents_say_what_the_arithmetic_gives(shape: memory.Shape) -> None:
    text = OPERATIONS.read_text("utf-8")
    assert "\n".join(memory.table(shape.parameters)) in text
    assert memory.sentence(shape.parameters) in text
