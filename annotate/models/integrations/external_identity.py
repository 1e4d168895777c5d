"""Accounts of an identity provider (OpenID Connect) that sign somebody in."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class ExternalIdentity(models.Model):
    """A subject of an issuer, and whose account it opens.

    OpenID Connect Core 1.0, section 2: `sub` is never given to anybody else within an issuer. A
    mail address may be, so that none is looked at here.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="external_identities"
    )
    issuer = models.CharField(max_length=300)
    subject = models.CharField(max_length=255)
    address = models.CharField(
        max_length=254, blank=True, help_text="As the provider told it when it was connected."
    )
    connected_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="one_account_per_identity"),
            models.UniqueConstraint(fields=["user", "issuer"], name="one_identity_per_account"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"
