"""Batches: pairs of a project under a name, for some of its people."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from annotate.models.membership import Membership
from annotate.models.project import Project


class BatchQuerySet(models.QuerySet["Batch"]):
    def with_progress(self) -> QuerySet[Batch]:
        """Batches with `n_pairs`, of which `n_open` still want votes and `n_done` have them. Pairs
        that left the project are in none of the three."""
        pairs = apps.get_model("annotate", "Pair").objects.filter(batch=OuterRef("pk"))
        inside = pairs.exclude(state="retired")
        return self.annotate(
            n_pairs=_number(inside),
            n_open=_number(inside.filter(state="open")),
            n_done=_number(inside.exclude(state="open")),
        )


class Batch(models.Model):
    """Some pairs of a project, and the people who are offered them before all others.

    A pair is in one batch at most (`Pair.batch`). Others may be offered the pairs, too, as their
    votes are wanted; a member whose `batches_only` is set is offered nothing but their batches.
    """

    LARGEST = 10_000
    """Pairs of a batch: pages and the queue look at all of them."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="batches")
    name = models.CharField(max_length=80)
    people = models.ManyToManyField(Membership, related_name="batches")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="batch_name_once"),
            models.CheckConstraint(condition=~models.Q(name=""), name="a_batch_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name


def _number(rows: QuerySet[models.Model]) -> Coalesce:
    counted = rows.order_by().values("batch").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
