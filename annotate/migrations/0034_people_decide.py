"""People decide on new policies, where the project did not choose otherwise."""

from django.db import migrations, models

CHOICES = [
    ("both", "By both: every gate passed, then people prefer it"),
    ("people", "By people: they prefer it, whatever the gates say"),
    ("auto", "By a model: every gate passed, and its judge is independent"),
    ("human", "An admin promotes by hand"),
]


def people_decide(apps, schema_editor):
    """"auto" was the default; the sample, which trains on simulated votes, keeps it."""
    Project = apps.get_model("annotate", "Project")
    Project.objects.filter(promotion="auto", train_on_simulated=False).update(promotion="both")


def models_decide(apps, schema_editor):
    """Back to what the former version knows."""
    Project = apps.get_model("annotate", "Project")
    Project.objects.filter(promotion__in=["both", "people"]).update(promotion="auto")


class Migration(migrations.Migration):
    dependencies = [("annotate", "0032_orders_of_the_arms")]

    operations = [
        migrations.AlterField(
            "project",
            "promotion",
            models.CharField(choices=CHOICES, default="both", max_length=8),
        ),
        migrations.RunPython(people_decide, models_decide),
    ]
