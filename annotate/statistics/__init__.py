"""Formulas on arrays of votes: agreement, aggregation, intervals, fatigue, style.

May import: models (for constants).
"""
