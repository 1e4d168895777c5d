"""Input rules of the pages. What a form says is what the person at the screen reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User

from annotate.models import Adjudication, Invitation, Project
from annotate.models.assignment import Choice
from annotate.queue.vote import INPUTS
from annotate.votes.scales import SKIP_REASONS, all_points, scale_choices

MAX_ACTIVE_MS = 24 * 3600 * 1000
MAX_WALL_MS = 2**31 - 1
MAX_COMMENT = 4000
MAX_REWRITE = 100_000
COMPARISONS = [("", "Not said"), ("left", "A"), ("tie", "About the same"), ("right", "B")]
MAX_EXPLANATION = 5_000
DATE = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})


if TYPE_CHECKING:
    InvitationModelForm = forms.ModelForm[Invitation]
    AccountForm = UserCreationForm[User]
else:
    InvitationModelForm = forms.ModelForm
    AccountForm = UserCreationForm


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
    scale = forms.ChoiceField(choices=Project.Scale.choices, required=False)
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
        return shown if shown in Project.Scale.values else self.project.scale

    @property
    def caption(self) -> str:
        return all_points(self.shown_scale)[self.data["vote"]].caption

    def clean_vote(self) -> tuple[str, int]:
        return scale_choices(self.shown_scale)[self.cleaned_data["vote"]]

    @property
    def ballot(self) -> dict[str, Any]:
        """Arguments of `queue.vote_side`, by name."""
        data = self.cleaned_data
        side, strength = data["vote"]
        given = ("reasons", "comment", "criteria", "active_ms", "first_key_ms", "wall_ms", "input")
        return {"side": side, "strength": strength} | {name: data[name] for name in given}


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


class ReviewForm(forms.Form):
    """A reviewer's answer, with the reason for it where the project wants one."""

    REASON: ClassVar[str]

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[self.REASON].required = project.require_rationale


class GoldForm(ReviewForm):
    """The right answer to a pair, and why."""

    REASON = "explanation"

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


class DecisionForm(ReviewForm):
    """A reviewer's decision. Without a category, the one that the decision suggests."""

    REASON = "rationale"

    vote = forms.ChoiceField(choices=[(key, key) for key in "12345678"])
    category = forms.ChoiceField(choices=Adjudication.Category.choices, required=False)
    rationale = forms.CharField(max_length=5000, required=False)


class InvitationForm(InvitationModelForm):
    class Meta:
        model = Invitation
        fields = ["role", "note"]
        help_texts = {"note": "Whom the link is for. Only admins see it."}


class NewAccountForm(AccountForm):
    """An account made by accepting an invitation."""

    class Meta:
        model = get_user_model()
        fields = ["username"]


class MessageForm(forms.Form):
    text = forms.CharField(
        label="Message",
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Announced on every page of the project until they mark it as read.",
    )


class PauseForm(forms.Form):
    because = forms.CharField(
        label="Reason for a pause", max_length=200, help_text="They are shown it. Their votes stay."
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
    """The days of work that a payment is for."""

    since = forms.DateField(required=False, label="First day", widget=DATE)
    until = forms.DateField(required=False, label="Last day", widget=DATE)
