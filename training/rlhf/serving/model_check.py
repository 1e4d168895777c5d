"""The check of a model that somebody brings: its files, whether it loads, writes and stops.

A folder, a repository of a hub, or a model behind a server. Nothing of a model is trusted: weights
are safetensors, and code of its own is never run. Torch-free but for models that are loaded.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from training.rlhf import rows
from training.rlhf.completions.openai_endpoint import Endpoint
from training.rlhf.completions.writers import Reply, Settings
from training.rlhf.config import CheckJob
from training.rlhf.delivery import (
    hub_download,
    licence_context_memory,
    model_fingerprint,
    model_folder_checks,
)
from training.rlhf.delivery.licence_context_memory import Facts
from training.rlhf.delivery.memory_table import GIB, SINGLE
from training.rlhf.rows import Message
from training.rlhf.run.failures import ModelError
from training.rlhf.run.run_directory import RunDirectory

REPORT = "report.json"
PROMPTS = 3
REPLIES = 2
"""To each prompt: whether a model stops by itself shows in more than one reply."""
USUAL = [{"role": "user", "content": "My order has not arrived yet. What can I do?"}]
SAMPLE_REPLY = "I am sorry. Please send me its number, and I will look where it is."
STEPS = ("Read its files", "Load it", "Write replies")
HUNDRED = 100
"""Steps of the display: the first half is fetching."""

Report = dict[str, Any]


def check(config: CheckJob, out: Path, run: RunDirectory, stage: str) -> dict[str, float]:
    """Check a model and write `out`/report.json.

    Returns:
        replies, stopped, tokens_per_second and gigabytes, as far as they apply.

    Raises:
        HubError, Unusable, ModelError, EndpointError: it cannot be used; the message says why.
        Stopped: as asked for; what was fetched of a hub stays, and the next call goes on.
    """
    checked = _Check(config, run, stage)
    report = checked.server() if config.endpoint is not None else checked.folder()
    rows.write(out / REPORT, [report])
    names = ("replies", "stopped", "tokens_per_second")
    numbers = {name: float(report[name]) for name in names if name in report}
    return numbers | {"gigabytes": report.get("bytes", 0) / 1e9}


@dataclass
class _Check:
    config: CheckJob
    run: RunDirectory
    stage: str

    def tell(self, step: int, message: str) -> None:
        """Say where it is, and end here where that was asked for."""
        self.run.check()
        self.run.report(self.stage, step, HUNDRED, message)

    def chats(self) -> list[Sequence[Message]]:
        """The prompts that are answered."""
        if not self.config.prompts:
            return [USUAL]
        there = islice(rows.read(rows.Prompt, Path(self.config.prompts)), PROMPTS)
        return [prompt.messages for prompt in there] or [USUAL]

    def settings(self, most: int) -> Settings:
        return Settings(self.config.temperature, most, batch_size=PROMPTS * REPLIES)

    # A server

    def server(self) -> Report:
        """Ask a server for replies: the model is there, answers, and stops by itself."""
        assert self.config.endpoint is not None, "the job names a server"
        endpoint = Endpoint(self.config.endpoint, self.config.endpoint.model)
        self.tell(10, "Ask for its models")
        with endpoint.client() as client:
            offered = endpoint.models(client)
        if not endpoint.model and len(offered) != 1:
            listed = f": it offers {', '.join(offered[:20])}" if offered else ""
            raise ModelError(f"name the model of {self.config.endpoint.url}{listed}")
        endpoint.model = endpoint.model or offered[0]
        self.tell(50, STEPS[2])
        chats, begun = self.chats(), time.monotonic()
        asked = [chat for chat in chats for _ in range(REPLIES)]
        replies = endpoint.reply(asked, self.settings(self.config.max_new_tokens), seed=0)
        seconds = time.monotonic() - begun
        report = {"kind": "policy", "model": endpoint.model, "offered": offered[:50]}
        return report | _written(asked, replies, seconds)

    # A folder, or a model of a hub

    def folder(self) -> Report:
        """Look at the files, then load the model and let it write or score."""
        folder, commit = self.found()
        self.tell(50, STEPS[0])
        # A hub's adapter comes from a stranger: it adapts no folder that happens to lie here.
        roots = [folder.resolve()] if self.config.hub else list(map(Path, self.config.roots))
        if roots:
            model_folder_checks.require_below(folder, roots)
        kind = model_folder_checks.kind(folder)
        if self.config.kind and kind != self.config.kind:
            raise ModelError(
                f"{self.name} is a {kind} model by its architecture, not a {self.config.kind} model"
            )
        facts, known = (
            licence_context_memory.facts(folder),
            model_fingerprint.fingerprint(folder),
        )
        settings = licence_context_memory.settings(model_folder_checks.folder_of_base(folder))
        memory = licence_context_memory.memory(settings, facts.parameters)
        report = {"kind": kind, "folder": str(folder), "commit": commit, "memory": memory}
        report["fingerprint"] = known
        report |= dataclasses.asdict(facts)
        self.tell(60, f"{STEPS[1]}: {_size(facts)}")
        return report | self.used(folder, kind, facts, memory["writing"])

    @property
    def name(self) -> str:
        return self.config.hub or Path(self.config.model).name

    def found(self) -> tuple[Path, str]:
        """The folder, brought here where it is a hub's, and the commit of that."""
        if self.config.model:
            return Path(self.config.model), ""
        self.tell(0, "Ask the hub")
        last = [0.0]

        def told(here: int, total: int) -> None:
            if time.monotonic() - last[0] > 0.5:
                last[0] = time.monotonic()
                share = HUNDRED // 2 * here // max(1, total)
                self.tell(share, f"Fetch it: {here / 1e9:.2f} of {total / 1e9:.2f} GB")

        return hub_download.fetch(
            self.config.hub,
            self.config.revision,
            keep=Path(self.config.keep),
            scratch=self.run.checkpoints(self.stage) / "fetched",
            told=told,
            private=self.config.private,
            free_gb=self.config.free_gb,
        )

    def used(self, folder: Path, kind: str, facts: Facts, writing: float) -> Report:
        """Load the model and use it once; torch is loaded here."""
        from training.rlhf.run.work import Work

        work = Work.of_stage(
            self.run,
            self.stage,
            seed=self.config.seed,
            threads=self.config.threads,
            device=self.config.device,
        )
        device = work.device.type
        free = self.require_memory(facts, writing, device)
        where = {"device": device, "free_memory": free}
        if kind == model_folder_checks.REWARD:
            return where | self.scored(folder, work)
        return where | self.written(folder, facts, work)

    def require_memory(self, facts: Facts, writing: float, device: str) -> float:
        """GiB that are free where it will be loaded.

        Raises:
            ModelError: it does not fit.
        """
        import torch

        on_gpu = device == "cuda"
        free = (
            torch.cuda.mem_get_info()[0] if on_gpu else licence_context_memory.free_memory()
        ) / GIB
        if free and facts.parameters * SINGLE / GIB > free:
            raise ModelError(
                f"{self.name} has {_size(facts)} and takes about {writing:.1f} GiB to write; the "
                f"worker has {free:.1f} GiB of {'GPU ' if on_gpu else ''}memory free. Take a "
                "smaller model, or a server (endpoint)"
            )
        return free

    def written(self, folder: Path, facts: Facts, work: Any) -> Report:
        """Replies to the prompts."""
        from training.rlhf.completions.sampling import Policy
        from training.rlhf.language import pretrained

        template = bool(pretrained.load_tokenizer(folder).chat_template)
        if self.config.trained and not template:
            raise ModelError(
                f"{self.name} has no chat template, so rounds cannot train it on chats: take its "
                "instruction-tuned relative, or train it on chats first (python -m training.rlhf "
                "sft). As a candidate it can be tried and compared"
            )
        policy = Policy(folder, device=work.device)
        room = pretrained.context(policy.model)
        settings = self.settings(max(1, min(self.config.max_new_tokens, room // 2)))
        self.tell(75, STEPS[2])
        asked = [chat for chat in self.chats() for _ in range(REPLIES)]
        begun = time.monotonic()
        replies = policy.reply(asked, settings, seed=self.config.seed)
        seconds = time.monotonic() - begun
        del policy
        gc.collect()
        return {"template": template, **_written(asked, replies, seconds, settings.max_new_tokens)}

    def scored(self, folder: Path, work: Any) -> Report:
        """The score of one reply."""
        from training.rlhf.reward import reward_model

        model = reward_model.load(folder, device=work.device)
        [score] = model.score([list(USUAL)], [SAMPLE_REPLY])
        if not math.isfinite(score):
            raise ModelError(f"{self.name} scores a reply {score}: its weights are damaged")
        return {"score": score}


def _written(
    asked: Sequence[Sequence[Message]], replies: Sequence[Reply], seconds: float, most: int = 0
) -> Report:
    """The report's part on replies.

    Raises:
        ModelError: they are all empty.
    """
    if not any(reply.text.strip() for reply in replies):
        raise ModelError("it writes only empty replies: look at its chat template and stop tokens")
    lengths = [reply.tokens_out or len(reply.ids) for reply in replies]
    pairs = zip(asked, replies, lengths, strict=True)
    return {
        "replies": len(replies),
        "stopped": sum(reply.finished for reply in replies),
        "longest": most,
        "lengths": lengths,
        "tokens_per_second": sum(lengths) / max(seconds, 1e-3),
        "repeats_itself": _repeats_itself(asked, replies),
        "said": [
            {
                "prompt": chat[-1]["content"][:2000],
                "text": reply.text[:6000],
                "finished": reply.finished,
                "tokens": tokens,
            }
            for chat, reply, tokens in islice(pairs, 0, None, REPLIES)
        ],
    }


def _repeats_itself(asked: Sequence[Sequence[Message]], replies: Sequence[Reply]) -> bool:
    """True where every prompt that was asked several times got one and the same reply."""
    said: dict[str, list[str]] = {}
    for chat, reply in zip(asked, replies, strict=True):
        said.setdefault(str(chat), []).append(reply.text)
    several = [texts for texts in said.values() if len(texts) > 1]
    return bool(several) and all(len(set(texts)) == 1 for texts in several)


def _size(facts: Facts) -> str:
    """The number of weights in words."""
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if facts.parameters >= unit:
            return f"{facts.parameters / unit:.3g} {name} weights"
    return f"{facts.parameters} weights"
