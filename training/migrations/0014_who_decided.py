from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0010_who_chose")]

    operations = [
        migrations.AddField(
            "decision",
            "decided_by",
            models.CharField(
                blank=True,
                choices=[
                    ("model", "A model, by the gates"),
                    ("people", "People, by blind comparisons"),
                    ("admin", "An admin"),
                ],
                default="",
                help_text="Empty: before that was kept.",
                max_length=6,
            ),
            preserve_default=False,
        ),
    ]
