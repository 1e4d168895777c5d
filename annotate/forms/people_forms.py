"""Input rules about people: invitations, accounts, messages, pauses, weights, payment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth import get_user_model, password_validation
from django.contrib.auth.forms import PasswordResetForm, UsernameField
from django.contrib.auth.models import User
from django.core.validators import DomainNameValidator, validate_email

from annotate.models import Batch, Invitation, Project
from annotate.models.roles import Role
from annotate.people.joining import invitation_links, mail

DATE = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
PASSWORD_RULE = "At least 8 characters, not only digits, and nothing that everybody uses."
MOST_AT_ONCE = 100
"""Links that one form makes, and mails that it sends."""
MOST_PLACES = 1000
MOST_DAYS = 90

if TYPE_CHECKING:
    AccountForm = forms.ModelForm[User]
else:
    AccountForm = forms.ModelForm


def _days() -> forms.IntegerField:
    return forms.IntegerField(
        label="Valid for (days)",
        min_value=1,
        max_value=MOST_DAYS,
        required=False,
        widget=forms.NumberInput(attrs={"placeholder": Invitation.LIFETIME.days}),
    )


class _Lasting(forms.Form):
    """A form with a number of days, which has a default."""

    def lifetime(self) -> timedelta:
        days = self.cleaned_data["days"]
        return timedelta(days=days) if days else Invitation.LIFETIME


class InvitationsForm(_Lasting):
    """Links for one person each."""

    note = forms.CharField(
        label="For whom",
        required=False,
        max_length=MOST_AT_ONCE * 121,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="A name or mail address per line; each gets a link. Only admins see them.",
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.ANNOTATOR)
    days = _days()
    mailed = forms.BooleanField(label="Mail each link to its address", required=False, initial=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not mail.configured():
            del self.fields["mailed"]

    def clean_note(self) -> list[str]:
        """The lines, without those that are empty; one empty line where there is none."""
        lines = [line.strip() for line in self.cleaned_data["note"].splitlines()]
        names = list(dict.fromkeys(line for line in lines if line)) or [""]
        if len(names) > MOST_AT_ONCE:
            raise forms.ValidationError(f"At most {MOST_AT_ONCE} at once; here are {len(names)}.")
        longest = max(names, key=len)
        if len(longest) > 120:
            raise forms.ValidationError(f"At most 120 characters each: {longest[:40]}…")
        return names

    def to_mail(self, invitation: Invitation) -> bool:
        """True where the link goes out by mail: it was asked for, and its line is an address."""
        return bool(self.cleaned_data.get("mailed")) and is_address(invitation.note)


class SharedInvitationForm(_Lasting):
    """One link for several annotators."""

    label = forms.CharField(
        label="For whom", required=False, max_length=120, help_text="Only admins see it."
    )
    places = forms.IntegerField(label="People", min_value=2, max_value=MOST_PLACES, initial=10)
    days = _days()
    domain = forms.CharField(
        label="Mail addresses at",
        required=False,
        max_length=253,
        help_text="A domain, such as example.org: who joins has to receive mail there.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not mail.configured():
            del self.fields["domain"]

    def clean_domain(self) -> str:
        domain: str = self.cleaned_data["domain"].strip().removeprefix("@").casefold()
        if domain:
            DomainNameValidator(message="A domain looks like example.org.")(domain)
        return domain

    def invitation(self) -> Invitation:
        """The invitation that was asked for, not yet stored."""
        said = self.cleaned_data
        return Invitation(
            note=said["label"], places=said["places"], domain=said.get("domain") or ""
        )


class AddressForm(forms.Form):
    """The mail address of somebody who wants to join by a link that asks for a domain."""

    email = forms.EmailField(label="Your mail address")

    def __init__(self, *args: Any, invitation: Invitation, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.invitation = invitation

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if not invitation_links.is_of_domain(self.invitation, email):
            raise forms.ValidationError(
                f"This link is for addresses that end in @{self.invitation.domain}."
            )
        return email


class NewPassword(forms.Form):
    """A password of one's own choice, typed once: it can be shown."""

    password = forms.CharField(
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=PASSWORD_RULE,
    )

    def check_password_of(self, user: User) -> None:
        """Refuse a password that is easy to guess, at its field."""
        password = self.cleaned_data.get("password")
        if password:
            try:
                password_validation.validate_password(password, user)
            except forms.ValidationError as error:
                self.add_error("password", error)


class NewAccountForm(NewPassword, AccountForm):
    """An account made by accepting an invitation."""

    field_order = ("username", "email", "password")

    class Meta:
        model = get_user_model()
        fields = ("username", "email")
        field_classes = {"username": UsernameField}
        labels = {"username": "Your name here", "email": "Mail address"}
        help_texts = {
            "username": "To sign in with. Letters, digits and . _ - + @, no spaces.",
            "email": "Only to send you a link if you forget the password.",
        }
        error_messages = {
            "username": {
                "invalid": "Only letters, digits and . _ - + @, without spaces.",
                "unique": "Somebody has this name already. Take another one.",
            }
        }

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if get_user_model().objects.filter(username__iexact=name).exists():
            raise forms.ValidationError("Somebody has this name already. Take another one.")
        return name

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's hook: the user is filled in there.
        self.check_password_of(self.instance)

    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit=False)
        user.set_password(self.cleaned_data["password"])
        if commit:
            user.save()
        return user


class ResetPasswordForm(NewPassword):
    """A new password for who came by a reset link."""

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self) -> dict[str, Any]:
        super().clean()
        self.check_password_of(self.user)
        return self.cleaned_data

    def save(self) -> User:
        # Whoever knew the old password may have made tokens with it, and connected an account of
        # their own. Where there was none, the provider's account is the owner's.
        self.user.api_tokens.all().delete()
        if self.user.has_usable_password():
            self.user.external_identities.all().delete()
        self.user.set_password(self.cleaned_data["password"])
        self.user.save(update_fields=["password"])
        return self.user


class ChangePasswordForm(ResetPasswordForm):
    """A new password of one's own, by the old one."""

    field_order = ("old_password", "password")
    old_password = forms.CharField(
        label="Current password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, user: User, *args: Any, first: bool = False, **kwargs: Any) -> None:
        """`first`: the account has none yet, and its owner proved in another way who they are."""
        super().__init__(user, *args, **kwargs)
        self.fields["password"].label = "New password"
        if first:
            del self.fields["old_password"]

    def clean_old_password(self) -> str:
        return checked_password(self.user, self.cleaned_data["old_password"])

    def save(self) -> User:
        self.user.set_password(self.cleaned_data["password"])
        self.user.save(update_fields=["password"])
        return self.user


class OwnAddressForm(forms.Form):
    """The mail address of one's own account, changed by the password: it opens the account."""

    email = forms.EmailField(
        label="Mail address",
        required=False,
        help_text="Only to send you a link if you forget the password.",
    )
    current = forms.CharField(
        label="Current password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, user: User, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, initial={"email": user.email})
        self.user = user

    def clean_current(self) -> str:
        return checked_password(self.user, self.cleaned_data["current"])

    def save(self) -> None:
        self.user.email = self.cleaned_data["email"]
        self.user.save(update_fields=["email"])


class ForgottenPasswordForm(PasswordResetForm):
    """The mail address of somebody who wants a link to choose a new password."""

    email = forms.EmailField(
        label="The mail address of your account",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )


def is_address(text: str) -> bool:
    """True of a mail address."""
    try:
        validate_email(text)
    except forms.ValidationError:
        return False
    return True


def checked_password(user: User, password: str) -> str:
    """Return the password if it is the user's; raises ValidationError otherwise."""
    if not user.check_password(password):
        raise forms.ValidationError("This is not your password.")
    return password


class AnnouncementForm(forms.Form):
    announcement = forms.CharField(
        label="Announcement",
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="A mark on every page of the project leads to it; the text is on My progress, "
        "until each person has marked it as read.",
    )


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


class BatchForm(forms.Form):
    """A new batch: its name, and the number of pairs that it takes of a selection."""

    name = forms.CharField(max_length=80, label="Name of the batch")
    most = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=Batch.LARGEST,
        label="Pairs at most",
        widget=forms.NumberInput(attrs={"placeholder": Batch.LARGEST}),
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if self.project.batches.filter(name=name).exists():
            raise forms.ValidationError("A batch has this name already.")
        return name

    def clean_most(self) -> int:
        return self.cleaned_data["most"] or Batch.LARGEST


class PaymentForm(forms.Form):
    """The days of work that a payment is for."""

    since = forms.DateField(required=False, label="First day", widget=DATE)
    until = forms.DateField(required=False, label="Last day", widget=DATE)
