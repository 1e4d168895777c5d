"""Every page of a project at a million votes: the time that the server takes for each.

Fills a project by bulk insert (two votes on every pair and a third on every disagreement), with
what pages show besides: open pairs, pairs that wait for a reviewer, gold pairs, flags, skips, a
batch, a frozen version, rounds and policies. Opens every page of the navigation, and one of each
thing that has pages, as an admin, and as an annotator with a twelfth of the votes. Three times each
after a first one: medians of the seconds and of the CPU seconds of our own process. Options:
`--votes=1000000`, `--database=sqlite|postgres`.
"""

from __future__ import annotations

import json

from benchmarks.result import Result
from benchmarks.votes import installation, postgres_database, shell

# One statement per table; i numbers the pairs from 1. A pair in 3.6 gets a third vote.
SETUP = """
import json, sys
from django.contrib.auth.models import User
from django.db import connection
from annotate.models import Membership, Project
if connection.vendor == "postgresql":
    connection.cursor().execute("SET statement_timeout = 0")  # the limit is for pages
pairs = int(sys.argv[1])
project = Project.objects.create(slug="many", name="Many")
people = [User.objects.create_user(f"m{i}") for i in range(12)]
for user in people:
    Membership.objects.create(project=project, user=user, pseudonym=f"ann-{user.pk}")
first = people[0].pk
serial = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @pairs) "
values = {"pairs": pairs, "project": project.pk, "first": first}
def columns(table, given):
    # Columns without a value here take what the model gives a new row.
    from django.apps import apps
    from django.db.models import NOT_PROVIDED
    model = next(m for m in apps.get_app_config("annotate").get_models()
                 if m._meta.db_table == table)
    rest = {}
    for field in model._meta.concrete_fields:
        if field.column in given or field.primary_key or field.generated or field.null:
            continue
        default = field.default
        default = "" if default is NOT_PROVIDED else default() if callable(default) else default
        if default in ([], {}):
            default = json.dumps(default)
        rest[field.column] = f"'{default}'" if isinstance(default, str) else str(default)
    return {**given, **rest}
def insert(table, rows, **given):
    every = columns(table, given)
    names = ", ".join(f'"{name}"' for name in every)
    with connection.cursor() as cursor:
        chosen = ", ".join(every.values())
        sql = f"INSERT INTO {table} ({names}) {serial}SELECT {chosen} FROM {rows}"
        for name, value in values.items():
            sql = sql.replace(f"@{name}", str(value))
        cursor.execute(sql)  # without parameters: % is a remainder here
now = "CURRENT_TIMESTAMP"
text = "'an answer of some length ' || i"
insert("annotate_prompt", "n", id="i", project_id="@project", sha256="CAST(i AS text)",
       messages="'[]'", created_at=now, held_out="FALSE")
for side in (0, 1):
    insert("annotate_completion", "n", id=f"2 * i - {side}", prompt_id="i", text=text,
           sha256=f"CAST({side} AS text)", source="'many'", created_at=now)
one = "CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END"
same = "(i % 1000 * 7919) % 1000 < 726"
other = "CASE i % 2 WHEN 0 THEN 'b' ELSE 'a' END"
two = f"CASE WHEN {same} THEN {one} WHEN i % 5 = 0 THEN 'tie' ELSE {other} END"
def count(name):
    return (f"CASE WHEN {one} = '{name}' THEN 1 ELSE 0 END"
            f" + CASE WHEN {two} = '{name}' THEN 1 ELSE 0 END"
            + (f" + CASE WHEN {same} THEN 0 ELSE 1 END" if name == "a" else ""))
days = "((@pairs - i) / (@pairs / 90 + 1))"
ago = (f"datetime('now', '-' || {days} || ' days')" if connection.vendor == "sqlite"
       else f"now() - {days} * interval '1 day'")
votes = f"CASE WHEN {same} THEN 2 ELSE 3 END"
insert("annotate_pair", "n", id="i", project_id="@project", prompt_id="i", key="CAST(i AS text)",
       completion_a_id="2 * i", completion_b_id="2 * i - 1", state="'resolved'",
       stream="CASE WHEN i % 10 < 3 THEN 'random' ELSE 'active' END", n_a=count("a"),
       n_b=count("b"), n_tie=count("tie"), asked=votes, open_slots="0", cast=votes, first=one,
       second=two, first_by_id="@first + i % 12", second_by_id="@first + (i + 1 + i / 12 % 4) % 12",
       policy="'policy-' || (i / 50000)", margin="(i % 997) / 200.0 - 2.5",
       created_at=now, firsts_simulated="FALSE", second_at=ago, last_vote_at=ago)
second = "(i + 1 + i / 12 % 4) % 12"
for seq, who, choice in ((1, "i % 12", one), (2, second, two), (3, "(i + 5) % 12", "'a'")):
    source = "n" if seq < 3 else f"n WHERE NOT ({same})"
    token = "lower(hex(randomblob(16)))" if connection.vendor == "sqlite" else "gen_random_uuid()"
    insert("annotate_assignment", source, pair_id="i",
           annotator_id=f"@first + {who}", token=token, state="'voted'",
           left="CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END", stream="'random'", leased_at=ago,
           voted_at=ago, acted_at=ago, choice=choice, strength="2", seq=str(seq),
           active_ms="4000", propensity="1.0", surplus="FALSE", simulated="FALSE")
with connection.cursor() as cursor:
    cursor.execute("ANALYZE")
from annotate.models import Assignment
print(json.dumps(Assignment.objects.count()))
"""
MORE = """
from django.db import connection
from django.utils import timezone
from annotate.models import *
from annotate.quality.reliability import refresh_labels
from training.models import LoopSchedule, ModelVersion, Round, Run
if connection.vendor == "postgresql":
    connection.cursor().execute("SET statement_timeout = 0")
project = Project.objects.get(slug="many")
Project.objects.update(criteria=["Kind", "Correct"], guidelines="Be kind.", gold_share=0.05,
                       round_after=100)
pairs = project.pairs.count()
now = timezone.now()
def to(state, low, high):
    return Pair.objects.filter(pk__gt=pairs * low, pk__lte=pairs * high).update(
        state=state, open_slots=1 if state == "open" else 0)
# The newest tenth wants a vote more, and a hundredth waits for a reviewer.
Pair.objects.filter(pk__gt=pairs * 0.9).update(asked=4, limit=4)
to("open", 0.9, 1.0)
to("adjudicate", 0.88, 0.89)
Pair.objects.filter(pk__gt=pairs * 0.5, pk__lte=pairs * 0.55).update(
    kind="evaluation", policy_a="policy-1", policy_b="policy-0")
with connection.cursor() as cursor:
    cursor.execute(
        "INSERT INTO annotate_label (pair_id, outcome, vote_fraction, margin, n_votes, method,"
        " updated_at) SELECT id, CASE WHEN n_a > n_b THEN 'a' ELSE 'b' END, 0.5, 0.5, 2,"
        " 'majority', CURRENT_TIMESTAMP FROM annotate_pair WHERE state = 'resolved'")
Prompt.objects.filter(pk__lte=pairs).update(
    messages=[{"role": "user", "content": "A question of some length, " * 8}])
gold = Pair.objects.filter(pk__lte=500)
gold.update(kind="gold", stream="check", open_slots=100, asked=30_000, state="open")
Gold.objects.bulk_create(Gold(pair=pair, expected="a") for pair in gold)
some = Pair.objects.filter(state="open", kind="normal")[:5000]
batch = Batch.objects.create(project=project, name="Some")
Pair.objects.filter(pk__in=[pair.pk for pair in some]).update(batch=batch)
batch.people.set(project.memberships.all())
ann = project.memberships.first().user
for pair in some[:200]:
    Flag.objects.create(pair=pair, annotator=ann, kind="unsafe")
Assignment.objects.filter(pair__in=[p.pk for p in some[200:700]], seq=2).update(
    state="skipped", choice="", skip_reason="hard")
LoopSchedule.objects.create(project=project)
policy = ModelVersion.objects.create(project=project, kind="policy", number=0, path="m",
                                     state="promoted", promoted_at=now)
for n in range(1, 31):
    round_ = Round.objects.create(project=project, number=n, state="done")
    run = Run.objects.create(project=project, round=round_, state="done", started_at=now,
                             finished_at=now)
    policy = ModelVersion.objects.create(
        project=project, kind="policy", number=n, run=run, parent=policy, state="candidate",
        metrics={"win_rate": 0.6, "win_rate_low": 0.5, "win_rate_high": 0.7, "n": 200})
with connection.cursor() as cursor:
    cursor.execute("ANALYZE")
print("[]")
"""
FREEZE = """
from annotate.exporting import freezing
from annotate.models import Project
from django.db import connection
if connection.vendor == "postgresql":
    connection.cursor().execute("SET statement_timeout = 0")
freezing.freeze(Project.objects.get(slug="many"))
print("[]")
"""
TAKE = """
import json, statistics, sys, time
from django.contrib.auth.models import User
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from annotate.models import Pair, Project, Batch
from annotate.overview.home_figures import count_overview_if_due
from annotate.people.cached_annotator_figures import count_annotators_if_due
from annotate.templatetags.navigation import PAGES
from training.models import ModelVersion
from training.rounds import automatic_start
project = Project.objects.get(slug="many")
taken = {}
# What the minute tick does before anybody looks.
for name, count in (("people", count_annotators_if_due), ("home", count_overview_if_due)):
    start, before = time.perf_counter(), time.process_time()
    assert count(project)
    taken[f"count_{name}_s"] = time.perf_counter() - start
    taken[f"count_{name}_cpu_s"] = time.process_time() - before
automatic_start.due(project, timezone.now())
root = User.objects.create_superuser("root")
ann = project.memberships.order_by("pk").first()
pages = {name: reverse(name, args=["many"]) for name, *_ in PAGES}
pair = Pair.objects.filter(state="resolved").latest("pk")
pages |= {
    "projects": "/projects/",
    "quality-duos": pages["quality"] + "?section=duos&stream=all",
    "quality-groups": pages["quality"] + "?section=groups&stream=all",
    "quality-bias": pages["quality"] + "?section=bias&stream=all",
    "quality-hardest": pages["quality"] + "?section=hardest&stream=all",
    "quality-pairs": reverse("quality-pairs", args=["many"]) + "?sort=-last",
    "leaderboard-training": pages["leaderboard"] + "?pairs=training",
    "data-prompts": pages["data"] + "?in=prompts",
    "data-votes": pages["data"] + "?in=votes",
    "data-text": pages["data"] + "?q=some+length",
    "data-nothing": pages["data"] + "?q=xylophone",
    "data-split": pages["data"] + "?state=open&agreement=split",
    "annotator": reverse("annotator", args=["many", ann.pk]),
    "pair": reverse("pair", args=["many", pair.pk]),
    "prompt": reverse("prompt", args=["many", pair.prompt_id]),
    "batch": reverse("batch", args=["many", Batch.objects.get().pk]),
    "version": reverse("version", args=["many", 1]),
    "round": reverse("round", args=["many", 30]),
    "round-new": reverse("round-new", args=["many"]),
    "model": reverse("model", args=["many", ModelVersion.objects.latest("pk").pk]),
    "model-add": reverse("model-add", args=["many"]),
    "compare-two": pages["models-compare"] + "?v=0&v=1",
    "guidelines": reverse("guidelines", args=["many"]),
}
own = ("project-home", "label", "me", "my-votes", "guidelines", "projects")
def take(who, names):
    client = Client(SERVER_NAME="localhost")
    client.force_login(who)
    prefix = "" if who == root else "annotator-"
    for name in names:
        times, worked = [], []
        for _ in range(4):
            start, before = time.perf_counter(), time.process_time()
            answer = client.get(pages[name])
            b"".join(answer) if answer.streaming else answer.content
            times.append(time.perf_counter() - start)
            worked.append(time.process_time() - before)
            assert answer.status_code == 200, (name, answer.status_code)
        taken[prefix + name + "_s"] = statistics.median(times[1:])
        taken[prefix + name + "_cpu_s"] = statistics.median(worked[1:])
take(root, pages)
take(ann.user, own)
print(json.dumps(taken))
"""


VOTES_PER_PAIR = 2.27


def measure(name: str, url: str, votes: int) -> dict[str, float]:
    with installation(url) as (_, environment):
        pairs = round(votes / VOTES_PER_PAIR)
        stored = json.loads(shell(SETUP, str(pairs), environment=environment))
        for script in (MORE, FREEZE):
            shell(script, environment=environment)
        taken = json.loads(shell(TAKE, environment=environment))
    return {f"{name}_votes": stored, **{f"{name}_{page}": s for page, s in taken.items()}}


def benchmark(arguments: list[str]) -> Result:
    options = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    votes, chosen = int(options.get("votes", 1_000_000)), options.get("database", "")
    result = Result()
    if chosen != "postgres":
        result.figures |= measure("sqlite", "", votes)
    if chosen != "sqlite":
        with postgres_database() as url:
            if url is None:
                print("PostgreSQL does not answer; only SQLite was measured")
            else:
                result.figures |= measure("postgres", url, votes)
    return result
