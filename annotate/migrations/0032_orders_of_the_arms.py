from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotate", "0031_arms_of_old_pairs")]

    operations = [
        migrations.RemoveIndex(model_name="pair", name="pair_active_queue"),
        migrations.RemoveIndex(model_name="pair", name="pair_random_queue"),
        migrations.AddIndex(
            model_name="pair",
            index=models.Index(
                condition=models.Q(("arms__in", ["both", "active"]), ("open_slots__gt", 0)),
                fields=["project", "-priority", "-started", "id"],
                name="pair_by_priority",
            ),
        ),
        migrations.AddIndex(
            model_name="pair",
            index=models.Index(
                condition=models.Q(("open_slots__gt", 0)),
                fields=["project", "arms", "shuffle", "id"],
                name="pair_by_shuffle",
            ),
        ),
    ]
