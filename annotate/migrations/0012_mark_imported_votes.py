from django.db import migrations


def mark(apps, schema_editor):
    """Votes without guidelines came from files. What was made up for them stays as versions hold it."""
    for name in ("Assignment", "VoteRevision"):
        votes = apps.get_model("annotate", name).objects.filter(guideline_version=0)
        votes.update(imported=True)


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0011_imports_and_exports'),
    ]

    operations = [migrations.RunPython(mark, migrations.RunPython.noop)]
