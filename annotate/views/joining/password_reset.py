"""A way back for who forgot their password: a link by mail, or one that an admin makes."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse, reverse_lazy
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.views.decorators.http import require_http_methods

from annotate.forms.people_forms import ForgottenPasswordForm, ResetPasswordForm
from annotate.people.joining import attempt_counter, mail
from annotate.people.requests import network
from annotate.views.joining.accounts import MODEL_BACKEND
from annotate.views.joining.shown_links import ShownLink

MOST_REQUESTS, WINDOW = 5, 300
"""Mails that one address may ask for within so many seconds."""


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
        response = super().form_valid(form)
        messages.success(self.request, "Your new password is set, and you are signed in.")
        return response


def reset_link(request: HttpRequest, user: User) -> ShownLink:
    """A link by which the user chooses a new password within PASSWORD_RESET_TIMEOUT, once."""
    name = urlsafe_base64_encode(force_bytes(user.pk))
    path = reverse("password-choose", args=[name, default_token_generator.make_token(user)])
    return ShownLink(user.username, request.build_absolute_uri(path))


def _mail_link(request: HttpRequest, form: ForgottenPasswordForm) -> None:
    form.save(
        request=request,
        use_https=request.is_secure(),
        subject_template_name="annotate/mail/forgotten_subject.txt",
        email_template_name="annotate/mail/forgotten.txt",
        from_email=settings.EMAIL_FROM or None,
        extra_email_context={"hours": str(settings.PASSWORD_RESET_TIMEOUT // 3600)},
    )
