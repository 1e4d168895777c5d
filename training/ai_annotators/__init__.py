"""Models that vote as annotators: which may, their bounds, their runs.

May import: models, versions, runs, setup.
"""
