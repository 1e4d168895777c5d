from django.db import migrations, models

import django.core.validators

ARMS = [
    ("both", "Random and active"),
    ("random", "Random alone"),
    ("active", "Active alone"),
    ("evaluation", "Evaluation"),
    ("check", "Check"),
]
STREAMS = [
    ("random", "Random"),
    ("active", "Active"),
    ("evaluation", "Evaluation"),
    ("check", "Check"),
]
SHARE = [
    django.core.validators.MinValueValidator(0.0),
    django.core.validators.MaxValueValidator(1.0),
]


class Migration(migrations.Migration):
    dependencies = [("annotate", "0037_audit_log")]

    operations = [
        migrations.AddField(
            model_name="assignment",
            name="acquisition",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The rule that had ranked the pair, where the active arm leased it.",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="voterevision",
            name="acquisition",
            field=models.CharField(blank=True, db_default="", default="", max_length=20),
        ),
        migrations.AddField(
            model_name="pair",
            name="arms",
            field=models.CharField(
                choices=ARMS,
                db_default="both",
                default="both",
                help_text="Who may lease it. Pairs of held-out prompts and overlap pairs are "
                "leased at random alone, because they measure; pairs that were chosen before "
                "they came are not.",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="evaluation_share",
            field=models.FloatField(
                db_default=0.5,
                default=0.5,
                help_text="Share of pairs offered that compare policies, while any of them wait "
                "for votes.",
                validators=SHARE,
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="ranked_by",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The acquisition that gave open pairs their priorities.",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="project",
            name="random_share",
            field=models.FloatField(
                default=0.1,
                help_text="Share of pairs offered in random order once the votes have ranked the "
                "others; all of them before that. Honest estimates come from these.",
                validators=SHARE,
            ),
        ),
        migrations.AddConstraint(
            model_name="project",
            constraint=models.CheckConstraint(
                condition=models.Q(("evaluation_share__gte", 0), ("evaluation_share__lte", 1)),
                name="project_evaluation_share_is_a_share",
            ),
        ),
        migrations.AlterField(
            model_name="assignment",
            name="stream",
            field=models.CharField(blank=True, choices=STREAMS, max_length=10),
        ),
        migrations.AlterField(
            model_name="voterevision",
            name="stream",
            field=models.CharField(blank=True, choices=STREAMS, max_length=10),
        ),
        migrations.AlterField(
            model_name="pair",
            name="stream",
            field=models.CharField(
                blank=True,
                choices=STREAMS,
                db_default="",
                default="",
                help_text="The arm of its first lease; before that active if it was chosen, else "
                "empty, as where its votes came in a file.",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="pair",
            name="priority",
            field=models.FloatField(
                default=0.0,
                help_text="What a vote on it would teach; 0 where nothing has ranked it.",
            ),
        ),
    ]
