"""Figures of the pages of rounds and comparisons: curves, tables, samples.

May import: models, figures, versions, runs, rounds.
"""
