"""Words of the field that explain themselves where they stand, and times in the reader's zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import count

from django import template
from django.utils import dateformat, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

GLOSSARY = {
    "95 % interval": "If the votes were drawn again and again, 95 of 100 intervals made like this "
    "one would hold the true value. A wide one says: too few votes yet.",
    "active time": "Time with the pair in front of the person. Other windows do not count.",
    "agreement": "How often the first two people who voted on a pair gave the same answer. Later "
    "votes are left out: they were asked because of a disagreement.",
    "agreement with people": "How often an AI annotator names the same reply as people’s label. "
    "It is measured on pairs that people were asked about at random, where both named one.",
    "adjudication": "A reviewer decides a pair on which the votes have no majority.",
    "calibration error": "How far the reward model's certainty lies from how often it is right "
    "(ECE). 0 is perfect.",
    "dataset version": "A frozen state of all votes, which rounds and exports read.",
    "fresh pairs": "Pairs that were resolved since the votes of the last round were frozen. Those "
    "of held-out prompts are not among them: they measure, and teach nothing.",
    "gold pair": "A pair whose right answer is known, hidden among the others to check people.",
    "held-out": "Set aside by prompt for measuring; nothing is ever trained on it.",
    "independent judge": "A judge model is independent where it learnt from other prompts and "
    "other people’s votes than the reward model, which takes eight active annotators. One that is "
    "not likes what the reward model likes, and a taste that all voters share no judge can see.",
    "judge": "A model, no person, that says which of two replies is better: a second reward model, "
    "from prompts of its own where there are enough votes.",
    "KL": "How far the policy has moved from its starter, in nats per reply. 0 is no change; far "
    "away, a high reward is often a trick.",
    "Krippendorff’s α": "Agreement beyond chance: 1 is perfect, 0 is what guessing gives.",
    "Fleiss’ κ": "Agreement beyond chance for several people: 1 is perfect, 0 is what guessing "
    "gives.",
    "out of fold": "While there are few votes, accuracy is that of five further models, each on "
    "the prompts that it did not learn from.",
    "policy": "The model that writes the replies, and that rounds improve.",
    "promoted": "In use: it writes the next replies and is what the next round starts from.",
    "random stream": "Pairs offered in random order. They alone speak for the whole project; the "
    "others were chosen because their votes teach most, and are harder.",
    "reliability": "The estimated chance that a person's answer is right, from all votes and gold "
    "pairs (Dawid and Skene).",
    "resolved": "The pair has the votes it needs and a label: two people agreed, or a majority "
    "decided. One vote of two does not resolve a pair yet.",
    "retest": "A pair that the same person gets a second time with the sides swapped.",
    "reward": "The reward model's score of a reply, standardised: the starter's mean is 0 and its "
    "standard deviation 1.",
    "reward accuracy": "How often the reward model prefers the reply that people preferred, on "
    "pairs of prompts that it did not learn from. One half is guessing.",
    "sequential test": "A policy that is just as good is called worse at most once in 40 times, "
    "however often one looks; the two comparisons share that. The intervals hold as often.",
    "settled": "Resolved, or decided to need a reviewer: no more votes are asked for.",
    "simulated": "Cast by a program that imitates a person. Such votes exist in sample projects "
    "alone and are always marked.",
    "starter": "The policy as it was before the first round; the reference that KL is measured to.",
    "surplus": "A vote that came after its reservation ended and the pair had filled. It is kept, "
    "and counts nowhere.",
    "training time": "How long training workers were busy for this project, all runs together.",
    "votes that count": "Standing votes on pairs that get a label: without surplus votes, gold "
    "pairs and retests.",
    "win rate": "Share of comparisons that the newer policy won; ties count half. Above one half, "
    "the newer one is preferred.",
}
"""The terms that pages explain. One place, so that a word means the same on all of them."""

_NUMBERS = count(1)
"""Tips need names of their own, in fragments that come later too."""


@register.simple_tag
def term(name: str, text: str = "") -> SafeString:
    """A word with its explanation: on hover, on focus, by touch; read out as its description."""
    number = next(_NUMBERS)
    return format_html(
        '<span class="term"><button type="button" aria-describedby="term-{}">{}</button>'
        '<span class="term-tip" role="tooltip" id="term-{}">{}</span></span>',
        number,
        text or name[0].upper() + name[1:],
        number,
        GLOSSARY[name],
    )


@register.filter
def in_words(value: datetime | date | None) -> str:
    """30 Nov 2026, 18:05 UTC; of a day 30 Nov 2026; a dash where there is none."""
    if not value:
        return "–"
    if isinstance(value, datetime):
        local = timezone.localtime(value)
        return f"{dateformat.format(local, 'j M Y, H:i')} {local.tzname()}"
    return dateformat.format(value, "j M Y")


@register.simple_tag
def moment(value: datetime | None, missing: str = "–") -> SafeString | str:
    """A time: with its zone from the server, in the reader's own once the page runs."""
    if not value:
        return missing
    exact = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return format_html('<time datetime="{}" data-moment>{}</time>', exact, in_words(value))
