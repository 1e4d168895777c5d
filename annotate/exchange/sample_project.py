"""The sample project: a support desk whose prompts and colleagues need no download."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth.models import User
from django.db import transaction

from annotate.exchange.rows_from_training import add_prompts
from annotate.models import Guideline, Membership, Project
from annotate.models.roles import Role
from annotate.sample import made_up_texts, simulated_votes

SLUG = "support-desk"
PROMPTS = 1200
GUIDELINES = """\
You read a customer's message to an online shop and two replies. Choose the reply \
you would rather have sent.

A good reply

- is **about this customer's problem**: it names the product and what is wrong with it;
- says **what happens next**: a step somebody takes, not a promise to look into it;
- is **polite** without flattery;
- says everything **once**.

Choose *about the same* when you would send either, and *both are bad* when you would send \
neither. Do not choose a reply because it is longer.
"""


def create_sample_project(*, owner: User, seed: int) -> Project:
    """The project support-desk with its prompts and guidelines; the one there is, if any."""
    with transaction.atomic():
        project, created = Project.objects.get_or_create(
            slug=SLUG,
            defaults={
                "name": "Support desk",
                "description": "Which reply to a customer would you rather have sent?",
                "guidelines": GUIDELINES,
                "train_on_simulated": True,
                "promotion": Project.Promotion.AUTO,
                "auto_pause": False,
            },
        )
        if created:
            Guideline.objects.create(project=project, version=1, text=GUIDELINES, author=owner)
            messages = made_up_texts.prompts(PROMPTS, seed=seed)
            add_prompts(project, ({"messages": chat} for chat in messages))
        Membership.objects.get_or_create(project=project, user=owner, defaults={"role": Role.ADMIN})
    return project


def sample_corpus(n: int, *, seed: int) -> Iterator[made_up_texts.Chat]:
    """`n` chats with replies, good and bad habits mixed, to train a starter policy on."""
    yield from made_up_texts.corpus(n, seed=seed)


def ask_colleagues(project: Project, *, annotators: int, votes: int, seed: int) -> int:
    """Let simulated colleagues vote; return how many votes they cast before the queue was empty.

    Raises ValueError where simulated votes are not allowed to enter training.
    """
    if not project.train_on_simulated:
        raise ValueError(f"{project.name} does not train on simulated votes.")
    return simulated_votes.cast_votes(project, annotators=annotators, votes=votes, seed=seed)
