from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("annotate", "0035_evaluators")]

    operations = [
        migrations.AddField(
            model_name="project",
            name="acquisition",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The rule that ranks open pairs between rounds; empty: that of their "
                "round.",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="project",
            name="votes",
            field=models.CharField(
                choices=[
                    ("consensus", "Consensus: two votes, a third when they disagree"),
                    ("single", "Throughput: one vote, a sample of pairs with two"),
                    ("adaptive", "Adaptive: one vote, another where it teaches more than a new pair"),
                    ("evaluation", "Evaluation: first to three equal votes, five at most"),
                ],
                default="consensus",
                max_length=12,
            ),
        ),
    ]
