
import django.db.models.functions.math
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0040_acquisition_and_adaptive'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name='pair',
            index=models.Index(models.F('project'), models.F('state'), models.OrderBy(django.db.models.functions.math.Abs('margin'), descending=True), models.F('id'), condition=models.Q(('margin__isnull', False)), name='pair_by_sureness'),
        ),
        migrations.AddIndex(
            model_name='pair',
            index=models.Index(condition=models.Q(('kind', 'evaluation')), fields=['project', 'prompt'], name='evaluation_pairs'),
        ),
    ]
