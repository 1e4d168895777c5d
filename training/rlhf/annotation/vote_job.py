"""Votes of a chat model behind a server, or of a reward model here, on pairs of replies.

A chat model is asked about every pair in both orders. Every answer is on the disk as soon as it is
there, and a pair's vote once both of its answers are: a kill costs the requests that are on their
way, and the next call asks those alone. Torch-free where a server answers.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from training.rlhf import rows
from training.rlhf.annotation.both_orders import letter, question
from training.rlhf.annotation.request_bounds import Pace, RequestBounds, estimated_tokens
from training.rlhf.completions.openai_endpoint import Endpoint, EndpointError, RequestRefused
from training.rlhf.completions.reply_files import GrowingFile, Row
from training.rlhf.completions.writers import Reply, Settings
from training.rlhf.config import AnnotateJob, EndpointConfig
from training.rlhf.rows import Message, Preference
from training.rlhf.run.run_directory import RunDirectory, Stopped

ANSWERS, WRITTEN, VOTES = "answers.jsonl", "written.jsonl", "votes.jsonl"
ORDERS = ("there", "back")
"""A shown first, and B shown first."""
NO_USE = 20
"""Answers that a model gives before its first verdict: then it would give none to any."""
LOOK_SECONDS = 0.5
TELL_SECONDS = 1.0
LAST_ANSWERS = 8.0
"""Seconds for which answers that are on their way are waited for when the job is stopped."""
NONE = "none"


class Asked(NamedTuple):
    """One request: a pair in one order."""

    pair_id: str
    order: str
    question: list[Message]
    estimate: int


def annotate(config: AnnotateJob, out: Path, run: RunDirectory, stage: str) -> dict[str, float]:
    """Vote on pairs and write `out`/votes.jsonl; see `Voting` for what is kept on the way.

    Returns:
        pairs (votes and pairs without a verdict), a, b, tie, none, requests, failed, tokens_in,
        tokens_out, tokens (with estimates where the server counts none), and bounded: 1 where a
        bound of requests or tokens left pairs unasked.

    Raises:
        EndpointError: the server failed for good, or gives no verdicts; what was voted stays.
        ModelError: there is no such reward model.
        Stopped: as asked for; the next call goes on.
    """
    voting = Voting(config, run, stage)
    try:
        if config.endpoint is None:
            voting.score_missing()
        else:
            voting.ask_missing(config.endpoint)
    finally:
        voting.tell(always=True)
    rows.write(out / VOTES, voting.written.rows())
    return voting.numbers()


def verdict(there: str, back: str) -> str:
    """The vote that two answers amount to: the side that both name, a tie where they name
    different ones, none where one of them names none."""
    if not there or not back:
        return NONE
    return there if there == back else "tie"


class Voting:
    """Pairs, the answers about them so far, and the votes.

    In the checkpoints of the stage `answers.jsonl` has each answer or refusal, and `written.jsonl`
    one line for each pair whose vote is known: pair_id, choice, there, back, margin.
    """

    def __init__(self, config: AnnotateJob, run: RunDirectory, stage: str) -> None:
        self.config, self.run, self.stage = config, run, stage
        self.pairs = {row.pair_id: row for row in rows.read(Preference, config.pairs)}
        folder = run.checkpoints(stage)
        self.answers, self.written = GrowingFile(folder / ANSWERS), GrowingFile(folder / WRITTEN)
        self.counts: Counter[str] = Counter()
        self.voted: set[str] = set()
        for row in self.written.rows():
            self._note_vote(row)
        self.bounds = RequestBounds(config.most_requests, config.most_tokens)
        self.there: dict[str, dict[str, str]] = {}
        """The sides that answers about pairs without a vote name, by order; "" names none."""
        for row in self.answers.rows():
            self.bounds.requests += 1
            self.bounds.tokens += row["tokens"]
            self._note_answer(row)
        self.bounded = False
        self._told = 0.0

    def numbers(self) -> dict[str, float]:
        names = ("a", "b", "tie", NONE, "requests", "failed", "tokens_in", "tokens_out")
        counted = {name: float(self.counts[name]) for name in names}
        spent = {"tokens": float(self.bounds.tokens), "bounded": float(self.bounded)}
        return counted | {"pairs": float(len(self.voted))} | spent

    def _note_vote(self, row: Row) -> None:
        self.voted.add(row["pair_id"])
        self.counts[row["choice"]] += 1

    def _note_answer(self, row: Row) -> None:
        self.counts.update(requests=1, failed="refused" in row, named=bool(row["named"]))
        self.counts.update(tokens_in=row["tokens_in"], tokens_out=row["tokens_out"])
        if row["pair_id"] not in self.voted:
            self.there.setdefault(row["pair_id"], {})[row["order"]] = row["named"]

    # By a reward model

    def score_missing(self) -> None:
        """Have the reward model score the pairs without a vote.

        Raises:
            ModelError, Stopped: as `annotate`.
        """
        from training.rlhf.reward import reward_model
        from training.rlhf.run.work import Work

        work = Work.of_stage(
            self.run,
            self.stage,
            seed=self.config.seed,
            threads=self.config.threads,
            device=self.config.device,
        )
        model = reward_model.load(self.config.reward_model, device=work.device)
        missing = (pair for pair in self.pairs.values() if pair.pair_id not in self.voted)
        while batch := list(islice(missing, self.config.batch_size)):
            self.run.check()
            chats = [pair.messages for pair in batch]
            first = model.score(chats, [pair.completion_a for pair in batch])
            second = model.score(chats, [pair.completion_b for pair in batch])
            for pair, a, b in zip(batch, first, second, strict=True):
                self._vote_by_margin(pair.pair_id, a - b)
            self.tell()

    def _vote_by_margin(self, pair_id: str, margin: float) -> None:
        """The vote of a model that scores replies one by one: no order can sway it."""
        if not math.isfinite(margin):
            return self._vote(pair_id, "", "")
        side = "a" if margin > 0 else "b" if margin < 0 else ""
        if side:
            return self._vote(pair_id, side, side, margin)
        return self._vote(pair_id, "a", "b", margin)

    # By a chat model

    def ask_missing(self, server: EndpointConfig) -> None:
        """Have the server asked about the pairs without a vote, as far as the bounds go.

        Raises:
            EndpointError, Stopped: as `annotate`.
        """
        for pair_id in list(self.there):  # the last answer came just before the process ended
            self._finish(pair_id)
        endpoint = Endpoint(server, server.model)
        settings = Settings(0.0, self.config.max_new_tokens, batch_size=1)
        pace, waiting = Pace(self.config.per_minute), self._waiting()
        pending: dict[Future[Reply], Asked] = {}
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(server.concurrency))
            stack.callback(endpoint.give_up)  # before the pool waits for its threads
            client = stack.enter_context(endpoint.client())
            more = True
            try:
                while more or pending:
                    self.run.check()
                    while more and len(pending) < server.concurrency and not pace.wait():
                        asked = next(waiting, None)
                        if asked is None:
                            more = False
                            break
                        future = pool.submit(
                            endpoint.ask, client, asked.question, settings, seed=self.config.seed
                        )
                        self.bounds.reserve(asked.estimate)
                        pace.sent()
                        pending[future] = asked
                    room = more and len(pending) < server.concurrency
                    seconds = min(LOOK_SECONDS, pace.wait()) if room else LOOK_SECONDS
                    if pending:
                        self._take(pending, seconds)
                    elif more:
                        time.sleep(seconds)
            except (Stopped, EndpointError):
                endpoint.give_up()
                self._take_last(pending)
                raise

    def _waiting(self) -> Iterator[Asked]:
        """The requests that are missing, pair by pair, until a pair would exceed the bounds."""
        for pair in self.pairs.values():
            if pair.pair_id in self.voted:
                continue
            known = self.there.get(pair.pair_id, {})
            missing = [self._asked(pair, order) for order in ORDERS if order not in known]
            if not self.bounds.allow([asked.estimate for asked in missing]):
                self.bounded = True
                return
            yield from missing

    def _asked(self, pair: Preference, order: str) -> Asked:
        texts = [pair.completion_a, pair.completion_b]
        a, b = texts if order == "there" else texts[::-1]
        chat = question(pair.messages, a, b, principles=self.config.principles)
        length = sum(len(message["content"]) for message in chat)
        tokens = estimated_tokens(length, self.config.max_new_tokens)
        return Asked(pair.pair_id, order, chat, tokens)

    def _take(self, pending: dict[Future[Reply], Asked], seconds: float) -> None:
        """Keep the answers that have come, or come within so many seconds.

        Raises:
            EndpointError: the server failed for good, or names no side.
        """
        done, _ = wait(pending, timeout=seconds, return_when=FIRST_COMPLETED)
        failure: EndpointError | None = None
        for future in done:
            asked = pending.pop(future)
            try:
                self._keep(asked, future.result())
            except RequestRefused as error:
                self._keep(asked, None, refused=str(error))
                if self.counts["requests"] == self.counts["failed"] >= NO_USE:
                    failure = EndpointError(f"none of {NO_USE} requests was answered: {error}")
            except EndpointError as error:
                failure = error  # the other answers of this moment are kept first
        if failure is not None:
            raise failure
        answered = self.counts["requests"] - self.counts["failed"]
        if answered >= NO_USE and not self.counts["named"]:
            raise EndpointError(f"none of {answered} answers names A or B: {self._last!r}")

    def _take_last(self, pending: dict[Future[Reply], Asked]) -> None:
        """Keep what was on its way: it is paid for."""
        until = time.monotonic() + LAST_ANSWERS
        while pending and (left := until - time.monotonic()) > 0:
            try:
                self._take(pending, left)
            except EndpointError:
                continue  # the first failure is told

    _last = ""

    def _keep(self, asked: Asked, reply: Reply | None, *, refused: str = "") -> None:
        used = reply.tokens_in + reply.tokens_out if reply else 0
        self.bounds.settle(asked.estimate, used)
        self._last = reply.text[:200] if reply else self._last
        row = {
            "pair_id": asked.pair_id,
            "order": asked.order,
            "named": _side(letter(reply.text), asked.order) if reply else "",
            "tokens_in": reply.tokens_in if reply else 0,
            "tokens_out": reply.tokens_out if reply else 0,
            "tokens": used or asked.estimate,
        }
        row |= {"refused": refused[:300]} if refused else {}
        self.answers.append(row)
        self._note_answer(row)
        self._finish(asked.pair_id)
        self.tell()

    def _finish(self, pair_id: str) -> None:
        there = self.there.get(pair_id, {})
        if pair_id in self.pairs and len(there) == len(ORDERS):
            self._vote(pair_id, there["there"], there["back"])
            del self.there[pair_id]

    def _vote(self, pair_id: str, there: str, back: str, margin: float | None = None) -> None:
        row = {"pair_id": pair_id, "choice": verdict(there, back), "there": there, "back": back}
        self.run.check_fence()  # what lost its run meanwhile writes nothing
        self.written.append(row | {"margin": margin})
        self._note_vote(row)

    def tell(self, *, always: bool = False) -> None:
        """Write down how far the job is, at most once a second."""
        now = time.monotonic()
        if always or now - self._told > TELL_SECONDS:
            self._told = now
            self.run.record(self.stage, self.counts["requests"] or len(self.voted), self.numbers())
            self.run.report(self.stage, len(self.voted), len(self.pairs))


def _side(named: str, order: str) -> str:
    """The reply that a letter names, by the order in which the two were shown."""
    first, second = ("a", "b") if order == "there" else ("b", "a")
    return {"A": first, "B": second}.get(named, "")
