"""Inside a worker: the schedule, and the bodies of tasks. Only the worker command imports it.

May import: models, versions, runs, rounds.
"""
