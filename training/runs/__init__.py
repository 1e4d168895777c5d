"""Supervised processes: states, task queue, inputs by kind, results of stages.

May import: models, versions, plans.
"""
