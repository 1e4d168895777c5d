from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from annotate.api import voting_calls

urlpatterns = [
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("", include("annotate.api.protocol.reference_page")),
    path("api/v1/projects/<slug:slug>/next/", voting_calls.next_pair, name="api-next"),
    path("api/v1/assignments/<uuid:token>/vote/", voting_calls.vote, name="api-vote"),
    path("api/v1/assignments/<uuid:token>/skip/", voting_calls.skip, name="api-skip"),
    path("api/v1/assignments/<uuid:token>/undo/", voting_calls.undo, name="api-undo"),
    path("api/v1/assignments/<uuid:token>/remark/", voting_calls.remark, name="api-remark"),
    path("api/v1/assignments/<uuid:token>/flag/", voting_calls.flag, name="api-flag"),
    path("", include("annotate.api.direct_import_calls")),
    path("", include("annotate.api.direct_export_calls")),
    path("", include("annotate.api.export_job_calls")),
    path("", include("annotate.api.import_job_calls")),
    path("", include("annotate.api.resources")),
]
