from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotate", "0021_criteria_with_the_pair")]

    operations = [
        migrations.CreateModel(
            name="Overview",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("figures", models.JSONField(default=dict)),
                (
                    "fresh_since",
                    models.PositiveIntegerField(
                        help_text="Dataset version that does not hold the fresh pairs.", null=True
                    ),
                ),
                (
                    "fresh_pairs",
                    models.PositiveIntegerField(
                        help_text="Resolved pairs that would teach the next round something new.",
                        null=True,
                    ),
                ),
                ("counted_at", models.DateTimeField()),
                (
                    "project",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="annotate.project",
                    ),
                ),
            ],
        ),
    ]
