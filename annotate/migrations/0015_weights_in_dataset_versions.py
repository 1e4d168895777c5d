from django.db import migrations, models


def keep_weights(apps, schema_editor):
    """Versions made so far keep the weights and reliabilities of today."""
    Membership = apps.get_model("annotate", "Membership")
    Version = apps.get_model("annotate", "DatasetVersion")
    for project in Version.objects.order_by().values_list("project", flat=True).distinct():
        members = Membership.objects.filter(project=project)
        rows = members.values_list("user_id", "weight", "reliability")
        people = {str(user): [weight, reliability, None] for user, weight, reliability in rows}
        Version.objects.filter(project=project).update(people=people)


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0014_import_steps'),
    ]

    operations = [
        migrations.AddField(
            model_name='membership',
            name='estimate',
            field=models.JSONField(help_text='What the reliability comes from: prior of A, tie, B, and confusion by side.', null=True),
        ),
        migrations.AlterField(
            model_name='membership',
            name='weight',
            field=models.FloatField(default=1.0, help_text="Of this person's votes in training; 0 leaves them out of labels and exports."),
        ),
        migrations.AddField(
            model_name='datasetversion',
            name='people',
            field=models.JSONField(default=dict, help_text='Weight, reliability and estimate of each member when it was made, by user id.'),
        ),
        migrations.RunPython(keep_weights, migrations.RunPython.noop),
    ]
