"""Input rules of the pages. What a form says is what the person at the screen reads."""

from __future__ import annotations

from itertools import chain
from typing import Any

from croniter import croniter
from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import UserCreationForm
from django.core.exceptions import ValidationError
from django.utils.text import slugify

from annotate.judgement import SKIP_REASONS, all_points, scale_choices
from annotate.models import Adjudication, Invitation, Project
from annotate.models.assignment import Choice
from annotate.qualification import questions
from annotate.queue.ballot import INPUTS

MAX_ACTIVE_MS = 24 * 3600 * 1000
MAX_WALL_MS = 2**31 - 1
MAX_COMMENT = 4000
MAX_REWRITE = 100_000
COMPARISONS = [("", "Not said"), ("left", "A"), ("tie", "About the same"), ("right", "B")]
MAX_GUIDELINES = 100_000
MAX_EXPLANATION = 5_000
DATE = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})


class RemarkForm(forms.Form):
    """What may be said beside a vote: reasons, a comment, and each criterion's comparison."""

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
        data["criteria"] = {name: side for name, side in answers.items() if side}
        return data


class VoteForm(RemarkForm):
    """One press of the vote bar, on the scale of the project."""

    vote = forms.ChoiceField()
    active_ms = forms.IntegerField(min_value=0, max_value=MAX_ACTIVE_MS, required=False)
    first_key_ms = forms.IntegerField(min_value=0, max_value=MAX_ACTIVE_MS, required=False)
    wall_ms = forms.IntegerField(min_value=0, max_value=MAX_WALL_MS, required=False)
    input = forms.ChoiceField(choices=[(name, name) for name in INPUTS], required=False)

    def __init__(self, data: Any = None, *, project: Project, **kwargs: Any) -> None:
        super().__init__(data, project=project, **kwargs)
        keys = self.fields["vote"]
        assert isinstance(keys, forms.ChoiceField)
        keys.choices = [(key, key) for key in scale_choices(project.scale)]

    def clean_vote(self) -> tuple[str, int]:
        return scale_choices(self.project.scale)[self.cleaned_data["vote"]]

    @property
    def ballot(self) -> dict[str, Any]:
        """What `queue.vote_side` takes, by its names."""
        data = self.cleaned_data
        side, strength = data["vote"]
        given = ("reasons", "comment", "criteria", "active_ms", "first_key_ms", "wall_ms", "input")
        return {"side": side, "strength": strength} | {name: data[name] for name in given}


class ReviseForm(RemarkForm):
    """Another vote in the place of an earlier one; left open, the vote stays as it is."""

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


class ReadForm(forms.Form):
    """Which version of the guidelines somebody has read."""

    def __init__(self, data: Any, *, project: Project) -> None:
        super().__init__(data)
        newest = project.guideline_version
        self.fields["version"] = forms.IntegerField(min_value=1, max_value=newest)


class GoldForm(forms.Form):
    """What the right answer to a pair is."""

    expected = forms.ChoiceField(
        choices=[("", "Choose"), *Choice.choices], label="The right answer"
    )
    explanation = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 3}),
        max_length=MAX_EXPLANATION,
        required=False,
        label="Why",
        help_text="Feedback in the qualification; nobody but reviewers sees it otherwise. Describe "
        "the replies instead of naming A or B: others may see them the other way round.",
    )
    qualification = forms.BooleanField(
        required=False,
        label="Ask it in the qualification",
        help_text="Instead of hiding it among the pairs to label.",
    )


class DecisionForm(forms.Form):
    """A reviewer's decision. Without a category, the one that the decision suggests."""

    vote = forms.ChoiceField(choices=[(key, key) for key in "12345678"])
    category = forms.ChoiceField(choices=Adjudication.Category.choices, required=False)
    rationale = forms.CharField(max_length=5000, required=False)


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


class LinesField(forms.CharField):
    """A list of short texts, one per line."""

    widget = forms.Textarea(attrs={"rows": 5})
    MOST, LONGEST = 12, 40

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = [" ".join(line.split()) for line in (value or "").splitlines()]
        return list(dict.fromkeys(line for line in lines if line))

    def validate(self, value: list[str]) -> None:
        if len(value) > self.MOST:
            raise ValidationError(f"At most {self.MOST} lines.")
        long = [line for line in value if len(line) > self.LONGEST]
        if long:
            raise ValidationError(f"“{long[0]}” is longer than {self.LONGEST} characters.")

    def run_validators(self, value: list[str]) -> None:
        """Validators of a single text do not apply to a list."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(data) != (initial or [])


SETTINGS = {
    "About": ("name", "description", "guidelines", "read_guidelines"),
    "Voting": ("scale", "reason_chips", "criteria", "allow_rewrites"),
    "Qualification": ("qualification", "qualification_share"),
    "Checks": ("gold_share", "retest_share", "check_threshold", "auto_pause"),
    "Queue": ("votes", "overlap_share", "random_share", "lease_seconds"),
    "Rounds": ("round_after", "round_schedule", "promotion", "train_on_simulated"),
}
"""The fields of the settings page by its sections."""


class SettingsForm(forms.ModelForm):
    """Everything about a project that may change while people vote."""

    based_on = forms.IntegerField(widget=forms.HiddenInput)
    reason_chips = LinesField(
        required=False,
        label="Reasons",
        help_text="Offered after a vote, one per line; nobody has to choose one.",
    )
    criteria = LinesField(
        required=False,
        label="Criteria",
        help_text="Compared one by one beside the overall vote, one per line, for example "
        "“Helpful” and “Harmless”. Empty: the overall vote alone.",
    )

    class Meta:
        model = Project
        fields = list(chain.from_iterable(SETTINGS.values()))
        help_texts = {
            "read_guidelines": "Everybody confirms each version of the guidelines before they are "
            "offered more pairs, and is shown what changed since the version they know.",
            "qualification": "Nobody is offered a pair before they passed, even if they voted "
            "before. The questions are the gold pairs that Checks marks for it, with feedback "
            "after each answer.",
            "qualification_share": "Share of right answers that passes, from 0 to 1. Who fails "
            "needs an admin, who may allow another attempt on the person’s page.",
        }
        labels = {
            "read_guidelines": "Ask people to read the guidelines",
            "qualification": "Ask people to qualify",
            "qualification_share": "Share to get right",
            "scale": "Scale",
            "allow_rewrites": "Better answers",
            "gold_share": "Gold share",
            "retest_share": "Retest share",
            "check_threshold": "Threshold on gold",
            "auto_pause": "Pause automatically",
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
            **{
                name: forms.NumberInput(attrs={"step": "any", "min": 0, "max": 1})
                for name in (
                    "overlap_share",
                    "random_share",
                    "gold_share",
                    "retest_share",
                    "check_threshold",
                    "qualification_share",
                )
            },
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        version = self.initial["based_on"] = self.instance.guideline_version
        self.fields["guidelines"].help_text = (
            f"Markdown, shown with the key g. This is version {version}. Saving other guidelines "
            "makes a new version; every vote remembers the one its author saw."
        )

    def sections(self) -> dict[str, list[forms.BoundField]]:
        """The fields as the page groups them, by the heading above them."""
        return {title: [self[name] for name in names] for title, names in SETTINGS.items()}

    def clean_guidelines(self) -> str:
        return _short_enough(self.cleaned_data["guidelines"])

    def clean_qualification(self) -> bool:
        wanted: bool = self.cleaned_data["qualification"]
        new = "qualification" in self.changed_data
        if wanted and new and not questions(self.instance).exists():
            raise ValidationError("There are no questions yet: first mark gold pairs on Checks.")
        return wanted

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


class MessageForm(forms.Form):
    text = forms.CharField(
        label="Message",
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Announced on every page of the project until they mark it as read.",
    )


class PauseForm(forms.Form):
    because = forms.CharField(
        label="Reason", max_length=200, help_text="They are shown it. Their votes stay."
    )


class WeightForm(forms.Form):
    weight = forms.FloatField(
        min_value=0,
        max_value=1,
        label="Weight in training",
        help_text="1 counts in full; 0 leaves their votes out of training and deletes nothing.",
        widget=forms.NumberInput(attrs={"step": "0.05"}),
    )


class PaymentForm(forms.Form):
    """Which days of work a payment is for."""

    since = forms.DateField(required=False, label="First day", widget=DATE)
    until = forms.DateField(required=False, label="Last day", widget=DATE)
