from __future__ import annotations

from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def end_trials(apps: Any, schema_editor: Any) -> None:
    """Some person may have two that are live."""
    live = apps.get_model("training", "Trial").objects.filter(state__in=["queued", "running"])
    live.update(state="failed", error="Pairloop was updated meanwhile. Ask again.")


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0009_require_rationale"),
        ("training", "0004_compare"),
    ]

    operations = [
        migrations.CreateModel(
            name="Decision",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("candidate", "Candidate"),
                            ("promoted", "Promoted"),
                            ("retired", "Retired"),
                        ],
                        max_length=10,
                    ),
                ),
                ("note", models.TextField(blank=True)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="decisions",
                        to="training.modelversion",
                    ),
                ),
            ],
            options={"ordering": ["pk"]},
        ),
        migrations.RunPython(end_trials, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="trial",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["queued", "running"])),
                fields=("user",),
                name="one_live_trial_per_person",
            ),
        ),
    ]
