"""Input rules about API tokens and webhooks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import User

from annotate.models import ApiToken, Project, TokenScope
from annotate.people.token_scopes import MEANS

DAYS = (7, 30, 90, 365)


class TokenForm(forms.Form):
    """A new token of `user`."""

    name = forms.CharField(
        max_length=80, help_text="What uses it, to find it again: nightly export."
    )
    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope.label}: {MEANS[scope]}") for scope in TokenScope],
        widget=forms.CheckboxSelectMultiple,
        label="What it may do",
        help_text="As few as it needs. It never allows more than your role.",
        error_messages={"required": "Choose at least one."},
    )
    project = forms.ModelChoiceField(
        Project.objects.none(), required=False, label="Project", empty_label="All of mine"
    )
    days = forms.TypedChoiceField(
        coerce=int,
        choices=[(days, f"{days} days") for days in DAYS],
        initial=30,
        label="Expires after",
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        projects = self.fields["project"]
        assert isinstance(projects, forms.ModelChoiceField)
        projects.queryset = Project.objects.for_user(user)

    def issue(self) -> tuple[ApiToken, str]:
        """Store the token that was asked for; its secret is in nobody's hands but the caller's."""
        asked = self.cleaned_data
        return ApiToken.issue(
            self.user,
            name=asked["name"],
            scopes=asked["scopes"],
            project=asked["project"],
            lifetime=timedelta(days=asked["days"]),
        )
