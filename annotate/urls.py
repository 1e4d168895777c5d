from __future__ import annotations

from django.urls import include, path

from annotate.monitoring import health, prometheus_page

urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", prometheus_page.metrics, name="metrics"),
    path("", include("annotate.page_urls")),
    path("", include("annotate.api.urls")),
]
