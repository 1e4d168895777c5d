"""Common parts of pages with tables: whose votes they count, and headings that sort."""

from __future__ import annotations

from django.http import HttpRequest

from annotate.models import Project


def counts_simulated(request: HttpRequest, project: Project) -> bool:
    """True when the page was asked to count simulated votes too. They exist for trying the product
    out; elsewhere there is nothing to switch."""
    return project.train_on_simulated and request.GET.get("simulated") == "1"


def heading(key: str, title: str, sort: str, *, rising: bool = False) -> dict[str, str]:
    """A heading that sorts, from the largest on or `rising`; a second click turns it round."""
    order = {key: "ascending", f"-{key}": "descending"}.get(sort, "")
    first, second = (key, f"-{key}") if rising else (f"-{key}", key)
    return {"title": title, "order": order, "sort": second if sort == first else first}
