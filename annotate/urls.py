from __future__ import annotations

from django.urls import include, path

from annotate import health

urlpatterns = [
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("", include("annotate.page_urls")),
    path("", include("annotate.api.urls")),
]
