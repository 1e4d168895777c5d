"""Common parts of pages with tables: whose votes they count, and headings that sort."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

from annotate.models import Project

AHEAD = 1000
"""Rows beyond the page asked for up to which a long list is counted."""


class LongList(Paginator):  # type: ignore[type-arg]  # No generic while it runs.
    """The pages of a list that may be too long to be counted: up to the page asked for, and some
    beyond it."""

    def __init__(self, rows: QuerySet[Any], per_page: int, *, asked: str | None) -> None:
        super().__init__(rows, per_page)
        # A longer number is no page of anybody's.
        page = int(asked) if asked and asked.isdecimal() and len(asked) < 8 else 1
        self.most = page * per_page + AHEAD
        self.counted = rows.order_by()[: self.most + 1].count()

    @property
    def more(self) -> bool:
        """True where there are more rows than were counted."""
        return self.counted > self.most

    @property
    def count(self) -> int:
        return min(self.counted, self.most)


def counts_simulated(request: HttpRequest, project: Project) -> bool:
    """True when the page was asked to count simulated votes too. They exist for trying the product
    out; elsewhere there is nothing to switch."""
    return project.train_on_simulated and request.GET.get("simulated") == "1"


def heading(key: str, title: str, sort: str, *, rising: bool = False) -> dict[str, str]:
    """A heading that sorts, from the largest on or `rising`; a second click turns it round."""
    order = {key: "ascending", f"-{key}": "descending"}.get(sort, "")
    first, second = (key, f"-{key}") if rising else (f"-{key}", key)
    return {"title": title, "order": order, "sort": second if sort == first else first}
