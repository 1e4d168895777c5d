"""The time that the queue takes to lease a pair: 100,000 open pairs, a million votes.

The world is that of the quality benchmark (resolved pairs with their votes), and open pairs
besides, with hidden gold pairs among them. Eleven people lease and vote in turn. The twelfth has
worked alone: the pairs at the head of both arms wait for somebody else's second vote, thousands of
them, and every lease has to look past them. Besides wall times, the CPU milliseconds of our own
process, which on SQLite are those of the database too.
Options: `--votes=1000000 --open=100000 --alone=20000`.
"""

from __future__ import annotations

import json

from benchmarks.pages import SETUP, VOTES_PER_PAIR
from benchmarks.result import Result
from benchmarks.votes import installation, postgres_database, shell

LEASES = 1500
# Continues the program that SETUP is: i numbers the open pairs, after the resolved ones.
OPEN = """
values |= {"open": int(sys.argv[2]), "alone": int(sys.argv[3])}
serial = ("WITH RECURSIVE n(i) AS (SELECT @pairs + 1 "
          "UNION ALL SELECT i + 1 FROM n WHERE i < @pairs + @open) ")
insert("annotate_prompt", "n", id="i", project_id="@project", sha256="CAST(i AS text)",
       messages='\\'[{"role": "user", "content": "Why?"}]\\'', created_at=now, held_out="FALSE")
for side in (0, 1):
    insert("annotate_completion", "n", id=f"2 * i - {side}", prompt_id="i", text=text,
           sha256=f"CAST({side} AS text)", source="'many'", created_at=now)
had = "CASE WHEN i <= @pairs + @alone THEN 1 ELSE 0 END"
insert("annotate_pair", "n", id="i", project_id="@project", prompt_id="i", key="CAST(i AS text)",
       completion_a_id="2 * i", completion_b_id="2 * i - 1", asked="2", open_slots=f"2 - {had}",
       stream="CASE WHEN i % 10 < 3 THEN 'random' ELSE 'active' END", n_a=had, cast=had,
       first="CASE WHEN i <= @pairs + @alone THEN 'a' ELSE '' END",
       shuffle="(i - @pairs) * 1.0 / @open", created_at=now, firsts_simulated="FALSE")
insert("annotate_assignment", "n WHERE i <= @pairs + @alone", pair_id="i", annotator_id="@first",
       token=token, state="'voted'", left="'a'", stream="'random'", leased_at=now, voted_at=now,
       acted_at=now, choice="'a'", strength="2", seq="1", surplus="FALSE", simulated="FALSE")
gold = "n WHERE i <= @pairs + 1000"  # with the texts of resolved pairs
insert("annotate_pair", gold, id="i + @open", project_id="@project", prompt_id="i - @pairs",
       completion_a_id="2 * (i - @pairs)", completion_b_id="2 * (i - @pairs) - 1",
       key="'gold:' || i", kind="'gold'", stream="'check'", asked="30000", open_slots="30000",
       wanted="30000", shuffle="(i % 1000 * 7919 % 1000) / 1000.0", created_at=now,
       firsts_simulated="FALSE", **{"limit": "30000", "agree": "30000"})
insert("annotate_gold", gold, pair_id="i + @open", expected="'a'", created_at=now)
with connection.cursor() as cursor:
    cursor.execute("ANALYZE")
print(json.dumps(Assignment.objects.count()))
"""
TAKE = """
import json, random, statistics, sys, time
from django.contrib.auth.models import User
from annotate import queue
from annotate.models import Project
project = Project.objects.get()
project.gold_share = 0.3
alone, *others = User.objects.order_by("pk")[:12]
random.seed(0)
def leased(user):
    start, before = time.perf_counter(), time.process_time()
    lease = queue.next_pair(project, user, rng=random)
    wall, cpu = time.perf_counter() - start, time.process_time() - before
    return lease, (1000 * wall, 1000 * cpu)
times = {"pair": [], "gold": [], "alone": []}
for k in range(int(sys.argv[1])):
    user = others[k % len(others)]
    lease, took = leased(user)
    times["gold" if lease.pair.kind == "gold" else "pair"].append(took)
    queue.vote(user, lease.token, choice="a")
for _ in range(int(sys.argv[1]) // 10):
    lease, took = leased(alone)
    times["alone"].append(took)
    queue.vote(alone, lease.token, choice="a")
figures = {}
for name, taken in times.items():
    figures[f"{name}_leases"] = len(taken)
    for unit, values in zip(("ms", "cpu_ms"), zip(*taken)):
        cuts = statistics.quantiles(values, n=100)
        figures |= {f"{name}_p50_{unit}": cuts[49], f"{name}_p95_{unit}": cuts[94]}
print(json.dumps(figures))
"""


def measure(name: str, url: str, *, votes: int, pairs: int, alone: int) -> dict[str, float]:
    with installation(url) as (_, environment):
        sizes = (str(round(votes / VOTES_PER_PAIR)), str(pairs), str(alone))
        stored = json.loads(shell(SETUP + OPEN, *sizes, environment=environment))
        taken = json.loads(shell(TAKE, str(LEASES), environment=environment))
    return {f"{name}_votes": stored} | {f"{name}_{key}": value for key, value in taken.items()}


def benchmark(arguments: list[str]) -> Result:
    options = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    sizes = {
        "votes": int(options.get("votes", 1_000_000)),
        "pairs": int(options.get("open", 100_000)),
        "alone": int(options.get("alone", 20_000)),
    }
    result = Result()
    result.figures |= measure("sqlite", "", **sizes)
    with postgres_database() as url:
        if url is None:
            print("PostgreSQL does not answer; only SQLite was measured")
        else:
            result.figures |= measure("postgres", url, **sizes)
    return result
