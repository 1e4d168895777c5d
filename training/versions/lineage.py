"""The origin of a model version: votes, reward model and judge, policy; back to the starter.

The steps are what the page lists; the drawing is the same steps as geometry in the viewBox of
`training/graph.html`. Colours are CSS classes, as in the charts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from annotate import exchange
from training.figures.number_format import figure, number
from training.models import ModelVersion

MOST_STEPS = 7
"""Turns of the loop that are drawn; of a longer history the middle is left out."""
WIDTH, BOX_WIDTH, BOX_HEIGHT, ROW = 348, 100, 44, 72
LEFTS = (0, 124, 248)
"""Left edges of the columns: votes, reward model, policy."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One turn of the loop: the votes, what was learnt from them, and the policy it made."""

    round: int | None = None
    dataset: int | None = None
    size: dict[str, int] | None = None
    reward: ModelVersion | None = None
    policy: ModelVersion | None = None
    added: bool = False
    """The model was trained elsewhere."""

    @property
    def judge_accuracy(self) -> float | None:
        return number(self.reward.metrics.get("judge_accuracy")) if self.reward else None


@dataclass(frozen=True, kw_only=True)
class Box:
    x: float
    y: float
    title: str
    note: str
    kind: str
    current: bool = False


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Boxes and arrows; `summary` says the same in words."""

    height: int
    boxes: list[Box]
    arrows: list[str]
    gap: float | None
    """Place at which the middle of a long history was left out."""
    summary: str
    width: int = WIDTH


def steps(version: ModelVersion) -> list[Step]:
    """The turns that led to a version, the starter first."""
    versions = ModelVersion.objects.filter(project=version.project_id).with_rounds()
    by_pk = {one.pk: one for one in versions}
    sizes = exchange.dataset_sizes(version.project)
    made = {(one.run_id, one.kind): one for one in by_pk.values() if one.run_id}
    policy = made.get((version.run_id, ModelVersion.POLICY)) if version.run_id else None
    last = version if version.kind == ModelVersion.POLICY else policy
    turns = [_step(one, made, sizes) for one in _ancestors(last, by_pk)]
    if last is None:  # a reward model whose policy is not there yet, or never came
        starter = next((one for one in by_pk.values() if _is_starter(one)), None)
        turns = [Step(policy=starter)] if starter and not version.added else []
        turns.append(_step(version, made, sizes))
    return turns


def _is_starter(version: ModelVersion) -> bool:
    return version.kind == ModelVersion.POLICY and version.number == 0


def _ancestors(
    version: ModelVersion | None, by_pk: dict[int, ModelVersion]
) -> Iterable[ModelVersion]:
    chain = []
    while version is not None:
        chain.append(version)
        # The parent of an added one is what it would give way to: it was not trained from it.
        version = None if version.added else by_pk.get(version.parent_id or 0)
    return reversed(chain)


def _step(
    version: ModelVersion,
    made: dict[tuple[int, str], ModelVersion],
    sizes: dict[int, dict[str, int]],
) -> Step:
    if version.added and version.kind == ModelVersion.REWARD:
        return Step(reward=version, added=True)
    if version.run_id is None or _is_starter(version):
        return Step(policy=version, added=version.added)
    round_ = version.run.round if version.run else None
    return Step(
        round=round_.number if round_ else None,
        dataset=version.dataset_version,
        size=sizes.get(version.dataset_version or 0),
        reward=made.get((version.run_id, ModelVersion.REWARD)),
        policy=made.get((version.run_id, ModelVersion.POLICY)),
    )


def graph(turns: list[Step], current: ModelVersion) -> Graph:
    """The steps as boxes from left to right, one turn below the other."""
    shown, cut = turns, len(turns) > MOST_STEPS
    if cut:
        shown = [turns[0], *turns[-(MOST_STEPS - 1) :]]
    boxes: list[Box] = []
    arrows: list[str] = []
    top = 0.0
    for place, turn in enumerate(shown):
        row = _row(turn, top, current)
        boxes += row
        arrows += [_across(a, b) for a, b in itertools.pairwise(row)]
        if place and shown[place - 1].policy and row:
            arrows.append(_down(top - ROW, row[-1]))
        top += ROW
    return Graph(
        height=int(top - ROW + BOX_HEIGHT + 2),
        boxes=boxes,
        arrows=arrows,
        gap=ROW - (ROW - BOX_HEIGHT) / 2 + 4 if cut else None,
        summary=_summary(turns),
    )


def _row(turn: Step, top: float, current: ModelVersion) -> list[Box]:
    row = []
    if turn.dataset is not None:
        note = f"{turn.size['votes']} votes" if turn.size else "votes"
        row.append(
            Box(x=LEFTS[0], y=top, title=f"dataset v{turn.dataset}", note=note, kind="dataset")
        )
    for column, version in ((1, turn.reward), (2, turn.policy)):
        if version is not None:
            row.append(_version_box(version, LEFTS[column], top, current))
    return row


def _version_box(version: ModelVersion, x: float, y: float, current: ModelVersion) -> Box:
    note = str(version.get_state_display()).lower()
    if version.kind == ModelVersion.REWARD and not version.added:
        accuracy = number(version.metrics.get("accuracy"))
        note = "and its judge" if accuracy is None else f"accuracy {figure(accuracy)}"
    title, same = version.name, version.pk == current.pk
    return Box(x=x, y=y, title=title, note=note, kind=version.kind, current=same)


def _across(a: Box, b: Box) -> str:
    middle = a.y + BOX_HEIGHT / 2
    return f"M{a.x + BOX_WIDTH} {middle:g} H{b.x - 3}"


def _down(above: float, box: Box) -> str:
    """From the policy one turn starts with, to what it made: a policy, or a reward model alone."""
    start, end = LEFTS[2] + BOX_WIDTH / 2, box.x + BOX_WIDTH / 2
    bottom, bend = above + BOX_HEIGHT, above + (BOX_HEIGHT + ROW) / 2
    return f"M{start:g} {bottom:g} V{bend:g} H{end:g} V{box.y - 3:g}"


def _summary(turns: list[Step]) -> str:
    if turns and turns[-1].added:
        return f"{(turns[-1].policy or turns[-1].reward)}: trained elsewhere."
    names = [turn.policy.name for turn in turns if turn.policy]
    learnt = [f"dataset v{turn.dataset}" for turn in turns if turn.dataset is not None]
    if not learnt:
        return f"{', '.join(names)}: no votes yet."
    return f"Policies in order: {', '.join(names)}. Votes: {', '.join(learnt)}."


def description(project: exchange.Project, version: ModelVersion) -> str:
    """A sentence on the kind of model that a version is."""
    if version.added:
        does = "scores replies" if version.kind == ModelVersion.REWARD else "writes replies"
        return f"It {does}, was trained elsewhere and added to {project.name}."
    if version.kind == ModelVersion.REWARD:
        return "A reward model: it scores replies as the people who voted would."
    if version.number == 0:
        return f"The policy that {project.name} started from, and the reference of every KL."
    return "A policy: it writes the replies that people compare."
