"""Statistics of the database after an import of many rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from annotate.importing.storage import planner_statistics
from annotate.models import Project


@pytest.mark.django_db(transaction=True)
def test_postgresql_plans_with_the_rows_of_a_large_import_at_once(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def analysed() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT reltuples FROM pg_class WHERE relname = 'annotate_pair'")
            return int(cursor.fetchone()[0])

    def bring(name: str, rows: int) -> None:
        lines = [
            {"prompt": f"{name} {n}", "chosen": f"Yes {n}", "rejected": f"No {n}"}
            for n in range(rows)
        ]
        file = tmp_path / f"{name}.jsonl"
        file.write_text("\n".join(map(json.dumps, lines)))
        call_command("import_data", str(file), "--project", "desk")

    bring("few", 5)
    monkeypatch.setattr(planner_statistics, "MANY", 100)
    if connection.vendor == "sqlite":
        bring("many", 60)
        assert "sqlite_stat1" not in connection.introspection.table_names()
        return
    before = analysed()
    assert before != 65
    bring("many", 60)
    assert analysed() == 65
