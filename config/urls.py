"""Composition root: both apps by name."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("annotate.urls")),
    path("", include("training.urls")),
]

handler404 = "config.middleware.not_found"
handler500 = "config.middleware.server_error"
