
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0043_head_doubts'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='project',
            name='ai_votes_in_exports',
            field=models.BooleanField(db_default=False, default=False, help_text='Votes of AI annotators may be exported, in a format of their own.'),
        ),
        migrations.AddField(
            model_name='project',
            name='ai_votes_in_training',
            field=models.BooleanField(db_default=False, default=False, help_text='Votes of AI annotators enter the training of the reward model, weighed by their measured agreement with people. They never teach its judge, and measure nothing.'),
        ),
        migrations.CreateModel(
            name='AiAnnotator',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80)),
                ('kind', models.CharField(choices=[('reward', 'Reward model'), ('chat', 'Chat model')], max_length=10)),
                ('model', models.CharField(help_text="The model's name, for people to read.", max_length=200)),
                ('source', models.JSONField(help_text="The model as runs know it: a server's address, or the number of a version. Never a key.")),
                ('constitution', models.TextField(blank=True, help_text='The principles that a chat model judges by.')),
                ('per_minute', models.PositiveIntegerField(default=60, help_text='Requests a minute at most.')),
                ('most_requests', models.PositiveIntegerField(help_text='Requests in all; empty is no bound, as for a model here.', null=True)),
                ('most_tokens', models.PositiveBigIntegerField(help_text='Tokens in and out in all; empty is no bound.', null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('retired_at', models.DateTimeField(help_text='It votes no more, and its votes are used nowhere.', null=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='ai_annotators', to='annotate.project')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='AiVote',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('choice', models.CharField(choices=[('a', 'A'), ('b', 'B'), ('tie', 'About the same'), ('none', 'No verdict')], help_text='A tie where the two orders named different replies; no verdict where one of them named none.', max_length=4)),
                ('there', models.CharField(blank=True, help_text='The reply named with A shown first: a, b or nothing.', max_length=4)),
                ('back', models.CharField(blank=True, help_text='The same with B shown first.', max_length=4)),
                ('margin', models.FloatField(help_text='Logit of A over B, by a reward model.', null=True)),
                ('run', models.UUIDField(help_text='The run that asked.')),
                ('cast_at', models.DateTimeField(auto_now_add=True)),
                ('annotator', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='votes', to='annotate.aiannotator')),
                ('pair', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='ai_votes', to='annotate.pair')),
            ],
        ),
        migrations.AddConstraint(
            model_name='aiannotator',
            constraint=models.UniqueConstraint(fields=('project', 'name'), name='ai_annotator_once'),
        ),
        migrations.AddConstraint(
            model_name='aiannotator',
            constraint=models.CheckConstraint(condition=models.Q(('per_minute__gt', 0)), name='ai_annotator_asks_at_some_pace'),
        ),
        migrations.AddConstraint(
            model_name='aiannotator',
            constraint=models.CheckConstraint(condition=models.Q(('kind', 'reward'), models.Q(('kind', 'chat'), models.Q(('constitution', ''), _negated=True)), _connector='OR'), name='a_chat_model_has_a_constitution'),
        ),
        migrations.AddConstraint(
            model_name='aivote',
            constraint=models.UniqueConstraint(fields=('annotator', 'pair'), name='ai_vote_once'),
        ),
        migrations.AddConstraint(
            model_name='aivote',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('choice__in', ['a', 'b']), _negated=True), models.Q(('back', models.F('choice')), ('there', models.F('choice'))), _connector='OR'), name='an_ai_vote_for_a_side_is_one_in_both_orders'),
        ),
    ]
