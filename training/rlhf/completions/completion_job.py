"""Completions for prompts, and their pairs, by servers or by models here.

Every reply is on the disk as soon as it is there, and every prompt's completions and pairs once its
last reply is: a kill costs the requests that are on their way, and the next call asks those alone.
Torch-free where all writers are servers.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path

from training.rlhf import rows
from training.rlhf.completions.openai_endpoint import (
    Endpoint,
    EndpointError,
    RequestRefused,
    UnknownModel,
)
from training.rlhf.completions.pairs_from_replies import finished_prompt
from training.rlhf.completions.reply_files import GrowingFile, Place, Row
from training.rlhf.completions.writers import Reply, Settings
from training.rlhf.config import CompletionsJob, EndpointConfig, SourceConfig
from training.rlhf.data import data_files
from training.rlhf.rows import Prompt
from training.rlhf.run.run_directory import RunDirectory, Stopped

REPLIES, WRITTEN, MODELS = "replies.jsonl", "written.jsonl", "models.jsonl"
CHUNK_PROMPTS = 32
"""Prompts between two writers where a model here is one of them: both finish these first."""
ALL_REFUSED = 20
"""Requests that a server refuses before its first reply: then it would refuse all of them."""
LOOK_SECONDS = 0.5
TELL_SECONDS = 1.0
LAST_REPLIES = 8.0
"""Seconds for which replies that are on their way are waited for when the job is stopped."""

Asked = tuple[Place, Prompt]


def complete(config: CompletionsJob, out: Path, run: RunDirectory, stage: str) -> dict[str, float]:
    """Write completions and pairs into `out`; see `Writing` for what is kept on the way.

    Returns:
        prompts, requests, failed, tokens_in, tokens_out, completions and pairs.

    Raises:
        EndpointError: a server failed for good; what was written stays.
        Stopped: as asked for; the next call goes on.
    """
    writing = Writing(config, run, stage)
    if config.list_models:
        offered = [{"url": url, "models": names} for url, names in writing.offered()]
        rows.write(out / MODELS, offered)
    try:
        writing.write_missing()
    except (Stopped, EndpointError) as error:
        writing.tell(always=True)
        if isinstance(error, UnknownModel):
            raise EndpointError(f"{error}. {_sentence(writing.offered())}".strip()) from error
        raise
    writing.tell(always=True)
    made = {}
    for name in ("completions", "pairs"):
        rows.write(
            out / f"{name}.jsonl", (row for line in writing.written.rows() for row in line[name])
        )
        made[name] = float(sum(len(line[name]) for line in writing.written.rows()))
    return {"prompts": float(len(writing.finished)), **writing.usage(), **made}


def _sentence(offered: Iterator[tuple[str, list[str]]]) -> str:
    """A sentence on the models that servers offer instead of one that they do not know."""
    try:
        listed = [f"{url} offers: {', '.join(names[:20])}." for url, names in offered if names]
    except EndpointError:
        return ""
    return " ".join(listed)


class Writing:
    """Prompts, the replies they have so far, and those that are missing.

    In the checkpoints of the stage `replies.jsonl` has each reply or refusal, and `written.jsonl`
    one line for each prompt whose replies are all there: see `pairs_from_replies.finished_prompt`.
    """

    def __init__(self, config: CompletionsJob, run: RunDirectory, stage: str) -> None:
        self.config, self.run, self.stage = config, run, stage
        prompts = data_files.prompts(config.prompts, held_out_share=config.held_out_share)
        self.prompts = {prompt.prompt_id: prompt for prompt in prompts}
        self.settings = Settings(
            config.temperature, config.max_new_tokens, config.batch_size, config.top_p
        )
        folder = run.checkpoints(stage)
        self.replies, self.written = GrowingFile(folder / REPLIES), GrowingFile(folder / WRITTEN)
        self.finished = {row["prompt_id"] for row in self.written.rows()}
        self.there: dict[str, list[Row]] = {}
        """The replies of prompts that are not finished."""
        self.counts: Counter[str] = Counter()
        for row in self.replies.rows():
            self._note(row)
        self.writers = [source for source in config.sources if not _unnamed(source)]
        self.total = len(self.prompts) * len(self.writers) * config.per_prompt
        self._told = 0.0

    def _note(self, row: Row) -> None:
        if row["prompt_id"] not in self.finished:
            self.there.setdefault(row["prompt_id"], []).append(row)
        self.counts.update(requests=1, failed="refused" in row)
        self.counts.update(tokens_in=row.get("tokens_in", 0), tokens_out=row.get("tokens_out", 0))

    def usage(self) -> dict[str, float]:
        names = ("requests", "failed", "tokens_in", "tokens_out")
        return {name: float(self.counts[name]) for name in names}

    def offered(self) -> Iterator[tuple[str, list[str]]]:
        """The servers of the job, and the models that each lists.

        Raises:
            EndpointError: one cannot be reached, or wants another key.
        """
        for source in self.config.sources:
            if source.endpoint is not None:
                endpoint = Endpoint(source.endpoint, source.endpoint.model)
                with endpoint.client() as client:
                    yield source.endpoint.url, endpoint.models(client)

    def write_missing(self) -> None:
        """Have all replies written that are not there.

        Raises:
            EndpointError, Stopped: as `complete`.
        """
        self.tell(always=True)
        for prompt_id in list(self.there):  # the last reply came just before the process ended
            self._finish(prompt_id)
        for chunk in self._chunks():
            self._write(chunk)

    def _chunks(self) -> Iterator[list[Asked]]:
        """The replies still to be asked for, by prompts; in one piece where servers write alone."""
        unfinished = (one for one in self.prompts.values() if one.prompt_id not in self.finished)
        missing = (asked for prompt in unfinished for asked in self._missing(prompt))
        size = CHUNK_PROMPTS * len(self.writers) * self.config.per_prompt
        local = any(source.folder for source in self.writers)
        while chunk := list(islice(missing, size if local else None)):
            yield chunk

    def _missing(self, prompt: Prompt) -> Iterator[Asked]:
        there = {Place.of(row) for row in self.there.get(prompt.prompt_id, ())}
        for sample in range(self.config.per_prompt):
            for source in self.writers:
                place = Place(prompt.prompt_id, source.name, sample)
                if place not in there:
                    yield place, prompt

    def _write(self, chunk: Sequence[Asked]) -> None:
        """Ask for the replies of a chunk: models here first, then all servers at once."""
        for source in self.writers:
            if source.folder:
                self._write_here(source, [one for one in chunk if one[0].source == source.name])
        servers = {
            source.name: source.endpoint for source in self.writers if source.endpoint is not None
        }
        if servers:
            self._write_by(servers, [one for one in chunk if one[0].source in servers])

    def _write_here(self, source: SourceConfig, asked: Sequence[Asked]) -> None:
        from training.rlhf.completions.sampling import Policy
        from training.rlhf.run.work import Work

        work = Work.of_stage(
            self.run,
            self.stage,
            seed=self.config.seed,
            threads=self.config.threads,
            device=self.config.device,
        )
        policy, size = Policy(source.folder, device=work.device), self.config.batch_size
        for start in range(0, len(asked), size):
            self.run.check()
            batch = asked[start : start + size]
            chats, seed = [prompt.messages for _, prompt in batch], self._seed(batch[0][0])
            replies = policy.reply(chats, self.settings, seed=seed)
            for (place, _), reply in zip(batch, replies, strict=True):
                self._keep(place, _row(reply, tokens_out=len(reply.ids)))

    def _write_by(self, servers: dict[str, EndpointConfig], asked: Sequence[Asked]) -> None:
        """Keep as many requests on their way as the servers take, and what comes as it comes."""
        width = max(config.concurrency for config in servers.values())
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(width))
            endpoints = {name: Endpoint(config, config.model) for name, config in servers.items()}
            for endpoint in endpoints.values():
                stack.callback(endpoint.give_up)  # before the pool waits for its threads
            asks = {
                name: partial(endpoint.ask, stack.enter_context(endpoint.client()))
                for name, endpoint in endpoints.items()
            }
            waiting, pending = iter(asked), dict[Future[Reply], Place]()
            try:
                while True:
                    self.run.check()
                    for place, prompt in islice(waiting, width - len(pending)):
                        ask, seed = asks[place.source], self._seed(place)
                        future = pool.submit(ask, prompt.messages, self.settings, seed=seed)
                        pending[future] = place
                    if not pending:
                        return
                    self._take(pending, LOOK_SECONDS)
            except (Stopped, EndpointError):
                for endpoint in endpoints.values():
                    endpoint.give_up()
                self._take_last(pending)
                raise

    def _take(self, pending: dict[Future[Reply], Place], seconds: float) -> None:
        """Keep the replies that have come, or come within so many seconds.

        Raises:
            EndpointError: a server failed for good.
        """
        done, _ = wait(pending, timeout=seconds, return_when=FIRST_COMPLETED)
        failure: EndpointError | None = None
        for future in done:
            place = pending.pop(future)
            try:
                self._keep(place, _row(future.result()))
            except RequestRefused as error:
                self._keep(place, {"refused": str(error)})
                if self.counts["requests"] == self.counts["failed"] >= ALL_REFUSED:
                    failure = EndpointError(f"none of {ALL_REFUSED} requests was answered: {error}")
            except EndpointError as error:
                failure = error  # the other replies of this moment are kept first
        if failure is not None:
            raise failure

    def _take_last(self, pending: dict[Future[Reply], Place]) -> None:
        """Keep what was on its way: it is paid for."""
        until = time.monotonic() + LAST_REPLIES
        while pending and (left := until - time.monotonic()) > 0:
            try:
                self._take(pending, left)
            except EndpointError:
                continue  # the first failure is told

    def _keep(self, place: Place, row: Row) -> None:
        whole = place.row() | row
        self.replies.append(whole)
        self._note(whole)
        self._finish(place.prompt_id)
        self.tell()

    def _finish(self, prompt_id: str) -> None:
        there = self.there[prompt_id]
        whole = len(there) >= len(self.writers) * self.config.per_prompt
        if whole and prompt_id not in self.finished and prompt_id in self.prompts:
            names = [source.name for source in self.writers]
            line = finished_prompt(prompt_id, there, self.settings, names)
            self.run.check_fence()  # what lost its run meanwhile writes nothing
            self.written.append(line)
            self.finished.add(prompt_id)
            del self.there[prompt_id]

    def tell(self, *, always: bool = False) -> None:
        """Write down how far the job is, at most once a second."""
        now = time.monotonic()
        if always or now - self._told > TELL_SECONDS:
            self._told, done = now, self.counts["requests"]
            self.run.record(self.stage, done, self.usage())
            self.run.report(self.stage, done, self.total)

    def _seed(self, place: Place) -> int:
        """Of one reply, whenever it is asked for."""
        text = f"{self.config.seed} {place.source} {place.sample} {place.prompt_id}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def _unnamed(source: SourceConfig) -> bool:
    """True of a server that is only asked for its models."""
    return source.endpoint is not None and not source.endpoint.model


def _row(reply: Reply, *, tokens_out: int = 0) -> Row:
    return {
        "text": reply.text,
        "finished": reply.finished,
        "seed": reply.seed,
        "tokens_in": reply.tokens_in,
        "tokens_out": reply.tokens_out or tokens_out,
    }
