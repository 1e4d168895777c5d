from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("annotate", "0020_drop_indexes_that_others_begin_with"),
        ("training", "0006_completions"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "check"), ("state__in", ["queued", "running"])),
                fields=("project",),
                name="one_live_check_of_a_model_per_project",
            ),
        ),
    ]
