"""The identity provider that people may sign in through, for every page with the form."""

from __future__ import annotations

from django import template

from annotate.people.joining import openid_connect
from annotate.people.joining.openid_connect import Provider

register = template.Library()


@register.simple_tag
def identity_provider() -> Provider | None:
    return openid_connect.provider()
