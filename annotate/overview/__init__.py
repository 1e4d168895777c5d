"""A project at a glance: the figures of its home, the first steps, and what training adds to them.

May import: models, statistics, people, quality.
"""
