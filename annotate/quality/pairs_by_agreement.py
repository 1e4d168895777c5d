"""The pairs with two votes or more, in the order of one of their figures, a page at a time.

A page begins after the last row of the one before it, so that no page gets slower with the number
of rows before it. The order is found in the index of the first two votes alone, and only the
page's own rows are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from django.db.models import ExpressionWrapper, F, FloatField, Q, QuerySet, Value
from django.db.models.functions import Abs, Cast, Coalesce

from annotate.models import Pair, Project

PAGE = 50
_VOTES = F("n_a") + F("n_b") + F("n_tie")
_SAME = F("n_a") * (F("n_a") - 1) + F("n_b") * (F("n_b") - 1) + F("n_tie") * (F("n_tie") - 1)
# Of two of the pair's votes, how often both are the same.
AGREEMENT = ExpressionWrapper(
    Cast(_SAME, FloatField()) / (_VOTES * (_VOTES - 1)), output_field=FloatField()
)
NO_MARGIN = -1.0
KEYS: dict[str, Any] = {
    "agreement": AGREEMENT,
    "votes": _VOTES,
    "margin": Coalesce(Abs("margin"), Value(NO_MARGIN)),
    # Imported votes may have no time; their pairs are the oldest.
    "last": Coalesce("last_vote_at", Value(datetime(1970, 1, 1, tzinfo=UTC))),
}
DEFAULT = "agreement"


class BadPlace(ValueError):
    """The address names no order or no row to begin after."""


@dataclass(frozen=True)
class Place:
    """The last row of a page: its value in the order, and its id."""

    value: float | datetime
    pk: int

    def __str__(self) -> str:
        value = self.value.isoformat() if isinstance(self.value, datetime) else repr(self.value)
        return f"{value}_{self.pk}"

    @classmethod
    def read(cls, text: str, order: str) -> Place:
        """Read what `str` wrote. Raises BadPlace."""
        try:
            value, _, pk = text.rpartition("_")
            parse = datetime.fromisoformat if order.endswith("last") else float
            position = cls(parse(value), int(pk))
        except (ValueError, OverflowError) as error:
            raise BadPlace("There is no such place in the list.") from error
        if not position._exists:
            raise BadPlace("There is no such place in the list.")
        return position

    @property
    def _exists(self) -> bool:
        """True when a row can be there: neither the database nor Django compares the rest."""
        if isinstance(self.value, datetime):
            known = self.value.tzinfo is not None and 1970 <= self.value.year < 9999
        else:
            known = isfinite(self.value)
        return known and 0 <= self.pk < 2**63


@dataclass(frozen=True)
class Page:
    pairs: list[Pair]
    next: Place | None


def page(
    project: Project,
    *,
    order: str = DEFAULT,
    stream: str = "all",
    after: str = "",
    include_simulated: bool = False,
) -> Page:
    """Pairs by the figure `order` names, falling with a minus before it. Raises BadPlace."""
    key = order.removeprefix("-")
    if key not in KEYS:
        raise BadPlace("There is no such order.")
    ranked = _counted(project, stream, include_simulated).annotate(figure=KEYS[key])
    falls = order.startswith("-")
    if after:
        place = Place.read(after, order)
        beyond = Q(figure__lt=place.value) if falls else Q(figure__gt=place.value)
        ranked = ranked.filter(beyond | Q(figure=place.value, pk__gt=place.pk))
    ordered = ranked.order_by("-figure" if falls else "figure", "pk")
    places = [Place(*row) for row in ordered.values_list("figure", "pk")[: PAGE + 1]]
    shown = places[:PAGE]
    pairs = project.pairs.annotate(agreement=AGREEMENT).select_related("prompt")
    by_id = pairs.in_bulk([place.pk for place in shown])
    return Page(
        pairs=[by_id[place.pk] for place in shown if place.pk in by_id],
        next=shown[-1] if len(places) > PAGE else None,
    )


def _counted(project: Project, stream: str, include_simulated: bool) -> QuerySet[Pair]:
    """The pairs that agreement is measured on."""
    compared = project.pairs.filter(fell__isnull=False).exclude(kind__in=Pair.OUTSIDE_LABELS)
    if stream != "all":
        compared = compared.filter(stream=stream)
    if not include_simulated:
        compared = compared.filter(firsts_simulated=False)
    return compared
