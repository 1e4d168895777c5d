"""Agreement of AI annotators with people, and what follows from it for the use of their votes.

It is measured on pairs that people were asked about at random and have labelled, where model and
people both named a better reply. Nothing here is agreement between people, and no vote of a model
is in any of that.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db.models import Count, F, Q

from annotate.models import AiAnnotator, AiVote, Label, Pair, Project
from annotate.models.ai_annotators.ai_annotator import SURE
from annotate.models.pair import PairQuerySet
from annotate.statistics import tag_errors
from annotate.statistics.wilson_interval import clustered

ENOUGH = 300
"""Labelled pairs that an annotator is asked about before all open ones, to be measured on."""
FEWEST = 30
"""Compared pairs below which its votes teach nothing and lower no priority."""
RIGHT = 0.7
"""Lower end of its agreement, on the votes it is sure of, from which people are asked elsewhere."""
FEWEST_OF_TAG = 5
"""Pairs below which nothing is said of a tag."""
MOST_TAGS = 30


class Share(NamedTuple):
    """Pairs on which people and the model both named a reply, and how many named the same."""

    pairs: int
    same: int
    interval: tuple[float, float] | None

    @property
    def rate(self) -> float | None:
        return self.same / self.pairs if self.pairs else None


class TagShare(NamedTuple):
    tag: str
    share: Share
    wrong: bool
    """Its agreement there lies significantly below that elsewhere."""


@dataclass(frozen=True)
class AiFigures:
    """An AI annotator's votes, and its agreement with people."""

    choices: dict[str, int]
    """Its votes by what they say: a, b, tie, none."""
    swayed: int
    """Ties that are one because the two orders named different replies."""
    compared: Share
    sure: Share
    """The same among the votes it was sure of."""
    undecided: int
    """Labelled pairs that it voted on, where people or the model named no side."""
    tags: list[TagShare] = field(default_factory=list)
    next_look: int = tag_errors.FIRST
    """Prompts with a compared pair, at which tags are looked at next."""

    @property
    def votes(self) -> int:
        return sum(self.choices.values()) - self.choices.get("none", 0)

    @property
    def sided(self) -> int:
        return self.choices.get("a", 0) + self.choices.get("b", 0)

    @property
    def wrong_tags(self) -> list[str]:
        return [one.tag for one in self.tags if one.wrong]

    @property
    def trust(self) -> float:
        """The share of its answers that are no guesses, 2 r - 1 of its agreement r; 0 while too
        few pairs were compared, or a coin might agree as much.

        People's labels are wrong now and then, so the agreement is rather below its reliability.
        """
        low = self.compared.interval[0] if self.compared.interval else 0.0
        rate = self.compared.rate
        if rate is None or self.compared.pairs < FEWEST or low <= 0.5:
            return 0.0
        return 2 * rate - 1

    @property
    def is_right(self) -> bool:
        """True where people's votes may go elsewhere when it is sure of its own."""
        low = self.sure.interval[0] if self.sure.interval else 0.0
        return self.sure.pairs >= FEWEST and low >= RIGHT


def labelled(project: Project) -> PairQuerySet:
    """Pairs that people were asked about at random and have labelled, equal texts left out."""
    pairs = Pair.objects.filter(
        project=project, stream=Pair.Stream.RANDOM, kind__in=Pair.TEACHING, label__isnull=False
    ).exclude(completion_a=F("completion_b"))
    pairs = pairs.exclude(state=Pair.State.RETIRED)
    return pairs if project.train_on_simulated else pairs.filter(firsts_simulated=False)


def ai_figures(annotator: AiAnnotator) -> AiFigures:
    """The figures of one annotator."""
    cast = AiVote.objects.filter(annotator=annotator)
    counted = cast.aggregate(
        **{name: Count("pk", filter=Q(choice=name)) for name in AiVote.Choice.values},
        swayed=Count("pk", filter=Q(choice=AiVote.Choice.TIE, margin=None) & ~Q(there=F("back"))),
    )
    swayed = counted.pop("swayed")
    rows = _compared(annotator)
    sides = (Label.Outcome.A, Label.Outcome.B)
    both = [row for row in rows if row.model in sides and row.people in sides]
    of_prompts = list({row.prompt: row for row in reversed(both)}.values())[::-1]
    return AiFigures(
        choices=counted,
        swayed=swayed,
        compared=_share(both),
        sure=_share([row for row in both if row.sure]),
        undecided=len(rows) - len(both),
        tags=_by_tag(both, set(tag_errors.wrong_tags([(r.tags, r.same) for r in of_prompts]))),
        next_look=tag_errors.next_look(len(of_prompts)),
    )


class _Compared(NamedTuple):
    model: str
    people: str
    prompt: int
    tags: list[str]
    sure: bool

    @property
    def same(self) -> bool:
        return self.model == self.people


def _compared(annotator: AiAnnotator) -> list[_Compared]:
    """Its votes on labelled pairs, in the order in which people labelled them."""
    votes = AiVote.objects.filter(annotator=annotator, pair__in=labelled(annotator.project))
    rows = votes.order_by("pair__resolved_at", "pair").values_list(
        *("choice", "margin", "pair__label__outcome", "pair__prompt", "pair__tags"),
        "pair__prompt__tags",
    )
    return [
        _Compared(choice, people, prompt, [*of_pair, *of_prompt], _is_sure(margin))
        for choice, margin, people, prompt, of_pair, of_prompt in rows
    ]


def _is_sure(margin: float | None) -> bool:
    return margin is None or abs(margin) >= SURE


def _share(rows: list[_Compared]) -> Share:
    same = [float(row.same) for row in rows]
    return Share(len(rows), int(sum(same)), clustered(same, [row.prompt for row in rows]))


def _by_tag(rows: list[_Compared], wrong: set[str]) -> list[TagShare]:
    """The flagged tags, then the most frequent others."""
    sizes = Counter(tag for row in rows for tag in set(row.tags))
    usual = heapq.nlargest(MOST_TAGS, sizes, key=lambda tag: (sizes[tag], tag))
    shown = [tag for tag in usual if sizes[tag] >= FEWEST_OF_TAG and tag not in wrong]
    return [
        TagShare(tag, _share([row for row in rows if tag in row.tags]), tag in wrong)
        for tag in [*sorted(wrong), *shown]
    ]


def standing(project: Project) -> list[tuple[AiAnnotator, AiFigures]]:
    """The project's AI annotators that were not retired, with their figures."""
    annotators = project.ai_annotators.filter(retired_at=None).order_by("pk")
    return [(one, ai_figures(one)) for one in annotators]
