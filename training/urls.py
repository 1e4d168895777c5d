from __future__ import annotations

from django.urls import include, path

from training import api

project = "api/v1/projects/<slug:slug>/"

urlpatterns = [
    path("", include("training.views.urls")),
    path(project + "rounds/", api.rounds, name="api-rounds"),
    path(project + "models/", api.models, name="api-models"),
]
