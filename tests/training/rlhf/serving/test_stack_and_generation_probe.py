from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.training.rlhf import tiny
from training.rlhf.serving import stack_and_generation_probe


def test_a_model_folder_is_sampled_and_its_stops_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack_and_generation_probe.main([str(tiny.llama(tmp_path / "model"))]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["replies"] == 8
    assert 0 < answer["stopped"] <= 8 and 0 < answer["with_text"] <= 8
    assert 0 < answer["tokens"] <= stack_and_generation_probe.MAX_NEW_TOKENS


def test_a_folder_without_a_model_is_an_answer_with_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack_and_generation_probe.main([str(tmp_path)]) == 1
    assert "config.json is missing" in json.loads(capsys.readouterr().out)["error"]


def test_without_a_model_it_describes_the_stack(capsys: pytest.CaptureFixture[str]) -> None:
    assert stack_and_generation_probe.main([]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["torch"] == torch.__version__
    assert len(answer["gpus"]) == torch.cuda.device_count()
