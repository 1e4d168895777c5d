from __future__ import annotations

import jsonschema
import pytest

from training.rlhf.config import RoundConfig, schema, settings_of, to_dict


def test_a_setting_has_the_sentence_that_stands_beside_it_in_the_code() -> None:
    settings = settings_of(RoundConfig)
    assert settings["ppo.updates"].text == "Batches of sampled replies."
    assert settings["ppo.lora.r"].text.startswith("Rank")
    assert (settings["ppo.updates"].kind, settings["ppo.updates"].default) == ("int", 24)
    assert settings["device"].options == ("auto", "cpu", "cuda")
    assert settings["ppo.lora"].optional and not settings["ppo.kl_coef"].optional


def test_the_schema_takes_what_the_engine_writes() -> None:
    jsonschema.validate(to_dict(RoundConfig()) | {"sample": {"prompts": 3}}, _draft())


@pytest.mark.parametrize(
    "config", [{"ppo": {"updats": 3}}, {"ppo": {"updates": "many"}}, {"device": "tpu"}]
)
def test_the_schema_refuses_what_the_engine_refuses(config: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, _draft())


def _draft() -> dict[str, object]:
    """The schema as JSON schema says that something may be null."""

    def typed(part: object) -> object:
        if isinstance(part, list):
            return [typed(one) for one in part]
        if not isinstance(part, dict):
            return part
        inner = {key: typed(value) for key, value in part.items() if key != "nullable"}
        return {"anyOf": [inner, {"type": "null"}]} if part.get("nullable") is True else inner

    made = typed(schema(RoundConfig))
    assert isinstance(made, dict)
    return made
