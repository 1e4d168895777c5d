from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.rlhf import tiny, world
from training.rlhf import rows
from training.rlhf.completions import reply_filter, sampling
from training.rlhf.config import SampleConfig
from training.rlhf.rows import Completion
from training.rlhf.run.work import Work


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A policy and the starter."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    return tiny.llama(root / "policy", seed=5), world.starter(root / "starter")


def silent(folder: Path) -> Work:
    return Work.in_folder(folder, seed=1, device="cpu", silent=True)


def draw(folders: tuple[Path, Path], out: Path, **changes: int) -> list[Completion]:
    out.mkdir()
    config = SampleConfig(
        **({"prompts": 12, "per_prompt": 3, "max_new_tokens": 8, "batch_size": 4} | changes)
    )
    sampling.sample_completions(
        folders[0],
        {"starter": folders[1]},
        world.prompts(),
        config,
        out,
        silent(out),
        compared=3,
    )
    return list(rows.read(Completion, out / "completions.jsonl"))


def test_every_completion_can_be_written_again(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = draw(folders, tmp_path / "a"), draw(folders, tmp_path / "b")
    assert first == second
    assert all(c.key == rows.completion_key(c.prompt_id, c.text) for c in first)
    assert len({c.key for c in first}) == len(first)
    assert all(c.text.strip() and c.n_tokens <= 8 for c in first)
    assert {c.temperature for c in first} == {SampleConfig().temperature}


def test_the_starter_answers_only_held_out_prompts(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    found = draw(folders, tmp_path / "a")
    held_out = {p.prompt_id for p in world.prompts() if p.held_out}
    starter = {c.prompt_id for c in found if c.policy == "starter"}
    assert len(starter) == 3 and starter <= held_out
    assert starter <= {c.prompt_id for c in found if c.policy == "new"}


def test_the_wanted_share_of_prompts_is_held_out() -> None:
    chosen = sampling.plan(
        world.prompts(200), SampleConfig(prompts=40, held_out_share=0.25), compared=0, seed=0
    )
    assert len(chosen.many) == 40
    assert sum(p.held_out for p in chosen.many) == 10


def test_a_small_project_is_sampled_whole() -> None:
    chosen = sampling.plan(world.prompts(8), SampleConfig(prompts=40), compared=5, seed=0)
    assert len({p.prompt_id for p in chosen.many}) == len(chosen.many) <= 8
    assert len(chosen.compared) == 2


def completion(prompt: str, text: str, *, finished: bool = True) -> Completion:
    return Completion(
        key=rows.completion_key(prompt, text),
        prompt_id=prompt,
        text=text,
        finish_reason="stop" if finished else "length",
    )


def test_loops_and_gibberish_stay_away_from_people_while_two_others_are_left() -> None:
    loop, broken = "no no no no no no no no", "caf\ufffd"
    kept = [
        *(completion("rich", text) for text in ("We ship it today.", loop, broken, "It is late.")),
        completion("poor", "We ship it today."),
        completion("poor", loop),
        completion("cut", "We ship it", finished=False),
        completion("cut", "It is on its way.", finished=True),
        *(completion("blind", text) for text in ("We ship it today.", loop, "It is late.")),
    ]
    found = reply_filter.readable(kept, spared={"blind"})
    assert [(one.prompt_id, one.text) for one in kept if one not in found] == [
        ("rich", loop),
        ("rich", broken),
    ]


def test_what_was_left_out_is_counted(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """The untrained policy writes little that can be read."""
    config = SampleConfig(prompts=6, per_prompt=4, max_new_tokens=8)
    (tmp_path / "out").mkdir()
    metrics = sampling.sample_completions(
        folders[0],
        {},
        world.prompts(),
        config,
        tmp_path / "out",
        silent(tmp_path),
        compared=0,
    )
    assert metrics["gibberish"] > 0
    away = metrics["left_out"] + metrics["duplicates"] + metrics["empty"]
    assert metrics["completions"] + away == 24


@pytest.mark.parametrize(
    ("texts", "repeats"),
    [
        (["a", "a", "a", "a"], True),
        (["a", "a", "a", "b"], True),
        (["a", "a", "b", "c"], False),
        (["a", "b", "c", "d"], False),
        (["a"], False),
    ],
)
def test_a_server_that_does_not_sample_is_known_by_its_equal_replies(
    texts: list[str], repeats: bool
) -> None:
    asked = [completion(prompt, text) for prompt in ("one", "two") for text in texts]
    assert sampling.repeats_itself(asked) == repeats
