"""Input rules of reviewing: decisions on pairs, and pairs with a known answer."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms

from annotate.models import Adjudication, Project
from annotate.models.assignment import Choice

MAX_EXPLANATION = 5_000


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
