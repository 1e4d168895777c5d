"""Our PPO against the last one of TRL (1.12.0): score, CPU seconds, memory.

`python -m benchmarks ppo_vs_trl [--seeds=2] [--updates=24]`. Both start from one tiny Llama and
climb one reward model with the same prompts, batch, epochs, learning rate and KL coefficient, on
one thread. TRL runs in an environment that this benchmark makes under var/bench. The hidden rubric,
which neither saw, judges a reply of each policy to every held-out prompt.

CPU seconds, for the machine may have other work; the engines run side by side, each on one thread,
so that whatever slows one slows the other. The first update is left out: it warms caches up.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.ppo_engines.task import Task
from benchmarks.result import Result

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("PAIRLOOP_HOME", ROOT / "var")) / "bench"
ENVIRONMENT = HOME / "trl-1.12.0"
WORLD = HOME / "ppo-world"
PINS = (
    "trl==1.12.0",
    "torch==2.13.0",
    "transformers==5.23.0",
    "accelerate==1.15.0",
    "datasets==5.2.0",
    "peft==0.21.2",
)
SHAPE = {"vocab_size": 768, "hidden_size": 256, "layers": 4, "heads": 4, "intermediate_size": 704}
CHATS, PAIRS, PROMPTS, HELD_OUT = 4000, 320, 512, 200
PHASES = ("sampling", "scoring", "training")
BIG_VOCABULARY = 151_936
"""That of Qwen2.5."""
STUDENT = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306}
"""97.5 % points of Student's t by number of values."""

Row = dict[str, float]


def benchmark(arguments: list[str]) -> Result:
    """Every seed on both engines, then both once with a large vocabulary."""
    options = {"seeds": 2, "updates": 24}
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if name not in options or not value.isdigit():
            raise SystemExit(f"ppo_vs_trl takes --{'=N, --'.join(options)}=N; not {argument}")
        options[name] = int(value)
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    theirs, world = trl_python(), prepare(WORLD)
    with tempfile.TemporaryDirectory(prefix="pairloop-ppo-") as folder:
        by_seed = []
        for seed in range(options["seeds"]):
            by_seed.append(one_seed(world, theirs, Path(folder), seed, updates=options["updates"]))
            print(json.dumps({"seed": seed, **by_seed[-1]}), flush=True)
        return summary(by_seed, memory(world, theirs, Path(folder)))


def trl_python() -> Path:
    """The interpreter of TRL's environment, which is made on first use."""
    python = ENVIRONMENT / "bin" / "python"
    ready = ENVIRONMENT / "ready"
    if not ready.exists():
        ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PINS], check=True)
        ready.write_text("\n".join(PINS), "utf-8")
    return python


# The task


def prepare(folder: Path) -> Path:
    """A starter, a reward model and prompts in `folder`, all from the sample project's grammar.
    Made on first use: remove the folder to make them anew."""
    from annotate.sample import made_up_texts

    if (folder / "reward_model").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    _lines(folder / "chats.jsonl", list(made_up_texts.corpus(CHATS, seed=0)))
    sft = {
        "model": {"tiny": SHAPE},
        "data": str(folder / "chats.jsonl"),
        "epochs": 1.0,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "adam_beta2": 0.98,
    }
    _command("sft", {"threads": 1, "device": "cpu", "sft": sft}, folder / "sft")
    _write_prompts(folder)
    _lines(folder / "preferences.jsonl", _preferences())
    reward = {
        "starter": str(folder / "sft" / "model"),
        "preferences": str(folder / "preferences.jsonl"),
        # The last token is all that TRL's PPO can read.
        "reward": {"pooling": "last", "epochs": 1.0},
        "threads": 1,
        "device": "cpu",
    }
    _command("reward", reward, folder / "reward")
    _set_scale(folder)
    return folder


def _command(name: str, settings: dict[str, Any], out: Path) -> None:
    """Run a command of the engine, which does nothing when it is done already."""
    file = out.with_suffix(".json")
    file.write_text(json.dumps(settings), "utf-8")
    _run(sys.executable, "-m", "training.rlhf", name, "--config", str(file), "--out", str(out))


def _write_prompts(folder: Path) -> None:
    """Prompts with their tokens: TRL takes no chats."""
    from annotate.sample import made_up_texts
    from training.rlhf.language import chat_template, pretrained

    tokenizer = pretrained.load_tokenizer(folder / "sft" / "model")
    chats = made_up_texts.prompts(PROMPTS + HELD_OUT, seed=1)
    prompts = [
        {
            "prompt_id": f"p{number}",
            "messages": messages,
            "held_out": number >= PROMPTS,
            "input_ids": chat_template.prompt_ids(tokenizer, messages),
        }
        for number, messages in enumerate(chats)
    ]
    _lines(folder / "prompts.jsonl", prompts)


def _preferences() -> list[dict[str, Any]]:
    """Pairs of replies with one vote each, Bradley-Terry noisy by the rubric; one in eight held
    out."""
    from annotate.sample import made_up_texts, rubric

    rng, pairs = random.Random(0), []
    for number, messages in enumerate(made_up_texts.prompts(PAIRS, seed=2)):
        a, b = (made_up_texts.reply(messages, rng=rng) for _ in range(2))
        likes_a = rng.random() < 1 / (1 + math.exp(-rubric.prefers(messages, a, b)))
        pairs.append(
            {
                "pair_id": f"pair-{number}",
                "prompt_id": f"r{number}",
                "messages": messages,
                "completion_a": a,
                "completion_b": b,
                "held_out": number % 8 == 0,
                "votes": [{"annotator": "rubric", "choice": "a" if likes_a else "b"}],
            }
        )
    return pairs


def _set_scale(folder: Path) -> None:
    """Make the scores of the starter's replies vary by one: KL coefficients then mean the same
    for every reward model. Written into the weights, so that both engines see it."""
    import torch

    from training.rlhf.reward import reward_model

    chats, texts, _ = _replies(folder / "sft" / "model", folder, seed=7)
    model = reward_model.load(folder / "reward" / "model")
    assert isinstance(model.head, torch.nn.Linear), "a decoder has a linear score head"
    with torch.no_grad():
        model.head.weight /= statistics.stdev(model.score(chats, texts))
    model.save(folder / "reward_model")


def _lines(path: Path, rows: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


# The runs


def one_seed(world: Path, theirs: Path, folder: Path, seed: int, *, updates: int) -> Row:
    """Train on both engines at once; what each cost and what the rubric says."""
    row: Row = {}
    pythons = {"ours": Path(sys.executable), "trl": theirs}
    tasks = {
        name: Task(
            starter=str(world / "sft" / "model"),
            reward_model=str(world / "reward_model"),
            prompts=str(world / "prompts.jsonl"),
            out=str(folder / f"{name}-{seed}"),
            seed=seed,
            updates=updates,
        )
        for name in pythons
    }
    with ThreadPoolExecutor(len(tasks)) as pool:
        runs = pool.map(lambda name: train(name, pythons[name], tasks[name]), tasks)
        measured = dict(zip(tasks, runs, strict=True))
    for name, task in tasks.items():
        for phase in PHASES:
            each = [update[phase] for update in measured[name]["updates"][1:]]
            row[f"{name}_{phase}_seconds"] = statistics.mean(each)
        row[f"{name}_seconds"] = sum(row[f"{name}_{phase}_seconds"] for phase in PHASES)
        points = judged(world, Path(task.out) / "model", seed)
        row |= {f"{name}_{key}": value for key, value in points.items()}
    row["floor_seconds"] = floor_seconds(world, tasks["ours"], length=measured["ours"]["length"])
    return row


def train(name: str, python: Path, task: Task) -> dict[str, Any]:
    """Run one engine in its own process; what it measured."""
    module = {"ours": "ours", "trl": "trl_1_12"}[name]
    Path(task.out).mkdir()
    file = Path(task.out) / "task.json"
    task.write(file)
    _run(str(python), "-m", f"benchmarks.ppo_engines.{module}", str(file))
    measured: dict[str, Any] = json.loads(Path(task.out, "measured.json").read_text("utf-8"))
    return measured


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def _replies(policy: Path, world: Path, *, seed: int) -> tuple[list[Any], list[str], float]:
    """A policy's replies to the held-out prompts at temperature 1, and their KL to the starter."""
    import torch

    from training.rlhf import rows
    from training.rlhf.completions import sampling
    from training.rlhf.evaluation import kl_and_perplexity

    torch.set_num_threads(1)
    prompts = [p for p in rows.read(rows.Prompt, world / "prompts.jsonl") if p.held_out]
    chats = [prompt.messages for prompt in prompts]
    settings = sampling.Settings(1.0, Task.max_new_tokens, batch_size=64)
    cpu = torch.device("cpu")
    replies = sampling.Policy(policy, device=cpu).reply(chats, settings, seed=seed)
    starter = sampling.Policy(world / "sft" / "model", device=cpu)
    kl = kl_and_perplexity.kl_to(starter, chats, replies, settings)
    return chats, [reply.text for reply in replies], kl


def judged(world: Path, policy: Path, seed: int) -> Row:
    """Points by the rubric and KL to the starter on held-out prompts."""
    from annotate.sample import rubric

    chats, texts, kl = _replies(policy, world, seed=seed)
    points = [rubric.utility(*each) for each in zip(chats, texts, strict=True)]
    return {"points": statistics.mean(points), "kl": kl}


def floor_seconds(world: Path, task: Task, *, length: float) -> float:
    """CPU seconds that the matrix products of one update need at this machine's measured speed.

    2 operations per weight and token forward, twice that backward (Kaplan et al. 2020, arXiv
    2001.08361, section 2.1): the trunk once each for sampling, reference and reward model, then
    three times per epoch, the first of which also tells the old log-probabilities and values; the
    LM head on response tokens alone. Attention, which adds a few per cent at these lengths, is
    left out, so this is a lower bound.
    """
    import torch

    h, layers, inner = SHAPE["hidden_size"], SHAPE["layers"], SHAPE["intermediate_size"]
    prompts = [json.loads(line) for line in Path(task.prompts).read_text("utf-8").splitlines()]
    prompt = statistics.mean(len(p["input_ids"]) for p in prompts)
    trunk = layers * (4 * h * h + 3 * h * inner) * task.batch_size * (prompt + length)
    head = h * SHAPE["vocab_size"] * task.batch_size * length
    operations = 2 * (trunk * (3 + 3 * task.epochs) + head * (2 + 3 * task.epochs))
    torch.set_num_threads(1)
    left, right = torch.rand(task.batch_size * int(prompt + length), h), torch.rand(h, inner)
    left @ right
    start, products = time.process_time(), 300
    for _ in range(products):
        left @ right
    speed = products * 2 * left.numel() * inner / (time.process_time() - start)
    return operations / speed


def memory(world: Path, theirs: Path, folder: Path) -> Row:
    """Peak memory of an update with a vocabulary of 151,936, each engine in its own process."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    from training.rlhf.language import pretrained

    tokenizer = pretrained.load_tokenizer(world / "sft" / "model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=BIG_VOCABULARY,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )
    for name, kind in (("policy", LlamaForCausalLM), ("score", LlamaForSequenceClassification)):
        kind(config).save_pretrained(folder / f"big-{name}")
        tokenizer.save_pretrained(folder / f"big-{name}")
    peaks = {}
    for name, python in (("ours", Path(sys.executable)), ("trl", theirs)):
        task = Task(
            starter=str(folder / "big-policy"),
            reward_model=str(folder / "big-score"),
            prompts=str(world / "prompts.jsonl"),
            out=str(folder / f"big-{name}"),
            seed=0,
            updates=1,
        )
        peaks[f"{name}_peak_gb"] = train(name, python, task)["peak_bytes"] / 1e9
    return peaks


def summary(by_seed: list[Row], peak: Row) -> Result:
    """Means over the seeds; paired differences with 95 % intervals."""
    result = Result(
        {key: statistics.mean(row[key] for row in by_seed) for key in by_seed[0]} | peak
    )
    for name in ("points", "kl"):
        pairs = [row[f"ours_{name}"] - row[f"trl_{name}"] for row in by_seed]
        result.figures[f"{name}_difference"] = statistics.mean(pairs)
        if len(pairs) in STUDENT:
            error = STUDENT[len(pairs)] * statistics.stdev(pairs) / math.sqrt(len(pairs))
            mean = statistics.mean(pairs)
            result.intervals[f"{name}_difference"] = (mean - error, mean + error)
    figures = result.figures
    figures["seconds_ratio"] = figures["ours_seconds"] / figures["trl_seconds"]
    figures["floor_ratio"] = figures["floor_seconds"] / figures["trl_seconds"]
    figures["peak_ratio"] = figures["ours_peak_gb"] / figures["trl_peak_gb"]
    figures["seeds"] = float(len(by_seed))
    return result
