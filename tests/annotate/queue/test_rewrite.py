"""Better answers: written beside a vote, exported with the completions that won."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from annotate import exchange, queue
from annotate.exporting.formats import kto_sft_format
from annotate.models import Pair, Project, Rewrite
from tests.annotate.queue.test_queue import lease

MakePairs = Callable[..., list[Pair]]


def test_a_better_answer_is_written_replaced_and_exported(
    project: Project,
    ann: User,
    ben: User,
    make_pairs: MakePairs,
    client_for: Callable[[User], Client],
) -> None:
    (pair,) = make_pairs(1)
    Project.objects.update(allow_rewrites=True)
    own = queue.vote(ann, lease(project, ann).token, choice="a").assignment
    queue.vote(ben, lease(project, ben).token, choice="a")
    browser = client_for(ann)
    page = browser.get("/projects/desk/votes/")
    form = page.context["entries"][0].rewriting
    assert form.initial["text"] == pair.completion_a.text
    address = reverse("my-rewrite", args=["desk", own.token])
    for text in ("Draft.", "It arrives on Monday."):
        browser.post(address, {"side": form.initial["side"], "text": text})
    assert (Rewrite.objects.get().text, Rewrite.objects.get().based_on) == (text, "a")
    version = exchange.freeze(project)
    (won,) = map(json.loads, kto_sft_format.sft_lines(version, include_simulated=False))
    reply = {"role": "assistant", "content": pair.completion_a.text}
    assert won["completion"] == [reply] and "rejected" not in won
    (written,) = map(
        json.loads, kto_sft_format.sft_lines(version, part="rewrites", include_simulated=False)
    )
    assert written["completion"] == [{**reply, "content": text}]
    assert written["prompt"] == won["prompt"]
    assert kto_sft_format.sft_counts(version, include_simulated=False)["rewrites"] == 1


def test_a_project_that_does_not_ask_gets_no_rewrites(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    token = lease(project, ann).token
    queue.vote(ann, token, choice="a")
    with pytest.raises(queue.Gone):
        queue.rewrite(ann, token, side="left", text="Better.")
    with pytest.raises(queue.UnknownAssignment):
        queue.rewrite(ben, token, side="left", text="Better.")
