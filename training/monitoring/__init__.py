"""Figures of runs, rounds and workers for those who run an installation.

May import: models, runs.
"""
