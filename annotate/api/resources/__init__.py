"""Resources: what a project holds, read and written, one module per group, and their lists.

May import: models, webhooks, votes, exporting, people, queue, review, quality, importing, jobs,
forms, api.
"""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include(f"annotate.api.resources.{module}"))
    for module in (
        "project_list",
        "prompt_resource",
        "pair_resource",
        "label_resource",
        "vote_resource",
        "review_resource",
        "people.annotator_resource",
        "people.batch_resource",
        "guideline_resource",
        "version_resource",
        "job_list",
        "agreement_resource",
        "webhook_resource",
    )
]
