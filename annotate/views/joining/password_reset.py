"""A way back for who forgot their password: a link by mail, or one that an admin makes."""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.views.decorators.http import require_http_methods

from annotate.forms.people_forms import ForgottenPasswordForm, ResetPasswordForm
from annotate.people import permissions
from annotate.people.http_requests import AuthenticatedHttpRequest, network, public_url
from annotate.people.joining import attempt_counter, mail, second_factor
from annotate.views.joining.shown_links import ShownLink
from annotate.views.joining.sign_in_code import MODEL_BACKEND

MOST_REQUESTS, WINDOW = 5, 300
"""Mails that one network may ask for, and that one mailbox gets, within so many seconds."""


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    form = ForgottenPasswordForm(request.POST or None)
    context = {"form": form, "mails": mail.configured(), "sent": False}
    if request.method == "POST" and mail.configured() and form.is_valid():
        where = ("forgotten password", network(request))
        if attempt_counter.add(*where, seconds=WINDOW) > MOST_REQUESTS:
            return render(
                request, "annotate/password_forgotten.html", context | {"blocked": True}, status=429
            )
        whom = ("forgotten password of", form.cleaned_data["email"].casefold())
        if attempt_counter.add(*whom, seconds=WINDOW) <= MOST_REQUESTS:
            _mail_link(request, form)
        # The same answer whether there is such an account or not.
        context["sent"] = True
    return render(request, "annotate/password_forgotten.html", context)


class ChoosePassword(PasswordResetConfirmView):
    """Choose a new password by a link, which works once and ends with the next sign-in."""

    form_class = ResetPasswordForm  # type: ignore[assignment]  # Ours has one field.
    template_name = "annotate/password_choose.html"
    success_url = reverse_lazy("home")
    post_reset_login = True
    post_reset_login_backend = MODEL_BACKEND

    def form_valid(self, form: Any) -> HttpResponse:
        # A link stands for the password alone: who has a second factor signs in with both.
        self.post_reset_login = second_factor.device_of(form.user) is None
        response = super().form_valid(form)
        if not self.post_reset_login:
            messages.success(self.request, "Your new password is set. Sign in with it.")
            return response
        messages.success(self.request, "Your new password is set, and you are signed in.")
        return response


class MadeTokens(PasswordResetTokenGenerator):
    """Tokens of links that an admin made, which are not those of links that were mailed."""

    def __init__(self, maker: User) -> None:
        super().__init__()
        self.key_salt = f"annotate.password-link-of.{maker.pk}"


@method_decorator(login_not_required, name="dispatch")
class ChooseByMadeLink(ChoosePassword):
    """The same by a link that an admin made; it ends with the admin's right to make it."""

    def dispatch(self, *args: Any, maker_id: int, **kwargs: Any) -> HttpResponse:
        user = self.get_user(kwargs["uidb64"])
        maker = User.objects.filter(pk=maker_id, is_active=True).first()
        if user is None or maker is None or not permissions.may_reset(maker, user):
            context = {"validlink": False}
            return render(self.request, "annotate/password_choose.html", context, status=404)
        self.token_generator = MadeTokens(maker)
        response = super().dispatch(*args, **kwargs)
        return cast("HttpResponse", response)


def reset_link(request: AuthenticatedHttpRequest, user: User) -> ShownLink:
    """A link by which the user chooses a new password within PASSWORD_RESET_TIMEOUT, once."""
    name, maker = urlsafe_base64_encode(force_bytes(user.pk)), request.user
    token = MadeTokens(maker).make_token(user)
    path = reverse("password-choose-made", args=[name, maker.pk, token])
    return ShownLink(user.username, public_url(request, path))


def _mail_link(request: HttpRequest, form: ForgottenPasswordForm) -> None:
    form.save(
        request=request,
        use_https=request.is_secure(),
        subject_template_name="annotate/mail/forgotten_subject.txt",
        email_template_name="annotate/mail/forgotten.txt",
        from_email=settings.EMAIL_FROM or None,
        extra_email_context={
            "hours": str(settings.PASSWORD_RESET_TIMEOUT // 3600),
            "site": public_url(request).rstrip("/"),
        },
    )
