"""Input rules of voting: votes, remarks, revisions, better answers, skips."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from annotate.models import Project
from annotate.queue.vote import INPUTS
from annotate.votes.scales import SCALES, SKIP_REASONS, all_points, scale_choices, titles

MAX_CRITERIA = 10_000
"""Characters: the criteria of a project with their answers are far fewer."""
MAX_ACTIVE_MS = 24 * 3600 * 1000
MAX_WALL_MS = 2**31 - 1
MAX_COMMENT = 4000
MAX_REWRITE = 100_000
COMPARISONS = [("", "Not said"), ("left", "A"), ("tie", "About the same"), ("right", "B")]


class RemarkForm(forms.Form):
    """Remarks beside a vote: reasons, a comment, and each criterion's comparison."""

    UNSAYS = False
    """True where a comparison left open takes back an earlier one."""

    reasons = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    comment = forms.CharField(
        required=False, max_length=MAX_COMMENT, widget=forms.Textarea(attrs={"rows": 2})
    )

    def __init__(self, data: Any = None, *, project: Project, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.project = project
        chosen = self.initial.get("reasons", [])
        chips = dict.fromkeys([*project.reason_chips, *chosen])
        reasons = self.fields["reasons"]
        assert isinstance(reasons, forms.MultipleChoiceField)
        reasons.choices = [(chip, chip) for chip in chips]
        for number, name in enumerate(project.criteria):
            self.fields[f"criterion-{number}"] = forms.ChoiceField(
                label=name, choices=COMPARISONS, required=False
            )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        answers = {
            name: data.get(f"criterion-{number}", "")
            for number, name in enumerate(self.project.criteria)
        }
        data["criteria"] = {name: side for name, side in answers.items() if side or self.UNSAYS}
        return data


class VoteForm(RemarkForm):
    """One press of the vote bar.

    What a key means is said by the scale on the person's screen, which may be an older one of the
    project.
    """

    vote = forms.ChoiceField()
    scale = forms.ChoiceField(choices=titles, required=False)
    criteria = forms.CharField(required=False, max_length=MAX_CRITERIA)
    """Comparisons by the criterion's name: {"Helpful": "left"}. A page without scripts sends a
    field for each."""
    active_ms = forms.IntegerField(min_value=0, max_value=MAX_ACTIVE_MS, required=False)
    first_key_ms = forms.IntegerField(min_value=0, max_value=MAX_ACTIVE_MS, required=False)
    wall_ms = forms.IntegerField(min_value=0, max_value=MAX_WALL_MS, required=False)
    input = forms.ChoiceField(choices=[(name, name) for name in INPUTS], required=False)

    def __init__(self, data: Any = None, *, project: Project, **kwargs: Any) -> None:
        super().__init__(data, project=project, **kwargs)
        keys = self.fields["vote"]
        assert isinstance(keys, forms.ChoiceField)
        keys.choices = [(key, key) for key in all_points(self.shown_scale)]

    @property
    def shown_scale(self) -> str:
        shown = self.data.get("scale")
        return shown if shown in SCALES else self.project.scale

    @property
    def caption(self) -> str:
        return all_points(self.shown_scale)[self.data["vote"]].caption

    def clean_criteria(self) -> dict[str, str]:
        """Those that the project still has: a vote that waited offline is not lost for one."""
        sides = [side for side, _ in COMPARISONS if side]
        try:
            said = json.loads(self.cleaned_data["criteria"] or "{}")
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or not all(side in sides for side in said.values()):
            raise ValidationError("A criterion is compared as left, right or tie.")
        return {name: side for name, side in said.items() if name in self.project.criteria}

    def clean(self) -> dict[str, Any]:
        by_name = self.cleaned_data.get("criteria", {})
        data = super().clean()
        return data | {"criteria": data["criteria"] | by_name}

    def clean_vote(self) -> tuple[str, int]:
        return scale_choices(self.shown_scale)[self.cleaned_data["vote"]]

    @property
    def submitted(self) -> dict[str, Any]:
        """Arguments of `queue.vote_side`, by name."""
        data = self.cleaned_data
        side, strength = data["vote"]
        given = ("reasons", "comment", "criteria", "active_ms", "first_key_ms", "wall_ms", "input")
        return {"side": side, "strength": strength} | {name: data[name] for name in given}


PLAIN = {"csrfmiddlewaretoken", "last", "after", "view", "raw", "vote", "scale", "input"}
TIMES = {"active_ms": MAX_ACTIVE_MS, "first_key_ms": MAX_ACTIVE_MS, "wall_ms": MAX_WALL_MS}


def plain_vote(data: QueryDict, project: Project) -> tuple[dict[str, Any], str] | None:
    """`submitted` and `caption` of a `VoteForm` for a vote without remarks, which most are; None
    for any other, and for one that is wrong: the form takes a tenth of a vote's time."""
    if project.criteria or not PLAIN | TIMES.keys() >= data.keys():
        return None
    scale = data.get("scale") or project.scale
    point = all_points(scale).get(data.get("vote", "")) if scale in SCALES else None
    times = {name: data.get(name, "") for name in TIMES}
    whole = all(not ms or (ms.isascii() and ms.isdigit() and len(ms) < 11) for ms in times.values())
    pressed = data.get("input", "")
    if point is None or pressed not in INPUTS or not whole:
        return None
    taken = {name: int(ms) if ms else None for name, ms in times.items()}
    if any(ms is not None and ms > TIMES[name] for name, ms in taken.items()):
        return None
    submitted = {"side": point.choice, "strength": point.strength, "input": pressed} | taken
    return submitted | {"reasons": [], "comment": "", "criteria": {}}, point.caption


class ReviseForm(RemarkForm):
    """Another vote in the place of an earlier one; left open, the vote stays as it is."""

    UNSAYS = True

    vote = forms.ChoiceField(required=False, label="Your vote")
    field_order = ("vote", "reasons", "comment")

    def __init__(self, data: Any = None, *, project: Project, **kwargs: Any) -> None:
        super().__init__(data, project=project, **kwargs)
        keys = self.fields["vote"]
        assert isinstance(keys, forms.ChoiceField)
        points = all_points(project.scale).values()
        offered = [(point.key, point.caption) for point in points]
        # A vote cast on another scale is none of these.
        unknown = [] if "vote" in self.initial else [("", "As it is")]
        keys.choices = unknown + offered

    def clean_vote(self) -> tuple[str, int] | None:
        return scale_choices(self.project.scale).get(self.cleaned_data["vote"])


class RewriteForm(forms.Form):
    """A better answer; it may be as long as one."""

    side = forms.ChoiceField(choices=[("left", "A"), ("right", "B")], label="Made from")
    text = forms.CharField(
        max_length=MAX_REWRITE, label="A better answer", widget=forms.Textarea(attrs={"rows": 6})
    )


class SkipReasonForm(forms.Form):
    reason = forms.CharField(
        required=False,
        max_length=40,
        label="Why you skipped it",
        widget=forms.Select(choices=[("", "Not said"), *SKIP_REASONS.items()]),
    )


class UndoForm(forms.Form):
    last = forms.UUIDField(required=False)
