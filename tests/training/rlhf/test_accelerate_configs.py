"""The files under config/accelerate, read by accelerate itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser

FOLDER = Path(__file__).parents[3] / "config" / "accelerate"
KINDS = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_takes_the_file_and_knows_its_settings(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert config.distributed_type.value == KINDS[path.stem]
    known = {action.dest for action in launch_command_parser()._actions}
    more = {**(config.fsdp_config or {}), **(config.deepspeed_config or {})}
    assert set(more) <= known


def test_weights_that_are_in_parts_are_put_together_when_saved() -> None:
    fsdp = load_config_from_file(str(FOLDER / "fsdp2.yaml")).fsdp_config
    assert fsdp["fsdp_version"] == 2 and fsdp["fsdp_state_dict_type"] == "FULL_STATE_DICT"
    zero = load_config_from_file(str(FOLDER / "zero3.yaml")).deepspeed_config
    assert zero["zero_stage"] == 3 and zero["zero3_save_16bit_model"] is True
