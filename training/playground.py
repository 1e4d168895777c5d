"""Trying models on a prompt: who may reply, what may be asked, and what becomes of the replies."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from annotate import exchange
from training import loop
from training.models import ModelVersion
from training.rlhf import rows
from training.trials import Trial

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_MODELS = 4
MOST_VERSIONS = 50
MOST_MESSAGE = 8_000
MOST_CHAT = 24_000
MOST_TURNS = 24
MOST_TOKENS = 1024
PER_MINUTE = 12
"""Trials of one person; each occupies the one process that has the models."""


class Refused(Exception):
    """The trial cannot be asked; the message is for people."""


def choices(project: Any) -> list[tuple[str, str]]:
    """Who can reply: the newest policies with weights and the starter, and the server if any."""
    policies = ModelVersion.objects.policies().filter(project=project, pruned_at=None)
    newest = list(policies[:MOST_VERSIONS])
    newest += [one for one in policies.filter(number=0) if one not in newest]
    found = [(str(one.pk), _label(one)) for one in newest]
    if settings.ENDPOINT and settings.ENDPOINT_MODEL:
        found.append((settings.ENDPOINT_MODEL, f"{settings.ENDPOINT_MODEL} (server)"))
    return found


def _label(version: ModelVersion) -> str:
    start = ", starter" if version.number == 0 else ""
    return f"{version.name} ({str(version.get_state_display()).lower()}{start})"


def suggested(project: Any, wished: str = "") -> list[str]:
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
        found = rows.messages(value) if value else []
    except (TypeError, ValueError) as error:
        raise Refused("The earlier turns are not a chat. Begin a new one.") from error
    if len(found) > MOST_TURNS or sum(len(turn["content"]) for turn in found) > MOST_CHAT:
        raise Refused("This chat has become too long. Begin a new one.")
    roles = ("system", "user", "assistant")
    if any(turn["role"] not in roles or not _is_text(turn["content"]) for turn in found):
        raise Refused("The earlier turns are not a chat. Begin a new one.")
    return found


def _is_text(content: str) -> bool:
    """Whether it can be stored and shown: JSON also spells NUL and halves of characters."""
    return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in content)


def ask(project: Any, user: User, *, messages: list[dict[str, str]], **how: Any) -> Trial:
    """Put a trial into the queue.

    Args:
        how: choices, temperature, max_new_tokens, seed.

    Raises:
        Refused: this person has one that is not answered, or asked too many in a minute.
    """
    Trial.objects.close_lost()
    mine = Trial.objects.filter(user=user)
    if mine.live().exists():
        raise Refused("Your last prompt is still being answered. Stop it, or wait for its end.")
    if mine.filter(created_at__gt=timezone.now() - timedelta(minutes=1)).count() >= PER_MINUTE:
        raise Refused(f"{PER_MINUTE} prompts a minute are enough for one person. Wait a little.")
    return Trial.objects.create(project=project, user=user, messages=messages, **how)


def stop(trial: Trial) -> bool:
    """End a trial and keep what was written; False when it had ended."""
    live = Trial.objects.filter(pk=trial.pk).live()
    return bool(live.update(state=Trial.State.STOPPED, finished_at=timezone.now()))


def status(trial: Trial) -> str:
    """What happens now, or why nothing does."""
    if trial.state == Trial.State.QUEUED:
        if absent := loop.absent_worker():
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
    """Each model's reply beside its name; the highest score is marked."""
    numbers = [int(choice) for choice in trial.choices if choice.isdigit()]
    versions = ModelVersion.objects.filter(project=trial.project_id).in_bulk(numbers)
    replies = trial.replies or [{}] * len(trial.choices)
    scores = [reply["score"] for reply in replies if reply.get("score") is not None]
    best = max(scores) if len(set(scores)) > 1 else None
    return [
        {
            "place": place,
            "version": versions.get(int(choice)) if choice.isdigit() else None,
            "name": choice,
            "reply": reply,
            "best": best is not None and reply.get("score") == best,
            "usable": bool(reply.get("text")) and not trial.live,
        }
        for place, (choice, reply) in enumerate(zip(trial.choices, replies, strict=True))
    ]


def queue_pair(trial: Trial, first: int, second: int) -> bool:
    """Ask people which of two replies is better; False when that is in the queue already.

    The pair was picked by hand, so it never enters the random stream that estimates come from.

    Raises:
        Refused: there are no two different replies at these places.
    """
    found = columns(trial)
    whole = trial.state == Trial.State.DONE
    places = (first, second)
    if not whole or not all(0 <= at < len(found) and found[at]["usable"] for at in places):
        raise Refused("A pair needs two replies that are written to their end.")
    a, b = found[first], found[second]
    if a["reply"]["text"].split() == b["reply"]["text"].split():
        raise Refused("Both replies read the same: there is nothing to choose.")
    prompt = exchange.prompt_id(trial.messages)
    exchange.add_prompts(trial.project, [{"messages": trial.messages}])
    keys = []
    for one in (a, b):
        version, text = one["version"], one["reply"]["text"]
        exchange.add_completions(
            trial.project,
            [_completion(trial, prompt, text)],
            source="playground",
            policy=_policy_name(version, one["name"]),
        )
        keys.append(rows.completion_key(prompt, text))
    pair = {
        "key": rows.candidate_key(*keys),
        "prompt_id": prompt,
        "completion_a": keys[0],
        "completion_b": keys[1],
        "stream": "active",
    }
    return bool(exchange.add_pairs(trial.project, [pair], source="playground"))


def _completion(trial: Trial, prompt: str, text: str) -> dict[str, Any]:
    sampling = {"seed": trial.seed, "temperature": trial.temperature}
    return {"prompt_id": prompt, "text": text, **sampling}


def _policy_name(version: ModelVersion | None, name: str) -> str:
    """As the completions of rounds are signed."""
    if version is None:
        return name
    return "starter" if version.number == 0 else version.name
