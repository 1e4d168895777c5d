"""Input rules about API tokens and webhooks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import User

from annotate.models import ApiToken, Project, TokenScope, WebhookEvent
from annotate.people.token_scopes import MEANS
from annotate.webhooks.target_address import LONGEST, WrongAddress, check_url

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


class WebhookForm(forms.Form):
    """A place for events, and which it gets."""

    url = forms.CharField(
        max_length=LONGEST,
        label="Address",
        help_text="Of your receiver. It answers with a status from 200 to 299 within 15 seconds.",
        widget=forms.URLInput(attrs={"placeholder": "https://", "autocomplete": "off"}),
    )
    events = forms.MultipleChoiceField(
        choices=WebhookEvent.choices,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one."},
    )

    def clean_url(self) -> str:
        try:
            return check_url(self.cleaned_data["url"])
        except WrongAddress as error:
            raise forms.ValidationError(str(error)) from error


class ChangedWebhookForm(WebhookForm):
    """The same of one that is there, which may rest."""

    active = forms.BooleanField(
        required=False, help_text="While it is not, events are not kept for it."
    )
