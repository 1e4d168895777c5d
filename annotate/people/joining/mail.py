"""Mail to people: invitations, confirmations of addresses, links for a forgotten password."""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Mapping

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend

log = logging.getLogger(__name__)


def configured() -> bool:
    """True when the operator named a mail server, and links in mails can be trusted.

    With ALLOWED_HOSTS=* a stranger chooses the host in a request, and with it where a link that is
    mailed to somebody else leads: then nothing is mailed, unless PUBLIC_URL says where it does.
    """
    named = bool(settings.PUBLIC_URL) or "*" not in settings.ALLOWED_HOSTS
    return bool(settings.EMAIL_URL) and named


def send(subject: str, texts: Mapping[str, str]) -> list[str]:
    """Send each address its text; returns the addresses that the server did not take."""
    refused = []
    # A line break in it, as in a name, would end the header.
    subject = " ".join(subject.split())
    connection = get_connection()
    try:
        with connection:
            for address, text in texts.items():
                mail = EmailMessage(subject, text, settings.EMAIL_FROM, [address])
                if not _sent(mail, connection):
                    refused.append(address)
    except (smtplib.SMTPException, OSError) as error:
        log.warning("the mail server did not answer: %s", error)
        return list(texts)
    return refused


def _sent(mail: EmailMessage, connection: BaseEmailBackend) -> bool:
    mail.connection = connection
    try:
        mail.send()
    except smtplib.SMTPRecipientsRefused as error:
        # The codes alone: the texts beside them name the person.
        codes = [code for code, _text in error.recipients.values()]
        log.warning("the mail server refused a recipient: %s", codes)
        return False
    return True
