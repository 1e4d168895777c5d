"""Who may lease the pairs that are there, and which arm has leased them first.

Until now a pair had one arm for ever, by which all of its leases were drawn: that of pairs which
were leased stays true, and so do exports of old dataset versions, which tell it.
"""

from django.db import migrations
from django.db.models import Exists, OuterRef, Q


def tell(apps, schema_editor):
    Pair = apps.get_model("annotate", "Pair")
    Assignment = apps.get_model("annotate", "Assignment")
    measures = Q(kind="overlap") | Q(prompt__held_out=True)
    pairs = Pair.objects.order_by()
    pairs.filter(stream="active").update(arms="active")
    random = pairs.filter(measures, stream="random").order_by()
    Pair.objects.filter(pk__in=random.values("pk")).update(arms="random")
    pairs.filter(kind="evaluation").update(arms="evaluation")
    pairs.filter(kind__in=("gold", "retest")).update(arms="check")
    leased = Exists(Assignment.objects.filter(pair=OuterRef("pk")))
    pairs.filter(~leased, stream="random").update(stream="")


def forget(apps, schema_editor):
    """Give every pair one arm again."""
    Pair = apps.get_model("annotate", "Pair")
    pairs = Pair.objects.order_by()
    pairs.filter(stream__in=("", "evaluation")).update(stream="random")


class Migration(migrations.Migration):
    dependencies = [("annotate", "0030_arms_of_the_queue")]

    operations = [migrations.RunPython(tell, forget)]
