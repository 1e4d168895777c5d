"""The price and the use of an ensemble's heads: accuracy, time, and their disagreement.

`python -m benchmarks reward_heads [--seeds=3] [--heads=5] [--starter=FOLDER]`. For each seed, pairs
of the sample's starter and two votes each by simulated colleagues on 140 of them; a reward model of
one head and an ensemble learn these. Accuracy is by the hidden rubric on the other pairs. The
heads' standard deviation (logits) is told on replies that were learnt, on fresh ones, and on two
kinds that nobody would write: words in no order, and a reply said three times.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.loop import LABEL_TEMPERATURE, MAX_NEW_TOKENS, manage
from benchmarks.result import Result

PROMPTS, LEARNT, ANNOTATORS, SHOWN = 300, 140, 12, 100


def benchmark(arguments: list[str]) -> Result:
    """Means over the seeds; ratios of the ensemble to one head."""
    options, starter = {"seeds": 3, "heads": 5}, ""
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if name == "starter" and value:
            starter = value
        elif name in options and value.isdigit():
            options[name] = int(value)
        else:
            raise SystemExit(
                f"reward_heads takes --{'=N, --'.join(options)}=N and --starter=FOLDER"
            )
    with tempfile.TemporaryDirectory(prefix="pairloop-heads-") as home:
        policy = Path(starter) if starter else made(Path(home))
        rows = [one_seed(policy, seed, options["heads"]) for seed in range(options["seeds"])]
    figures = {name: statistics.mean(row[name] for row in rows) for name in rows[0]}
    figures["cpu_times"] = figures["cpu_seconds"] / figures["cpu_seconds_of_one"]
    return Result(figures | {"seeds": float(len(rows))})


def made(home: Path) -> Path:
    """The sample project's starter."""
    manage(home, "quickstart", "--seed", "0")
    (weights,) = (
        file for file in home.glob("runs/*/**/model.safetensors") if "checkpoints" not in file.parts
    )
    return weights.parent


def one_seed(starter: Path, seed: int, heads: int) -> dict[str, float]:
    """Both reward models on one draw of prompts, replies and votes."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from annotate.sample import colleagues, made_up_texts, rubric
    from training.rlhf.completions import sampling
    from training.rlhf.completions.writers import Settings
    from training.rlhf.config import RewardConfig
    from training.rlhf.reward import reward_training
    from training.rlhf.rows import Preference, Vote
    from training.rlhf.run.work import Work

    torch.set_num_threads(1)
    disable_progress_bar()
    chats = made_up_texts.prompts(PROMPTS, seed=900 + seed)
    writer = sampling.Policy(starter, device=torch.device("cpu"))
    settings = Settings(LABEL_TEMPERATURE, MAX_NEW_TOKENS, batch_size=64)
    left, right = (
        [reply.text for reply in writer.reply(chats, settings, seed=2 * seed + draw)]
        for draw in (0, 1)
    )
    rng = random.Random(seed)
    people = [colleagues.colleague(i, seed=seed) for i in range(ANNOTATORS)]
    sides = {"left": "a", "right": "b"}
    pairs = []
    for i, (chat, a, b) in enumerate(zip(chats[:LEARNT], left, right, strict=False)):
        cast = [(one.name, one.judge(chat, a, b, rng=rng)) for one in rng.sample(people, 2)]
        votes = tuple(
            Vote(annotator=name, choice=sides.get(side, "tie"), strength=strength)  # type: ignore[arg-type]  # one of these
            for name, (side, strength) in cast
        )
        if a != b:
            pairs.append(
                Preference(
                    pair_id=str(i),
                    prompt_id=str(i),
                    messages=chat,
                    completion_a=a,
                    completion_b=b,
                    votes=votes,
                )
            )
    fresh = list(zip(chats, left, right, strict=True))[LEARNT:]
    known = [(*row, rubric.prefers(*row)) for row in fresh]
    row: dict[str, float] = {}
    for number, name in ((1, "_of_one"), (heads, "")):
        config = RewardConfig(early_stopping=False, heads=number)
        with tempfile.TemporaryDirectory() as folder:
            work = Work.in_folder(Path(folder), silent=True, threads=1)
            began = time.process_time()
            model, _ = reward_training.train(starter, pairs, config, Path(folder) / "model", work)
            row[f"cpu_seconds{name}"] = time.process_time() - began
        scores = zip(model.score(chats, left), model.score(chats, right), strict=True)
        told = zip(list(scores)[LEARNT:], known, strict=True)
        row[f"accuracy{name}"] = statistics.mean(
            (a > b) == (k[3] > 0) for (a, b), k in told if k[3]
        )

    def spread(texts: list[str], first: int = 0) -> float:
        read = [model.read(*two) for two in zip(chats[first:], texts, strict=False)]
        with torch.no_grad():
            return float(model.by_head(read).std(dim=1).mean())

    learnt = left[:SHOWN]
    return row | {
        "spread_learnt": spread(learnt),
        "spread_fresh": spread(left[LEARNT : LEARNT + SHOWN], LEARNT),
        "spread_shuffled": spread(
            [" ".join(rng.sample(t.split(), len(t.split()))) for t in learnt]
        ),
        "spread_threefold": spread([" ".join([text] * 3) for text in learnt]),
    }
