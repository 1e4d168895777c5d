"""Reward-model training beside TRL's RewardTrainer: pairs per CPU second, losses, accuracy.

Both train the same four-layer Llama from the same weights on the same pairs in the same batches,
in fp32 and without activation checkpointing; every text is cut to the maximum length beforehand,
so that TRL drops none. Ours reads the prompt of a pair once and cuts a batch into passes of
similar lengths. The dialogues are those of HH-RLHF when PAIRLOOP_DATA is set, or else as long as
those, put together from the sample project's grammar. Accuracy is measured on that grammar, with
the hidden rubric's verdict on fresh pairs.

Options: `--seeds=3 --pairs=64 --threads=1`.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.result import Result

DATA = Path("hh_rlhf") / "harmless-base-test.jsonl.gz"
MAX_LENGTH, BATCH, LEARNING_RATE = 512, 16, 1e-4
VOCABULARY = 4096
Shape = tuple[int, int]
LARGE: Shape = (256, 4)
"""Hidden size and layers of the model that is timed."""
SMALL: Shape = (128, 2)
"""Of the model whose accuracy is measured: as in the sample project."""
COMPARED = 64
"""Pairs whose losses are compared one by one."""
ACCURACY_PAIRS, ACCURACY_FRESH, ACCURACY_EPOCHS, ACCURACY_RATE = 500, 400, 4, 1e-3
TURN_COUNTS = (1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4)
"""The number of people's turns in a dialogue of HH-RLHF, roughly."""
TEMPLATE = (
    "{%- for m in messages -%}{{- '<|' + m['role'] + '|>' + m['content'] + '<|end|>' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)

Chat = list[dict[str, str]]
Pair = tuple[Chat, str, str]
"""A chat, the better reply and the worse one."""


# Pairs


def dialogues(n: int, *, seed: int) -> tuple[str, list[Pair]]:
    """Their source, and `n` pairs of multi-turn dialogues."""
    folder = os.environ.get("PAIRLOOP_DATA")
    if not folder:
        return "grammar", [long_chat(random.Random(seed * 10_000 + i)) for i in range(n)]
    with gzip.open(Path(folder) / DATA, "rt", encoding="utf-8") as lines:
        pairs = [pair for line in lines if (pair := human_assistant(json.loads(line)))]
    return "hh_rlhf", random.Random(seed).sample(pairs, n)


def human_assistant(row: dict[str, str]) -> Pair | None:
    """One row of HH-RLHF; None where its sides differ in more than the last turn."""
    from training.rlhf.data import data_files

    first, second = (data_files.turns(row[name]) for name in ("chosen", "rejected"))
    if first[:-1] != second[:-1]:
        return None
    return first[:-1], first[-1]["content"], second[-1]["content"]


def long_chat(rng: random.Random) -> Pair:
    """A pair whose chat goes back and forth as often as one of HH-RLHF."""
    from annotate.sample import made_up_texts

    chat: Chat = []
    for turn in range(rng.choice(TURN_COUNTS)):
        if turn:
            chat.append({"role": "assistant", "content": written(chat, rng, sentences=3)})
        (asked,) = made_up_texts.prompts(1, seed=rng.randrange(10**9))
        chat += [dict(message) for message in asked]
    return chat, written(chat, rng, sentences=2), written(chat, rng, sentences=2)


def written(chat: Chat, rng: random.Random, *, sentences: int) -> str:
    from annotate.sample import made_up_texts

    return " ".join(made_up_texts.reply(chat[-1:], rng=rng) for _ in range(sentences))


def judged(n: int, *, seed: int) -> list[Pair]:
    """Pairs of the sample project, the side first that the hidden rubric prefers."""
    from annotate.sample import made_up_texts, rubric

    rng, pairs = random.Random(seed), []
    for chat in made_up_texts.prompts(2 * n, seed=seed):
        sides = [made_up_texts.reply(chat, rng=rng) for _ in range(2)]
        points = [rubric.utility(chat, side) for side in sides]
        if points[0] != points[1]:
            better, worse = sides if points[0] > points[1] else sides[::-1]
            pairs.append((list(chat), better, worse))
    return pairs[:n]


# Models


def base(folder: Path, pairs: Sequence[Pair], shape: Shape, *, seed: int) -> Path:
    """A randomly initialised classifier and a tokenizer trained on the pairs."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

    special = ["<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ([*(m["content"] for m in chat), a, b] for chat, a, b in pairs)
    backend.train_from_iterator((text for text in texts for text in text), trainer)
    words = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|end|>"
    )
    words.chat_template = TEMPLATE
    torch.manual_seed(seed)
    model = LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=shape[0],
            intermediate_size=3 * shape[0],
            num_hidden_layers=shape[1],
            num_attention_heads=4,
            max_position_embeddings=MAX_LENGTH,
            pad_token_id=words.pad_token_id,
            eos_token_id=words.eos_token_id,
            num_labels=1,
        )
    )
    model.save_pretrained(str(folder))
    words.save_pretrained(str(folder))
    return folder


def ours(folder: Path, pairs: Sequence[Pair], **settings: Any) -> tuple[Any, Callable[[], None]]:
    """Our trainer on a base, and what trains it."""
    import torch

    from training.rlhf.config import RewardConfig
    from training.rlhf.reward import reward_model
    from training.rlhf.reward.optimiser_loop import Trainer
    from training.rlhf.reward.reward_data import Example

    config = RewardConfig(
        **{
            "batch_size": BATCH,
            "max_length": MAX_LENGTH,
            "learning_rate": LEARNING_RATE,
            "epochs": 1.0,
            "pooling": "last",
            "probe": False,
            "centre": 0.0,
            "early_stopping": False,
        }
        | settings
    )
    # `load` and not `new`, which would pool as the base does.
    model = reward_model.load(folder)
    model.pooling, model.read.max_length = config.pooling, config.max_length
    if config.probe:
        torch.nn.init.zeros_(model.head.weight)  # a head that has learnt would be kept
    examples = [
        Example(str(i), model.read(chat, better), model.read(chat, worse), 1.0, 1.0)
        for i, (chat, better, worse) in enumerate(pairs)
    ]
    trainer = Trainer(model.train(), examples, config, seed=0)

    def train() -> None:
        for step in range(trainer.steps):
            trainer.step(step)

    assert isinstance(trainer.model, torch.nn.Module)
    return trainer, train


def trls(
    folder: Path, trainer: Any, out: Path, *, epochs: float, rate: float
) -> tuple[Any, Callable[[], None]]:
    """TRL's trainer on the same base and the pairs, in their order, of our first epoch."""
    import datasets
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    datasets.disable_progress_bars()
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    order = [trainer.train[i] for i in trainer.order(0)]
    rows = [{"chosen_ids": e.first.ids, "rejected_ids": e.second.ids} for e in order]
    other = RewardTrainer(
        model=model,
        args=RewardConfig(
            output_dir=str(out),
            per_device_train_batch_size=BATCH,
            num_train_epochs=epochs,
            learning_rate=rate,
            max_length=MAX_LENGTH,
            bf16=False,
            activation_checkpointing=False,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            logging_strategy="no",
            disable_tqdm=True,
            train_sampling_strategy="sequential",
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    assert len(other.train_dataset) == len(rows), "TRL has dropped pairs"
    return other, other.train


# Measures


def cpu_seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def largest_difference(trainer: Any, other: Any) -> float:
    """Of the losses of single pairs, the same weights read by both engines' own paths."""
    import torch
    from torch.nn import functional as F

    other.model.load_state_dict(trainer.model.classifier.state_dict())
    other.model.eval()  # dropout off, as in ours
    pairs = trainer.train[:COMPARED]
    with torch.no_grad():
        scores = trainer.scores(pairs)
        mine = -F.logsigmoid(scores[:, 0] - scores[:, 1])
        rows = [{"chosen_ids": e.first.ids, "rejected_ids": e.second.ids} for e in pairs]
        theirs = [
            float(other.compute_loss(other.model, other.data_collator([row]))) for row in rows
        ]
    return float((mine - torch.tensor(theirs)).abs().max())


def throughput(folder: Path, n: int, *, seed: int) -> dict[str, float]:
    """One seed: both engines train once, whichever is first being drawn by the seed."""
    source, pairs = dialogues(n, seed=seed)
    start = base(folder / "base", pairs, LARGE, seed=seed)
    trainer, own_work = ours(start, pairs)
    other, other_work = trls(start, trainer, folder / "trl", epochs=1, rate=LEARNING_RATE)
    # A first step of neither is timed: kernels are chosen and memory is claimed in it.
    ours(start, pairs[:BATCH])[1]()
    seconds = {}
    for name in ("ours", "trl") if seed % 2 else ("trl", "ours"):
        seconds[name] = cpu_seconds(own_work if name == "ours" else other_work)
    texts = [text for example in trainer.train for text in example.texts]
    return {
        "hh_rlhf": float(source == "hh_rlhf"),
        "pairs_per_cpu_second_ours": n / seconds["ours"],
        "pairs_per_cpu_second_trl": n / seconds["trl"],
        "ratio": seconds["trl"] / seconds["ours"],
        "largest_loss_difference": largest_difference(trainer, other),
        "tokens_per_text": statistics.mean(len(text.ids) for text in texts),
        "tokens_per_reply": statistics.mean(text.reply for text in texts),
        "truncated_pairs": float(sum(any(t.cut for t in e.texts) for e in trainer.train)),
    }


def accuracy(folder: Path, *, seed: int) -> dict[str, float]:
    """Both engines on pairs of the sample project; ours as TRL's, and as it is by default."""
    import torch

    pairs = judged(ACCURACY_PAIRS + ACCURACY_FRESH, seed=seed)
    learnt, fresh = pairs[:ACCURACY_PAIRS], pairs[ACCURACY_PAIRS:]
    start = base(folder / "base", learnt, SMALL, seed=seed)
    settings = {"epochs": float(ACCURACY_EPOCHS), "learning_rate": ACCURACY_RATE}
    same, work = ours(start, learnt, **settings)
    other, other_work = trls(
        start, same, folder / "trl", epochs=ACCURACY_EPOCHS, rate=ACCURACY_RATE
    )
    work()
    other_work()
    default, default_work = ours(start, learnt, **settings, pooling="root", probe=True, centre=0.01)
    default_work()

    def right(model: Any) -> float:
        chats = [chat for chat, _, _ in fresh]
        model.eval()  # dropout off
        with torch.no_grad():
            better = model.score(chats, [pair[1] for pair in fresh])
            worse = model.score(chats, [pair[2] for pair in fresh])
        return statistics.mean(a > b for a, b in zip(better, worse, strict=True))

    accuracies = {"accuracy_ours": right(same.model), "accuracy_ours_default": right(default.model)}
    same.model.classifier.load_state_dict(other.model.state_dict())
    return accuracies | {"accuracy_trl": right(same.model)}


def benchmark(arguments: list[str]) -> Result:
    import torch
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    options = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    disable_progress_bar()
    set_verbosity_error()
    torch.set_num_threads(int(options.get("threads", 1)))
    by_seed: list[dict[str, float]] = []
    for seed in range(int(options.get("seeds", 3))):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            row = throughput(Path(one), int(options.get("pairs", 64)), seed=seed)
            row |= accuracy(Path(two), seed=seed)
        print(", ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
        by_seed.append(row)
    return summary(by_seed)


def summary(by_seed: list[dict[str, float]]) -> Result:
    """Means over the seeds with 95 % intervals, the worst ratio and the largest difference."""
    result = Result()
    for key in by_seed[0]:
        values = [row[key] for row in by_seed]
        result.figures[key] = statistics.mean(values)
        measured = key.startswith(("ratio", "pairs_per", "accuracy"))
        if measured and len(values) > 1:
            # Student's t, because the seeds are few.
            half = T_95[min(len(values) - 2, len(T_95) - 1)] * statistics.stdev(values)
            half /= math.sqrt(len(values))
            result.intervals[key] = (statistics.mean(values) - half, statistics.mean(values) + half)
    result.figures["ratio_worst"] = min(row["ratio"] for row in by_seed)
    worst = max(row["largest_loss_difference"] for row in by_seed)
    result.figures["largest_loss_difference"] = worst
    result.figures["seeds"] = float(len(by_seed))
    return result


T_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Student's t for a 95 % interval with 1, 2, ... degrees of freedom."""
