from __future__ import annotations

from django.urls import include, path

from training.api import (
    active_calls,
    ai_annotator_calls,
    completions_calls,
    model_calls,
    round_calls,
    schedule_calls,
    settings_calls,
)

project = "api/v1/projects/<slug:slug>/"
runs = project + "completions-runs/"
annotator = project + "ai-annotators/<int:ai_annotator_id>/"
checks = project + "model-checks/<uuid:uuid>/"

urlpatterns = [
    path("", include("training.views.urls")),
    path(project + "rounds/", round_calls.rounds, name="api-rounds"),
    path(
        project + "rounds/settings/",
        settings_calls.round_settings_call,
        name="api-round-settings",
    ),
    path(project + "rounds/estimate/", settings_calls.round_estimate, name="api-round-estimate"),
    path(project + "active/", active_calls.active_learning, name="api-active"),
    path(project + "schedule/", schedule_calls.schedule, name="api-schedule"),
    path(project + "models/", model_calls.models, name="api-models"),
    path(checks, model_calls.model_check, name="api-model-check"),
    path(f"{checks}cancel/", model_calls.cancel_model_check, name="api-model-check-cancel"),
    path(f"{checks}retry/", model_calls.retry_model_check, name="api-model-check-retry"),
    path(project + "ai-annotators/", ai_annotator_calls.ai_annotators, name="api-ai-annotators"),
    path(annotator, ai_annotator_calls.ai_annotator, name="api-ai-annotator"),
    path(
        f"{annotator}start/",
        ai_annotator_calls.start_ai_annotator,
        name="api-ai-annotator-start",
    ),
    path(f"{annotator}stop/", ai_annotator_calls.stop_ai_annotator, name="api-ai-annotator-stop"),
    path(runs, completions_calls.completions_runs, name="api-completions-runs"),
    path(f"{runs}<uuid:uuid>/", completions_calls.completions_run, name="api-completions-run"),
    path(
        f"{runs}<uuid:uuid>/cancel/",
        completions_calls.cancel_completions,
        name="api-completions-cancel",
    ),
    path(
        f"{runs}<uuid:uuid>/go-on/",
        completions_calls.go_on_with_completions,
        name="api-completions-go-on",
    ),
]
