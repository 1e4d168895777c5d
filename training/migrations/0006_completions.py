from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0016_find_pairs_by_their_tags"),
        ("training", "0005_decisions"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="worker",
            field=models.CharField(
                choices=[("short", "Short"), ("gpu", "Gpu")],
                default="gpu",
                help_text="Supervises it: gpu where it computes, short where servers do.",
                max_length=5,
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("kind__in", ["completions", "preview"]),
                    ("state__in", ["queued", "running"]),
                ),
                fields=("project", "kind"),
                name="one_live_writer_of_completions_per_project",
            ),
        ),
    ]
