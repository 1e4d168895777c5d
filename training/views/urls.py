from __future__ import annotations

from django.urls import path

from training.views import (
    active_learning,
    compare,
    playground,
    round,
    rounds,
    schedule,
    start_round,
    write_completions,
)
from training.views.ai_annotators import annotator_pages
from training.views.model_pages import add_model, model, models, prune

project = "projects/<slug:slug>/"
annotator = project + "ai-annotators/<int:pk>/"

urlpatterns = [
    path(project + "rounds/", rounds.rounds, name="rounds"),
    path(project + "rounds/progress/", rounds.progress, name="rounds-progress"),
    path(project + "rounds/new/", start_round.new, name="round-new"),
    path(project + "rounds/start/", start_round.start, name="round-start"),
    path(project + "rounds/ask-colleagues/", rounds.ask_colleagues, name="ask-colleagues"),
    path(project + "rounds/schedule/", schedule.schedule, name="schedule"),
    path(project + "rounds/schedule/pause/", schedule.pause, name="schedule-pause"),
    path(project + "active/", active_learning.active_learning, name="active-learning"),
    path(project + "rounds/<int:number>/", round.round, name="round"),
    path(
        project + "rounds/<int:number>/progress/",
        round.progress,
        name="round-progress",
    ),
    path(project + "rounds/<int:number>/curves/", round.curves, name="round-curves"),
    path(project + "rounds/<int:number>/cancel/", round.cancel, name="round-cancel"),
    path(project + "rounds/<int:number>/retry/", round.retry, name="round-retry"),
    path(project + "playground/", playground.home, name="playground"),
    path(project + "playground/<uuid:uuid>/", playground.trial, name="trial"),
    path(project + "playground/<uuid:uuid>/progress/", playground.progress, name="trial-progress"),
    path(project + "playground/<uuid:uuid>/stop/", playground.stop, name="trial-stop"),
    path(project + "playground/<uuid:uuid>/queue/", playground.queue, name="trial-queue"),
    path(project + "completions/", write_completions.write, name="write-completions"),
    path(project + "completions/<uuid:uuid>/start/", write_completions.start, name="writing-start"),
    path(project + "completions/progress/", write_completions.progress, name="writing-progress"),
    path(project + "completions/sizes/", write_completions.sizes, name="writing-sizes"),
    path(
        project + "completions/<uuid:uuid>/cancel/", write_completions.cancel, name="writing-cancel"
    ),
    path(project + "completions/<uuid:uuid>/go-on/", write_completions.go_on, name="writing-go-on"),
    path(project + "ai-annotators/", annotator_pages.ai_annotators, name="ai-annotators"),
    path(annotator, annotator_pages.ai_annotator, name="ai-annotator"),
    path(f"{annotator}progress/", annotator_pages.progress, name="ai-annotator-progress"),
    path(f"{annotator}start/", annotator_pages.start, name="ai-annotator-start"),
    path(f"{annotator}stop/", annotator_pages.stop, name="ai-annotator-stop"),
    path(f"{annotator}bounds/", annotator_pages.bounds, name="ai-annotator-bounds"),
    path(f"{annotator}retire/", annotator_pages.retire, name="ai-annotator-retire"),
    path(project + "models/", models.models, name="models"),
    path(project + "models/add/", add_model.add, name="model-add"),
    path(project + "models/checks/<uuid:uuid>/", add_model.check, name="model-check"),
    path(
        project + "models/checks/<uuid:uuid>/progress/",
        add_model.progress,
        name="model-check-progress",
    ),
    path(
        project + "models/checks/<uuid:uuid>/cancel/", add_model.cancel, name="model-check-cancel"
    ),
    path(project + "models/checks/<uuid:uuid>/go-on/", add_model.go_on, name="model-check-go-on"),
    path(
        project + "models/checks/<uuid:uuid>/remove/", add_model.remove, name="model-check-remove"
    ),
    path(project + "models/compare/", compare.compare, name="models-compare"),
    path(project + "models/compare/start/", compare.start, name="compare-start"),
    path(project + "models/compare/cancel/", compare.cancel, name="compare-cancel"),
    path(project + "models/compare/progress/", compare.progress, name="compare-progress"),
    path(project + "models/compare/<uuid:uuid>/report/", compare.report, name="compare-report"),
    path(project + "models/prune/", prune.prune, name="models-prune"),
    path(project + "models/<int:pk>/", model.model, name="model"),
    path(project + "models/<int:pk>/download/", model.download, name="model-download"),
    path(project + "models/<int:pk>/promote/", model.promote, name="model-promote"),
    path(project + "models/<int:pk>/retire/", model.retire, name="model-retire"),
    path(project + "models/<int:pk>/demote/", model.demote, name="model-demote"),
    path(project + "models/<int:pk>/push/", model.push, name="model-push"),
]
