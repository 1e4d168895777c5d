"""A process that answers chats with several models at once, for a person who waits.

    python -m training.rlhf.serving.playground_generator SPOOL [--idle SECONDS] [--device auto]

SPOOL/inbox/ID.json is a question (see Question); SPOOL/outbox/ID.json, replaced whole a few times
per second, is its answer so far: {"state": "loading", "writing", "scoring" or "done", "replies":
[{"text", "tokens", "cut", "finished", "fault", "shown", "score", "error"}], "error": ""}. Taking
the question away ends the answer. Questions are answered one after another, the oldest name first.
What the last one needed stays in memory, nothing else; after IDLE seconds without a question the
process ends.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from training.rlhf.completions.openai_endpoint import Endpoint
from training.rlhf.completions.sampling import Policy
from training.rlhf.completions.writers import Settings
from training.rlhf.config import EndpointConfig
from training.rlhf.language import chat_template, generation
from training.rlhf.metrics.texts.broken_replies import filtered
from training.rlhf.reward import reward_model
from training.rlhf.reward.reward_model import RewardModel
from training.rlhf.rows import Message
from training.rlhf.run.device import resolve_device

POLL_SECONDS = 0.05
TELL_SECONDS = 0.2
SILENCE_SECONDS = 30.0
"""That a server may take for the next piece of its reply."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One chat for some models: folders or hub ids, or `url` and `model` of a server."""

    messages: list[Message]
    models: list[dict[str, str]]
    reward: str = ""
    """Folder of the reward model that scores the replies; empty: none."""
    temperature: float = 0.7
    max_new_tokens: int = 128
    seed: int = 0


@dataclass(kw_only=True)
class Written:
    """A reply, or as much of it as there is."""

    text: str = ""
    tokens: int = 0
    cut: int = 0
    """Tokens at the chat's beginning that the model's context has no room for."""
    finished: bool = False
    fault: str = ""
    shown: str = ""
    """Text a reader would be shown instead of a reply with a fault."""
    score: float | None = None
    error: str = ""


class Source(Protocol):
    """The source of a reply, piece by piece."""

    def advance(self) -> bool:
        """Write one piece more; False when the reply has ended."""

    def read(self) -> Written:
        """The reply so far."""


class Local:
    """A model in this process, token by token."""

    def __init__(self, policy: Policy, question: Question) -> None:
        self.policy = policy
        self.response = generation.Response()
        prompt = chat_template.prompt_ids(policy.tokenizer, question.messages)
        self.cut = max(
            0, len(prompt) - generation.prompt_room(policy.model, question.max_new_tokens)
        )
        self.steps = generation.stream(
            policy.model,
            policy.tokenizer,
            prompt,
            max_new_tokens=question.max_new_tokens,
            temperature=question.temperature,
            seed=question.seed,
            stop_ids=policy.stop_ids,
        )

    def advance(self) -> bool:
        longer = next(self.steps, None)
        self.response = longer or self.response
        if longer is not None and math.isnan(longer.logprobs[-1]):
            raise ValueError("the model's probabilities are not finite")
        return longer is not None

    def read(self) -> Written:
        ids = self.response.ids
        text = chat_template.response_text(self.policy.tokenizer, ids)
        done = self.response.finished
        return Written(text=text, tokens=len(ids), cut=self.cut, finished=done)


class Served:
    """A model behind a server, in the pieces in which it streams. Why it ended is not told."""

    def __init__(self, url: str, model: str, question: Question) -> None:
        settings = Settings(question.temperature, question.max_new_tokens, 1)
        # A server that falls silent must not hold up the others, nor the next person, for long.
        endpoint = Endpoint(EndpointConfig(url=url, timeout=SILENCE_SECONDS), model)
        self.pieces = endpoint.stream(question.messages, settings, seed=question.seed)
        self.heard: list[str] = []
        self.ended = False

    def advance(self) -> bool:
        piece = next(self.pieces, None)
        self.ended = piece is None
        self.heard += [] if piece is None else [piece]
        return not self.ended

    def read(self) -> Written:
        text = "".join(self.heard).replace("\0", "\N{REPLACEMENT CHARACTER}").strip()
        return Written(text=text, tokens=len(self.heard), finished=self.ended)


class Memory:
    """The models that the last question needed."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.policies: dict[str, Policy] = {}
        self.rewards: dict[str, RewardModel] = {}

    def forget_others(self, question: Question) -> None:
        """Let go of what `question` does not need, before anything new is loaded."""
        needed = {one["path"] for one in question.models if "path" in one} | {question.reward}
        for loaded in (self.policies, self.rewards):
            for path in [path for path in loaded if path not in needed]:
                del loaded[path]
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def source(self, model: dict[str, str], question: Question) -> Source:
        """The source of a model's reply, loaded where it is not yet."""
        if "url" in model:
            return Served(model["url"], model["model"], question)
        path = model["path"]
        if path not in self.policies:
            self.policies[path] = Policy(path, device=self.device)
        return Local(self.policies[path], question)

    def score(self, path: str, messages: Sequence[Message], texts: Sequence[str]) -> list[float]:
        """Scores of replies to one chat."""
        if path not in self.rewards:
            self.rewards[path] = reward_model.load(path, device=self.device)
        return self.rewards[path].score([messages] * len(texts), texts)


@dataclass
class Answer:
    """The replies so far and who is told of them."""

    tell: Callable[[dict[str, Any]], None]
    replies: list[Written]
    told: float = field(default=0.0)

    def show(self, state: str) -> None:
        self.told = time.monotonic()
        self.tell({"state": state, "replies": [asdict(one) for one in self.replies], "error": ""})


def answer(
    question: Question,
    memory: Memory,
    *,
    tell: Callable[[dict[str, Any]], None],
    wanted: Callable[[], bool],
) -> None:
    """Let every model reply, all at a time, a piece each in turn; then score the replies.

    What goes wrong with one model stands with its reply, and the others go on.

    Args:
        tell: called with the answer so far, a few times per second.
        wanted: False ends the answer.
    """
    shown = Answer(tell, [Written() for _ in question.models])
    shown.show("loading")
    memory.forget_others(question)
    live: dict[int, Source] = {}
    for place, model in enumerate(question.models):
        with _noting(shown.replies[place]):
            live[place] = memory.source(model, question)
    _write(live, shown, wanted)
    if wanted():
        shown.show("scoring")
        _score(question, memory, shown.replies)
        shown.show("done")


def _write(live: dict[int, Source], shown: Answer, wanted: Callable[[], bool]) -> None:
    """Go round the models until none goes on."""
    while live and wanted():
        for place, source in list(live.items()):
            going = False
            with _noting(shown.replies[place]):
                going = source.advance()
            if not going:
                error = shown.replies[place].error
                shown.replies[place] = ended = source.read()
                ended.error = error
                if not error:
                    _filter(ended)
                del live[place]
        if time.monotonic() - shown.told > TELL_SECONDS:
            for place, source in live.items():
                shown.replies[place] = source.read()
            shown.show("writing")


def _filter(reply: Written) -> None:
    result = filtered(reply.text, finished=reply.finished)
    reply.fault, reply.shown = result.fault, result.text if result.fault else ""


def _score(question: Question, memory: Memory, replies: Sequence[Written]) -> None:
    scored = [reply for reply in replies if reply.text and not reply.error]
    if not question.reward or not scored:
        return
    noted = Written()
    with _noting(noted):
        scores = memory.score(question.reward, question.messages, [r.text for r in scored])
        if not all(map(math.isfinite, scores)):
            raise ValueError("the reward model's scores are not finite")
        for reply, score in zip(scored, scores, strict=True):
            reply.score = score
    for reply in scored if noted.error else ():
        reply.error = f"Not scored: {noted.error}"


@contextmanager
def _noting(reply: Written) -> Iterator[None]:
    """Write what goes wrong inside beside the reply instead of raising it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the person who waits must hear of it
        traceback.print_exc()
        said = isinstance(error, ValueError | OSError | RuntimeError) and str(error)
        reply.error = said or f"{type(error).__name__}: {error}"


def serve(spool: Path, *, idle: float, device: torch.device) -> None:
    """Answer the questions of a spool until none came for `idle` seconds."""
    memory = Memory(device)
    last = time.monotonic()
    seen: set[str] = set()
    while time.monotonic() - last < idle:
        file = next(_waiting(spool, seen), None)
        if file is None:
            time.sleep(POLL_SECONDS)
            continue
        seen.add(file.name)
        _answer_file(file, spool / "outbox" / file.name, memory)
        last = time.monotonic()


def _waiting(spool: Path, seen: set[str]) -> Iterator[Path]:
    files = sorted((spool / "inbox").glob("*.json"))
    return itertools.filterfalse(lambda file: file.name in seen, files)


def _answer_file(file: Path, out: Path, memory: Memory) -> None:
    def tell(so_far: dict[str, Any]) -> None:
        partial = out.with_suffix(".partial")
        partial.write_text(json.dumps(so_far), "utf-8")
        partial.replace(out)

    try:
        question = Question(**json.loads(file.read_text("utf-8")))
        answer(question, memory, tell=tell, wanted=file.exists)
    except Exception as error:  # noqa: BLE001 - as above
        traceback.print_exc()
        tell({"state": "done", "replies": [], "error": f"{type(error).__name__}: {error}"})


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.rlhf.serving.playground_generator")
    parser.add_argument("spool", type=Path)
    parser.add_argument("--idle", type=float, default=600.0, metavar="SECONDS")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    given = parser.parse_args(arguments)
    serve(given.spool, idle=given.idle, device=resolve_device(given.device))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
