"""The home, the quality page, the pages about annotators and the data page at a million votes.

Writes such a project into a database of its own by bulk insert (two votes on every pair and a
third on every disagreement) and takes the page through Django's test client, three times each:
the figures are the medians, with the CPU seconds of our own process. Options: `--votes=1000000`.
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
TAKE = """
import json, statistics, sys, time
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from annotate.models import Project
from annotate.overview.kept_overview import count_overview_if_due
from annotate.people.kept_figures import count_annotators_if_due
from training.models import ModelVersion
from training.rounds import automatic_start
project = Project.objects.get(slug="many")
root = User.objects.create_superuser("root")
client = Client(SERVER_NAME="localhost")
client.force_login(root)
taken = {}
start, before = time.perf_counter(), time.process_time()
assert count_annotators_if_due(project)  # the minute tick does this
taken["count_people_s"] = time.perf_counter() - start
taken["count_people_cpu_s"] = time.process_time() - before
start, before = time.perf_counter(), time.process_time()
assert count_overview_if_due(project)
taken["count_home_s"] = time.perf_counter() - start
taken["count_home_cpu_s"] = time.process_time() - before
automatic_start.due(project, timezone.now())
ModelVersion.objects.create(project=project, kind="policy", number=0, path="m", state="promoted")
for name, path in json.loads(sys.argv[1]).items():
    times, worked = [], []
    for _ in range(3):
        start, before = time.perf_counter(), time.process_time()
        answer = client.get("/projects/many/" + path, headers={"HX-Request": "true"})
        times.append(time.perf_counter() - start)
        worked.append(time.process_time() - before)
        assert answer.status_code == 200, (path, answer.status_code)
    taken[name + "_s"] = statistics.median(times)
    taken[name + "_cpu_s"] = statistics.median(worked)
print(json.dumps(taken))
"""
SECTIONS = ("duos", "groups", "bias", "hardest")
PAGES = {
    "home": "",
    "page": "quality/",
    **{s: f"quality/?section={s}&stream=all" for s in SECTIONS},
    "pair_list": "quality/pairs/?sort=-last",
    "people": "annotators/",
    "person": "annotators/1/",
    "data": "data/",
    "data_text": "data/?q=some+length",
    "data_nothing": "data/?q=xylophone",
    "data_votes": "data/?in=votes&q=some+length&agreement=split",
}
VOTES_PER_PAIR = 2.27


def measure(name: str, url: str, votes: int) -> dict[str, float]:
    with installation(url) as (_, environment):
        pairs = round(votes / VOTES_PER_PAIR)
        stored = json.loads(shell(SETUP, str(pairs), environment=environment))
        taken = json.loads(shell(TAKE, json.dumps(PAGES), environment=environment))
    figures = {f"{name}_{page}": seconds for page, seconds in taken.items()}
    return {f"{name}_votes": stored, **figures}


def benchmark(arguments: list[str]) -> Result:
    options = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    votes = int(options.get("votes", 1_000_000))
    result = Result()
    result.figures |= measure("sqlite", "", votes)
    with postgres_database() as url:
        if url is None:
            print("PostgreSQL does not answer; only SQLite was measured")
        else:
            result.figures |= measure("postgres", url, votes)
    return result
