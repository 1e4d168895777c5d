from __future__ import annotations

import sqlite3
from typing import Any

from django.apps import AppConfig
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


class AnnotateConfig(AppConfig):
    name = "annotate"
    verbose_name = "Annotation"

    def ready(self) -> None:
        # Models are there only now.
        from annotate.audit import recording
        from annotate.monitoring.labelling_figures import LabellingFigures
        from annotate.monitoring.prometheus_page import database_registry

        recording.connect()
        database_registry.register(LabellingFigures())
        connection_created.connect(_take_sqlite_at_its_word, dispatch_uid="annotate.sqlite_limit")


def _take_sqlite_at_its_word(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Let a statement hold as many values as this SQLite can take.

    Django assumes the 999 of old releases, and cuts the rows of a wide table into many statements.
    """
    if connection.vendor == "sqlite":
        limit = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        connection.features.max_query_params = limit
