from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("annotate.views.urls")),
    path("", include("annotate.api.urls")),
]
