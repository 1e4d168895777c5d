from __future__ import annotations

from django.urls import path

from training.views import models, rounds
from training.views import round as one_round

project = "projects/<slug:slug>/"

urlpatterns = [
    path(project + "rounds/", rounds.rounds, name="rounds"),
    path(project + "rounds/progress/", rounds.progress, name="rounds-progress"),
    path(project + "rounds/start/", rounds.start, name="round-start"),
    path(project + "rounds/ask-colleagues/", rounds.ask_colleagues, name="ask-colleagues"),
    path(project + "rounds/<int:number>/", one_round.round, name="round"),
    path(project + "rounds/<int:number>/progress/", one_round.progress, name="round-progress"),
    path(project + "rounds/<int:number>/curves/", one_round.curves, name="round-curves"),
    path(project + "rounds/<int:number>/cancel/", one_round.cancel, name="round-cancel"),
    path(project + "rounds/<int:number>/retry/", one_round.retry, name="round-retry"),
    path(project + "models/", models.models, name="models"),
    path(project + "models/<int:pk>/promote/", models.promote, name="model-promote"),
    path(project + "models/<int:pk>/retire/", models.retire, name="model-retire"),
]
