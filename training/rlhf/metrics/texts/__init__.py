"""Metrics of replies as texts: variety, refusals, faults, habits of style, overlap.

May import: metrics.
"""
