from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from annotate.api import annotation, docs

urlpatterns = [
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/v1/docs/", docs.docs, name="api-docs"),
    path("api/v1/projects/<slug:slug>/next/", annotation.next_pair, name="api-next"),
    path("api/v1/assignments/<uuid:token>/vote/", annotation.vote, name="api-vote"),
    path("api/v1/assignments/<uuid:token>/skip/", annotation.skip, name="api-skip"),
    path("api/v1/assignments/<uuid:token>/undo/", annotation.undo, name="api-undo"),
    path("api/v1/assignments/<uuid:token>/remark/", annotation.remark, name="api-remark"),
    path("api/v1/assignments/<uuid:token>/flag/", annotation.flag, name="api-flag"),
    path("", include("annotate.api.data")),
]
