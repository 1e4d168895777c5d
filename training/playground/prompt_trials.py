"""Trying models on a prompt: who may reply, what may be asked, and what becomes of the replies."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from annotate import exchange
from training.figures.number_format import figure
from training.models import ModelVersion, Trial
from training.rlhf import rows
from training.rounds import loop_state

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_MESSAGE = 8_000
MOST_CHAT = 24_000
MOST_TURNS = 24
MOST_TOKENS = 1024
PER_MINUTE = 12
"""Trials of one person; each occupies the one process that has the models."""


class Refused(Exception):
    """The trial cannot be asked; the message is for people."""


def choices(project: exchange.Project) -> list[tuple[str, str]]:
    """The models that can reply: policies with weights, newest first, and the server if any."""
    policies = ModelVersion.objects.policies().filter(project=project, pruned_at=None)
    shown = policies.only("kind", "number", "state")
    options = [(str(one.pk), _label(one)) for one in shown]
    if settings.ENDPOINT and settings.ENDPOINT_MODEL:
        options.append((settings.ENDPOINT_MODEL, f"{settings.ENDPOINT_MODEL} (server)"))
    return options


def _label(version: ModelVersion) -> str:
    start = ", starter" if version.number == 0 else ""
    return f"{version.name} ({str(version.get_state_display()).lower()}{start})"


def suggested(project: exchange.Project, wished: str = "") -> list[str]:
    """Two models to begin with: the wished one, the promoted policy, the one that came from."""
    promoted = ModelVersion.objects.policies().promoted().filter(project=project).first()
    there = [value for value, _ in choices(project)]
    first = str(promoted.pk) if promoted else ""
    second = str(promoted.parent_id) if promoted and promoted.parent_id else ""
    wanted = [value for value in (wished, first, second) if value in there]
    return list(dict.fromkeys(wanted + there))[:2]


def chat(value: Any) -> list[dict[str, str]]:
    """Check the earlier turns of a chat.

    Raises:
        Refused: they are no chat, or too many.
    """
    try:
        turns = rows.messages(value) if value else []
    except (TypeError, ValueError) as error:
        raise Refused("The earlier turns are not a chat. Begin a new one.") from error
    if len(turns) > MOST_TURNS or sum(len(turn["content"]) for turn in turns) > MOST_CHAT:
        raise Refused("This chat has become too long. Begin a new one.")
    roles = ("system", "developer", "user", "assistant", "tool")
    said = all(turn["role"] in roles and _is_text(turn["content"]) for turn in turns)
    if not said or _answers_nobody(turns):
        raise Refused("The earlier turns are not a chat. Begin a new one.")
    return turns


def _answers_nobody(turns: list[dict[str, str]]) -> bool:
    """True where a tool speaks that the assistant has not called."""
    before = ["", *(turn["role"] for turn in turns)]
    return any(
        turn["role"] == "tool" and last not in ("assistant", "tool")
        for last, turn in zip(before, turns, strict=False)
    )


def _is_text(content: str) -> bool:
    """True for text to store and show: JSON also spells NUL and halves of characters."""
    return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in content)


def ask(
    project: exchange.Project, user: User, *, messages: list[dict[str, str]], **how: Any
) -> Trial:
    """Put a trial into the queue.

    Args:
        how: choices, temperature, max_new_tokens, seed.

    Raises:
        Refused: this person has one that is not answered, or asked too many in a minute.
    """
    Trial.objects.close_lost()
    minute = Trial.objects.filter(user=user, created_at__gt=timezone.now() - timedelta(minutes=1))
    if minute.count() >= PER_MINUTE:
        raise Refused(f"{PER_MINUTE} prompts a minute are enough for one person. Wait a little.")
    try:
        with transaction.atomic():
            return Trial.objects.create(project=project, user=user, messages=messages, **how)
    except IntegrityError as error:  # one_live_trial_per_person: of two clicks one gets here
        raise Refused(
            "Your last prompt is still being answered. Stop it, or wait for its end."
        ) from error


def stop(trial: Trial) -> bool:
    """End a trial and keep what was written; False when it had ended."""
    live = Trial.objects.filter(pk=trial.pk).live()
    return bool(live.update(state=Trial.State.STOPPED, finished_at=timezone.now()))


def status(trial: Trial) -> str:
    """A sentence on what happens now, or why nothing does."""
    if trial.state == Trial.State.QUEUED:
        if absent := loop_state.absent_worker():
            return absent
        ahead = Trial.objects.live().filter(pk__lt=trial.pk).count()
        if ahead:
            return f"Busy: {ahead} prompt{'s are' if ahead > 1 else ' is'} ahead of yours."
        return "Waiting for the process with the models."
    if trial.state == Trial.State.RUNNING:
        stages = {"writing": "Writing…", "scoring": "Scoring the replies…"}
        return stages.get(trial.stage, "Loading the models…")
    return trial.error


def columns(trial: Trial) -> list[dict[str, Any]]:
    """Each model's reply beside its name; the highest score, as it is written, is marked."""
    numbers = [int(choice) for choice in trial.choices if choice.isdigit()]
    versions = ModelVersion.objects.filter(project=trial.project_id).in_bulk(numbers)
    replies = trial.replies or [{}] * len(trial.choices)
    scores = [reply["score"] for reply in replies if reply.get("score") is not None]
    best = figure(max(scores)) if len(set(map(figure, scores))) > 1 else None
    return [
        {
            "place": place,
            "version": versions.get(int(choice)) if choice.isdigit() else None,
            "name": choice,
            "reply": reply,
            "best": best is not None and figure(reply.get("score")) == best,
            "usable": bool(reply.get("text")) and not trial.live,
        }
        for place, (choice, reply) in enumerate(zip(trial.choices, replies, strict=True))
    ]


@transaction.atomic
def queue_pair(trial: Trial, first: int, second: int) -> bool:
    """Ask people which of two replies is better; False when that is in the queue already.

    The pair was picked by hand, so it never enters the random stream that estimates come from.

    Raises:
        Refused: there are no two different replies at these places.
    """
    chosen = _two_replies(trial, first, second)
    prompt = exchange.prompt_id(trial.messages)
    exchange.add_prompts(trial.project, [{"messages": trial.messages}])
    keys = [_add_completion(trial, prompt, column) for column in chosen]
    pair = {
        "key": rows.candidate_key(*keys),
        "prompt_id": prompt,
        "completion_a": keys[0],
        "completion_b": keys[1],
        "stream": "active",
        "score": 1.0,
    }
    return bool(exchange.add_pairs(trial.project, [pair], source="playground"))


def _two_replies(trial: Trial, *places: int) -> list[dict[str, Any]]:
    replies = columns(trial)
    whole = trial.state == Trial.State.DONE
    if not whole or not all(0 <= at < len(replies) and replies[at]["usable"] for at in places):
        raise Refused("A pair needs two replies that are written to their end.")
    chosen = [replies[at] for at in places]
    a, b = (column["reply"]["text"].split() for column in chosen)
    if a == b:
        raise Refused("Both replies read the same: there is nothing to choose.")
    return chosen


def _add_completion(trial: Trial, prompt: str, column: dict[str, Any]) -> str:
    """Keep a reply as one of the project's completions; its key."""
    text = column["reply"]["text"]
    sampling = {"seed": trial.seed, "temperature": trial.temperature}
    row = {"prompt_id": prompt, "text": text, **sampling}
    policy = _policy_name(column["version"], column["name"])
    exchange.add_completions(trial.project, [row], source="playground", policy=policy)
    return rows.completion_key(prompt, text)


def _policy_name(version: ModelVersion | None, name: str) -> str:
    """As the completions of rounds are signed."""
    if version is None:
        return name
    return "starter" if version.number == 0 else version.name
