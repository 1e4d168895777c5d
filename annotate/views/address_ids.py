"""Reading ids from an address."""

from __future__ import annotations

from django.http import HttpRequest


def number_in(request: HttpRequest, name: str) -> int | None:
    """The id that the query string gives under this name; None without one that can be an id."""
    value = request.GET.get(name, "")
    # Ids beyond 64 bits are an error to the database, not an unknown row.
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None
