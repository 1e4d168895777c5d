
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0045_ai_annotators'),
        ('training', '0016_ranking'),
    ]

    operations = [
        migrations.AddConstraint(
            model_name='run',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'ai_votes'), ('state__in', ['queued', 'running'])), fields=('project',), name='one_live_run_of_ai_votes_per_project'),
        ),
    ]
