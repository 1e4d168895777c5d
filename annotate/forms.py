"""Input rules of the pages. What a form says is what the person at the screen reads."""

from __future__ import annotations

from typing import Any

from croniter import croniter
from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import UserCreationForm
from django.core.exceptions import ValidationError
from django.utils.text import slugify

from annotate.models import Invitation, Project

# Seven points from left to right, and "both bad": the key, the choice, its strength.
SCALE: dict[str, tuple[str, int]] = {
    "1": ("left", 3),
    "2": ("left", 2),
    "3": ("left", 1),
    "4": ("tie", 2),
    "5": ("right", 1),
    "6": ("right", 2),
    "7": ("right", 3),
    "8": ("both_bad", 2),
}
MAX_ACTIVE_MS = 24 * 3600 * 1000
MAX_GUIDELINES = 100_000


class VoteForm(forms.Form):
    """One press of the vote bar."""

    vote = forms.ChoiceField(choices=[(key, key) for key in SCALE])
    active_ms = forms.IntegerField(min_value=0, max_value=MAX_ACTIVE_MS, required=False)

    def clean_vote(self) -> tuple[str, int]:
        return SCALE[self.cleaned_data["vote"]]


class UndoForm(forms.Form):
    last = forms.UUIDField(required=False)


class ProjectForm(forms.ModelForm):
    """What a new project needs; everything else has a default that works."""

    slug = forms.SlugField(
        max_length=60,
        required=False,
        label="Short name",
        help_text="Part of the project's address: lower-case letters, digits and hyphens. "
        "Left empty, it is made from the name. It cannot be changed later.",
    )

    class Meta:
        model = Project
        fields = ["name", "slug", "description", "guidelines"]
        widgets = {
            "description": forms.Textarea(attrs={"rows": 2}),
            "guidelines": forms.Textarea(attrs={"rows": 10}),
        }
        help_texts = {
            "guidelines": "What makes one answer better than another here. Markdown; "
            "annotators open it with the key g.",
        }

    def clean_guidelines(self) -> str:
        return _short_enough(self.cleaned_data["guidelines"])

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not data.get("slug") and data.get("name"):
            data["slug"] = slugify(data["name"])[:60]
        slug = data.get("slug")
        if "slug" not in self.errors:
            if not slug:
                self.add_error("slug", "Give a short name of letters and digits.")
            elif slug == "new" or Project.objects.filter(slug=slug).exists():
                self.add_error("slug", f"“{slug}” is taken. Choose another short name.")
        return data


class SettingsForm(forms.ModelForm):
    """Everything about a project that may change while people vote."""

    based_on = forms.IntegerField(widget=forms.HiddenInput)

    class Meta:
        model = Project
        fields = [
            "name",
            "description",
            "guidelines",
            "votes",
            "overlap_share",
            "random_share",
            "lease_seconds",
            "round_after",
            "round_schedule",
            "promotion",
            "train_on_simulated",
        ]
        labels = {
            "votes": "Votes per pair",
            "overlap_share": "Overlap",
            "random_share": "Random share",
            "lease_seconds": "Reservation, in seconds",
            "round_after": "Pairs per round",
            "round_schedule": "Schedule",
            "promotion": "Promotion of a new policy",
            "train_on_simulated": "Train on simulated votes",
        }
        widgets = {
            "description": forms.Textarea(attrs={"rows": 2}),
            "guidelines": forms.Textarea(attrs={"rows": 12}),
            "overlap_share": forms.NumberInput(attrs={"step": "0.01", "min": 0, "max": 1}),
            "random_share": forms.NumberInput(attrs={"step": "0.01", "min": 0, "max": 1}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["based_on"] = self.instance.guideline_version

    def clean_guidelines(self) -> str:
        return _short_enough(self.cleaned_data["guidelines"])

    def clean_round_schedule(self) -> str:
        schedule: str = self.cleaned_data["round_schedule"].strip()
        if schedule and not croniter.is_valid(schedule):
            raise ValidationError("Not a cron expression. Every night at three is “0 3 * * *”.")
        return schedule

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        stale = data.get("based_on") != self.initial["based_on"]
        if stale and "guidelines" in self.changed_data:
            self.add_error(
                "guidelines",
                "Somebody else saved other guidelines meanwhile. Open this page again "
                "in a second tab, take over what you need, and save there.",
            )
        return data


class InvitationForm(forms.ModelForm):
    class Meta:
        model = Invitation
        fields = ["role", "note"]
        help_texts = {"note": "Whom the link is for. Only admins see it."}


class NewAccountForm(UserCreationForm):
    """An account made by accepting an invitation."""

    class Meta:
        model = get_user_model()
        fields = ["username"]


def _short_enough(text: str) -> str:
    if len(text.encode()) > MAX_GUIDELINES:
        raise ValidationError("Guidelines may have 100 kB at most.")
    return text
