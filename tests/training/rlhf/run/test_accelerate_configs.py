"""The files under config/accelerate, as `accelerate launch` itself reads and passes them on."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from torch.distributed.fsdp import FullStateDictConfig, StateDictType

FOLDER = Path(__file__).parents[4] / "config" / "accelerate"
KINDS = {"ddp": "multi_gpu", "fsdp2": "use_fsdp", "zero3": "use_deepspeed"}


def launched(name: str) -> dict[str, str]:
    """The environment of the processes that `accelerate launch --config_file` starts."""
    words = ["--config_file", str(FOLDER / f"{name}.yaml"), "-m", "training.rlhf", "sft"]
    options, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert [kind for kind in KINDS.values() if getattr(options, kind)] == [KINDS[name]]
    assert options.num_processes == 8
    if name != "zero3":
        return dict(prepare_multi_gpu_env(options))
    options.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    return dict(prepare_deepspeed_cmd_env(options)[1])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_takes_the_file_and_knows_its_settings(path: Path) -> None:
    config = load_config_from_file(str(path))
    known = {action.dest for action in launch_command_parser()._actions}
    more = {**(config.fsdp_config or {}), **(config.deepspeed_config or {})}
    assert set(more) <= known
    assert launched(path.stem)["ACCELERATE_MIXED_PRECISION"] == "no", "the command's dtype decides"


def test_fsdp_cuts_layers_up_and_puts_the_weights_together_when_they_are_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in launched("fsdp2").items():
        monkeypatch.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    assert plugin.state_dict_type is StateDictType.FULL_STATE_DICT
    assert isinstance(plugin.state_dict_config, FullStateDictConfig)
    assert not (plugin.activation_checkpointing or plugin.cpu_ram_efficient_loading)


def test_deepspeed_cuts_up_everything_and_puts_the_weights_together_when_they_are_saved() -> None:
    found = launched("zero3")
    assert found["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert found["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
    assert found["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] == "true"
    assert found["ACCELERATE_DEEPSPEED_ZERO3_INIT"] == "false"
    assert found["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"] == "auto"
