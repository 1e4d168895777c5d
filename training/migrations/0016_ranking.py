from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0014_who_decided")]

    operations = [
        migrations.AddField(
            "plan",
            "ranking",
            models.UUIDField(
                help_text="The last ranking of all pairs: only its worker follows single votes.",
                null=True,
            ),
        ),
    ]
