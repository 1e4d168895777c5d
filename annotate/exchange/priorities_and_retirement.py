"""The order that training gives open pairs, and the pairs it takes out of the queue again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db import connection
from django.db.models import Min, Q

from annotate import queue
from annotate.exchange.batches import batched
from annotate.models import Pair, Project
from annotate.queue import write

WRITTEN_ELSEWHERE = "endpoint-"
"""The beginning of sources of completions that a server wrote, no policy of the project."""


def set_priorities(
    project: Project, priorities: Mapping[str, float], *, acquisition: str
) -> set[str]:
    """Rank open pairs by key; the keys of those that were written. Pairs in use are left out, and
    not waited for.

    A pair of priority 0 is leased at random alone. `acquisition` is stored with the leases that
    the active arm gives from now on.
    """
    tell_acquisition(project, acquisition)
    written: set[str] = set()
    for batch in batched(sorted(priorities)):
        with write():
            pairs = project.pairs.filter(key__in=batch, state=Pair.State.OPEN).order_by("pk")
            if connection.features.has_select_for_update_skip_locked:
                pairs = pairs.select_for_update(skip_locked=True, no_key=True)
            keys = dict(pairs.values_list("pk", "key"))
            updates = [(priorities[key], pk) for pk, key in keys.items()]
            with connection.cursor() as cursor:
                cursor.executemany("UPDATE annotate_pair SET priority = %s WHERE id = %s", updates)
        written.update(keys.values())
    return written


def ask_again(project: Project, keys: Collection[str]) -> None:
    """Have second votes asked for on these pairs and, of those without one yet, on no others.

    Pairs of held-out prompts are never among them: they measure, so nobody chooses them.
    """
    asked = set(queue.asked_again(project).values_list("key", flat=True))
    queue.withdraw(project, asked - set(keys))
    queue.ask_again(project, set(keys) - asked)


def tell_acquisition(project: Project, acquisition: str) -> None:
    """Say which rule gives open pairs their priorities."""
    if project.ranked_by != acquisition:
        project.ranked_by = acquisition
        project.save(update_fields=["ranked_by"])


def retire_untouched(project: Project, *, before_source: str) -> int:
    """Retire pairs nobody was offered that training added before the pairs of `before_source`.

    Imported, gold and retest pairs stay, and those that servers wrote. Evaluation pairs go as well:
    they ask about a policy that is no longer in use.
    """
    first = project.pairs.filter(source=before_source).aggregate(first=Min("pk"))["first"]
    if first is None:
        return 0
    stale = project.pairs.filter(
        pk__lt=first,
        state=Pair.State.OPEN,
        started=False,
        kind__in=(Pair.Kind.NORMAL, Pair.Kind.OVERLAP, Pair.Kind.EVALUATION),
        assignments=None,
    ).exclude(Q(source="import") | Q(source__startswith=WRITTEN_ELSEWHERE))
    with write():
        pks = list(stale.values_list("pk", flat=True))
        # The condition again, because a claim may have taken a slot in between.
        untouched = Pair.objects.filter(pk__in=pks, started=False, state=Pair.State.OPEN)
        return untouched.update(state=Pair.State.RETIRED, open_slots=0, asked=0)
