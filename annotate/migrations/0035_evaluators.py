from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotate", "0034_people_decide")]

    operations = [
        migrations.AddField(
            "membership",
            "evaluates",
            models.BooleanField(
                default=False,
                help_text="Compares policies, because none of their votes taught a reward model.",
            ),
        ),
    ]
