"""Input rules about people: invitations, accounts, messages, pauses, weights, payment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User

from annotate.models import Invitation

DATE = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})

if TYPE_CHECKING:
    InvitationModelForm = forms.ModelForm[Invitation]
    AccountForm = UserCreationForm[User]
else:
    InvitationModelForm = forms.ModelForm
    AccountForm = UserCreationForm


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


class GoalForm(forms.Form):
    daily_goal = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=100_000,
        label="Votes a day",
        help_text="Shown to them as theirs; 0 shows none. Empty: the project’s.",
    )


class PaymentForm(forms.Form):
    """The days of work that a payment is for."""

    since = forms.DateField(required=False, label="First day", widget=DATE)
    until = forms.DateField(required=False, label="Last day", widget=DATE)
