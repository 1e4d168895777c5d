"""A second factor beside the password: codes of an authenticator app (TOTP), and recovery codes."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.core import signing
from django.db import transaction
from django.utils.crypto import salted_hmac
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from annotate.models import Membership, Project
from annotate.models.roles import Role
from annotate.people.session_store import end_sessions

RECOVERY_CODES = 10
PROOF_SECONDS = 300
"""Seconds between the right password and the code."""
VERIFIED = "second_factor"
"""Key of a session whose owner gave a code, with the device that it was of, or BY_PROVIDER."""
BY_PROVIDER = "provider"
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Letters and digits that nobody takes for another."""


def device_of(user: User) -> Any | None:
    """The person's authenticator; None where they have none, or have not confirmed it."""
    return TOTPDevice.objects.filter(user=user, confirmed=True).first()


def begun(user: User) -> Any | None:
    """An authenticator that waits for its first code."""
    return TOTPDevice.objects.filter(user=user, confirmed=False).first()


def begin(user: User) -> None:
    """Make a secret for the person's app; it counts for nothing until `confirm`."""
    with transaction.atomic():
        TOTPDevice.objects.filter(user=user, confirmed=False).delete()
        TOTPDevice.objects.create(user=user, name="app", confirmed=False)


def secret_of(device: Any) -> str:
    """The secret in groups of four, for who types it."""
    text = base64.b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def confirm(user: User, code: str, session: SessionBase) -> list[str] | None:
    """Turn the second factor on if the code is right, and return recovery codes; else None.

    Other sessions of the person end: they were begun by a password alone.
    """
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        device = TOTPDevice.objects.filter(user=user, confirmed=False).first()
        if device is None or device_of(user) or not device.verify_token(_digits(code)):
            return None
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        codes = _make_recovery_codes(user)
        end_sessions(user, but=session.session_key)
    session.cycle_key()
    mark(session, device)
    return codes


def mark(session: SessionBase, device: Any) -> None:
    session[VERIFIED] = device.pk


def mark_of_provider(session: SessionBase) -> None:
    """Say that an identity provider asked for all that the operator wants asked."""
    session[VERIFIED] = BY_PROVIDER


def verified(user: User, session: SessionBase) -> bool:
    """True where the session was begun with all that the person's account asks for."""
    device = device_of(user)
    return device is None or session.get(VERIFIED) == device.pk or given_to_provider(session)


def given(session: SessionBase) -> bool:
    """True where a second factor was asked for, here or by a provider whose asking counts."""
    by_provider = session.get(VERIFIED) == BY_PROVIDER
    return given_to_provider(session) if by_provider else VERIFIED in session


def given_to_provider(session: SessionBase) -> bool:
    """True for who came through a provider whose second factor counts, today as well."""
    return settings.OIDC_SECOND_FACTOR and session.get(VERIFIED) == BY_PROVIDER


def accepts(user: User, code: str) -> bool:
    """True for the app's code or a recovery code, each of which works once."""
    with transaction.atomic():
        # The lock makes one of two requests at one instant come second.
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=True).first()
        if device is None:
            return False
        digits = _digits(code)
        if len(digits) == device.digits and digits.isdecimal():
            return bool(device.verify_token(digits))
        of_recovery = StaticDevice.objects.filter(user=user).first()
        return bool(of_recovery and of_recovery.verify_token(_digest(code)))


def renew_recovery_codes(user: User) -> list[str]:
    """Make new codes; the old ones work no longer."""
    with transaction.atomic():
        return _make_recovery_codes(user)


def recovery_codes_left(user: User) -> int:
    return int(StaticToken.objects.filter(device__user=user).count())


def turn_off(user: User) -> bool:
    """Forget the secret and the recovery codes; False where there were none."""
    with transaction.atomic():
        StaticDevice.objects.filter(user=user).delete()
        removed, _each = TOTPDevice.objects.filter(user=user).delete()
    return bool(removed)


def members_with_one(project: Project) -> set[int]:
    """Keys of the members' accounts that have a second factor."""
    members = project.memberships.values("user")
    return set(
        TOTPDevice.objects.filter(confirmed=True, user__in=members).values_list("user", flat=True)
    )


def is_required_of(user: User) -> bool:
    """True where the operator asks staff for a second factor, and this is one of them."""
    if not settings.REQUIRE_TOTP:
        return False
    if user.is_superuser or user.is_staff:
        return True
    return Membership.objects.filter(user=user, role=Role.ADMIN, active=True).exists()


def proof_of_password(user: User) -> str:
    """A text that says, for a few minutes and until the next sign-in, that the password was right.

    It stands in the form that asks for the code, so that nothing is kept of who never gives one.
    """
    return _signer(user).sign(str(user.pk))


def user_of_proof(proof: str) -> User | None:
    number = proof.partition(":")[0]
    if not number.isdecimal() or len(number) > 18:
        return None
    user = User.objects.filter(pk=int(number), is_active=True).first()
    if user is None:
        return None
    try:
        _signer(user).unsign(proof, max_age=PROOF_SECONDS)
    except signing.BadSignature:
        return None
    return user


def _signer(user: User) -> signing.TimestampSigner:
    # A new password, or a sign-in, ends what was signed before.
    state = salted_hmac("annotate.code-asked", f"{user.password}{user.last_login}").hexdigest()
    return signing.TimestampSigner(salt=f"annotate.code-asked.{state}")


def _make_recovery_codes(user: User) -> list[str]:
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="recovery codes")
    codes = ["-".join(_letters(5) for _ in range(2)) for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(
        StaticToken(device=device, token=_digest(code)) for code in codes
    )
    return codes


def _letters(n: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(n))


def _digest(code: str) -> str:
    """The form that a recovery code is stored in: keyed, and as long as its column."""
    plain = "".join(code.split()).replace("-", "").casefold()
    keyed = salted_hmac("annotate.recovery-code", plain, algorithm="sha256").digest()
    return base64.b32encode(hashlib.sha256(keyed).digest()).decode()[:16].lower()


def _digits(code: str) -> str:
    return "".join(code.split()).replace("-", "")
